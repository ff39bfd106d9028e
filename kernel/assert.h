/*
 * Assertions stay on in release builds. They state what this kernel's own code guarantees; nothing that
 * a program, a client, a file or an image says may ever make one fail.
 */
#ifndef KERNEL_ASSERT_H
#define KERNEL_ASSERT_H

#include "kernel/types.h"

/* Stops the kernel with a message. Never returns. */
NORETURN void panic(const char *text, ...) PRINTF_LIKE(1, 2);

#define KASSERT(condition)                                                                                             \
    do {                                                                                                               \
        if (UNLIKELY(!(condition)))                                                                                    \
            panic("%s:%d: assertion failed: %s", __FILE__, __LINE__, #condition);                                      \
    } while (0)

/* One line to the kernel's log (the body decides where it goes). */
void log_line(const char *text, ...) PRINTF_LIKE(1, 2);

#endif
