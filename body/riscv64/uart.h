/*
 * The serial line: an ns16550 and its interrupts.
 */
#ifndef RISCV64_UART_H
#define RISCV64_UART_H

#include "kernel/types.h"

/* False: the machine has none, and nothing else here may be called. */
bool uart_init(void);
bool uart_present(void);
/* Waits for the line; any context, without a lock. */
void uart_put_now(uint8_t byte);
/*
 * With interrupts: `received` is called when there is something to read, `room` after uart_write took less than it was
 * given. Both with interrupts disabled and no lock held.
 */
void uart_listen(void (*received)(void), void (*room)(void));
/* As many bytes as the line takes without waiting. Any context. */
size_t uart_write(const uint8_t *bytes, size_t size);
/* What has come, at most size bytes. Any context. */
size_t uart_read(uint8_t *bytes, size_t size);

#endif
