/*
 * The kernel's side of the link: see link.h.
 *
 * Sending goes through a ring, so that bytes and their marks stay together whoever sends; the line takes from the ring when it
 * can. Receiving is deferred work: it takes the line apart into two rings (terminal, standard input) and words of control.
 * Streams of programs are ordinary pipes, whose other ends kernel threads serve: so they end, fill and wait as pipes do.
 */
#include "body/riscv64/link.h"

#include "abi/linux/file.h"
#include "abi/linux/pipe.h"
#include "abi/linux/process.h"
#include "abi/linux/tty.h"
#include "body/riscv64/line.h"
#include "body/riscv64/machine.h"
#include "kernel/async.h"
#include "kernel/body.h"
#include "kernel/string.h"

#define RING_BYTES 8192u /* powers of two */
#define CHUNK 4096u

struct ring {
    uint32_t head, tail;
    uint8_t bytes[LINK_WINDOW];
};

static struct {
    bool active;
    char streams[4]; /* a letter per stream: t terminal, s its own, 1 as standard output, c closed */
    size_t (*received)(const uint8_t *bytes, size_t size);
    void (*room)(void);
    struct async_work input;

    struct spinlock lock; /* guards the sending ring */
    char channel;         /* of what was put in last */
    uint32_t head, tail;
    uint8_t ring[RING_BYTES];
    struct waitq senders; /* its lock is taken inside */

    /* the input work's */
    char from;
    bool marked;
    char word[32];
    uint32_t word_length;
    struct ring terminal;

    struct mutex stdin_mutex; /* guards: */
    struct ring stdin;
    bool stdin_ended;
    struct waitq stdin_waiters;

    struct atomic32 pumps; /* threads that still have output to send */
    struct file *stdin_end, *output_ends[3];
} link = {.lock = SPINLOCK_INIT(RANK_LOG - 1), .channel = 'l'};

bool link_active(void) { return link.active; }
bool link_is_terminal(int stream) { return link.streams[stream] == 't'; }

bool link_begin(void)
{
    const char *value;
    if (machine_argument("hyla.link", &value) != 3)
        return false;
    memcpy(link.streams, value, 3);
    return link.active = true;
}

/* --- sending ------------------------------------------------------------------------------------------- */

static uint32_t ring_room(void) { return RING_BYTES - (link.head - link.tail); }
static void ring_put(uint8_t byte) { link.ring[link.head++ % RING_BYTES] = byte; }

/* Gives the line what it takes. */
static void push_locked(void)
{
    while (link.head != link.tail) {
        uint32_t at = link.tail % RING_BYTES, size = link.head - link.tail;
        size = size < RING_BYTES - at ? size : RING_BYTES - at;
        size_t taken = line_write(link.ring + at, size);
        link.tail += (uint32_t)taken;
        if (taken < size)
            return;
    }
}

static size_t put_locked(char channel, const uint8_t *bytes, size_t size)
{
    size_t done = 0;
    if (ring_room() < 4)
        return 0;
    if (channel != link.channel) {
        ring_put(LINK_MARK);
        ring_put((uint8_t)channel);
        link.channel = channel;
    }
    for (; done < size && ring_room() >= 2; done++) {
        if (bytes[done] == LINK_MARK)
            ring_put(LINK_MARK);
        ring_put(bytes[done]);
    }
    return done;
}

size_t link_send(char channel, const void *bytes, size_t size)
{
    spin_lock(&link.lock);
    size_t done = put_locked(channel, bytes, size);
    push_locked();
    if (done < size) { /* room may have come just now */
        done += put_locked(channel, (const uint8_t *)bytes + done, size - done);
        push_locked();
    }
    spin_unlock(&link.lock);
    return done;
}

static void put_ring_now(void)
{
    while (link.head != link.tail) {
        uint32_t at = link.tail % RING_BYTES, size = link.head - link.tail;
        size = size < RING_BYTES - at ? size : RING_BYTES - at;
        line_put_now(link.ring + at, size);
        link.tail += size;
    }
}

void link_send_now(char channel, const void *bytes, size_t size)
{
    spin_lock(&link.lock);
    for (size_t done = 0; done < size || link.head != link.tail;) {
        done += put_locked(channel, (const uint8_t *)bytes + done, size - done);
        put_ring_now();
    }
    spin_unlock(&link.lock);
}

/* The line takes bytes again. */
static void line_has_room(void)
{
    spin_lock(&link.lock);
    push_locked();
    spin_unlock(&link.lock);
    waitq_wake_all(&link.senders);
    link.room();
}

/* On a thread: waits until all is in the ring. The look at the ring and the wait are one step under the queue's lock. */
static void send_all(char channel, const uint8_t *bytes, size_t size)
{
    for (size_t done = 0; (done += link_send(channel, bytes + done, size - done)) < size;) {
        struct waiter waiter;
        waiter_init(&waiter);
        spin_lock(&link.senders.lock);
        bool full = ring_room() < RING_BYTES / 2;
        if (full)
            waitq_enqueue_locked(&link.senders, &waiter);
        spin_unlock(&link.senders.lock);
        if (full)
            waiter_wait(&waiter, DEADLINE_NEVER, WAIT_UNINTERRUPTIBLE);
    }
}

static void say_room(char channel, uint32_t count)
{
    char text[16];
    int length = format(text, sizeof text, "%c%u\n", channel, count);
    if (count)
        send_all('r', (const uint8_t *)text, (size_t)length);
}

/* --- receiving ----------------------------------------------------------------------------------------- */

static uint32_t number_at(const char **at)
{
    uint32_t value = 0;
    while (**at == ' ')
        (*at)++;
    for (; **at >= '0' && **at <= '9' && value < 100000; (*at)++)
        value = value * 10 + (uint32_t)(**at - '0');
    return value;
}

static void obey(const char *word)
{
    uint32_t first = number_at(&word), second = number_at(&word);
    if (link.from == 'k' && first > 0 && first <= 64)
        process_signal_first((int)first);
    if (link.from == 's' && tty_console()) {
        struct linux_winsize size = {.rows = (uint16_t)first, .columns = (uint16_t)second};
        tty_resize(tty_console(), &size);
    }
}

/* What the other side sends without having been given room for it is lost. */
static void keep(struct ring *ring, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size && ring->head - ring->tail < LINK_WINDOW; i++)
        ring->bytes[ring->head++ % LINK_WINDOW] = bytes[i];
}

static void keep_stdin(const uint8_t *bytes, size_t size, bool end)
{
    mutex_lock(&link.stdin_mutex);
    link.stdin_ended |= end;
    keep(&link.stdin, bytes, size);
    mutex_unlock(&link.stdin_mutex);
    waitq_wake_all(&link.stdin_waiters);
}

static void take_word(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '\n') {
            link.word[link.word_length] = 0;
            obey(link.word);
            link.word_length = 0;
        } else if (link.word_length < sizeof link.word - 1) {
            link.word[link.word_length++] = (char)bytes[i];
        }
    }
}

static void take_data(const uint8_t *bytes, size_t size)
{
    if (!size)
        return;
    if (link.from == 'c')
        keep(&link.terminal, bytes, size);
    else if (link.from == 'i')
        keep_stdin(bytes, size, false);
    else
        take_word(bytes, size);
}

/* What follows a mark: another channel, or the mark itself as data. */
static void take_marked(uint8_t byte)
{
    link.marked = false;
    if (byte == LINK_MARK) {
        take_data(&byte, 1);
        return;
    }
    link.from = (char)byte;
    link.word_length = 0;
    if (byte == 'q')
        keep_stdin(NULL, 0, true);
}

static void take(const uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < size; at++) {
        if (link.marked) {
            take_marked(bytes[at]);
            continue;
        }
        size_t start = at;
        while (at < size && bytes[at] != LINK_MARK)
            at++;
        take_data(bytes + start, at - start);
        link.marked = at < size;
    }
}

static void give_terminal(void)
{
    struct ring *ring = &link.terminal;
    uint32_t used = 0;
    while (ring->head != ring->tail) {
        uint32_t at = ring->tail % LINK_WINDOW, size = ring->head - ring->tail;
        size = size < LINK_WINDOW - at ? size : LINK_WINDOW - at;
        size_t taken = link.received ? link.received(ring->bytes + at, size) : size;
        ring->tail += (uint32_t)taken;
        used += (uint32_t)taken;
        if (taken < size)
            break;
    }
    say_room('c', used);
}

static void do_input(UNUSED struct async_work *work)
{
    static uint8_t bytes[CHUNK];
    size_t size;
    while ((size = line_read(bytes, sizeof bytes)))
        take(bytes, size);
    give_terminal();
}

void link_received(void) { kernel_async(&link.input); }

/* --- streams ------------------------------------------------------------------------------------------- */

/* The next bytes of standard input; 0 at its end. */
static size_t wait_stdin(uint8_t *bytes, size_t size)
{
    size_t done = 0;
    mutex_lock(&link.stdin_mutex);
    while (link.stdin.head == link.stdin.tail && !link.stdin_ended)
        waitq_sleep(&link.stdin_waiters, &link.stdin_mutex, DEADLINE_NEVER, WAIT_UNINTERRUPTIBLE);
    for (; done < size && link.stdin.head != link.stdin.tail; link.stdin.tail++)
        bytes[done++] = link.stdin.bytes[link.stdin.tail % LINK_WINDOW];
    mutex_unlock(&link.stdin_mutex);
    return done;
}

/* When nobody reads any more, what comes is thrown away. */
static void feed(UNUSED void *argument)
{
    static uint8_t bytes[CHUNK];
    struct file *end = link.stdin_end;
    size_t size;
    while ((size = wait_stdin(bytes, sizeof bytes))) {
        if (end && file_write_kernel(end, bytes, size, 0) < 0) {
            file_unref(end);
            end = NULL;
        }
        say_room('i', (uint32_t)size);
    }
    if (end)
        file_unref(end);
}

static void pump(void *argument)
{
    uint8_t bytes[CHUNK / 2];
    int stream = (int)(uintptr_t)argument;
    int64_t size;
    while ((size = file_read_kernel(link.output_ends[stream], bytes, sizeof bytes, 0)) > 0)
        send_all(stream == 1 ? 'o' : 'e', bytes, (size_t)size);
    file_unref(link.output_ends[stream]);
    atomic32_sub(&link.pumps, 1);
}

static int start_thread(const char *name, void (*function)(void *), void *argument)
{
    struct thread *thread = thread_create(name, NULL, function, argument);
    if (!thread)
        return -ENOMEM;
    thread_start(thread);
    object_unref(thread);
    return 0;
}

static int open_stream(struct process_start *start, int stream)
{
    struct file *ends[2];
    int error = pipe_open_both(0, ends);
    if (error)
        return error;
    start->stdio[stream] = ends[stream == 0 ? 0 : 1];
    if (stream == 0) {
        link.stdin_end = ends[1];
        return start_thread("stdin", feed, NULL);
    }
    link.output_ends[stream] = ends[0];
    atomic32_add(&link.pumps, 1);
    return start_thread(stream == 1 ? "stdout" : "stderr", pump, (void *)(uintptr_t)stream);
}

static int open_streams(struct process_start *start)
{
    int error = 0;
    for (int i = 0; i < 3 && !error; i++) {
        if (link.streams[i] == 's')
            error = open_stream(start, i);
        else if (link.streams[i] == '1' && start->stdio[1])
            start->stdio[i] = file_ref(start->stdio[1]);
    }
    return error;
}

int link_open(struct process_start *start, size_t (*received)(const uint8_t *bytes, size_t size), void (*room)(void))
{
    link.received = received;
    link.room = room;
    async_work_init(&link.input, do_input);
    mutex_init(&link.stdin_mutex, RANK_PIPE - 1);
    waitq_init(&link.stdin_waiters);
    waitq_init(&link.senders);
    line_listen(link_received, line_has_room);
    say_room('c', LINK_WINDOW);
    say_room('i', LINK_WINDOW);
    return open_streams(start);
}

void link_end(int32_t wait_status)
{
    char text[16];
    int length = format(text, sizeof text, "%d\n", wait_status);
    while (atomic32_load(&link.pumps))
        thread_yield();
    link_send_now('x', text, (size_t)length);
}
