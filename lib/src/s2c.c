/*
 * S2C: what the server has this process do to itself, since nobody else can: map, unmap, protect, copy, compare and swap.
 *
 * Commands come in a thread's own slot, as an answer to its call before the real one, or in slot 0, for the process as a whole.
 * Slot 0 is served by whoever comes first: a thread that waits in a call, or the handler of a signal that the server sends. Taking
 * it is one compare-and-swap of its state; what was not taken the server can take back.
 *
 * The handler makes only system calls and touches only shared pages: it may run anywhere.
 */
#include "lib/src/attached.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FDS 16

struct batch {
    int fds[FDS];
    uint32_t count;
};

static void close_fds(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++)
        close(batch->fds[i]);
    batch->count = 0;
}

/* The message with this tag; older ones belong to commands that the server has taken back. */
static int64_t receive_fds(struct batch *batch, uint32_t tag)
{
    for (;;) {
        unsigned char got_tag;
        char control[CMSG_SPACE(sizeof(int) * FDS)];
        struct iovec vector = {&got_tag, 1};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t got = recvmsg(attachment.socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (got <= 0)
            return got < 0 ? -errno : -ENOTCONN;
        const struct cmsghdr *part = CMSG_FIRSTHDR(&message);
        close_fds(batch);
        batch->count = part && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS
                           ? (uint32_t)((part->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
        if (batch->count)
            memcpy(batch->fds, CMSG_DATA(part), batch->count * sizeof(int));
        if (got_tag == tag)
            return batch->count;
    }
}

/* The memory may not be there: the host's own copy routine finds out. */
static int64_t copy_data(uint8_t *data, uint64_t address, uint64_t size, bool out)
{
    if (size > ATTACH_COPY_BYTES)
        return -EINVAL;
    int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t moved = out ? pwrite(fd, data, size, (off_t)address) : pread(fd, data, size, (off_t)address);
    int error = -errno;
    close(fd);
    return moved < 0 ? error : moved;
}

static int64_t compare_and_swap(uint64_t address, uint32_t expected, uint32_t desired)
{
    uint8_t probe[4];
    if (address % 4 || copy_data(probe, address, sizeof probe, false) != sizeof probe)
        return -EFAULT;
    __atomic_compare_exchange_n((uint32_t *)(uintptr_t)address, &expected, desired, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return expected;
}

static bool in_window(uint64_t address, uint64_t size)
{
    uint64_t start = (uint64_t)(uintptr_t)attachment.window;
    return address >= start && size <= attachment.window_size && address - start <= attachment.window_size - size;
}

/* Only what the kernel of an address space needs, and only where it has any business. */
static int64_t host_call(const uint64_t a[7])
{
    long result;
    switch (a[0]) {
    case SYS_mmap:
    case SYS_mprotect:
    case SYS_madvise:
    case SYS_munmap:
        if (!in_window(a[1], a[2]) || (a[0] == SYS_mmap && !(a[4] & MAP_FIXED)))
            return -EPERM;
        break;
    case SYS_membarrier: break;
    default: return -ENOSYS;
    }
    if (a[0] == SYS_munmap) /* the place stays set aside */
        result = (long)mmap((void *)(uintptr_t)a[1], a[2], PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    else
        result = syscall((long)a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
    return result == -1 ? -errno : a[0] == SYS_munmap ? 0 : result;
}

static int64_t map_fd(const struct batch *batch, const uint64_t a[7])
{
    if (a[4] >= batch->count || !in_window(a[0], a[1]))
        return -EBADF;
    void *at = mmap((void *)(uintptr_t)a[0], a[1], (int)a[2], (int)a[3] | MAP_FIXED, batch->fds[a[4]], (off_t)a[5]);
    return at == MAP_FAILED ? -errno : (int64_t)(uintptr_t)at;
}

static int64_t carry_out(struct batch *batch, struct call_slot *slot, const struct stub_command *command)
{
    const uint64_t *a = command->arguments;
    switch (command->operation) {
    case STUB_HOST_CALL: return host_call(a);
    case STUB_RECEIVE_FDS: return receive_fds(batch, (uint32_t)a[1]);
    case ATTACH_TAKE_FD: {
        int64_t count = receive_fds(batch, (uint32_t)a[1]);
        if (count < 1)
            return count < 0 ? count : -EBADF;
        return batch->fds[--batch->count];
    }
    case STUB_CLOSE_FDS: close_fds(batch); return 0;
    case STUB_MAP_FD: return map_fd(batch, a);
    case STUB_COPY_IN: return copy_data(slot->data, a[0], a[1], false);
    case STUB_COPY_OUT: return copy_data(slot->data, a[0], a[1], true);
    case STUB_CAS32: return compare_and_swap(a[0], (uint32_t)a[1], (uint32_t)a[2]);
    default: return -ENOSYS;
    }
}

void commands_carry_out(struct call_slot *slot)
{
    struct batch batch = {.count = 0};
    int saved = errno;
    uint32_t count = slot->command_count;
    bool failed = false;
    for (uint32_t i = 0; i < count && i < STUB_COMMANDS_MAX; i++) {
        struct stub_command *command = &slot->commands[i];
        if (failed && command->operation != STUB_RECEIVE_FDS && command->operation != STUB_CLOSE_FDS)
            continue; /* what was sent is received all the same */
        command->result = carry_out(&batch, slot, command);
        failed |= command->result < 0 && command->result > -4096;
    }
    close_fds(&batch);
    errno = saved;
}

void s2c_serve(void)
{
    struct call_slot *slot = attachment.slots;
    uint32_t state = SLOT_COMMAND;
    if (!slot || __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) != SLOT_COMMAND)
        return;
    if (!__atomic_compare_exchange_n(&slot->state, &state, ATTACH_SLOT_FREE, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return;
    commands_carry_out(slot);
    slot_post(0, SLOT_KIND_DONE, true);
}

/* --- the signal -------------------------------------------------------------------------------------- */

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    int saved = errno;
    if (attachment.open) {
        s2c_serve();
        stop_serve(context);
    }
    errno = saved;
}

/* $HYLA_SIGNAL as an offset from SIGRTMIN, else a high one that nobody has a handler for. */
int s2c_signal(void)
{
    static int chosen;
    const char *wanted = getenv("HYLA_SIGNAL");
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK | SA_SIGINFO}, old;
    sigfillset(&action.sa_mask);
    if (chosen)
        return chosen;
    for (int number = wanted ? SIGRTMIN + atoi(wanted) : SIGRTMAX - 2; number > SIGRTMIN && number <= SIGRTMAX; number--) {
        if (sigaction(number, NULL, &old) < 0)
            return -errno;
        if (old.sa_handler != SIG_DFL)
            continue;
        if (sigaction(number, &action, NULL) < 0)
            return -errno;
        return chosen = number;
    }
    return -EBUSY;
}
