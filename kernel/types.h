/*
 * The kernel's basic types and small macros.
 *
 * Everything in kernel/ and abi/ is freestanding C: only the compiler's own headers are used.
 */
#ifndef KERNEL_TYPES_H
#define KERNEL_TYPES_H

#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An address in a task's user space. Never dereferenced by the kernel: see kernel/user.h. */
typedef uint64_t uaddr_t;

/* Nanoseconds of the body's monotonic clock. */
typedef uint64_t nanoseconds_t;

/* A deadline that never comes. */
#define DEADLINE_NEVER UINT64_MAX

#define PAGE_SIZE 4096u
#define PAGE_SHIFT 12
#define PAGE_MASK (~(uint64_t)(PAGE_SIZE - 1))

#define static_assert _Static_assert

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))
#define NORETURN __attribute__((noreturn))
#define NOINLINE __attribute__((noinline))
#define UNUSED __attribute__((unused))
#define PRINTF_LIKE(text, first) __attribute__((__format__(__printf__, text, first)))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

static inline uint64_t round_up(uint64_t value, uint64_t align) { return (value + align - 1) & ~(align - 1); }
static inline uint64_t round_down(uint64_t value, uint64_t align) { return value & ~(align - 1); }
static inline uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }

#endif
