/*
 * A client that is no honest libhyla, against the server beside an honest one that must go on unharmed: messages that are half, wrong or
 * too many, descriptors by the hundred, ids and tokens it has guessed, pages it tries to cut off, slots that change under the kernel,
 * doorbells without posts, and never reading anything.
 */
#include "body/linux/attach_page.h"
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static uint64_t random_state = 88172645463325252ull;
static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static int connect_raw(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    strncpy(address.sun_path, getenv("HYLA_SOCKET"), sizeof address.sun_path - 1);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

/* The server closes the connection, within a time; whatever it says before. */
static void must_close(int fd)
{
    char buffer[4096];
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    for (;;) {
        CHECK(poll(&wait, 1, 10000) == 1);
        ssize_t got = recv(fd, buffer, sizeof buffer, 0);
        if (got <= 0)
            break;
    }
    close(fd);
}

static struct attach_hello good_hello(void)
{
    static void *window;
    if (!window)
        window = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return (struct attach_hello){.tag = ATTACH_HELLO, .version = ATTACH_VERSION, .pid = getpid(), .signal = 40,
                                 .window_start = (uintptr_t)window, .window_size = 1 << 20};
}

/* --- the check-in ------------------------------------------------------------------------------------ */

static void wrong_messages(void)
{
    struct attach_hello hello = good_hello();
    for (size_t size = 0; size <= sizeof hello + 8; size += 4) {
        char bytes[sizeof hello + 8] = {0};
        if (size == sizeof hello)
            continue;
        memcpy(bytes, &hello, sizeof hello);
        int fd = connect_raw();
        send(fd, bytes, size, MSG_NOSIGNAL);
        must_close(fd);
    }
    struct attach_hello bad[7];
    for (int i = 0; i < 7; i++)
        bad[i] = hello;
    bad[0].version = 99;
    bad[1].window_start = 0;
    bad[2].window_size = UINT64_MAX - 4095;
    bad[3].window_size = 0;
    bad[4].signal = 9;
    bad[5].token = 12345678;
    bad[6].tag = ATTACH_READY;
    for (int i = 0; i < 7; i++) {
        int fd = connect_raw();
        CHECK(send(fd, &bad[i], sizeof bad[i], MSG_NOSIGNAL) == sizeof bad[i]);
        must_close(fd);
    }
    int fd = connect_raw();
    struct attach_look look = {.tag = ATTACH_LOOK, .what = 4096};
    CHECK(send(fd, &look, sizeof look, MSG_NOSIGNAL) == sizeof look);
    must_close(fd);
    must_close(connect_raw()); /* says nothing: ends by time */
}

/* News of a connection comes while the first message, a wrong one, ends it. */
static void messages_as_it_ends(void)
{
    for (int round = 0; round < 1000; round++) {
        int fd = connect_raw();
        while (send(fd, "x", 1, MSG_NOSIGNAL) == 1)
            ;
        close(fd);
    }
}

static void descriptor_flood(void)
{
    int fds[200];
    char control[CMSG_SPACE(sizeof fds)] = {0};
    struct attach_hello hello = good_hello();
    for (int i = 0; i < 200; i++)
        fds[i] = 0;
    for (int round = 0; round < 20; round++) {
        int fd = connect_raw();
        struct iovec vector = {&hello, round % 2 ? sizeof hello : 3};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        struct cmsghdr *part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof fds);
        memcpy(CMSG_DATA(part), fds, sizeof fds);
        /* The host bounds what one user may have in flight. */
        CHECK(sendmsg(fd, &message, MSG_NOSIGNAL) > 0 || (round > 0 && errno == ETOOMANYREFS));
        close(fd);
    }
}

/* --- a client by hand --------------------------------------------------------------------------------- */

struct raw {
    int socket, doorbell, pages_fd;
    struct call_pages_header *pages;
    struct call_slot *slots;
};

static void attach_raw(struct raw *raw)
{
    struct attach_hello hello = good_hello();
    struct attach_welcome welcome;
    char control[CMSG_SPACE(sizeof(int) * 3)];
    struct iovec vector = {&welcome, sizeof welcome};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int fds[3];
    raw->socket = connect_raw();
    CHECK(send(raw->socket, &hello, sizeof hello, MSG_NOSIGNAL) == sizeof hello);
    CHECK(recvmsg(raw->socket, &message, 0) == sizeof welcome && !welcome.error);
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fds);
    raw->pages_fd = fds[0];
    raw->doorbell = fds[1];
    CHECK(ftruncate(fds[0], 0) < 0 && ftruncate(fds[0], 4096) < 0 && ftruncate(fds[0], (off_t)CALL_PAGES_SIZE * 2) < 0);
    CHECK(fcntl(fds[0], F_ADD_SEALS, F_SEAL_WRITE) < 0);
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds[2], 0) == MAP_FAILED); /* the kernel page is not ours to write */
    close(fds[2]);
    raw->pages = mmap(NULL, CALL_PAGES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fds[0], 0);
    CHECK(raw->pages != MAP_FAILED);
    raw->slots = (struct call_slot *)((char *)raw->pages + CALL_PAGES_HEADER_SIZE);
}

static void ready_raw(struct raw *raw, uint64_t address)
{
    struct attach_ready ready = {.tag = ATTACH_READY, .address = address, .value = 7};
    struct attach_go go;
    CHECK(send(raw->socket, &ready, sizeof ready, MSG_NOSIGNAL) == sizeof ready);
    CHECK(recv(raw->socket, &go, sizeof go, 0) == sizeof go && go.tag == ATTACH_GO && !go.copies_remotely);
}

static void ring_raw(struct raw *raw, uint32_t index)
{
    uint64_t one = 1;
    __atomic_fetch_or(&raw->pages->pending[index / 64], 1ull << (index % 64), __ATOMIC_SEQ_CST);
    if (write(raw->doorbell, &one, sizeof one) < 0)
        return;
}

static uint64_t bad_number(void)
{
    static const uint64_t numbers[] = {0, 1, 57, 59, 4095, 4096, 4097, 4099, 4100, 4101, 4105, 4119, 4138, 4144, 4160, 4161, 4178, 4607, 4608, UINT64_MAX};
    return numbers[next_random() % (sizeof numbers / sizeof numbers[0])];
}

/* Everything that it may write, at random, while the kernel works on it. */
static void scribble(struct raw *raw, uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++) {
        uint32_t index = (uint32_t)(next_random() % (i % 8 ? 6 : CLIENT_THREADS_MAX));
        struct call_slot *slot = &raw->slots[index];
        struct attach_area *area = attach_area(slot);
        slot->rax = bad_number();
        slot->rdi = next_random() % 3 ? next_random() % 8 : next_random();
        slot->rsi = next_random();
        slot->rdx = next_random() % 70000;
        slot->kind = next_random() % 8 ? SLOT_KIND_CALL : (uint32_t)next_random();
        slot->window_size = (uint32_t)next_random();
        slot->window_address = next_random() % 2 ? slot->rdi : next_random();
        slot->command_count = (uint32_t)next_random();
        slot->host_tid = next_random() % 4 ? 0 : (uint32_t)next_random();
        for (int k = 0; k < 4; k++)
            slot->commands[k].result = (int64_t)next_random();
        area->out_address = next_random() % 2 ? slot->rsi : next_random();
        area->out_size = (uint32_t)next_random();
        area->out_filled = (uint32_t)next_random();
        area->tid = (int32_t)next_random();
        area->sequence = next_random() % 4;
        area->cancel = next_random() % 4;
        __atomic_store_n(&slot->state, next_random() % 3 ? SLOT_POSTED : (uint32_t)(next_random() % 12), __ATOMIC_SEQ_CST);
        ring_raw(raw, index);
        if (i % 64 == 0)
            for (uint32_t k = 0; k < CLIENT_THREADS_MAX / 64; k++)
                __atomic_fetch_or(&raw->pages->pending[k], next_random() & next_random(), __ATOMIC_SEQ_CST);
    }
}

static void let_go(struct raw *raw)
{
    munmap(raw->pages, CALL_PAGES_SIZE);
    close(raw->pages_fd);
    close(raw->doorbell);
    close(raw->socket);
}

static void hostile_process(uint64_t seed)
{
    struct raw raw;
    random_state = seed * 2654435761u + 88172645463325252ull;
    attach_raw(&raw);
    ready_raw(&raw, seed % 2 ? 16 : (uint64_t)-4096);
    scribble(&raw, 4000);
    if (seed % 3 == 0)
        for (int i = 0; i < 100000; i++) /* says too much, and reads nothing */
            if (send(raw.socket, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
                break;
    if (seed % 3 == 1)
        let_go(&raw);
    _exit(0);
}

/* The honest one: its calls are answered all the while. */
static void honest_call(void)
{
    hyla_handle_t memobj = HANDLE(hyla_memobj_create(100));
    char text[4];
    CHECK_IS(hyla_memobj_write(memobj, 0, "good", 4), 4);
    CHECK_IS(hyla_memobj_read(memobj, 0, text, 4), 4);
    CHECK(memcmp(text, "good", 4) == 0);
    CHECK_IS(hyla_handle_close(memobj), 0);
}

int main(void)
{
    start_or_fail();
    wrong_messages();
    messages_as_it_ends();
    descriptor_flood();
    honest_call();
    for (uint64_t seed = 1; seed <= 24; seed++) {
        pid_t pid = fork();
        if (pid == 0)
            hostile_process(seed);
        int status;
        while (waitpid(pid, &status, WNOHANG) == 0)
            honest_call();
    }
    honest_call();
    return 0;
}
