/*
 * The ns16550 driver (National Semiconductor PC16550D).
 *
 * Bytes that arrive go into a ring; when it is full, the receive interrupt stays off until somebody reads, and the line's own
 * flow control holds the sender. Transmission has no ring: who has bytes keeps them until the line takes them.
 */
#include "body/riscv64/uart.h"

#include "body/riscv64/csr.h"
#include "body/riscv64/machine.h"
#include "body/riscv64/memory.h"
#include "body/riscv64/plic.h"
#include "kernel/lock.h"

enum { DATA = 0, INTERRUPTS = 1, FIFO = 2, IDENTITY = 2, LINE_CONTROL = 3, MODEM_CONTROL = 4, LINE_STATUS = 5 };
enum { ON_RECEIVE = 1, ON_ROOM = 2 };
enum { FIFO_ENABLE_AND_CLEAR = 7, EIGHT_BITS = 3, READY_AND_OUT2 = 0x0b };
enum { STATUS_DATA = 1, STATUS_ROOM = 0x20 };
#define FIFO_BYTES 16u
#define RING_BYTES 4096u /* a power of two */

static struct {
    uintptr_t base;
    void (*received)(void);
    void (*room)(void);
    struct spinlock lock; /* guards the rest and the device */
    uint8_t enabled;      /* ON_RECEIVE | ON_ROOM */
    uint32_t head, tail;
    uint8_t ring[RING_BYTES];
} uart = {.lock = SPINLOCK_INIT(RANK_LOG + 1)};

static uintptr_t address_of(uint32_t which) { return uart.base + ((uintptr_t)which << machine.uart_shift); }

static uint8_t get(uint32_t which)
{
    return machine.uart_width == 4 ? (uint8_t)device_read32(address_of(which)) : device_read8(address_of(which));
}

static void put(uint32_t which, uint8_t value)
{
    if (machine.uart_width == 4)
        device_write32(address_of(which), value);
    else
        device_write8(address_of(which), value);
}

bool uart_init(void)
{
    if (!machine.uart.size)
        return false;
    uart.base = kernel_map_device(machine.uart.address, machine.uart.size);
    put(INTERRUPTS, 0);
    put(LINE_CONTROL, EIGHT_BITS);
    put(FIFO, FIFO_ENABLE_AND_CLEAR);
    put(MODEM_CONTROL, READY_AND_OUT2);
    return true;
}

void uart_put_now(uint8_t byte)
{
    while (!(get(LINE_STATUS) & STATUS_ROOM))
        ;
    put(DATA, byte);
}

bool uart_present(void) { return uart.base; }

static void enable_locked(uint8_t which, bool on)
{
    uint8_t enabled = on ? uart.enabled | which : uart.enabled & (uint8_t)~which;
    if (enabled != uart.enabled)
        put(INTERRUPTS, enabled);
    uart.enabled = enabled;
}

size_t uart_write(const uint8_t *bytes, size_t size)
{
    size_t done = 0;
    spin_lock(&uart.lock);
    while (done < size && (get(LINE_STATUS) & STATUS_ROOM))
        for (uint32_t i = 0; i < FIFO_BYTES && done < size; i++)
            put(DATA, bytes[done++]);
    if (done < size)
        enable_locked(ON_ROOM, true);
    spin_unlock(&uart.lock);
    return done;
}

/* Whether something was received. */
static bool receive_locked(void)
{
    uint32_t before = uart.head;
    while (uart.head - uart.tail < RING_BYTES && (get(LINE_STATUS) & STATUS_DATA))
        uart.ring[uart.head++ % RING_BYTES] = get(DATA);
    enable_locked(ON_RECEIVE, uart.head - uart.tail < RING_BYTES);
    return uart.head != before;
}

size_t uart_read(uint8_t *bytes, size_t size)
{
    size_t done = 0;
    spin_lock(&uart.lock);
    receive_locked();
    for (; done < size && uart.tail != uart.head; uart.tail++)
        bytes[done++] = uart.ring[uart.tail % RING_BYTES];
    enable_locked(ON_RECEIVE, uart.head - uart.tail < RING_BYTES); /* 0 is returned only when the next byte interrupts */
    spin_unlock(&uart.lock);
    return done;
}

static void interrupt(void *argument)
{
    (void)argument;
    spin_lock(&uart.lock);
    get(IDENTITY); /* clears the transmitter's */
    bool received = receive_locked(), room = (uart.enabled & ON_ROOM) && (get(LINE_STATUS) & STATUS_ROOM);
    if (room)
        enable_locked(ON_ROOM, false);
    spin_unlock(&uart.lock);
    if (received)
        uart.received();
    if (room)
        uart.room();
}

void uart_listen(void (*received)(void), void (*room)(void))
{
    uart.received = received;
    uart.room = room;
    plic_handle(machine.uart.interrupt, interrupt, NULL);
    spin_lock(&uart.lock);
    enable_locked(ON_RECEIVE, true);
    spin_unlock(&uart.lock);
}
