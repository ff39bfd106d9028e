/*
 * The line to the outside that the terminal and the link use: the virtio console where there is one, else the serial line.
 * With a virtio console the serial line has the kernel's last words only (panic.c) and what was said before.
 */
#ifndef RISCV64_LINE_H
#define RISCV64_LINE_H

#include "kernel/types.h"

/* Chooses. Once, when the devices have been found. False: there is no line at all, and nothing else here may be called. */
bool line_init(void);
/* Whether it is the serial line. */
bool line_is_serial(void);
/* As uart.h: what they take, whether they wait, their contexts. */
void line_put_now(const uint8_t *bytes, size_t size);
void line_listen(void (*received)(void), void (*room)(void));
size_t line_write(const uint8_t *bytes, size_t size);
size_t line_read(uint8_t *bytes, size_t size);

#endif
