/*
 * The console: the guest's terminal whose other end is the terminal that the server was started on.
 *
 * The host's terminal is put into raw mode, so that bytes come and go as they are and the guest's line discipline does
 * the work; its settings are the guest's at the start and come back at the end. We use an open file of our own, because
 * O_NONBLOCK must not be set on the one we share with our starter. Started in the background, we touch
 * neither settings nor input until we are in the foreground (SIGCONT), as a shell expects of a job.
 *
 * Input is read by deferred work, which may wait for the terminal's mutex. Output is written directly by whoever
 * fills the queue; when the host's terminal takes no more, the event loop's next word that it does queues the work.
 */
#include "body/linux/stdio_console.h"

#include "abi/linux/tty.h"
#include "body/linux/host.h"
#include "body/linux/hostfs.h"
#include "body/linux/stdio.h"
#include "kernel/async.h"
#include "kernel/string.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

/* abi/linux/signal.h has a sigset of its own, so the host's <signal.h> stays out here. */
enum { HOST_SIG_BLOCK = 0, HOST_SIG_SETMASK = 2, HOST_SIGTTOU = 22, HOST_SIGCONT = 18, HOST_SIGWINCH = 28 };

#define CONSOLE_NUMBER ((uint64_t)5 << 8 | 1)
#define INPUT_CHUNK 1024u

static struct {
    struct tty *tty;
    int fd;           /* our own open file of the terminal */
    bool nonblocking; /* fd has O_NONBLOCK */
    uint64_t rdev;
    struct linux_termios2 saved, raw;
    struct atomic32 is_raw;
    struct host_watch watch;
    struct async_work input_work, output_work;
    struct atomic32 input_requests; /* who raises it from 0 reads, until it is back at 0 */
    /* the reader's */
    uint8_t pending[INPUT_CHUNK];
    size_t pending_at, pending_size;
    bool hung_up;
} console = {.fd = -1};

/* --- the host's terminal ----------------------------------------------------------------------------- */

static int64_t host_ioctl(uint64_t command, void *argument)
{
    return host_raw(SYS_ioctl, (uint64_t)console.fd, command, (uintptr_t)argument, 0, 0, 0);
}

enum { HOST_TCGETS2 = 0x802c542a, HOST_TCSETSW2 = 0x402c542c };

/* A background process that sets a terminal is stopped, unless it blocks the signal. */
static void set_host_termios(struct linux_termios2 *termios)
{
    uint64_t blocked = (uint64_t)1 << (HOST_SIGTTOU - 1), old = 0;
    host_raw(SYS_rt_sigprocmask, HOST_SIG_BLOCK, (uintptr_t)&blocked, (uintptr_t)&old, sizeof blocked, 0, 0);
    host_ioctl(HOST_TCSETSW2, termios);
    host_raw(SYS_rt_sigprocmask, HOST_SIG_SETMASK, (uintptr_t)&old, 0, sizeof old, 0, 0);
}

static bool in_foreground(void)
{
    int32_t group = 0;
    return host_ioctl(TIOCGPGRP, &group) < 0 || group == getpgrp();
}

static void make_raw(void)
{
    if (!in_foreground())
        return;
    set_host_termios(&console.raw);
    atomic32_store(&console.is_raw, 1);
    kernel_async(&console.input_work);
}

void stdio_console_close(void)
{
    if (console.fd >= 0 && atomic32_swap(&console.is_raw, 0))
        set_host_termios(&console.saved);
}

static void read_size(void)
{
    struct linux_winsize size;
    if (!host_ioctl(TIOCGWINSZ, &size))
        tty_resize(console.tty, &size);
}

bool stdio_console_signal(int signal)
{
    if (!console.tty)
        return false;
    if (signal == HOST_SIGWINCH) {
        read_size();
        return true;
    }
    if (signal == HOST_SIGCONT)
        make_raw();
    return false;
}

/* --- output ------------------------------------------------------------------------------------------ */

static bool writable(void)
{
    struct {
        int32_t fd;
        int16_t events, returned;
    } entry = {console.fd, EPOLLOUT, 0};
    return console.nonblocking || host_raw(SYS_poll, (uintptr_t)&entry, 1, 0, 0, 0, 0) > 0;
}

static void flush_locked(struct tty *tty)
{
    const uint8_t *bytes;
    size_t size;
    while (!tty->stopped && (size = tty_output_peek_locked(tty, &bytes))) {
        if (!console.nonblocking && size > 256)
            size = 256;
        int64_t written = writable() ? host_raw(SYS_write, (uint64_t)console.fd, (uintptr_t)bytes, size, 0, 0, 0) : -EAGAIN;
        if (written == -EAGAIN)
            return;
        tty_output_skip_locked(tty, written > 0 ? (size_t)written : size); /* nobody there: it is lost */
    }
}

static void console_output_ready(struct tty *tty) { flush_locked(tty); }

static void output_work(struct async_work *work)
{
    (void)work;
    mutex_lock(&console.tty->mutex);
    flush_locked(console.tty);
    mutex_unlock(&console.tty->mutex);
}

/* --- input ------------------------------------------------------------------------------------------- */

static void console_input_room(struct tty *tty)
{
    (void)tty;
    kernel_async(&console.input_work);
}

static bool readable(void)
{
    struct {
        int32_t fd;
        int16_t events, returned;
    } entry = {console.fd, EPOLLIN, 0};
    return console.nonblocking || host_raw(SYS_poll, (uintptr_t)&entry, 1, 0, 0, 0, 0) > 0;
}

/* False when there is nothing more for now. */
static bool fill_pending(void)
{
    if (!atomic32_load(&console.is_raw) || console.hung_up || !readable())
        return false;
    int64_t got = host_raw(SYS_read, (uint64_t)console.fd, (uintptr_t)console.pending, sizeof console.pending, 0, 0, 0);
    if (got == -EAGAIN)
        return false;
    console.hung_up = got <= 0;
    console.pending_at = 0;
    console.pending_size = got > 0 ? (size_t)got : 0;
    return got > 0;
}

static void read_input(void)
{
    bool was_hung_up = console.hung_up;
    while (console.pending_at < console.pending_size || fill_pending()) {
        size_t left = console.pending_size - console.pending_at;
        size_t taken = tty_receive(console.tty, console.pending + console.pending_at, left);
        console.pending_at += taken;
        if (taken < left)
            break; /* input_room brings us back */
    }
    if (console.hung_up && !was_hung_up)
        tty_hangup(console.tty, true);
}

/* Work that was queued again while it runs may run twice at once: the second only leaves word. */
static void input_work(struct async_work *work)
{
    (void)work;
    if (atomic32_add(&console.input_requests, 1))
        return;
    uint32_t seen;
    do {
        seen = atomic32_load(&console.input_requests);
        read_input();
    } while (!atomic32_cas(&console.input_requests, &seen, 0));
}

static void console_ready(struct host_watch *watch, uint32_t events)
{
    (void)watch;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        kernel_async(&console.input_work);
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        kernel_async(&console.output_work);
}

/* --- opening ----------------------------------------------------------------------------------------- */

static const struct tty_ops console_ops = {
    .output_ready = console_output_ready,
    .input_room = console_input_room,
    .drains = true,
};

static int terminal_among(const int *fds, size_t count)
{
    struct linux_termios2 termios;
    for (size_t i = 0; i < count; i++)
        if (!host_raw(SYS_ioctl, (uint64_t)fds[i], HOST_TCGETS2, (uintptr_t)&termios, 0, 0, 0))
            return fds[i];
    return -1;
}

/* The same terminal, another open file: through the descriptor, else by the name it has for us, else shared. */
static int reopen(int fd)
{
    char name[32];
    format(name, sizeof name, "/proc/self/fd/%d", fd);
    int own = open(name, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own < 0)
        own = open("/dev/tty", O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    console.nonblocking = own >= 0;
    return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static uint64_t device_of(int fd)
{
    struct stat stat;
    return fstat(fd, &stat) || !S_ISCHR(stat.st_mode) ? 0 : stat.st_rdev;
}

static void raw_from_saved(void)
{
    console.raw = console.saved;
    console.raw.iflag = console.saved.iflag & TTY_IUTF8;
    console.raw.oflag &= ~(uint32_t)TTY_OPOST;
    console.raw.lflag = 0;
    console.raw.cc[TTY_VMIN] = 1;
    console.raw.cc[TTY_VTIME] = 0;
}

static int console_create(int fd)
{
    console.rdev = device_of(fd);
    console.fd = reopen(fd);
    if (console.fd < 0)
        return -errno;
    if (host_ioctl(HOST_TCGETS2, &console.saved))
        return -ENOTTY;
    raw_from_saved();
    async_work_init(&console.input_work, input_work);
    async_work_init(&console.output_work, output_work);
    console.tty = tty_create(&console_ops, NULL, CONSOLE_NUMBER, "/dev/console");
    if (!console.tty)
        return -ENOMEM;
    console.tty->termios = console.saved;
    host_ioctl(TIOCGWINSZ, &console.tty->winsize);
    tty_set_console(console.tty);
    console.watch = (struct host_watch){.fd = console.fd, .ready = console_ready};
    return host_watch_add(&console.watch, EPOLLIN | EPOLLOUT);
}

struct tty *stdio_console_open(const int *fds, size_t count, int *error)
{
    int fd = terminal_among(fds, count);
    *error = fd < 0 ? -ENOTTY : console_create(fd);
    if (*error)
        return NULL;
    atexit(stdio_console_close);
    make_raw();
    return object_ref(console.tty);
}

bool stdio_console_is(int host_fd)
{
    struct linux_termios2 termios;
    if (!console.tty || host_raw(SYS_ioctl, (uint64_t)host_fd, HOST_TCGETS2, (uintptr_t)&termios, 0, 0, 0))
        return false;
    return device_of(host_fd) == console.rdev;
}
