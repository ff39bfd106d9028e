/*
 * Kernel memory. Allocation may fail (the simulator makes it fail at every place): callers check, and
 * answer ENOMEM. Never blocks.
 */
#ifndef KERNEL_ALLOC_H
#define KERNEL_ALLOC_H

#include "kernel/types.h"

/* NULL when there is no memory; the memory's contents are undefined. Aligned for any object. */
void *kalloc(size_t size);
/* The same, zeroed. */
void *kzalloc(size_t size);
/* Zeroed array; NULL also when count * size overflows. */
void *kcalloc(size_t count, size_t size);
/* As realloc(3); the old block stays valid when NULL is returned. */
void *krealloc(void *block, size_t size);
/* NULL is fine. */
void kfree(void *block);
/* A copy of the string, or NULL. */
char *kstrdup(const char *text);

#endif
