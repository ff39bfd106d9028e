/*
 * The C library functions that freestanding code may use. A hosted body has them from its libc; a
 * bare one brings its own.
 */
#ifndef KERNEL_STRING_H
#define KERNEL_STRING_H

#include "kernel/types.h"

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);
void *memchr(const void *from, int byte, size_t size);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t limit);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t limit);
char *strchr(const char *s, int byte);
char *strrchr(const char *s, int byte);

/*
 * Formats into buffer[0..size), always terminated when size > 0. Knows %d %i %u %x %X %o %c %s %p %%,
 * the flags 0, - and #, width, precision, and the lengths l, ll, z, h, hh. Returns the length the whole
 * text has, as snprintf(3) does.
 */
int format(char *buffer, size_t size, const char *text, ...) PRINTF_LIKE(3, 4);
int format_va(char *buffer, size_t size, const char *text, va_list args);

#endif
