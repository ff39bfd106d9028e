/*
 * Commands: what the server has the stub do because only the client can (docs/s2c.md).
 *
 * They are carried out in order and stop at the first that fails. Those that need the whole context (FP state, clones) say so
 * with -EINVAL when the thread is not in the host's signal frame.
 */
#include "body/linux/stub/stub.h"

#define SYS_MMAP 9
#define SYS_CLOSE 3
#define SYS_EXIT 60
#define SYS_RECVMSG 47
#define SYS_EXIT_GROUP 231

void stub_close_fds(struct stub_thread *self)
{
    for (uint32_t i = 0; i < self->fd_count && i < STUB_FD_REGISTERS; i++)
        host_call3(SYS_CLOSE, self->fds[i], 0, 0);
    self->fd_count = 0;
}

struct host_message {
    void *name;
    uint32_t name_length, padding;
    struct {
        void *base;
        uint64_t length;
    } *vector;
    uint64_t vector_count;
    void *control;
    uint64_t control_length;
    int flags;
};

/* One datagram with `count` descriptors. */
long stub_receive_fds(int socket, int *fds, uint32_t count, char *tag)
{
    struct {
        uint64_t length;
        int level, type;
        int fds[STUB_FD_REGISTERS];
    } control;
    struct {
        void *base;
        uint64_t length;
    } vector = {tag, 1};
    struct host_message message = {.vector = (void *)&vector, .vector_count = 1, .control = &control, .control_length = sizeof control};
    long got;
    do
        got = host_call3(SYS_RECVMSG, socket, &message, 0x40000000 /* MSG_CMSG_CLOEXEC */);
    while (got == -4);
    if (got <= 0)
        return got < 0 ? got : -107;
    uint64_t received = message.control_length >= 16 ? (control.length - 16) / 4 : 0;
    for (uint32_t i = 0; i < count; i++)
        fds[i] = i < received ? control.fds[i] : -1;
    return (long)received;
}

static long save_fp(struct host_context *context, void *to, uint64_t most)
{
    uint64_t size = frame_fp_size(context);
    if (size == 0 || size > most)
        return -22;
    long error = stub_copy(to, context->fp_state, size);
    return error ? error : (long)size;
}

static long load_fp(struct host_context *context, const void *from, uint64_t size)
{
    uint64_t have = frame_fp_size(context);
    if (have == 0 || size > have)
        return -22;
    return stub_copy(context->fp_state, from, size);
}

/* A page of the program's at a time, so that the count stops at the first that faults. */
static long copy_data(struct call_slot *slot, char *program, uint64_t size, uint64_t offset, int out)
{
    uint64_t moved = 0;
    if (size > sizeof slot->data || offset > sizeof slot->data - size)
        return -22;
    while (moved < size) {
        uint64_t piece = 4096 - ((uint64_t)(program + moved) & 4095);
        if (piece > size - moved)
            piece = size - moved;
        uint8_t *data = slot->data + offset + moved;
        if (out ? stub_copy(program + moved, data, piece) : stub_copy(data, program + moved, piece))
            break;
        moved += piece;
    }
    return (long)moved;
}

static long carry_out(struct stub_thread *self, struct stub_command *command, struct host_context *context)
{
    uint64_t *a = command->arguments;
    switch (command->operation) {
    case STUB_HOST_CALL: return host_call6((long)a[0], (long)a[1], (long)a[2], (long)a[3], (long)a[4], (long)a[5], (long)a[6]);
    case STUB_RECEIVE_FDS: {
        char tag;
        stub_close_fds(self);
        long got = stub_receive_fds(STUB_SOCKET_FD, self->fds, STUB_FD_REGISTERS, &tag);
        self->fd_count = got > 0 ? (uint32_t)got : 0;
        return got;
    }
    case STUB_CLOSE_FDS: stub_close_fds(self); return 0;
    case STUB_MAP_FD:
        if (a[4] >= self->fd_count)
            return -9;
        return host_call6(SYS_MMAP, (long)a[0], (long)a[1], (long)a[2], (long)a[3], self->fds[a[4]], (long)a[5]);
    case STUB_FP_SAVE: return save_fp(context, (void *)a[0], a[1]);
    case STUB_FP_LOAD: return load_fp(context, (const void *)a[0], a[1]);
    case STUB_FP_RESET:
        if (!context)
            return -22;
        if (frame_fp_size(context) > 576) { /* components in their initial state: XSTATE_BV empty */
            *(uint16_t *)context->fp_state = 0x37f;
            *(uint32_t *)(context->fp_state + 24) = 0x1f80;
            *(uint64_t *)(context->fp_state + 512) = 0;
        }
        return 0;
    case STUB_COPY_IN: return copy_data(self->slot, (char *)a[0], a[1], 0, 0);
    case STUB_COPY_OUT: return copy_data(self->slot, (char *)a[0], a[1], a[2], 1);
    case STUB_CAS32: return stub_cas((uint32_t *)a[0], (uint32_t)a[1], (uint32_t)a[2]);
    case STUB_TRAP: return 0;
    case STUB_CLONE_THREAD: return stub_clone((uint32_t)a[0], a[1], 0, context);
    case STUB_CLONE_VFORK: return stub_clone((uint32_t)a[0], a[1], 1, context);
    case STUB_FORK: return stub_fork(self, command, context);
    case STUB_REWRITE: return rewrite_site(a[0], (int)a[1]);
    case STUB_REFUSE_SITE: rewrite_refuse(a[0]); return 0;
    case STUB_EXIT_THREAD: return host_call3(SYS_EXIT, 0, 0, 0);
    case STUB_EXIT_PROCESS: return host_call3(SYS_EXIT_GROUP, 0, 0, 0);
    case STUB_DISABLE_REWRITING: rewrite_disable(); return 0;
    }
    return -38;
}

/* Stops at the first that fails, but descriptors that were sent for the rest are taken out of the socket and closed. */
void stub_carry_out(uint32_t first, struct stub_thread *self, struct call_slot *slot, struct host_context *context)
{
    int failed = 0;
    uint32_t count = slot->command_count;
    for (uint32_t i = first; i < count && i < STUB_COMMANDS_MAX; i++) {
        struct stub_command *command = &slot->commands[i];
        if (failed && command->operation != STUB_RECEIVE_FDS && command->operation != STUB_CLOSE_FDS)
            continue;
        command->result = carry_out(self, command, context);
        failed |= command->result < 0 && command->result > -4096;
    }
}
