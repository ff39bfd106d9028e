/*
 * The virtio console's driver: see console.h.
 *
 * Both directions have BUFFERS pages. What is to be sent is copied into a free page and given away at once; when none is free the
 * device holds us back, and `room` is called as soon as it has given one back. Received pages wait in a ring in the order they
 * came and go back to the device when they have been read, so a slow reader holds the sender back.
 *
 * A device with one port has it ready. One with several says in control messages which there are; the first that it names is
 * ours. (QEMU's generic ports wait for who reads them; its console port throws away what does not fit, and is no good for
 * data.) The window's size comes over the link (link.h), which knows it for a serial line too.
 */
#include "body/riscv64/virtio/console.h"

#include "body/riscv64/frames.h"
#include "body/riscv64/virtio/virtio.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/lock.h"
#include "kernel/string.h"

#define BUFFERS 8u /* a power of two */
#define PORTS_LOOKED_AT 2u
#define FEATURE_MULTIPORT ((uint64_t)1 << 1)
#define CONFIG_MAX_PORTS 4u
#define PORT_WAIT_NS 100000000u
enum { QUEUE_CONTROL_RECEIVE = 2, QUEUE_CONTROL_SEND = 3 };
enum { CONTROL_DEVICE_READY = 0, CONTROL_PORT_ADD = 1, CONTROL_PORT_READY = 3, CONTROL_PORT_OPEN = 6 };
#define CONTROL_BUFFERS 8u
#define CONTROL_BYTES 256u

struct control {
    uint32_t port;
    uint16_t event, value;
};

struct received {
    uint8_t *page;
    uint32_t at, size;
};

static struct {
    bool present;
    struct virtio *virtio;
    void (*received)(void);
    void (*room)(void);
    struct spinlock lock; /* guards the rest */
    struct virtq receive[PORTS_LOOKED_AT], send[PORTS_LOOKED_AT], control_receive, control_send;
    uint32_t port;
    bool multiport;
    uint8_t *idle[BUFFERS]; /* pages to send with */
    uint32_t idle_count;
    bool wants_room;
    struct received ring[BUFFERS];
    uint32_t head, tail;
} console = {.lock = SPINLOCK_INIT(RANK_LOG + 1)};

bool virtio_console_present(void) { return console.present; }

/* --- lock held ----------------------------------------------------------------------------------------- */

static void give_page(uint8_t *page)
{
    struct virtq_buffer buffer = {page, PAGE_SIZE};
    virtq_add(&console.receive[console.port], &buffer, 1, 0, page); /* there is a descriptor for each page */
}

static void collect_sent(void)
{
    uint32_t written;
    void *page;
    while ((page = virtq_take(&console.send[console.port], &written)))
        console.idle[console.idle_count++] = page;
}

static bool collect_received(void)
{
    uint32_t size, before = console.head;
    void *page;
    while ((page = virtq_take(&console.receive[console.port], &size)))
        console.ring[console.head++ % BUFFERS] = (struct received){.page = page, .size = size < PAGE_SIZE ? size : PAGE_SIZE};
    return console.head != before;
}

static size_t send(const uint8_t *bytes, size_t size)
{
    size_t done = 0;
    collect_sent();
    while (done < size && console.idle_count) {
        uint8_t *page = console.idle[--console.idle_count];
        size_t part = size - done < PAGE_SIZE ? size - done : PAGE_SIZE;
        struct virtq_buffer buffer = {memcpy(page, bytes + done, part), (uint32_t)part};
        virtq_add(&console.send[console.port], &buffer, 1, 1, page);
        done += part;
    }
    if (done)
        virtq_notify(&console.send[console.port]);
    return virtio_broken(console.virtio) ? size : done;
}

/* --- the line ------------------------------------------------------------------------------------------ */

size_t virtio_console_write(const uint8_t *bytes, size_t size)
{
    spin_lock(&console.lock);
    size_t done = send(bytes, size);
    console.wants_room |= done < size;
    spin_unlock(&console.lock);
    return done;
}

void virtio_console_put_now(const uint8_t *bytes, size_t size)
{
    spin_lock(&console.lock);
    for (size_t done = 0; done < size; done += send(bytes + done, size - done))
        ;
    while (console.idle_count < BUFFERS && !virtio_broken(console.virtio))
        collect_sent();
    spin_unlock(&console.lock);
}

size_t virtio_console_read(uint8_t *bytes, size_t size)
{
    size_t done = 0;
    spin_lock(&console.lock);
    collect_received();
    bool notify = false;
    while (done < size && console.tail != console.head) {
        struct received *from = &console.ring[console.tail % BUFFERS];
        uint32_t part = from->size - from->at < size - done ? from->size - from->at : (uint32_t)(size - done);
        memcpy(bytes + done, from->page + from->at, part);
        from->at += part;
        done += part;
        if (from->at < from->size)
            break;
        console.tail++;
        give_page(from->page);
        notify = true;
    }
    if (notify)
        virtq_notify(&console.receive[console.port]);
    spin_unlock(&console.lock);
    return done;
}

void virtio_console_listen(void (*received)(void), void (*room)(void))
{
    console.received = received;
    console.room = room;
    received(); /* what came before */
}

static uint8_t *make_page(void)
{
    uint64_t frame = frame_alloc(0, FRAME_DEVICE);
    if (!frame)
        panic("no memory for the console");
    return frame_address(frame);
}

/* --- control messages ---------------------------------------------------------------------------------- */

/* The sender's messages are few: each has a place of its own in a page. */
static void say(uint32_t port, uint16_t event, uint16_t value)
{
    static struct control *messages;
    static uint32_t used;
    uint32_t size;
    if (!messages)
        messages = (void *)make_page();
    while (virtq_take(&console.control_send, &size))
        ;
    struct control *message = &messages[used++ % CONTROL_BUFFERS];
    *message = (struct control){port, event, value};
    struct virtq_buffer buffer = {message, sizeof *message};
    if (virtq_add(&console.control_send, &buffer, 1, 1, message))
        virtq_notify(&console.control_send);
}

static void give_control(void *message)
{
    struct virtq_buffer buffer = {message, CONTROL_BYTES};
    virtq_add(&console.control_receive, &buffer, 1, 0, message);
}

/* The next message, if there is one. Lock held, or nobody else there yet. */
static bool hear(struct control *control)
{
    uint32_t size;
    void *message = virtq_take(&console.control_receive, &size);
    if (!message)
        return false;
    memcpy(control, message, sizeof *control);
    if (size < sizeof *control)
        control->event = UINT16_MAX;
    give_control(message);
    virtq_notify(&console.control_receive);
    return true;
}

/* What is said later (names, sizes, who opened the other end) changes nothing here. */
static void hear_all(void)
{
    struct control control;
    while (console.multiport && hear(&control))
        ;
}

static void interrupt(UNUSED struct virtio *virtio)
{
    spin_lock(&console.lock);
    hear_all();
    bool received = collect_received();
    collect_sent();
    bool room = console.wants_room && (console.idle_count || virtio_broken(console.virtio));
    if (room)
        console.wants_room = false;
    spin_unlock(&console.lock);
    if (received && console.received)
        console.received();
    if (room && console.room)
        console.room();
}

static bool find_port(void)
{
    nanoseconds_t deadline = body_now() + PORT_WAIT_NS;
    struct control control = {.port = UINT32_MAX};
    say(0, CONTROL_DEVICE_READY, 1);
    while (control.event != CONTROL_PORT_ADD || control.port >= PORTS_LOOKED_AT)
        if (!hear(&control) && body_now() > deadline)
            return false;
    console.port = control.port;
    say(console.port, CONTROL_PORT_READY, 1);
    say(console.port, CONTROL_PORT_OPEN, 1);
    return true;
}

/* --- starting ------------------------------------------------------------------------------------------ */

static bool open_pair(uint32_t first, struct virtq *receive, struct virtq *send)
{
    return virtq_open(receive, console.virtio, first, BUFFERS) && virtq_open(send, console.virtio, first + 1, BUFFERS) &&
           receive->size == BUFFERS && send->size == BUFFERS;
}

/* The second port's queues come after the control queues. */
static bool open_queues(void)
{
    uint32_t ports = console.multiport ? virtio_config32(console.virtio, CONFIG_MAX_PORTS) : 1;
    return open_pair(0, &console.receive[0], &console.send[0]) &&
           (!console.multiport || open_pair(QUEUE_CONTROL_RECEIVE, &console.control_receive, &console.control_send)) &&
           (ports < 2 || open_pair(QUEUE_CONTROL_SEND + 1, &console.receive[1], &console.send[1]));
}

static void give_control_page(void)
{
    uint8_t *page = make_page();
    for (uint32_t i = 0; i < CONTROL_BUFFERS; i++)
        give_control(page + i * CONTROL_BYTES);
    virtq_notify(&console.control_receive);
}

/* False: no port. */
static bool begin(void)
{
    virtio_ready(console.virtio);
    if (console.multiport) {
        give_control_page();
        if (!find_port())
            return false;
    }
    for (uint32_t i = 0; i < BUFFERS; i++) {
        console.idle[console.idle_count++] = make_page();
        give_page(make_page());
    }
    virtq_notify(&console.receive[console.port]);
    return true;
}

bool virtio_console_start(struct virtio *virtio)
{
    if (console.virtio) {
        log_line("a second virtio console is not used");
        return false;
    }
    if (!virtio_begin(virtio, 0, FEATURE_MULTIPORT))
        return false;
    console.virtio = virtio;
    console.multiport = virtio->features & FEATURE_MULTIPORT;
    virtio->interrupt = interrupt;
    if (!open_queues() || !begin()) {
        log_line("the virtio console has no port that can be used");
        virtio_fail(virtio);
        return false;
    }
    return console.present = true;
}
