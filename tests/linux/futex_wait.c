/* futex: wait, wake, bitsets, timeouts, keys, interruption and restart, waitv. */
#include "futex_check.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

static word a, b;

static void *wait_once(void *argument)
{
    return (void *)(futex_wait(argument, 0) == 0 ? 0l : (long)errno);
}

static void wake_one(void)
{
    pthread_t thread;
    void *result;
    a = 0;
    start(&thread, wait_once, &a);
    UNTIL(futex_wake(&a, 1) == 1);
    CHECK(pthread_join(thread, &result) == 0 && result == 0);
}

static void wake_some(void)
{
    pthread_t threads[4];
    a = b = 0;
    for (int i = 0; i < 4; i++)
        start(&threads[i], wait_once, &a);
    /* All four are asleep when four can be moved at once. */
    UNTIL(futex(&a, FUTEX_REQUEUE_PRIVATE, 0, (void *)10, &b, 0) + futex(&b, FUTEX_REQUEUE_PRIVATE, 0, (void *)10, &b, 0) > 3 &&
          futex(&b, FUTEX_REQUEUE_PRIVATE, 0, (void *)10, &b, 0) == 4);
    CHECK(futex_wake(&a, 10) == 0 && futex_wake(&b, 1) == 1 && futex_wake(&b, 2) == 2 && futex_wake(&b, 100) == 1);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void *wait_bits(void *argument)
{
    return (void *)futex(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, (uint32_t)(uintptr_t)argument);
}

static void bitsets(void)
{
    pthread_t one, two;
    a = 0;
    start(&one, wait_bits, (void *)1);
    start(&two, wait_bits, (void *)2);
    UNTIL(futex(&a, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 2) == 1);
    CHECK(pthread_join(two, NULL) == 0);
    CHECK(futex(&a, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 2 | 4) == 0);
    UNTIL(futex(&a, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 1) == 1);
    CHECK(pthread_join(one, NULL) == 0);
}

static void errors(void)
{
    struct timespec bad = {0, 1000000000}, negative = {-1, 0};
    word *misaligned = (word *)((char *)&a + 1);
    a = 5;
    CHECK_ERROR(futex_wait(&a, 4), EAGAIN);
    CHECK_ERROR(futex_wait(misaligned, 5), EINVAL);
    CHECK_ERROR(futex_wake(misaligned, 1), EINVAL);
    CHECK_ERROR(futex_wait((word *)64, 5), EFAULT);
    CHECK_ERROR(futex((word *)64, FUTEX_WAKE, 1, NULL, NULL, 0), EFAULT);
    CHECK(futex_wake((word *)64, 1) == 0);
    CHECK_ERROR(futex((word *)~63ul, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), EFAULT);
    CHECK_ERROR(futex(&a, FUTEX_WAIT, 5, &bad, NULL, 0), EINVAL);
    CHECK_ERROR(futex(&a, FUTEX_WAIT, 5, &negative, NULL, 0), EINVAL);
    CHECK_ERROR(futex(&a, FUTEX_WAIT, 5, (void *)64, NULL, 0), EFAULT);
    CHECK_ERROR(futex(&a, FUTEX_WAIT_BITSET, 5, NULL, NULL, 0), EINVAL);
    CHECK_ERROR(futex(&a, FUTEX_WAKE_BITSET, 5, NULL, NULL, 0), EINVAL);
    CHECK_ERROR(futex(&a, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 5, NULL, NULL, 0), ENOSYS);
    CHECK_ERROR(futex(&a, FUTEX_FD, 0, NULL, NULL, 0), ENOSYS);
    CHECK_ERROR(futex(&a, 99, 0, NULL, NULL, 0), ENOSYS);
    CHECK_ERROR(futex(&a, FUTEX_REQUEUE, -1, (void *)1, &b, 0), EINVAL);
    CHECK_ERROR(futex(&a, FUTEX_REQUEUE, 1, (void *)-1l, &b, 0), EINVAL);
    CHECK_ERROR(futex(&a, FUTEX_CMP_REQUEUE, 1, (void *)1, &b, 4), EAGAIN);
}

static void timeouts(void)
{
    struct timespec wait = {0, 2000000}, zero = {0, 0}, until, now;
    a = 0;
    CHECK_ERROR(futex(&a, FUTEX_WAIT_PRIVATE, 0, &zero, NULL, 0), ETIMEDOUT);
    until = after_ms(CLOCK_MONOTONIC, 2);
    CHECK_ERROR(futex(&a, FUTEX_WAIT_PRIVATE, 0, &wait, NULL, 0), ETIMEDOUT);
    clock_gettime(CLOCK_MONOTONIC, &now);
    CHECK(now.tv_sec > until.tv_sec || now.tv_nsec >= until.tv_nsec);
    until = after_ms(CLOCK_MONOTONIC, 2);
    CHECK_ERROR(futex(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, &until, NULL, ~0u), ETIMEDOUT);
    until = after_ms(CLOCK_REALTIME, 2);
    CHECK_ERROR(futex(&a, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &until, NULL, ~0u), ETIMEDOUT);
    until.tv_sec = 1;
    CHECK_ERROR(futex(&a, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &until, NULL, ~0u), ETIMEDOUT);
}

/* The same page at two addresses is one shared futex and two private ones. */
static void *wait_shared(void *argument)
{
    return (void *)futex(argument, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void keys(void)
{
    pthread_t thread;
    word *one = mmap(NULL, PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    word *two = mremap(one, 0, PAGE, MREMAP_MAYMOVE);
    CHECK(one != MAP_FAILED && two != MAP_FAILED && one != two);
    start(&thread, wait_shared, one + 3);
    UNTIL(futex(two + 3, FUTEX_WAKE, 1, NULL, NULL, 0) == 1);
    CHECK(pthread_join(thread, NULL) == 0);
    start(&thread, wait_once, one);
    UNTIL(futex(one, FUTEX_REQUEUE_PRIVATE, 0, (void *)1, one + 1, 0) == 1);
    CHECK(futex_wake(two, 1) == 0 && futex_wake(two + 1, 1) == 0 && futex(one + 1, FUTEX_WAKE, 1, NULL, NULL, 0) == 0);
    CHECK(futex_wake(one + 1, 1) == 1);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void over_processes(void)
{
    word *shared = mmap(NULL, PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit((int)futex(shared, FUTEX_WAIT, 0, NULL, NULL, 0));
    UNTIL(futex(shared, FUTEX_WAKE, 1, NULL, NULL, 0) == 1);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    pid = fork();
    if (pid == 0) { /* and a private wait is not seen by the parent */
        alarm(10);
        futex_wait(shared, 0);
        _exit(1);
    }
    for (int i = 0; i < 100; i++) {
        CHECK(futex_wake(shared, 1) == 0);
        sched_yield();
    }
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
}

/* --- interruption ------------------------------------------------------------------------------------ */

static _Atomic int handled;

static void count_signal(int signal)
{
    (void)signal;
    handled++;
}

static void set_handler(int flags)
{
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = flags};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    handled = 0;
}

struct sleeper {
    word value;
    bool timed;
    long result;
    int error;
    _Atomic pid_t tid;
};

static void *sleep_in_futex(void *argument)
{
    struct sleeper *self = argument;
    struct timespec far = {1000, 0};
    self->tid = (pid_t)self_tid();
    errno = 0;
    self->result = futex(&self->value, FUTEX_WAIT_PRIVATE, 0, self->timed ? &far : NULL, NULL, 0);
    self->error = errno;
    return NULL;
}

/* Asleep: a requeue onto itself counts it. */
static bool sleeps(struct sleeper *sleeper) { return futex(&sleeper->value, FUTEX_REQUEUE_PRIVATE, 0, (void *)1, &sleeper->value, 0) == 1; }

static void interrupted(bool timed, int flags, bool restarts)
{
    struct sleeper sleeper = {.timed = timed};
    pthread_t thread;
    set_handler(flags);
    start(&thread, sleep_in_futex, &sleeper);
    UNTIL(sleeper.tid && sleeps(&sleeper));
    CHECK(syscall(SYS_tgkill, getpid(), sleeper.tid, SIGUSR1) == 0);
    UNTIL(handled == 1);
    if (restarts) {
        UNTIL(futex_wake(&sleeper.value, 1) == 1);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(sleeper.result == 0);
    } else {
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(sleeper.result == -1 && sleeper.error == EINTR);
    }
}

/* --- waitv ------------------------------------------------------------------------------------------- */

struct waitv_item {
    uint64_t value, address;
    uint32_t flags, reserved;
};

static struct waitv_item items[3];

static void *wait_any(void *argument)
{
    (void)argument;
    return (void *)syscall(SYS_futex_waitv, items, 3, 0, NULL, 0);
}

static void waitv(void)
{
    struct timespec past = {1, 0};
    static word words[3];
    pthread_t thread;
    void *result;
    for (int i = 0; i < 3; i++)
        items[i] = (struct waitv_item){.address = (uintptr_t)&words[i], .flags = 2 | 128};
    start(&thread, wait_any, NULL);
    UNTIL(futex_wake(&words[1], 1) == 1);
    CHECK(pthread_join(thread, &result) == 0 && result == (void *)1);
    CHECK(futex_wake(&words[0], 1) == 0 && futex_wake(&words[2], 1) == 0);
    CHECK_ERROR(syscall(SYS_futex_waitv, items, 3, 0, &past, CLOCK_MONOTONIC), ETIMEDOUT);
    CHECK_ERROR(syscall(SYS_futex_waitv, items, 3, 0, &past, 7), EINVAL);
    CHECK_ERROR(syscall(SYS_futex_waitv, items, 3, 1, NULL, 0), EINVAL);
    CHECK_ERROR(syscall(SYS_futex_waitv, items, 0, 0, NULL, 0), EINVAL);
    CHECK_ERROR(syscall(SYS_futex_waitv, items, 129, 0, NULL, 0), EINVAL);
    CHECK_ERROR(syscall(SYS_futex_waitv, NULL, 1, 0, NULL, 0), EINVAL);
    words[2] = 1;
    CHECK_ERROR(syscall(SYS_futex_waitv, items, 3, 0, NULL, 0), EAGAIN);
    items[0].reserved = 1;
    CHECK_ERROR(syscall(SYS_futex_waitv, items, 3, 0, NULL, 0), EINVAL);
    items[0].reserved = 0;
    items[0].flags = 0x80;
    CHECK_ERROR(syscall(SYS_futex_waitv, items, 3, 0, NULL, 0), EINVAL);
}

int main(void)
{
    wake_one();
    wake_some();
    bitsets();
    errors();
    timeouts();
    keys();
    over_processes();
    interrupted(false, 0, false);
    interrupted(false, SA_RESTART, true);
    interrupted(true, 0, false);
    interrupted(true, SA_RESTART, false); /* a timed wait is restarted only when no handler runs */
    waitv();
    return 0;
}
