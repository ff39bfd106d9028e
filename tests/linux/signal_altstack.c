/* Alternate stacks: handlers run on them, a stack overflow is caught, SS_AUTODISARM, the rules of sigaltstack. */
#include "signal_check.h"

#include <pthread.h>
#include <setjmp.h>
#include <sys/resource.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

enum { SIZE = 65536 };
static char *area;
static volatile uintptr_t seen;
static stack_t inside;
static sigjmp_buf back;
static int set_result, set_errno;
static bool try_setting;

static void look(int signal, siginfo_t *info, void *context)
{
    stack_t other = {.ss_sp = area, .ss_size = SIZE};
    (void)signal, (void)info, (void)context;
    seen = (uintptr_t)__builtin_frame_address(0);
    CHECK(sigaltstack(NULL, &inside) == 0);
    set_result = try_setting ? sigaltstack(&other, NULL) : 0;
    set_errno = errno;
}

static bool on_area(uintptr_t address) { return address > (uintptr_t)area && address <= (uintptr_t)area + SIZE; }

static void set(unsigned flags)
{
    stack_t stack = {.ss_sp = area, .ss_size = SIZE, .ss_flags = (int)flags};
    CHECK(sigaltstack(&stack, NULL) == 0);
}

static void runs_on_it(void)
{
    stack_t after;
    set(0);
    try_setting = true;
    handle(SIGUSR1, look, SA_ONSTACK);
    raise(SIGUSR1);
    try_setting = false;
    CHECK(on_area(seen) && inside.ss_flags == SS_ONSTACK && inside.ss_sp == area && inside.ss_size == SIZE);
    CHECK(set_result == -1 && set_errno == EPERM);
    CHECK(sigaltstack(NULL, &after) == 0 && after.ss_flags == 0);
    handle(SIGUSR1, look, 0);
    raise(SIGUSR1);
    CHECK(!on_area(seen) && inside.ss_flags == 0);
}

static void autodisarm(void)
{
    stack_t after;
    set(SS_AUTODISARM);
    handle(SIGUSR1, look, SA_ONSTACK);
    raise(SIGUSR1);
    CHECK(on_area(seen) && (inside.ss_flags & SS_DISABLE));
    CHECK(sigaltstack(NULL, &after) == 0 && after.ss_sp == area && (unsigned)after.ss_flags == SS_AUTODISARM);
}

static void inner(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    CHECK(on_area((uintptr_t)__builtin_frame_address(0)));
    CHECK((uintptr_t)__builtin_frame_address(0) < seen); /* continues below, does not start over */
}

static void outer(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    seen = (uintptr_t)__builtin_frame_address(0);
    raise(SIGUSR2);
}

static void nested_on_it(void)
{
    set(0);
    handle(SIGUSR1, outer, SA_ONSTACK);
    handle(SIGUSR2, inner, SA_ONSTACK);
    raise(SIGUSR1);
}

static void escape(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    CHECK(on_area((uintptr_t)__builtin_frame_address(0)));
    siglongjmp(back, 1);
}

static int overflow(int n)
{
    volatile char space[4096];
    space[0] = (char)n;
    return n < 0 ? 0 : overflow(n + 1) + space[0];
}

static void *overflow_thread(void *argument)
{
    (void)argument;
    set(0);
    handle(SIGSEGV, escape, SA_ONSTACK);
    for (int i = 0; i < 2; i++)
        if (!sigsetjmp(back, 1)) {
            overflow(0);
            CHECK(false);
        }
    return NULL;
}

static void stack_overflow(void)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstacksize(&attributes, 262144) == 0);
    CHECK(pthread_create(&thread, &attributes, overflow_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void rules(void)
{
    stack_t stack = {.ss_sp = area, .ss_size = 1024}, old;
    CHECK_ERROR(sigaltstack(&stack, NULL), ENOMEM);
    stack.ss_size = SIZE;
    stack.ss_flags = 0x40;
    CHECK_ERROR(sigaltstack(&stack, NULL), EINVAL);
    stack.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&stack, &old) == 0 && old.ss_sp == area);
    CHECK(sigaltstack(NULL, &old) == 0 && old.ss_flags == SS_DISABLE && old.ss_size == 0);
}

static void *disabled_in_thread(void *argument)
{
    stack_t old;
    (void)argument;
    CHECK(sigaltstack(NULL, &old) == 0 && old.ss_flags == SS_DISABLE);
    return NULL;
}

static void inherited_by_fork_only(void)
{
    pthread_t thread;
    set(0);
    CHECK(pthread_create(&thread, NULL, disabled_in_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
    pid_t pid = xfork();
    if (pid == 0) {
        stack_t old;
        CHECK(sigaltstack(NULL, &old) == 0 && old.ss_sp == area);
        _exit(0);
    }
    CHECK(wait_for(pid) == 0);
}

/* Too small for a frame: the signal kills. */
static void too_small(void)
{
    stack_t stack = {.ss_sp = area, .ss_size = 2048};
    CHECK(sigaltstack(&stack, NULL) == 0);
    handle(SIGUSR1, look, SA_ONSTACK);
    raise(SIGUSR1);
}

int main(void)
{
    int status;
    area = malloc(SIZE);
    runs_on_it();
    autodisarm();
    nested_on_it();
    stack_overflow();
    rules();
    inherited_by_fork_only();
    status = status_of(too_small);
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) || status == 0); /* a small CPU's frame fits */
    return 0;
}
