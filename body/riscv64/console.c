/*
 * The serial line as log and as a terminal.
 *
 * Until the line is known the firmware prints. Log lines wait for the line; a program's output waits in its terminal's queue.
 * Input is moved to the terminal by deferred work, since the line discipline may suspend.
 */
#include "body/riscv64/console.h"

#include "abi/linux/process.h"
#include "abi/linux/tty.h"
#include "body/riscv64/line.h"
#include "body/riscv64/link.h"
#include "body/riscv64/sbi.h"
#include "body/riscv64/uart.h"
#include "body/riscv64/virtio/virtio.h"
#include "kernel/async.h"
#include "kernel/body.h"
#include "kernel/string.h"

#define CONSOLE_NUMBER ((uint64_t)5 << 8 | 1)

static bool have_uart, have_line;
static struct spinlock line_lock = SPINLOCK_INIT(RANK_LOG - 2); /* one line at a time */
static struct tty *tty;
static struct async_work input_work, output_work;

/* --- lines --------------------------------------------------------------------------------------------- */

static void put_byte(char c)
{
    if (have_uart)
        uart_put_now((uint8_t)c);
    else
        sbi_console_put(c);
}

void console_emergency(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n')
            put_byte('\r');
        put_byte(text[i]);
    }
}

/* A mark may have been cut off in the middle: the second one is then whole. */
void console_emergency_begin(void)
{
    static const char mark[] = {LINK_MARK, 'l', LINK_MARK, 'l'};
    if (link_active() && line_is_serial())
        console_emergency(mark, sizeof mark);
    console_emergency("\n", 1);
}

/* line_lock held. */
static void put_locked(const char *text, size_t length)
{
    if (link_active())
        link_send_now('l', text, length);
    else
        console_emergency(text, length);
}

void console_text(const char *text, size_t length)
{
    spin_lock(&line_lock);
    put_locked(text, length);
    spin_unlock(&line_lock);
}

void console_line(const char *text)
{
    spin_lock(&line_lock);
    put_locked(text, strlen(text));
    put_locked("\n", 1);
    spin_unlock(&line_lock);
}

void body_log(const char *text, size_t length)
{
    spin_lock(&line_lock);
    put_locked("hyla: ", 6);
    put_locked(text, length);
    put_locked("\n", 1);
    spin_unlock(&line_lock);
}

void console_init(void)
{
    have_uart = uart_init();
    virtio_init();
    have_line = line_init();
    if (have_line)
        link_begin();
}

/* --- the terminal --------------------------------------------------------------------------------------- */

static void flush_locked(struct tty *console)
{
    const uint8_t *bytes;
    size_t size;
    while (!console->stopped && (size = tty_output_peek_locked(console, &bytes))) {
        size_t written = link_active() ? link_send('c', bytes, size) : line_write(bytes, size);
        tty_output_skip_locked(console, written);
        if (written < size)
            break; /* line_has_room brings us back */
    }
}

static void do_output(UNUSED struct async_work *work)
{
    mutex_lock(&tty->mutex);
    flush_locked(tty);
    mutex_unlock(&tty->mutex);
}

static void do_input(UNUSED struct async_work *work)
{
    static uint8_t bytes[256];
    static size_t at, size;
    for (;;) {
        if (at == size) {
            at = 0;
            size = line_read(bytes, sizeof bytes);
        }
        if (!size)
            return;
        size_t taken = tty_receive(tty, bytes + at, size - at);
        at += taken;
        if (at < size)
            return; /* input_room brings us back */
    }
}

static size_t receive(const uint8_t *bytes, size_t size) { return tty ? tty_receive(tty, bytes, size) : size; }

static void line_received(void) { kernel_async(&input_work); }

static void input_room(UNUSED struct tty *console)
{
    if (link_active())
        link_received();
    else
        line_received();
}

static void line_has_room(void)
{
    if (tty)
        kernel_async(&output_work);
}

static const struct tty_ops console_ops = {.output_ready = flush_locked, .input_room = input_room, .drains = true};

void console_end(int32_t wait_status)
{
    for (bool left = tty; left;) {
        mutex_lock(&tty->mutex);
        flush_locked(tty);
        left = tty_output_used(tty) && !tty->stopped;
        mutex_unlock(&tty->mutex);
        if (left)
            thread_yield();
    }
    if (link_active())
        link_end(wait_status);
}

static bool is_terminal(int stream) { return !link_active() || link_is_terminal(stream); }

static int open_terminal(struct process_start *start)
{
    tty = tty_create(&console_ops, NULL, CONSOLE_NUMBER, "/dev/console");
    if (!tty)
        return -ENOMEM;
    tty_set_console(tty);
    for (int i = 0; i < 3; i++) {
        int error = is_terminal(i) ? tty_open(tty, LINUX_O_RDWR, &start->stdio[i]) : 0;
        if (error)
            return error;
    }
    start->tty = object_ref(tty);
    return 0;
}

int console_open(struct process_start *start)
{
    int error = 0;
    if (!have_line)
        return -ENODEV;
    async_work_init(&input_work, do_input);
    async_work_init(&output_work, do_output);
    if (is_terminal(0) || is_terminal(1) || is_terminal(2))
        error = open_terminal(start);
    if (!error && link_active())
        return link_open(start, receive, line_has_room);
    if (!error)
        line_listen(line_received, line_has_room);
    return error;
}
