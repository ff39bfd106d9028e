/*
 * Choosing the line: see line.h.
 */
#include "body/riscv64/line.h"

#include "body/riscv64/uart.h"
#include "body/riscv64/virtio/console.h"

static bool serial;

bool line_init(void)
{
    serial = !virtio_console_present();
    return !serial || uart_present();
}

bool line_is_serial(void) { return serial; }

void line_put_now(const uint8_t *bytes, size_t size)
{
    if (!serial) {
        virtio_console_put_now(bytes, size);
        return;
    }
    for (size_t i = 0; i < size; i++)
        uart_put_now(bytes[i]);
}

void line_listen(void (*received)(void), void (*room)(void))
{
    if (serial)
        uart_listen(received, room);
    else
        virtio_console_listen(received, room);
}

size_t line_write(const uint8_t *bytes, size_t size) { return serial ? uart_write(bytes, size) : virtio_console_write(bytes, size); }
size_t line_read(uint8_t *bytes, size_t size) { return serial ? uart_read(bytes, size) : virtio_console_read(bytes, size); }
