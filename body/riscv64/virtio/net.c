/*
 * The virtio network device's driver (Virtual I/O Device Version 1.2, 5.1): /dev/eth0, a device of frames.
 *
 * There is no protocol in here: a network server is a program that has the device open. One read(2) gives one frame as it
 * came, with its Ethernet header and without a checksum of its own, cut off where the buffer ends; one write(2) sends one. One
 * descriptor at a time may be open (EBUSY): who reads is who the network speaks to. poll(2) tells when there is one to read and when
 * one can be sent. SIOCGIFHWADDR and SIOCGIFMTU answer as for an interface (netdevice(7)). Frames that nobody reads are
 * dropped by the device once RECEIVE_BUFFERS of them wait.
 */
#include "abi/linux/file.h"
#include "abi/linux/fs/devfs.h"
#include "abi/linux/fs/fs.h"
#include "abi/linux/process.h"
#include "body/riscv64/frames.h"
#include "body/riscv64/virtio/virtio.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/string.h"

#define RECEIVE_BUFFERS 32u /* powers of two */
#define SEND_BUFFERS 16u
#define HEADER_BYTES 12u
#define FRAME_BYTES 1514u
#define MTU (FRAME_BYTES - 14u)
#define FEATURE_ADDRESS ((uint64_t)1 << 5)
#define MAJOR_FRAMES 240u
enum { QUEUE_RECEIVE = 0, QUEUE_SEND = 1 };
enum { SIOCGIFMTU = 0x8921, SIOCGIFHWADDR = 0x8927, ARPHRD_ETHER = 1 };

struct frame_waiting {
    uint8_t *page;
    uint32_t size;
};

static struct net {
    struct virtio *virtio;
    uint8_t address[6];
    struct spinlock lock; /* guards up to the next group */
    struct virtq receive, send;
    struct frame_waiting ring[RECEIVE_BUFFERS];
    uint32_t head, tail;
    uint8_t *idle[SEND_BUFFERS];
    uint32_t idle_count;
    bool open, reported;

    struct waitq readers, writers;
    struct knote_list knotes;
} net = {.lock = SPINLOCK_INIT(RANK_BODY - 10)};

/* --- lock held ----------------------------------------------------------------------------------------- */

static void give_page(uint8_t *page)
{
    struct virtq_buffer buffer = {page, PAGE_SIZE};
    virtq_add(&net.receive, &buffer, 1, 0, page);
}

static void collect(void)
{
    uint32_t size;
    void *page;
    while ((page = virtq_take(&net.send, &size)))
        net.idle[net.idle_count++] = page;
    while ((page = virtq_take(&net.receive, &size))) {
        bool sane = size > HEADER_BYTES && size <= PAGE_SIZE;
        if (sane)
            net.ring[net.head++ % RECEIVE_BUFFERS] = (struct frame_waiting){page, size};
        else
            give_page(page);
    }
}

static uint32_t ready(void)
{
    if (virtio_broken(net.virtio))
        return EVENT_ERROR | EVENT_HANGUP | EVENT_READ | EVENT_WRITE;
    return (net.head != net.tail ? EVENT_READ | EVENT_READ_NORMAL : 0) | (net.idle_count ? EVENT_WRITE | EVENT_WRITE_NORMAL : 0);
}

/* --- waiting ------------------------------------------------------------------------------------------- */

static void interrupt(UNUSED struct virtio *virtio)
{
    spin_lock(&net.lock);
    collect();
    uint32_t events = ready();
    bool report = virtio_broken(net.virtio) && !net.reported;
    net.reported |= report;
    spin_unlock(&net.lock);
    if (report)
        log_line("eth0 is broken or gone");
    waitq_wake_all(&net.readers);
    waitq_wake_all(&net.writers);
    if (events)
        knote_notify(&net.knotes, events);
}

static bool ready_for(uint32_t event)
{
    spin_lock(&net.lock);
    collect();
    bool is = ready() & event;
    spin_unlock(&net.lock);
    return is;
}

/* The look and the place in the queue are one step: an interrupt in between wakes us. */
static int wait_for(struct waitq *queue, uint32_t event, bool nonblock)
{
    while (!ready_for(event)) {
        struct waiter waiter;
        if (nonblock)
            return -EAGAIN;
        waiter_init(&waiter);
        spin_lock(&queue->lock);
        waitq_enqueue_locked(queue, &waiter);
        spin_unlock(&queue->lock);
        if (ready_for(event)) {
            waiter_abandon(&waiter);
            return 0;
        }
        if (waiter_wait(&waiter, DEADLINE_NEVER, WAIT_INTERRUPTIBLE))
            return -ERESTARTSYS;
    }
    return 0;
}

static bool nonblocking(struct file *file, const struct io *io) { return file_nonblocking(file) || (io->flags & IO_NONBLOCK); }

/* --- files --------------------------------------------------------------------------------------------- */

/* Out of the ring, so that the page is ours alone. -EAGAIN: somebody was faster; -EIO. */
static int take_frame(struct frame_waiting *frame)
{
    spin_lock(&net.lock);
    int error = virtio_broken(net.virtio) ? -EIO : net.head == net.tail ? -EAGAIN : 0;
    if (!error)
        *frame = net.ring[net.tail++ % RECEIVE_BUFFERS];
    spin_unlock(&net.lock);
    return error;
}

static void return_page(uint8_t *page)
{
    spin_lock(&net.lock);
    give_page(page);
    virtq_notify(&net.receive);
    spin_unlock(&net.lock);
}

static int64_t eth_read(struct file *file, struct io *io, UNUSED int64_t *position)
{
    struct frame_waiting frame;
    int error;
    do {
        error = wait_for(&net.readers, EVENT_READ, nonblocking(file, io));
        if (!error)
            error = take_frame(&frame);
    } while (error == -EAGAIN && !nonblocking(file, io));
    if (error)
        return error;
    size_t want = min_u64(frame.size - HEADER_BYTES, io_left(io));
    size_t put = io_put(io, frame.page + HEADER_BYTES, want);
    return_page(frame.page);
    return put < want ? -EFAULT : (int64_t)put;
}

static int take_idle(uint8_t **page)
{
    spin_lock(&net.lock);
    int error = virtio_broken(net.virtio) ? -EIO : net.idle_count ? 0 : -EAGAIN;
    if (!error)
        *page = net.idle[--net.idle_count];
    spin_unlock(&net.lock);
    return error;
}

/* A size of 0 gives the page back unsent. */
static void send_page(uint8_t *page, uint32_t size)
{
    struct virtq_buffer buffer = {page, size};
    spin_lock(&net.lock);
    if (!size || !virtq_add(&net.send, &buffer, 1, 1, page))
        net.idle[net.idle_count++] = page;
    else
        virtq_notify(&net.send);
    spin_unlock(&net.lock);
}

static int64_t eth_write(struct file *file, struct io *io, UNUSED int64_t *position)
{
    size_t size = io_left(io);
    uint8_t *page;
    int error;
    if (size < 14 || size > FRAME_BYTES)
        return size < 14 ? -EINVAL : -EMSGSIZE;
    do {
        error = wait_for(&net.writers, EVENT_WRITE, nonblocking(file, io));
        if (!error)
            error = take_idle(&page);
    } while (error == -EAGAIN && !nonblocking(file, io));
    if (error)
        return error;
    memset(page, 0, HEADER_BYTES);
    bool whole = io_get(io, page + HEADER_BYTES, size) == size;
    send_page(page, whole ? (uint32_t)size + HEADER_BYTES : 0);
    return whole ? (int64_t)size : -EFAULT;
}

static uint32_t eth_poll(UNUSED struct file *file)
{
    spin_lock(&net.lock);
    collect();
    uint32_t events = ready();
    spin_unlock(&net.lock);
    return events;
}

static struct knote_list *eth_knotes(UNUSED struct file *file) { return &net.knotes; }

/* struct ifreq: a name, then the answer. */
static int64_t eth_ioctl(UNUSED struct file *file, uint32_t command, uaddr_t argument)
{
    uint8_t answer[24] = {0};
    uint32_t mtu = MTU;
    if (command == SIOCGIFHWADDR) {
        answer[0] = ARPHRD_ETHER;
        memcpy(answer + 2, net.address, sizeof net.address);
    } else if (command == SIOCGIFMTU) {
        memcpy(answer, &mtu, sizeof mtu);
    } else {
        return -ENOTTY;
    }
    return user_write(argument + 16, answer, sizeof answer);
}

static void eth_release(UNUSED struct file *file)
{
    spin_lock(&net.lock);
    net.open = false;
    spin_unlock(&net.lock);
}

static const struct file_ops eth_ops = {.kind = "frames", .read = eth_read, .write = eth_write, .poll = eth_poll, .knotes = eth_knotes,
                                           .ioctl = eth_ioctl, .release = eth_release};

static int eth_open(UNUSED void *data, uint32_t flags, struct file **file)
{
    spin_lock(&net.lock);
    bool busy = net.open;
    net.open = true;
    spin_unlock(&net.lock);
    if (busy)
        return -EBUSY;
    *file = file_create(&eth_ops, flags, NULL);
    if (!*file)
        eth_release(NULL);
    return *file ? 0 : -ENOMEM;
}

/* --- starting ------------------------------------------------------------------------------------------ */

static void make_pages(void)
{
    for (uint32_t i = 0; i < RECEIVE_BUFFERS + SEND_BUFFERS; i++) {
        uint64_t frame = frame_alloc(0, FRAME_DEVICE);
        if (frame && i < RECEIVE_BUFFERS)
            give_page(frame_address(frame));
        else if (frame)
            net.idle[net.idle_count++] = frame_address(frame);
    }
}

static bool open_queues(struct virtio *virtio)
{
    return virtq_open(&net.receive, virtio, QUEUE_RECEIVE, RECEIVE_BUFFERS) && virtq_open(&net.send, virtio, QUEUE_SEND, SEND_BUFFERS) &&
           net.receive.size == RECEIVE_BUFFERS && net.send.size == SEND_BUFFERS;
}

bool virtio_net_start(struct virtio *virtio)
{
    struct device_entry entry = {.name = "eth0", .mode = LINUX_S_IFCHR | 0600, .major = MAJOR_FRAMES, .open = eth_open};
    if (net.virtio || !virtio_begin(virtio, FEATURE_ADDRESS, 0))
        return false;
    net.virtio = virtio;
    virtio->interrupt = interrupt;
    waitq_init(&net.readers);
    waitq_init(&net.writers);
    knote_list_init(&net.knotes);
    for (uint32_t i = 0; i < sizeof net.address; i++)
        net.address[i] = virtio_config8(virtio, i);
    if (!open_queues(virtio) || device_register(&entry)) {
        log_line("the virtio network device cannot be used");
        virtio_fail(virtio);
        return false;
    }
    virtio_ready(virtio);
    make_pages();
    virtq_notify(&net.receive);
    return true;
}
