/*
 * The console: the kernel's own lines, and the terminal of programs.
 */
#ifndef RISCV64_CONSOLE_H
#define RISCV64_CONSOLE_H

#include "kernel/types.h"

struct process_start;

/* The serial line takes over from the firmware's console. */
void console_init(void);
/* A line of the kernel's, at once. */
void console_line(const char *text);
/* Whole lines of the kernel's, as they are. */
void console_text(const char *text, size_t length);
/* Without locks; the first call after console_emergency_begin. */
void console_emergency_begin(void);
void console_emergency(const char *text, size_t length);
/* A first process's terminal and streams, on the serial line. On a thread. 0 or -ENOMEM, -ENODEV. */
int console_open(struct process_start *start);
/* Waits until what programs wrote is out, and tells `hyla boot` the first one's wait status. On a thread. */
void console_end(int32_t wait_status);

#endif
