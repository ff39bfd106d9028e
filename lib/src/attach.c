/*
 * Attaching: the socket, the check-in, the shared pages; and leaving.
 *
 *      libhyla                                      server
 *      connect; HELLO (window, token)       ->
 *                                           <-      WELCOME + call pages, doorbell, kernel page
 *      map; name the server as tracer
 *      READY (a word to read)               ->
 *                                           <-      GO (whether it could read it)
 *
 * Afterwards the socket carries descriptors for mappings and, by its end, the news of a death. It is close-on-exec: so the server sees an
 * exec that succeeds, and nothing of one that fails.
 */
#include "lib/src/attached.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MS 5000
#define WINDOW_MOST (64ull << 30)
#define WINDOW_LEAST (16ull << 20)

struct attachment attachment = {.socket = -1, .doorbell = -1};

static int fill_address(struct sockaddr_un *address, const char *path, socklen_t *length)
{
    char standard[sizeof address->sun_path];
    if (!path)
        path = getenv("HYLA_SOCKET");
    if (!path) {
        const char *folder = getenv("XDG_RUNTIME_DIR");
        if (!folder)
            return -ENOENT;
        if (snprintf(standard, sizeof standard, "%s/hyla.sock", folder) >= (int)sizeof standard)
            return -ENAMETOOLONG;
        path = standard;
    }
    if (strlen(path) >= sizeof address->sun_path)
        return -ENAMETOOLONG;
    address->sun_family = AF_UNIX;
    strcpy(address->sun_path, path);
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
    return 0;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {0};
    socklen_t length;
    int error = fill_address(&address, path, &length);
    int fd = error ? -1 : socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error ? error : -errno;
    if (connect(fd, (struct sockaddr *)&address, length) < 0) {
        error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

/* One message of exactly `size` bytes with up to `count` descriptors, within a time. How many came, or a negated errno. */
static int receive(int fd, void *message, size_t size, int *fds, uint32_t count)
{
    char control[CMSG_SPACE(sizeof(int) * 4)];
    struct iovec vector = {message, size};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int ready = poll(&wait, 1, ANSWER_MS);
    if (ready <= 0)
        return ready ? -errno : -ETIMEDOUT;
    ssize_t got = recvmsg(fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0)
        return -errno;
    struct cmsghdr *part = CMSG_FIRSTHDR(&header);
    uint32_t received = 0;
    if (part && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
        received = (uint32_t)((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (uint32_t i = 0; i < received; i++) {
            int value;
            memcpy(&value, CMSG_DATA(part) + i * sizeof(int), sizeof value);
            if (i < count)
                fds[i] = value;
            else
                close(value);
        }
    }
    return (size_t)got == size ? (int)(received < count ? received : count) : -EPROTO;
}

static int send_all(int fd, const void *message, size_t size) { return send(fd, message, size, MSG_NOSIGNAL) == (ssize_t)size ? 0 : -errno; }

/* Address space for mappings, where nothing else will ever be; a child has its parent's. */
static void make_window(void)
{
    for (uint64_t size = WINDOW_MOST; !attachment.window && size >= WINDOW_LEAST; size /= 2) {
        void *window = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (window == MAP_FAILED)
            continue;
        attachment.window = window;
        attachment.window_size = size;
    }
}

static int map_pages(const int fds[3], uint64_t size)
{
    char *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fds[0], 0);
    if (pages == MAP_FAILED)
        return -errno;
    void *kernel_page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fds[2], 0);
    if (kernel_page == MAP_FAILED || madvise(pages, size, MADV_DONTFORK) < 0) {
        int error = -errno;
        munmap(pages, size);
        return error;
    }
    attachment.pages = (void *)pages;
    attachment.slots = (void *)(pages + CALL_PAGES_HEADER_SIZE);
    attachment.kernel_page = kernel_page;
    return 0;
}

static void unmap_pages(void)
{
    if (attachment.pages)
        munmap(attachment.pages, CALL_PAGES_SIZE);
    if (attachment.kernel_page)
        munmap(attachment.kernel_page, 4096);
    attachment.pages = NULL;
    attachment.slots = NULL;
    attachment.kernel_page = NULL;
}

static int exchange_hello(int fd, uint64_t token, int signal, int fds[3], struct attach_welcome *welcome)
{
    struct attach_hello hello = {
        .tag = ATTACH_HELLO, .version = ATTACH_VERSION, .pid = getpid(), .signal = (uint32_t)signal,
        .window_start = (uint64_t)(uintptr_t)attachment.window, .window_size = attachment.window_size, .token = token,
    };
    int error = send_all(fd, &hello, sizeof hello);
    int received = error ? error : receive(fd, welcome, sizeof *welcome, fds, 3);
    if (received < 0)
        return received;
    if (welcome->tag != ATTACH_WELCOME || welcome->error)
        return welcome->tag == ATTACH_WELCOME && welcome->error < 0 ? welcome->error : -EPROTO;
    return received == 3 && welcome->version == ATTACH_VERSION && welcome->pages_size == CALL_PAGES_SIZE ? 0 : -EPROTO;
}

static int exchange_ready(int fd)
{
    static uint64_t word;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    word = (uint64_t)now.tv_nsec << 32 | (uint32_t)getpid();
    struct attach_ready ready = {.tag = ATTACH_READY, .address = (uint64_t)(uintptr_t)&word, .value = word};
    struct attach_go go;
    int error = send_all(fd, &ready, sizeof ready);
    int received = error ? error : receive(fd, &go, sizeof go, NULL, 0);
    return received < 0 ? received : go.tag == ATTACH_GO ? 0 : -EPROTO;
}

static int check_in(int fd, uint64_t token)
{
    int fds[3] = {-1, -1, -1}, signal = s2c_signal();
    struct attach_welcome welcome = {0};
    make_window();
    int error = signal < 0 ? signal : exchange_hello(fd, token, signal, fds, &welcome);
    if (!error)
        error = map_pages(fds, welcome.pages_size);
    if (!error) {
        prctl(PR_SET_PTRACER, (unsigned long)welcome.server_pid, 0, 0, 0); /* for Yama; without it, or where it fails, memory goes through the page */
        error = exchange_ready(fd);
    }
    if (!error)
        attachment.doorbell = fds[1];
    else
        unmap_pages();
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0 && (i != 1 || error))
            close(fds[i]);
    return error;
}

int attach(const char *path, uint64_t token)
{
    int fd = connect_to(path);
    if (fd < 0)
        return fd;
    int error = check_in(fd, token);
    if (error) {
        close(fd);
        return error;
    }
    attachment.socket = fd;
    attachment.epoch++;
    slots_reset();
    attachment.open = true;
    return 0;
}

/* The pages stay mapped: another thread may be in the middle of a call, and finds its slot gone. */
void detach(void)
{
    attachment.open = false;
    attachment.epoch++;
    shutdown(attachment.socket, SHUT_RDWR);
    close(attachment.socket);
    attachment.socket = -1;
}

void attach_drop_inherited(void)
{
    attachment.open = false;
    close(attachment.socket);
    close(attachment.doorbell);
    attachment.socket = attachment.doorbell = -1;
    if (attachment.kernel_page) /* the call pages did not come along */
        munmap(attachment.kernel_page, 4096);
    attachment.pages = NULL;
    attachment.slots = NULL;
    attachment.kernel_page = NULL;
}

bool server_alive(void)
{
    struct pollfd wait = {.fd = attachment.socket, .events = POLLRDHUP};
    return attachment.open && poll(&wait, 1, 0) >= 0 && !(wait.revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL));
}
