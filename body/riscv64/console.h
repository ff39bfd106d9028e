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
/* The terminal on the serial line, as a first process's terminal and streams. On a thread. 0 or -ENOMEM. */
int console_open(struct process_start *start);
/* Waits until what programs wrote is out. On a thread, or when nothing else runs. */
void console_drain(void);

#endif
