/*
 * The sandbox: the zygote and its namespaces, the pool of ready processes, the filter's listener.
 *
 * The zygote is made once, at start. What an exec and a fork need is made ahead of its use, by a worker that has nothing
 * else to do just then (sandbox_prepare): one process that waits for its program, and, after the first fork, one client
 * (call pages, socket, doorbell) for the next child.
 * The listener decides every clone in the sandbox: one that the server has just ordered carries a nonce
 * and the flags it was ordered with; anything else is a guest that jumped to the gate, and gets EPERM.
 */
#include "body/linux/client.h"
#include "body/linux/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define POOL_READY 1u
#define EXPECTED_MAX 256u

extern const unsigned char stub_image[];
extern const size_t stub_image_size;

struct kernel_page *kernel_page;

static struct {
    int32_t zygote;
    int control;
    int kernel_page_fd;
    int life; /* the guardian's socket, or -1 */
    struct host_watch listener;
    struct host_watch control_watch;
    struct spinlock lock; /* rank BODY; guards the rest */
    struct list pool;     /* struct client.pool_link, asked for in this order */
    uint32_t pool_count;
    struct client *spare; /* for the next fork */
    int spare_remote[3];
    struct {
        uint64_t nonce, flags;
    } expected[EXPECTED_MAX];
    struct atomic32 wants_process, wants_spare; /* any lock */
} sandbox = {.control = -1, .life = -1, .lock = SPINLOCK_INIT(RANK_BODY)};

/* --- expected clones --------------------------------------------------------------------------------- */

uint64_t sandbox_expect_clone(uint64_t flags)
{
    uint64_t nonce = 0, result = 0;
    while (nonce == 0)
        body_random(&nonce, sizeof nonce);
    spin_lock(&sandbox.lock);
    for (uint32_t i = 0; i < EXPECTED_MAX; i++) {
        if (sandbox.expected[i].nonce)
            continue;
        sandbox.expected[i].nonce = result = nonce;
        sandbox.expected[i].flags = flags;
        break;
    }
    spin_unlock(&sandbox.lock);
    return result;
}

static bool take_expected(uint64_t nonce, uint64_t flags)
{
    bool found = false;
    spin_lock(&sandbox.lock);
    for (uint32_t i = 0; nonce && i < EXPECTED_MAX; i++) {
        if (sandbox.expected[i].nonce != nonce)
            continue;
        found = sandbox.expected[i].flags == flags;
        sandbox.expected[i].nonce = 0;
        break;
    }
    spin_unlock(&sandbox.lock);
    return found;
}

bool sandbox_forget_clone(uint64_t nonce)
{
    bool found = false;
    spin_lock(&sandbox.lock);
    for (uint32_t i = 0; nonce && i < EXPECTED_MAX && !found; i++) {
        found = sandbox.expected[i].nonce == nonce;
        if (found)
            sandbox.expected[i].nonce = 0;
    }
    spin_unlock(&sandbox.lock);
    return found;
}

static void listener_ready(struct host_watch *watch, UNUSED uint32_t events)
{
    static struct spinlock one_reader = SPINLOCK_INIT(RANK_NONE);
    struct pollfd ready = {.fd = watch->fd, .events = POLLIN};
    spin_lock(&one_reader);
    while (poll(&ready, 1, 0) == 1 && (ready.revents & POLLIN)) {
        struct seccomp_notif request;
        memset(&request, 0, sizeof request);
        if (ioctl(watch->fd, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0)
            continue; /* it died before it was read */
        bool ours = (int32_t)request.pid == sandbox.zygote && request.data.args[0] == SIGCHLD;
        bool fine = request.data.nr == SYS_clone && (ours || take_expected(request.data.args[5], request.data.args[0]));
        struct seccomp_notif_resp response = {.id = request.id, .error = fine ? 0 : -EPERM,
                                              .flags = fine ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0};
        ioctl(watch->fd, SECCOMP_IOCTL_NOTIF_SEND, &response);
    }
    spin_unlock(&one_reader);
}

/* --- the zygote -------------------------------------------------------------------------------------- */

int sandbox_send_fds(int socket, char tag, const int *fds, uint32_t count)
{
    char control[CMSG_SPACE(sizeof(int) * STUB_FD_REGISTERS)] = {0};
    struct iovec vector = {&tag, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(part), fds, sizeof(int) * count);
    return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static int make_memfd(const char *name, const void *contents, size_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)round_up(size, PAGE_SIZE)) < 0 || (contents && write(fd, contents, size) != (ssize_t)size) ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

struct zygote_start {
    int image, control, page;
};

NORETURN static void become_zygote(int image, int control, int page)
{
    char control_text[12], page_text[12];
    snprintf(control_text, sizeof control_text, "%d", control);
    snprintf(page_text, sizeof page_text, "%d", page);
    char *argv[] = {(char *)"hyla-stub", control_text, page_text, NULL}, *envp[] = {NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    fcntl(control, F_SETFD, 0);
    fcntl(page, F_SETFD, 0);
    syscall(SYS_execveat, image, "", argv, envp, AT_EMPTY_PATH);
    _exit(99);
}

/* Fetches the filter's listener out of the zygote, which can send nothing any more: the sign that it stands. */
static int fetch_listener(void)
{
    uint32_t hello[2];
    ssize_t got;
    do
        got = recv(sandbox.control, hello, sizeof hello, 0);
    while (got < 0 && errno == EINTR);
    if (got != sizeof hello || hello[0] != ZYGOTE_LISTENER)
        return -1;
    int pidfd = (int)syscall(SYS_pidfd_open, sandbox.zygote, 0);
    int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, hello[1], 0);
    if (pidfd >= 0)
        close(pidfd);
    return fd;
}

static void become_zygote_of(void *argument)
{
    const struct zygote_start *start = argument;
    become_zygote(start->image, start->control, start->page);
}

/* In a user and a pid namespace of its own, in a pid namespace alone (root), or below a guardian. */
static int32_t spawn_zygote(struct zygote_start *start)
{
    static const unsigned long kinds[] = {CLONE_NEWUSER | CLONE_NEWPID, CLONE_NEWPID};
    for (size_t i = 0; i < ARRAY_SIZE(kinds) && !host_options.no_namespaces; i++) {
        long pid = syscall(SYS_clone, kinds[i] | SIGCHLD, NULL, NULL, NULL, 0);
        if (pid == 0)
            become_zygote(start->image, start->control, start->page);
        if (pid > 0)
            return (int32_t)pid;
    }
    pid_t pid = guardian_start(become_zygote_of, start, &sandbox.life);
    return pid > 0 ? pid : -EAGAIN;
}

static void control_ready(UNUSED struct host_watch *watch, uint32_t events)
{
    if (events & (EPOLLHUP | EPOLLRDHUP)) {
        log_line("the sandbox's first process has died: everything in it is gone");
        host_stop(HOST_FAILED | 125);
    }
}

/*
 * A guest can jump to the stub's mmap: what the kernel does not count, the host bounds for each process. The stub's own
 * memory is in it, since the host counts all that is private and writable, touched or not.
 */
static void limit_memory(void)
{
    uint64_t own = (uint64_t)CLIENT_THREADS_MAX * STUB_AREA_SIZE + STUB_THUNKS_SIZE + SITE_TABLE_SIZE, slack = 64u << 20;
    struct rlimit limit = {.rlim_cur = host_options.memory + own + slack, .rlim_max = host_options.memory + own + slack};
    if (host_options.memory && host_options.memory < UINT64_MAX / 2)
        prlimit(sandbox.zygote, RLIMIT_DATA, &limit, NULL);
}

int sandbox_start(const char **why)
{
    int sockets[2];
    list_init(&sandbox.pool);
    int image = make_memfd("hyla-stub", stub_image, stub_image_size);
    sandbox.kernel_page_fd = make_memfd("hyla kernel page", NULL, PAGE_SIZE);
    if (image < 0 || sandbox.kernel_page_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
        *why = "cannot make the sandbox's shared memory";
        return -errno;
    }
    kernel_page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, sandbox.kernel_page_fd, 0);
    if (kernel_page == MAP_FAILED) {
        *why = "cannot map the sandbox's shared memory";
        return -errno;
    }
    kernel_page->spin = loop_cpus > 1 ? CLIENT_SPIN_TURNS : 0;
    kernel_page->rewrite = !host_options.no_rewrite;
    kernel_page->local_waits = !host_options.no_local_waits;
    sandbox.control = sockets[0];
    struct zygote_start start = {image, sockets[1], sandbox.kernel_page_fd};
    sandbox.zygote = spawn_zygote(&start);
    close(sockets[1]);
    close(image);
    if (sandbox.zygote < 0) {
        *why = "cannot make the sandbox's first process";
        return sandbox.zygote;
    }
    sandbox.listener = (struct host_watch){.fd = fetch_listener(), .ready = listener_ready};
    sandbox.control_watch = (struct host_watch){.fd = sandbox.control, .ready = control_ready};
    if (sandbox.listener.fd < 0) {
        int status = 0;
        close(sandbox.control); /* ends the zygote if it stands and only its listener could not be fetched */
        waitpid(sandbox.zygote, &status, 0);
        *why = WIFEXITED(status) && WEXITSTATUS(status) == 103 ? "the host refuses a seccomp filter with a listener (Linux 5.0 or newer is needed)"
                                                               : "the sandbox's first process failed to start";
        return -ENOSYS;
    }
    limit_memory();
    sweep_init(sandbox.zygote, sandbox.life < 0);
    host_watch_add(&sandbox.listener, EPOLLIN);
    host_watch_add(&sandbox.control_watch, EPOLLRDHUP);
    return 0;
}

void sandbox_stop(void)
{
    if (sandbox.zygote <= 0)
        return;
    if (sandbox.life >= 0) { /* the guardian kills and reaps the rest, then ends; or it is gone itself */
        kill(-sandbox.zygote, SIGKILL);
        close(sandbox.life);
        while (wait(NULL) > 0 || errno == EINTR)
            ;
        return;
    }
    kill(sandbox.zygote, SIGKILL);
    while (waitpid(sandbox.zygote, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* --- the pool ---------------------------------------------------------------------------------------- */

static int pool_ask(void)
{
    int remote[3];
    struct client *client = client_create(remote);
    if (!client)
        return -ENOMEM;
    int error = sandbox_send_fds(sandbox.control, ZYGOTE_SPAWN, remote, 3);
    client_close_remote(remote);
    if (error) {
        client_unref(client);
        return error;
    }
    spin_lock(&sandbox.lock);
    list_push_back(&sandbox.pool, &client->pool_link);
    sandbox.pool_count++;
    spin_unlock(&sandbox.lock);
    return 0;
}

static struct client *pool_pop(void)
{
    spin_lock(&sandbox.lock);
    struct list *node = list_pop_front(&sandbox.pool);
    if (node)
        sandbox.pool_count--;
    spin_unlock(&sandbox.lock);
    return node ? LIST_ENTRY(node, struct client, pool_link) : NULL;
}

int sandbox_take(struct client **client)
{
    struct client *taken = pool_pop();
    int error = taken ? 0 : pool_ask();
    if (!taken && !error)
        taken = pool_pop();
    if (!taken)
        return error ? error : -EAGAIN;
    error = client_wait_ready(taken);
    if (error) {
        client_unref(taken);
        return error;
    }
    *client = taken;
    return 0;
}

/* --- ahead of the next fork or exec ------------------------------------------------------------------ */

void sandbox_want_process(void) { atomic32_store(&sandbox.wants_process, 1); }
void sandbox_want_spare(void) { atomic32_store(&sandbox.wants_spare, 1); }

struct client *sandbox_take_spare(int remote[3])
{
    spin_lock(&sandbox.lock);
    struct client *client = sandbox.spare;
    memcpy(remote, sandbox.spare_remote, sizeof sandbox.spare_remote);
    __atomic_store_n(&sandbox.spare, NULL, __ATOMIC_RELAXED); /* sandbox_prepare looks without the lock */
    spin_unlock(&sandbox.lock);
    return client ? client : client_create(remote);
}

static void make_spare(void)
{
    int remote[3];
    struct client *client = client_create(remote);
    if (!client)
        return; /* the fork will say so */
    spin_lock(&sandbox.lock);
    bool kept = !sandbox.spare;
    if (kept) {
        __atomic_store_n(&sandbox.spare, client, __ATOMIC_RELAXED);
        memcpy(sandbox.spare_remote, remote, sizeof remote);
    }
    spin_unlock(&sandbox.lock);
    if (!kept) {
        client_close_remote(remote);
        client_unref(client);
    }
}

void sandbox_prepare(void)
{
    if (atomic32_load_relaxed(&sandbox.wants_spare) && atomic32_swap(&sandbox.wants_spare, 0) &&
        !__atomic_load_n(&sandbox.spare, __ATOMIC_RELAXED))
        make_spare();
    if (atomic32_load_relaxed(&sandbox.wants_process) && atomic32_swap(&sandbox.wants_process, 0) &&
        __atomic_load_n(&sandbox.pool_count, __ATOMIC_RELAXED) < POOL_READY)
        pool_ask(); /* an exec that finds none asks again */
}
