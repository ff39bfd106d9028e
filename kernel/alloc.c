/*
 * Kernel memory, over the body's allocator.
 *
 * Only the arithmetic is here: zeroing, overflow checks, string copies. A size of zero is one byte, so
 * that NULL always means "no memory".
 */
#include "kernel/alloc.h"

#include "kernel/body.h"
#include "kernel/string.h"

void *kalloc(size_t size) { return body_alloc(size ? size : 1); }

void *kzalloc(size_t size)
{
    void *block = kalloc(size);
    if (block)
        memset(block, 0, size);
    return block;
}

void *kcalloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return kzalloc(bytes);
}

void *krealloc(void *block, size_t size) { return block ? body_realloc(block, size ? size : 1) : kalloc(size); }

void kfree(void *block)
{
    if (block)
        body_free(block);
}

char *kstrdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = kalloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}
