/*
 * The C library functions of kernel/string.h, and those that the compiler calls by itself.
 *
 * Copies go by words when both sides allow it; the loops are written so that the compiler does not see its own memcpy
 * in them (-fno-tree-loop-distribute-patterns).
 */
#include "kernel/string.h"

#define WORD sizeof(uint64_t)
typedef uint64_t __attribute__((may_alias)) word;

static bool words_fit(const void *a, const void *b) { return !(((uintptr_t)a | (uintptr_t)b) & (WORD - 1)); }

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    char *out = to;
    const char *in = from;
    if (words_fit(to, from)) {
        for (; size >= 4 * WORD; size -= 4 * WORD, out += 4 * WORD, in += 4 * WORD) {
            word a = ((const word *)in)[0], b = ((const word *)in)[1], c = ((const word *)in)[2], d = ((const word *)in)[3];
            ((word *)out)[0] = a;
            ((word *)out)[1] = b;
            ((word *)out)[2] = c;
            ((word *)out)[3] = d;
        }
        for (; size >= WORD; size -= WORD, out += WORD, in += WORD)
            *(word *)out = *(const word *)in;
    }
    while (size--)
        *out++ = *in++;
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    char *out = to;
    const char *in = from;
    if (out <= in || out >= in + size) {
        if (out + size <= in || out >= in + size)
            return memcpy(to, from, size);
        while (size--)
            *out++ = *in++;
        return to;
    }
    while (size--)
        out[size] = in[size];
    return to;
}

void *memset(void *to, int byte, size_t size)
{
    char *out = to;
    word pattern = (uint8_t)byte * 0x0101010101010101ull;
    for (; size && ((uintptr_t)out & (WORD - 1)); size--)
        *out++ = (char)byte;
    for (; size >= 4 * WORD; size -= 4 * WORD, out += 4 * WORD) {
        ((word *)out)[0] = pattern;
        ((word *)out)[1] = pattern;
        ((word *)out)[2] = pattern;
        ((word *)out)[3] = pattern;
    }
    while (size--)
        *out++ = (char)byte;
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const uint8_t *x = a, *y = b;
    for (; size; size--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

void *memchr(const void *from, int byte, size_t size)
{
    for (const uint8_t *at = from; size; size--, at++)
        if (*at == (uint8_t)byte)
            return (void *)(uintptr_t)at;
    return NULL;
}

size_t strnlen(const char *s, size_t limit)
{
    size_t length = 0;
    while (length < limit && s[length])
        length++;
    return length;
}

size_t strlen(const char *s) { return strnlen(s, SIZE_MAX); }

int strncmp(const char *a, const char *b, size_t limit)
{
    for (; limit; limit--, a++, b++)
        if (*a != *b || !*a)
            return (uint8_t)*a - (uint8_t)*b;
    return 0;
}

int strcmp(const char *a, const char *b) { return strncmp(a, b, SIZE_MAX); }

char *strchr(const char *s, int byte)
{
    for (;; s++) {
        if (*s == (char)byte)
            return (char *)(uintptr_t)s;
        if (!*s)
            return NULL;
    }
}

char *strrchr(const char *s, int byte)
{
    const char *last = NULL;
    for (const char *at = s; (at = strchr(at, byte)); at++) {
        last = at;
        if (!*at)
            break;
    }
    return (char *)(uintptr_t)last;
}

/* --- what the compiler calls: this machine has no instructions for it --------------------------------- */

int __ctzdi2(uint64_t value);
int __clzdi2(uint64_t value);
int __popcountdi2(uint64_t value);
int __ctzsi2(uint32_t value);

int __popcountdi2(uint64_t value)
{
    int count = 0;
    for (; value; value &= value - 1)
        count++;
    return count;
}

int __ctzdi2(uint64_t value)
{
    int count = 0;
    for (int step = 32; step; step /= 2) {
        if (!(value & (((uint64_t)1 << step) - 1))) {
            value >>= step;
            count += step;
        }
    }
    return count;
}

int __ctzsi2(uint32_t value) { return __ctzdi2(value); }

int __clzdi2(uint64_t value)
{
    int count = 0;
    for (int step = 32; step; step /= 2) {
        if (!(value >> (64 - step))) {
            value <<= step;
            count += step;
        }
    }
    return count;
}
