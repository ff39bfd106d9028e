/*
 * Pipes between programs that do nothing but read and write for a while, and then something else: what a kernel may do to make
 * the first quick must not be seen in the second. Each test begins with enough plain calls (warm) on fresh pipes.
 */
#include "event_check.h"

#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

/*
 * Call sites of the tests' own, whose form is always the same: what a kernel makes of a call may depend on the code around it.
 */
static __attribute__((noinline)) ssize_t plain_read(int fd, void *to, size_t size)
{
    ssize_t result;
    __asm__ volatile("mov $0, %%eax\n\tsyscall" : "=a"(result) : "D"(fd), "S"(to), "d"(size) : "rcx", "r11", "memory");
    errno = result < 0 ? (int)-result : errno;
    return result < 0 ? -1 : result;
}

static __attribute__((noinline)) ssize_t plain_write(int fd, const void *from, size_t size)
{
    ssize_t result;
    __asm__ volatile("mov $1, %%eax\n\tsyscall" : "=a"(result) : "D"(fd), "S"(from), "d"(size) : "rcx", "r11", "memory");
    errno = result < 0 ? (int)-result : errno;
    return result < 0 ? -1 : result;
}
#define read plain_read
#define write plain_write

#define WARM 120
enum { FILL = 255, MOST = 200 };

static int to[2], from[2];
static pid_t partner;
static char block[4096], large[1 << 17];

/* --- the partner: each byte it reads is an order ------------------------------------------------------- */

/* Writes until that fails: exits with the errno, or 100 + signals when it was interrupted. */
static void fill(void)
{
    for (;;) {
        ssize_t put = write(from[1], block, 1000);
        if (put < 0)
            _exit(errno == EINTR && ticks ? 100 + ticks : errno);
        CHECK(put == 1000);
    }
}

static void serve(void)
{
    unsigned char order;
    char bytes[MOST];
    ssize_t got;
    while ((got = read(to[0], &order, 1)) == 1) {
        if (order == FILL)
            fill();
        memset(bytes, order, sizeof bytes);
        if (write(from[1], bytes, order) != order)
            _exit(90);
    }
    _exit(got == 0 ? 0 : errno == EINTR ? 100 + ticks : 91);
}

static void order(unsigned char bytes) { CHECK(write(to[1], &bytes, 1) == 1); }

static void round_trip(unsigned char bytes)
{
    char got[MOST];
    size_t have = 0;
    order(bytes);
    while (have < bytes) {
        ssize_t part = read(from[0], got + have, bytes - have);
        CHECK(part > 0);
        have += part;
    }
    for (size_t i = 0; i < have; i++)
        CHECK((unsigned char)got[i] == bytes);
}

static void warm(void)
{
    for (int i = 0; i < WARM; i++)
        round_trip(1 + i % MOST);
}

static void begin_with(void (*prepare)(void))
{
    CHECK(pipe(to) == 0 && pipe(from) == 0);
    partner = fork();
    CHECK(partner >= 0);
    if (!partner) {
        close(to[1]);
        close(from[0]);
        if (prepare)
            prepare();
        serve();
    }
    close(to[0]);
    close(from[1]);
    warm();
}

static void begin(void) { begin_with(NULL); }

static int partner_status(void)
{
    int status;
    CHECK(waitpid(partner, &status, 0) == partner);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void end(void)
{
    close(to[1]);
    CHECK(partner_status() == 0);
    CHECK(read(from[0], block, 1) == 0);
    close(from[0]);
}

static char state_of(pid_t pid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return strrchr(text, ')')[2];
}

/* It has carried out what it was told and waits. Twice, for a state seen once may be a passing one. */
static void wait_asleep(pid_t pid)
{
    for (int seen = 0; seen < 2;) {
        sched_yield();
        seen = state_of(pid) == 'S' ? seen + 1 : 0;
    }
}

static void order_done(unsigned char bytes)
{
    order(bytes);
    wait_asleep(partner);
}

/* --- looking and changing ----------------------------------------------------------------------------- */

static void looked_at(void)
{
    struct stat stat;
    begin();
    for (int i = 0; i < 3; i++) {
        order_done(150);
        CHECK(readable_bytes(from[0]) == 150);
        CHECK(poll_one(from[0], POLLIN) == POLLIN && poll_one(to[1], POLLOUT) == POLLOUT);
        CHECK(fstat(from[0], &stat) == 0 && S_ISFIFO(stat.st_mode));
        CHECK(read(from[0], block, sizeof block) == 150 && block[149] == (char)150);
        CHECK(poll_one(from[0], POLLIN) == 0 && readable_bytes(from[0]) == 0);
        warm();
    }
    end();
}

/* A wait that begins while the pipe is in use must see what comes after it. */
static void waited_for(void)
{
    begin();
    for (int i = 0; i < 300; i++) {
        struct pollfd one = {.fd = from[0], .events = POLLIN};
        order(7);
        CHECK(poll(&one, 1, 10000) == 1 && one.revents == POLLIN);
        CHECK(read(from[0], block, 7) == 7);
        if (i % 100 == 0)
            warm();
    }
    warm();
    end();
}

static volatile bool last_order;

/* Asleep here while others read what it is told of, and then they do not. */
static void *see_last(void *epoll)
{
    struct epoll_event event;
    bool last = false;
    while (!last) {
        CHECK(epoll_wait(*(int *)epoll, &event, 1, -1) == 1);
        last = last_order;
    }
    return NULL;
}

static void watched_by_another(void)
{
    pthread_t thread;
    begin();
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, from[0], &event) == 0);
    CHECK(pthread_create(&thread, NULL, see_last, &epoll) == 0);
    warm();
    warm();
    last_order = true;
    order(9);
    pthread_join(thread, NULL);
    CHECK(read(from[0], block, sizeof block) == 9);
    close(epoll);
    end();
}

static void watched(void)
{
    begin();
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, from[0], &event) == 0);
    for (int i = 0; i < 300; i++) {
        if (i % 100 == 0)
            warm(), warm(); /* watched, but only read for a while */
        order(9);
        CHECK(epoll_wait(epoll, &event, 1, 10000) == 1);
        CHECK(read(from[0], block, sizeof block) == 9);
    }
    close(epoll);
    warm();
    end();
}

static void made_nonblocking(void)
{
    begin();
    order_done(20);
    CHECK(fcntl(from[0], F_SETFL, O_NONBLOCK) == 0);
    CHECK(read(from[0], block, sizeof block) == 20);
    CHECK_ERROR(read(from[0], block, 1), EAGAIN);
    int off = 0, on = 1;
    CHECK(ioctl(from[0], FIONBIO, &off) == 0);
    warm();
    CHECK(ioctl(from[0], FIONBIO, &on) == 0);
    CHECK_ERROR(read(from[0], block, 1), EAGAIN);
    CHECK(ioctl(from[0], FIONBIO, &off) == 0);
    warm();
    end();
}

static void resized(void)
{
    begin();
    order_done(100);
    CHECK(fcntl(from[0], F_GETPIPE_SZ) == 65536);
    CHECK(fcntl(from[0], F_SETPIPE_SZ, 1 << 20) == 1 << 20);
    CHECK(read(from[0], block, sizeof block) == 100 && block[99] == 100);
    warm();
    CHECK(fcntl(to[1], F_SETPIPE_SZ, 4096) == 4096);
    warm();
    end();
}

static void in_vectors(void)
{
    char first[30], second[100];
    struct iovec vectors[2] = {{first, sizeof first}, {second, sizeof second}};
    begin();
    order_done(120);
    CHECK(readv(from[0], vectors, 2) == 120 && first[29] == 120 && second[89] == 120);
    unsigned char orders[2] = {3, 4};
    struct iovec out[2] = {{orders, 1}, {orders + 1, 1}};
    CHECK(writev(to[1], out, 2) == 2);
    for (size_t got = 0; got < 7;)
        got += read(from[0], block, 7 - got);
    CHECK_ERROR(pread(from[0], block, 1, 0), ESPIPE);
    warm();
    end();
}

static void faults(void)
{
    begin();
    order_done(50);
    CHECK_ERROR(syscall(SYS_read, from[0], (void *)8, 5), EFAULT);
    CHECK(readable_bytes(from[0]) == 50 && read(from[0], block, sizeof block) == 50);
    warm();
    CHECK_ERROR(syscall(SYS_write, to[1], (void *)8, 1), EFAULT);
    CHECK_ERROR(syscall(SYS_write, to[1], (void *)-1000l, 5), EFAULT);
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mprotect(page + 4096, 4096, PROT_NONE) == 0);
    warm();
    order_done(100);
    CHECK(read(from[0], page + 4096 - 100, 200) == 100 && page[4095] == 100); /* what is there decides, not what is asked for */
    CHECK(read(from[0], page, 0) == 0 && write(to[1], page, 0) == 0);
    warm();
    end();
}

static void spliced(void)
{
    int other[2];
    CHECK(pipe(other) == 0);
    begin();
    order_done(90);
    CHECK(tee(from[0], other[1], 40, 0) == 40 && read(other[0], block, 100) == 40);
    CHECK(splice(from[0], NULL, other[1], NULL, 60, 0) == 60);
    CHECK(read(other[0], block, 100) == 60 && block[59] == 90 && read(from[0], block, 100) == 30);
    warm();
    CHECK(write(other[1], "\5", 1) == 1 && splice(other[0], NULL, to[1], NULL, 1, 0) == 1);
    for (size_t got = 0; got < 5;)
        got += read(from[0], block, 5 - got);
    close(other[0]);
    close(other[1]);
    warm();
    end();
}

/* --- ends ------------------------------------------------------------------------------------------------ */

static void closed_before_a_sleeper(void)
{
    begin();
    wait_asleep(partner);
    close(to[1]);
    CHECK(partner_status() == 0); /* its read returned 0 */
    CHECK(read(from[0], block, 1) == 0);
    close(from[0]);
    begin();
    order_done(FILL); /* asleep because it is full */
    close(from[0]);
    CHECK(partner_status() == 1000 + SIGPIPE);
    on_signal(SIGPIPE, SIG_IGN, 0);
    CHECK_ERROR(write(to[1], "x", 1), EPIPE);
    on_signal(SIGPIPE, SIG_DFL, 0);
    close(to[1]);
}

static void ignore_pipe(void) { on_signal(SIGPIPE, SIG_IGN, 0); }

static void killed(void)
{
    begin();
    order_done(60);
    kill(partner, SIGKILL);
    CHECK(partner_status() == 1000 + SIGKILL);
    CHECK(read(from[0], block, sizeof block) == 60 && read(from[0], block, 1) == 0);
    on_signal(SIGPIPE, SIG_IGN, 0);
    CHECK_ERROR(write(to[1], "x", 1), EPIPE);
    on_signal(SIGPIPE, SIG_DFL, 0);
    close(from[0]);
    close(to[1]);
    begin_with(ignore_pipe);
    order_done(FILL);
    close(from[0]);
    CHECK(partner_status() == EPIPE);
    close(to[1]);
}

/* What it has written by then stays, in order, and ends. */
static void killed_while_it_writes(void)
{
    for (int i = 0; i < 30; i++) {
        size_t all = 0;
        ssize_t got;
        begin();
        order(FILL);
        for (int n = 0; n < i * 3; n++) {
            CHECK((got = read(from[0], block, 1000)) > 0);
            all += got;
        }
        kill(partner, SIGKILL);
        CHECK(partner_status() == 1000 + SIGKILL);
        while ((got = read(from[0], block, sizeof block)) > 0)
            all += got;
        CHECK(got == 0 && all % 1000 == 0);
        close(from[0]);
        close(to[1]);
    }
}

/* --- numbers that come to mean something else -------------------------------------------------------------- */

static void replaced(void)
{
    int other[2], keep;
    CHECK(pipe(other) == 0);
    begin();
    keep = dup(to[1]);
    CHECK(dup2(other[1], to[1]) == to[1]);
    CHECK(write(to[1], "other", 5) == 5 && read(other[0], block, 100) == 5);
    CHECK(dup2(keep, to[1]) == to[1]);
    close(keep);
    warm();
    keep = dup(from[0]);
    close(from[0]);
    CHECK_ERROR(read(from[0], block, 1), EBADF);
    int file = open("/proc/self/stat", O_RDONLY);
    CHECK(file == from[0] && read(file, block, 1) == 1 && block[0] >= '0' && block[0] <= '9');
    CHECK(dup2(keep, file) == file);
    close(keep);
    close(other[0]);
    close(other[1]);
    warm();
    CHECK(syscall(SYS_close_range, to[1], to[1], 0) == 0);
    CHECK_ERROR(write(to[1], "x", 1), EBADF);
    CHECK(partner_status() == 0);
    close(from[0]);
}

static void handed_on(void)
{
    char path[64], byte = 0;
    int sockets[2];
    begin();
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    memcpy(CMSG_DATA(&control.header), &from[0], sizeof(int));
    CHECK(sendmsg(sockets[0], &message, 0) == 1 && recvmsg(sockets[1], &message, 0) == 1);
    int received;
    memcpy(&received, CMSG_DATA(&control.header), sizeof received);
    order(30);
    CHECK(read(received, block, sizeof block) == 30);
    close(received);
    warm();
    snprintf(path, sizeof path, "/proc/self/fd/%d", from[0]);
    int again = open(path, O_RDONLY);
    CHECK(again >= 0);
    order(31);
    CHECK(read(again, block, sizeof block) == 31);
    close(again);
    close(sockets[0]);
    close(sockets[1]);
    warm();
    end();
}

static void forked(void)
{
    begin();
    for (int i = 0; i < 40; i++) {
        pid_t child = fork();
        if (!child) {
            round_trip(50);
            warm();
            _exit(0);
        }
        child_done(child);
        round_trip(60);
    }
    warm();
    end();
}

extern char **environ;
static const char *program;

static void executed(void)
{
    char first[16], second[16], *arguments[] = {(char *)program, "go-on", first, second, NULL};
    pid_t child;
    begin();
    snprintf(first, sizeof first, "%d", to[1]);
    snprintf(second, sizeof second, "%d", from[0]);
    for (int i = 0; i < 5; i++) {
        CHECK(posix_spawn(&child, program, NULL, NULL, arguments, environ) == 0);
        child_done(child);
        warm();
    }
    child = fork();
    if (!child) {
        warm();
        CHECK(fcntl(to[1], F_SETFD, 0) == 0);
        execv(program, arguments);
        _exit(1);
    }
    child_done(child);
    warm();
    end();
}

/* --- signals --------------------------------------------------------------------------------------------- */

static void take_signals(void) { on_signal(SIGUSR1, tick_count, 0); }
static void restart_signals(void) { on_signal(SIGUSR1, tick_count, SA_RESTART); }

static void signalled_reader(void)
{
    begin_with(take_signals);
    wait_asleep(partner);
    kill(partner, SIGUSR1);
    CHECK(partner_status() == 101);
    close(to[1]);
    close(from[0]);
    begin_with(restart_signals);
    for (int i = 0; i < 50; i++) {
        wait_asleep(partner);
        kill(partner, SIGUSR1);
        round_trip(10);
        if (i % 10 == 0)
            warm();
    }
    end();
}

static void signalled_writer(void)
{
    begin_with(take_signals);
    order_done(FILL);
    kill(partner, SIGUSR1);
    CHECK(partner_status() == 101);
    close(to[1]);
    close(from[0]);
    begin_with(restart_signals);
    order_done(FILL);
    for (int i = 0; i < 20; i++) {
        kill(partner, SIGUSR1);
        CHECK(read(from[0], block, 500) == 500 && read(from[0], block, 500) == 500);
        wait_asleep(partner);
    }
    close(from[0]);
    CHECK(partner_status() == 1000 + SIGPIPE);
    close(to[1]);
}

static void stopped(void)
{
    begin();
    for (int i = 0; i < 3; i++) {
        int status;
        kill(partner, SIGSTOP);
        CHECK(waitpid(partner, &status, WUNTRACED) == partner && WIFSTOPPED(status));
        order(40);
        kill(partner, SIGCONT);
        CHECK(read(from[0], block, sizeof block) == 40);
        warm();
    }
    end();
}

static void ticking(void)
{
    begin();
    tick_start(SA_RESTART);
    for (int i = 0; i < 100; i++)
        warm();
    tick_stop();
    end();
}

/* --- contents --------------------------------------------------------------------------------------------- */

static unsigned next_random(unsigned *seed) { return (*seed = *seed * 1103515245 + 12345) >> 8; }

/* As if it were `count` from the stream of all numbers, whose bytes are mixed. */
static unsigned char byte_at(unsigned long position) { return (unsigned char)(position * 31 + (position >> 8) * 7 + (position >> 16)); }

static void write_stream(int fd, unsigned long total, unsigned seed, unsigned most)
{
    static unsigned char bytes[1 << 17];
    for (unsigned long done = 0; done < total;) {
        size_t size = 1 + next_random(&seed) % (next_random(&seed) % 50 ? 300 : most);
        if (size > total - done)
            size = total - done;
        for (size_t i = 0; i < size; i++)
            bytes[i] = byte_at(done + i);
        CHECK(write(fd, bytes, size) == (ssize_t)size);
        done += size;
    }
    _exit(0);
}

static void disturb(int fd, unsigned which)
{
    int other;
    switch (which % 5) {
    case 0: readable_bytes(fd); break;
    case 1: poll_one(fd, POLLIN); break;
    case 2: CHECK((other = dup(fd)) >= 0 && close(other) == 0); break;
    case 3: CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(fd, F_SETFL, 0) == 0); break;
    default: sched_yield(); break;
    }
}

static void stream(unsigned long total, unsigned most, unsigned disturbances)
{
    static unsigned char bytes[1 << 17];
    unsigned seed = most;
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (!child) {
        close(ends[0]);
        write_stream(ends[1], total, 4711, most);
    }
    close(ends[1]);
    unsigned long done = 0;
    ssize_t got;
    while ((got = read(ends[0], bytes, 1 + next_random(&seed) % (next_random(&seed) % 20 ? 400 : sizeof bytes))) > 0) {
        for (ssize_t i = 0; i < got; i++)
            CHECK(bytes[i] == byte_at(done + i));
        done += got;
        if (disturbances && next_random(&seed) % disturbances == 0)
            disturb(ends[0], next_random(&seed));
    }
    CHECK(got == 0 && done == total);
    close(ends[0]);
    child_done(child);
}

static void streams(void)
{
    stream(6000000, 300, 0);
    stream(6000000, 9000, 200);
    stream(6000000, 4096, 1500);
    stream(20000000, 100000, 100);
}

static void large_writes(void)
{
    begin();
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = 1;
    pid_t child = fork();
    if (!child) { /* more orders of one byte each than a pipe holds */
        CHECK(write(to[1], large, sizeof large) == sizeof large);
        _exit(0);
    }
    for (size_t got = 0; got < sizeof large;) {
        ssize_t part = read(from[0], block, sizeof block);
        CHECK(part > 0);
        got += part;
    }
    child_done(child);
    warm();
    end();
}

#define WRITERS 3
#define RECORDS 4000
#define RECORD 700

static void record_of(char record[RECORD], int writer, int number)
{
    memset(record, 'a' + writer, RECORD);
    memcpy(record, &number, sizeof number);
}

/* Writes of at most PIPE_BUF bytes stay whole and in each writer's order, though one of the writers is killed. */
static void whole_records(bool kill_one)
{
    int ends[2], seen[WRITERS] = {0};
    pid_t children[WRITERS];
    char record[RECORD], expected[RECORD];
    CHECK(pipe(ends) == 0);
    for (int i = 0; i < WRITERS; i++)
        if (!(children[i] = fork())) {
            close(ends[0]);
            for (int j = 0; j < RECORDS; j++) {
                record_of(record, i, j);
                CHECK(write(ends[1], record, RECORD) == RECORD);
            }
            _exit(0);
        }
    close(ends[1]);
    for (int records = 0;; records++) {
        size_t have = 0;
        ssize_t part;
        while (have < RECORD && (part = read(ends[0], record + have, RECORD - have)) > 0)
            have += part;
        if (!have)
            break;
        int writer = record[RECORD - 1] - 'a';
        CHECK(have == RECORD && writer >= 0 && writer < WRITERS);
        record_of(expected, writer, seen[writer]++);
        CHECK(memcmp(record, expected, RECORD) == 0);
        if (kill_one && records == 1000)
            kill(children[0], SIGKILL);
    }
    for (int i = 0; i < WRITERS; i++) {
        CHECK(waitpid(children[i], NULL, 0) == children[i]);
        CHECK(seen[i] == RECORDS || (kill_one && i == 0));
    }
    close(ends[0]);
}

/* --- threads ----------------------------------------------------------------------------------------------- */

#define PAIRS 12
static int there[PAIRS][2], back[PAIRS][2];

static void *answer_all(void *unused)
{
    char byte;
    (void)unused;
    for (int i = 0; i < PAIRS * 400; i++)
        CHECK(read(there[i % PAIRS][0], &byte, 1) == 1 && write(back[i % PAIRS][1], &byte, 1) == 1);
    return NULL;
}

/* More pipes than one thread, and one process, can have in use at once. */
static void many_pipes(void)
{
    pthread_t thread;
    char byte;
    for (int i = 0; i < PAIRS; i++)
        CHECK(pipe(there[i]) == 0 && pipe(back[i]) == 0);
    CHECK(pthread_create(&thread, NULL, answer_all, NULL) == 0);
    for (int i = 0; i < PAIRS * 400; i++) {
        char sent = (char)i;
        CHECK(write(there[i % PAIRS][1], &sent, 1) == 1 && read(back[i % PAIRS][0], &byte, 1) == 1 && byte == sent);
    }
    pthread_join(thread, NULL);
    for (int i = 0; i < PAIRS; i++)
        close(there[i][0]), close(there[i][1]), close(back[i][0]), close(back[i][1]);
}

#define READERS 4
#define ITEMS 20000
static unsigned long sums[READERS];
static int items[2];

static void *read_items(void *argument)
{
    unsigned item;
    while (read(items[0], &item, sizeof item) == sizeof item)
        *(unsigned long *)argument += item;
    return NULL;
}

static void many_readers(void)
{
    pthread_t threads[READERS];
    unsigned long sum = 0;
    CHECK(pipe(items) == 0);
    for (int i = 0; i < READERS; i++)
        CHECK(pthread_create(&threads[i], NULL, read_items, &sums[i]) == 0);
    for (unsigned i = 1; i <= ITEMS; i++)
        CHECK(write(items[1], &i, sizeof i) == sizeof i);
    close(items[1]);
    for (int i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        sum += sums[i];
    }
    CHECK(sum == (unsigned long)ITEMS * (ITEMS + 1) / 2);
    close(items[0]);
}

static void *read_quota(void *argument)
{
    unsigned item;
    for (unsigned i = 0; i < ITEMS / READERS; i++)
        CHECK(read(items[0], &item, sizeof item) == sizeof item);
    return argument;
}

/* Who stops reading leaves the rest to the others, wherever they wait. */
static void readers_that_stop(void)
{
    pthread_t threads[READERS];
    CHECK(pipe(items) == 0);
    for (int i = 0; i < READERS; i++)
        CHECK(pthread_create(&threads[i], NULL, read_quota, NULL) == 0);
    for (unsigned i = 1; i <= ITEMS; i++)
        CHECK(write(items[1], &i, sizeof i) == sizeof i);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    close(items[0]);
    close(items[1]);
}

static int shared_fd, ready[2], gone[2];

static void *write_by_number(void *unused)
{
    char byte;
    (void)unused;
    for (int i = 0; i < WARM; i++)
        CHECK(write(shared_fd, "\1", 1) == 1 && read(from[0], &byte, 1) == 1);
    CHECK(write(ready[1], "r", 1) == 1 && read(gone[0], &byte, 1) == 1);
    CHECK(write(shared_fd, "xyz", 3) == 3);
    return NULL;
}

/* One thread has used a number for long, another makes it mean something else. */
static void closed_by_another(void)
{
    pthread_t thread;
    int other[2];
    begin();
    CHECK(pipe(ready) == 0 && pipe(gone) == 0 && pipe(other) == 0);
    shared_fd = to[1];
    CHECK(pthread_create(&thread, NULL, write_by_number, NULL) == 0);
    CHECK(read(ready[0], block, 1) == 1);
    CHECK(close(shared_fd) == 0 && dup(other[1]) == shared_fd);
    CHECK(write(gone[1], "g", 1) == 1);
    pthread_join(thread, NULL);
    CHECK(readable_bytes(other[0]) == 3);
    CHECK(partner_status() == 0 && read(from[0], block, 1) == 0);
    close(shared_fd), close(from[0]), close(other[0]), close(other[1]);
    close(ready[0]), close(ready[1]), close(gone[0]), close(gone[1]);
}

static int go_on(char **argv)
{
    to[1] = atoi(argv[2]);
    from[0] = atoi(argv[3]);
    warm();
    return 0;
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc > 3)
        return go_on(argv);
    looked_at();
    waited_for();
    watched();
    watched_by_another();
    made_nonblocking();
    resized();
    in_vectors();
    faults();
    spliced();
    closed_before_a_sleeper();
    killed();
    killed_while_it_writes();
    replaced();
    handed_on();
    forked();
    executed();
    signalled_reader();
    signalled_writer();
    stopped();
    ticking();
    streams();
    large_writes();
    whole_records(false);
    whole_records(true);
    many_pipes();
    many_readers();
    readers_that_stop();
    closed_by_another();
    return 0;
}
