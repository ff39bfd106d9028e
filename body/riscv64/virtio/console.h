/*
 * The virtio console (Virtual I/O Device Version 1.2, 5.3): its first port, as a line of bytes. As uart.h, with larger steps.
 */
#ifndef RISCV64_VIRTIO_CONSOLE_H
#define RISCV64_VIRTIO_CONSOLE_H

#include "kernel/types.h"

/* False: the machine has none, and nothing else here may be called. */
bool virtio_console_present(void);
/* Waits until the device has taken all. Any context. */
void virtio_console_put_now(const uint8_t *bytes, size_t size);
void virtio_console_listen(void (*received)(void), void (*room)(void));
/* A device that broke takes everything and gives nothing. */
size_t virtio_console_write(const uint8_t *bytes, size_t size);
size_t virtio_console_read(uint8_t *bytes, size_t size);

#endif
