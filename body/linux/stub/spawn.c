/*
 * Beginnings: a process of the zygote's, a thread, a vfork or fork child. Each begins by waiting for the server's answer in
 * its own slot; a new host process says hello before that.
 */
#include "body/linux/stub/stub.h"

#define SYS_WRITE 1
#define SYS_MMAP 9
#define SYS_CLOSE 3
#define SYS_DUP2 33
#define SYS_MADVISE 28
#define SYS_ARCH_PRCTL 158
#define SYS_EXIT_GROUP 231

static void thread_init(uint32_t index)
{
    uint64_t area = STUB_AREAS_BASE + index * STUB_AREA_SIZE;
    struct stub_thread *thread = (void *)(area + AREA_THREAD);
    thread->self = thread;
    thread->slot = (void *)(CALL_PAGES_BASE + CALL_PAGES_HEADER_SIZE + (uint64_t)index * CALL_SLOT_SIZE);
    thread->stack = thread;
    thread->index = index;
    thread->pending = 0;
    thread->fd_count = 0;
}

static void set_gs(struct stub_thread *self) { host_call3(SYS_ARCH_PRCTL, 0x1001 /* ARCH_SET_GS */, self, 0); }

/* A program's signal stack is the kernel's affair: the host's is the area's. */
void frame_set_stack(struct host_context *context, uint32_t index)
{
    context->stack.base = (void *)(STUB_AREAS_BASE + index * STUB_AREA_SIZE);
    context->stack.size = AREA_ALTSTACK_SIZE;
    context->stack.flags = 0;
}

/* The new thread's frame stands at the bottom of its area: a copy of the parent's with FP state. */
static struct host_context *copy_frame(uint32_t index, const struct host_context *from)
{
    uint64_t area = STUB_AREAS_BASE + index * STUB_AREA_SIZE;
    struct host_context *copy = (void *)area;
    stub_copy(copy, from, sizeof *copy);
    if (from->fp_state) {
        copy->fp_state = (void *)(area + 1024);
        stub_copy(copy->fp_state, from->fp_state, from->fp_state ? *(uint32_t *)(from->fp_state + 464 + 4) : 0);
    }
    frame_set_stack(copy, index);
    copy->signal_mask = 0;
    return copy;
}

/* A new host process tells the server who it is: the socket adds its credentials. */
void stub_say_hello(struct stub_thread *self)
{
    struct {
        uint32_t tag, index;
    } hello = {STUB_HELLO, self->index};
    if (host_call3(SYS_WRITE, STUB_SOCKET_FD, &hello, sizeof hello) != sizeof hello)
        host_call3(SYS_EXIT_GROUP, 1, 0, 0); /* nobody is there to answer */
}

static void new_thread(void *argument)
{
    struct host_context *context = argument;
    struct stub_thread *self = stub_self();
    set_gs(self);
    if (self->hello)
        stub_say_hello(self);
    stub_serve(self, context);
    host_sigreturn(context);
}

long stub_clone(uint32_t index, uint64_t nonce, int vfork, struct host_context *context)
{
    if (!context || index >= CLIENT_THREADS_MAX)
        return -22;
    thread_init(index);
    struct stub_thread *thread = (void *)(STUB_AREAS_BASE + index * STUB_AREA_SIZE + AREA_THREAD);
    thread->hello = vfork;
    struct host_context *frame = copy_frame(index, context);
    /* CHILD_SETTID | CHILD_CLEARTID | VM, and for a thread FS FILES SIGHAND THREAD SYSVSEM, else SIGCHLD */
    long flags = 0x01000000 | 0x00200000 | 0x100 | (vfork ? 17 : 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000);
    return host_clone(flags, (char *)thread - 64, &thread->slot->host_tid, (long)nonce, new_thread, frame);
}

/* In the child of a fork (or of the zygote): its own descriptors and call pages. */
static void become_client(const int fds[3])
{
    host_call6(SYS_MMAP, CALL_PAGES_BASE, CALL_PAGES_SIZE, 3, 0x11 /* SHARED | FIXED */, fds[2], 0);
    host_call3(SYS_MADVISE, CALL_PAGES_BASE, CALL_PAGES_SIZE, 10 /* DONTFORK */);
    enum { ASIDE = 32 }; /* past anything that is open here: the two may be where the other is to go */
    host_call3(SYS_DUP2, fds[1], ASIDE, 0);
    host_call3(SYS_DUP2, fds[0], STUB_SOCKET_FD, 0);
    host_call3(SYS_DUP2, ASIDE, STUB_DOORBELL_FD, 0);
    host_call3(SYS_CLOSE, ASIDE, 0, 0);
    for (int i = 0; i < 3; i++)
        if (fds[i] != STUB_SOCKET_FD && fds[i] != STUB_DOORBELL_FD)
            host_call3(SYS_CLOSE, fds[i], 0, 0);
}

long stub_fork(struct stub_thread *self, const struct stub_command *command, struct host_context *context)
{
    uint64_t nonce = command->arguments[0], address = command->arguments[1];
    uint32_t word = (uint32_t)command->arguments[2];
    if (!context || self->fd_count != 3)
        return -22;
    long pid = host_clone(17, 0, 0, (long)nonce, 0, 0);
    if (pid == 0) {
        self->fd_count = 0;
        become_client(self->fds);
        stub_say_hello(self);
        if (address)
            stub_copy((void *)address, &word, sizeof word);
        stub_serve(self, context);
        host_sigreturn(context);
    }
    stub_close_fds(self);
    return pid;
}

/* The first thread of a process made by the zygote: waits for its program. */
static void first_thread(void *argument)
{
    const int *fds = argument;
    int copy[3] = {fds[0], fds[1], fds[2]};
    struct stub_thread *self = stub_self();
    host_call3(SYS_CLOSE, ZYGOTE_CONTROL_FD, 0, 0);
    set_gs(self);
    become_client(copy);
    __asm__ volatile(".globl gate_start\n\t.hidden gate_start\ngate_start: ud2"); /* so that the host makes a signal frame with the initial FP state */
    __builtin_unreachable();
}

/* Called by the zygote for each request. */
long stub_spawn(int *fds)
{
    thread_init(0);
    return host_clone(17, (void *)(STUB_AREAS_BASE + AREA_THREAD - 64), 0, 0, first_thread, fds);
}
