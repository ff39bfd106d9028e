/*
 * The attach socket and the call page, at random: check-ins with fields and lengths that are wrong in some way, in any order, with descriptors
 * that nobody asked for, broken off at any point; and clients that have checked in and change their page while their calls are
 * served. An honest process beside them is served all the while, and nothing is kept (the harness looks).
 *
 *     native_attached_wire [SEED [CONNECTIONS]]
 */
#include "body/linux/attach_page.h"
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static uint64_t random_state;

static uint32_t draw(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % bound;
}

static int connect_raw(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    strncpy(address.sun_path, getenv("HYLA_SOCKET"), sizeof address.sun_path - 1);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

static void *window;

/* A good message of some kind, then worse in a few bytes, or longer or shorter than it should be. */
static size_t make_message(uint8_t bytes[256])
{
    struct attach_hello hello = {.tag = ATTACH_HELLO, .version = ATTACH_VERSION, .pid = getpid(), .signal = 40,
                                 .window_start = (uintptr_t)window, .window_size = 1 << 20};
    struct attach_ready ready = {.tag = ATTACH_READY, .address = (uintptr_t)&random_state, .value = random_state};
    struct attach_look look = {.tag = ATTACH_LOOK, .what = draw(4)};
    const void *from[] = {&hello, &ready, &look};
    size_t sizes[] = {sizeof hello, sizeof ready, sizeof look};
    uint32_t which = draw(8) < 5 ? 0 : draw(3);
    memset(bytes, (int)draw(256), 256);
    memcpy(bytes, from[which], sizes[which]);
    for (uint32_t flips = draw(3) ? 0 : draw(6); flips > 0; flips--)
        bytes[draw((uint32_t)sizes[which])] ^= (uint8_t)(1u << draw(8));
    return draw(8) ? sizes[which] : draw(257);
}

static void send_message(int fd)
{
    uint8_t bytes[256];
    int fds[8] = {0, 1, 2, fd, fd, fd, 0, 1};
    char control[CMSG_SPACE(sizeof fds)] = {0};
    size_t size = make_message(bytes);
    struct iovec vector = {bytes, size};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (draw(6) == 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof fds);
        memcpy(CMSG_DATA(part), fds, sizeof fds);
    }
    sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* What the server says, whatever it is; descriptors are closed. False: it has hung up. */
static int listen_to(int fd)
{
    char buffer[4096], control[CMSG_SPACE(sizeof(int) * 8)];
    struct iovec vector = {buffer, sizeof buffer};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    if (poll(&wait, 1, (int)draw(3)) != 1)
        return 1;
    ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *part = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    for (size_t i = 0; part && i < (part->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
        int received;
        memcpy(&received, CMSG_DATA(part) + i * sizeof received, sizeof received);
        close(received);
    }
    return got > 0;
}

static void honest_call(void)
{
    hyla_handle_t memobj = HANDLE(hyla_memobj_create(100));
    char text[4];
    CHECK_IS(hyla_memobj_write(memobj, 0, "good", 4), 4);
    CHECK_IS(hyla_memobj_read(memobj, 0, text, 4), 4);
    CHECK(memcmp(text, "good", 4) == 0);
    CHECK_IS(hyla_handle_close(memobj), 0);
}

static void check_ins(uint64_t connections)
{
    for (uint64_t i = 0; i < connections; i++) {
        int fd = connect_raw();
        for (uint32_t messages = draw(5); messages > 0; messages--) {
            send_message(fd);
            if (draw(2) && !listen_to(fd))
                break;
        }
        close(fd);
        if (i % 16 == 0)
            honest_call();
    }
}

/* --- a page that changes under the kernel ----------------------------------------------------------------- */

/* libhyla's own pages: found as what is mapped shared and as large as they are. */
static uint8_t *own_pages(void)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    uint8_t *found = NULL;
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        char kind[8];
        if (sscanf(line, "%lx-%lx %7s", &start, &end, kind) == 3 && end - start == CALL_PAGES_SIZE && kind[3] == 's')
            found = (uint8_t *)start;
    }
    fclose(maps);
    CHECK(found);
    return found;
}

static _Atomic int ended;
static uint8_t *pages;

/* The slots in use are the first ones; their registers, buffers, areas, and now and then a state. */
static void *changes(void *argument)
{
    uint64_t state = (uint64_t)(uintptr_t)argument;
    while (!atomic_load(&ended)) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        struct call_slot *slot = (struct call_slot *)(void *)(pages + CALL_PAGES_HEADER_SIZE) + (state >> 20) % 4;
        uint32_t place = (uint32_t)(state >> 33) % sizeof *slot;
        if ((state >> 12) % 64 == 0)
            __atomic_store_n(&slot->state, (uint32_t)(state >> 50) % 9, __ATOMIC_SEQ_CST);
        else if (place / 8 != offsetof(struct call_slot, state) / 8)
            ((volatile uint8_t *)slot)[place] = (uint8_t)(state >> 55);
    }
    return NULL;
}

/* Its calls may answer anything, or it may be cut off, or hang: then it is killed. */
static void changing_process(uint64_t seed)
{
    pthread_t thread;
    uint8_t buffer[512] = {0};
    CHECK(hyla_probe() > 0);
    pages = own_pages();
    alarm(2);
    pthread_create(&thread, NULL, changes, (void *)(uintptr_t)(seed * 2654435761u + 7));
    for (int i = 0; i < 3000; i++) {
        int64_t handle = hyla_memobj_create(4096);
        hyla_memobj_write((hyla_handle_t)handle, 0, buffer, sizeof buffer);
        hyla_memobj_read((hyla_handle_t)handle, 0, buffer, sizeof buffer);
        hyla_handle_close((hyla_handle_t)handle);
    }
    _exit(0);
}

static void changing_pages(uint64_t seed)
{
    for (uint64_t i = 0; i < 4; i++) {
        pid_t pid = fork();
        if (pid == 0)
            changing_process(seed + i);
        int status;
        while (waitpid(pid, &status, WNOHANG) == 0)
            honest_call();
    }
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1, connections = argc > 2 ? strtoull(argv[2], NULL, 0) : 1500;
    random_state = seed * 2654435761u + 88172645463325252ull;
    window = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    start_or_fail();
    check_ins(connections);
    changing_pages(seed);
    honest_call();
    return 0;
}
