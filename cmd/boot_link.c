/*
 * This end of the serial line: see body/riscv64/link.h for what goes over it.
 *
 * Lines of the kernel's come over the link once it has begun; what the machine says before that, and a panic, comes over the
 * serial line, which has no marks.
 *
 * One loop waits for the machine, our standard input (while the kernel has given room for more) and signals. A terminal on
 * standard input is raw meanwhile: the machine's line discipline does the work. What the machine says before the link
 * begins (the firmware, the kernel's greeting) is kept, and shown when asked for or when it never begins.
 */
#include "cmd/boot.h"
#include "cmd/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define LINK_MARK 0x10
#define LINK_WINDOW 16384u
#define EARLY_BYTES 16384u

static struct {
    int to, from, log;
    char streams[3];
    bool verbose;
    /* from the machine */
    char channel;
    bool marked, begun, trace_line;
    char word[32];
    size_t word_length;
    char early[EARLY_BYTES];
    size_t early_length;
    int status; /* -1: not said yet */
    /* to the machine */
    char sending;
    uint32_t terminal_room, stdin_room;
    bool stdin_ended, output_broken;
    struct termios saved;
    bool raw;
} line;

static const int forwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT};

/* --- signals and streams ------------------------------------------------------------------------------- */

static void forwarded_set(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < sizeof forwarded / sizeof forwarded[0]; i++)
        sigaddset(set, forwarded[i]);
}

void boot_link_block_signals(void)
{
    sigset_t set;
    forwarded_set(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

void boot_link_unblock_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    signal(SIGPIPE, SIG_DFL);
}

static bool same_file(int a, int b)
{
    struct stat x, y;
    return !fstat(a, &x) && !fstat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

void boot_link_streams(char streams[3])
{
    for (int i = 0; i < 3; i++)
        streams[i] = fcntl(i, F_GETFD) < 0 ? 'c' : isatty(i) ? 't' : 's';
    if (streams[1] == 's' && streams[2] == 's' && same_file(1, 2))
        streams[2] = '1';
}

static void make_raw(void)
{
    struct termios raw;
    if (line.streams[0] != 't' || tcgetattr(0, &line.saved))
        return;
    raw = line.saved;
    cfmakeraw(&raw);
    line.raw = !tcsetattr(0, TCSADRAIN, &raw);
}

static void make_cooked(void)
{
    if (line.raw)
        tcsetattr(0, TCSADRAIN, &line.saved);
    line.raw = false;
}

/* --- to the machine ------------------------------------------------------------------------------------ */

static void write_all(int fd, const void *bytes, size_t size)
{
    while (size) {
        ssize_t done = write(fd, bytes, size);
        if (done < 0 && errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            poll(&wait, 1, -1);
        } else if (done < 0 && errno != EINTR) {
            return;
        } else if (done > 0) {
            bytes = (const char *)bytes + done;
            size -= (size_t)done;
        }
    }
}

static void send_bytes(char channel, const void *bytes, size_t size)
{
    char out[2 + 2 * LINK_WINDOW];
    size_t length = 0;
    if (channel != line.sending || channel == 'q') {
        out[length++] = LINK_MARK;
        out[length++] = channel;
    }
    line.sending = channel;
    for (size_t i = 0; i < size; i++) {
        if (((const char *)bytes)[i] == LINK_MARK)
            out[length++] = LINK_MARK;
        out[length++] = ((const char *)bytes)[i];
    }
    write_all(line.to, out, length);
}

static void send_size(void)
{
    struct winsize size;
    char text[32];
    for (int fd = 0; fd < 3; fd++) {
        if (ioctl(fd, TIOCGWINSZ, &size))
            continue;
        send_bytes('s', text, (size_t)snprintf(text, sizeof text, "%u %u\n", size.ws_row, size.ws_col));
        return;
    }
}

static void pass_signal(int fd)
{
    struct signalfd_siginfo info;
    char text[16];
    if (read(fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (info.ssi_signo == SIGWINCH)
        send_size();
    else if (line.begun)
        send_bytes('k', text, (size_t)snprintf(text, sizeof text, "%u\n", info.ssi_signo));
    else
        exit(128 + (int)info.ssi_signo); /* nobody there yet: the machine dies with us */
}

static uint32_t *input_room(void) { return line.streams[0] == 't' ? &line.terminal_room : &line.stdin_room; }

static void pass_input(void)
{
    char bytes[LINK_WINDOW];
    uint32_t *room = input_room();
    ssize_t got = read(0, bytes, *room < sizeof bytes ? *room : sizeof bytes);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (got > 0) {
        *room -= (uint32_t)got;
        send_bytes(line.streams[0] == 't' ? 'c' : 'i', bytes, (size_t)got);
        return;
    }
    line.stdin_ended = true;
    send_bytes('q', NULL, 0);
}

/* --- from the machine ---------------------------------------------------------------------------------- */

static void obey(const char *word)
{
    if (line.channel == 'x')
        line.status = atoi(word) & 0xffff;
    else if (*word == 'c')
        line.terminal_room += (uint32_t)strtoul(word + 1, NULL, 10);
    else if (*word == 'i')
        line.stdin_room += (uint32_t)strtoul(word + 1, NULL, 10);
}

static void take_word(const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '\n') {
            line.word[line.word_length] = 0;
            obey(line.word);
            line.word_length = 0;
        } else if (line.word_length < sizeof line.word - 1) {
            line.word[line.word_length++] = bytes[i];
        }
    }
}

static int terminal_stream(void) { return line.streams[1] == 't' ? 1 : line.streams[2] == 't' ? 2 : 0; }

/* Lines of the kernel's; a raw terminal wants a carriage return, too. */
static void show_log(const char *bytes, size_t size)
{
    if (!line.begun && !line.verbose) {
        size_t room = sizeof line.early - line.early_length;
        size = size < room ? size : room;
        memcpy(line.early + line.early_length, bytes, size);
        line.early_length += size;
        return;
    }
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '\n' && line.raw)
            write_all(2, "\r", 1);
        if (bytes[i] != '\r')
            write_all(2, bytes + i, 1);
    }
}

static void take_run(const char *bytes, size_t size)
{
    if (!size)
        return;
    switch (line.channel) {
    case 'l': show_log(bytes, size); break;
    case 'c': write_all(terminal_stream(), bytes, size); break;
    case 'o': write_all(1, bytes, size); break;
    case 'e': write_all(2, bytes, size); break;
    default: take_word(bytes, size); break;
    }
}

/* The serial line, to its end. False: no more for now. */
static bool take_log(void)
{
    char bytes[4096];
    ssize_t got = read(line.log, bytes, sizeof bytes);
    if (got > 0) {
        show_log(bytes, (size_t)got);
    } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
        close(line.log);
        line.log = -1;
    }
    return got > 0 || (got < 0 && errno == EINTR);
}

/* What the serial line has said until now belongs to what came before. */
static void begin(void)
{
    while (take_log())
        ;
    line.begun = true;
    make_raw();
    send_size();
}

static void take(const char *bytes, size_t size)
{
    size_t start = 0;
    for (size_t i = 0; i < size; i++) {
        if (line.marked) {
            line.marked = false;
            start = i + (bytes[i] != LINK_MARK);
            if (bytes[i] == LINK_MARK)
                continue;
            line.channel = bytes[i];
            line.word_length = 0;
            if (!line.begun)
                begin();
        } else if (bytes[i] == LINK_MARK) {
            take_run(bytes + start, i - start);
            line.marked = true;
            start = i + 1;
        }
    }
    if (!line.marked)
        take_run(bytes + start, size - start);
}

/* False: the machine is gone. */
static bool take_output(void)
{
    char bytes[65536];
    ssize_t got = read(line.from, bytes, sizeof bytes);
    if (got < 0)
        return errno == EINTR || errno == EAGAIN;
    take(bytes, (size_t)got);
    return got > 0;
}

/* --- serving ------------------------------------------------------------------------------------------- */

static void serve(int signals)
{
    for (bool alive = true; alive || line.log >= 0;) {
        bool wants_input = line.begun && !line.stdin_ended && line.streams[0] != 'c' && *input_room() > 0;
        struct pollfd list[] = {{.fd = alive ? line.from : -1, .events = POLLIN},
                                {.fd = signals, .events = POLLIN},
                                {.fd = wants_input && alive ? 0 : -1, .events = POLLIN},
                                {.fd = line.log, .events = POLLIN}};
        if (poll(list, 4, -1) < 0)
            continue;
        if (list[1].revents)
            pass_signal(signals);
        if (list[2].revents)
            pass_input();
        if (list[3].revents)
            take_log();
        if (list[0].revents)
            alive = take_output();
    }
}

int boot_link_serve(const struct boot_machine *machine, const char streams[3], bool verbose)
{
    sigset_t set;
    line.to = machine->to;
    line.from = machine->from;
    line.log = machine->log;
    memcpy(line.streams, streams, 3);
    line.verbose = verbose;
    line.channel = 'l';
    line.status = -1;
    forwarded_set(&set);
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    fcntl(line.to, F_SETFL, O_NONBLOCK);
    fcntl(line.log, F_SETFL, O_NONBLOCK);
    serve(signals);
    make_cooked();
    close(signals);
    if (line.status < 0 && !verbose)
        write_all(2, line.early, line.early_length);
    return line.status;
}
