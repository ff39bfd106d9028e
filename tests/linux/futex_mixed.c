/*
 * Private futexes whose waiters and wakers come by different ways: through the C library's call site, which a kernel below may
 * serve from the program's side, and through one that looks like no other. However they are mixed, each waiter is
 * woken once, each wake is counted once, and moved waiters are found where they are.
 */
#include "futex_check.h"

#define WAITERS 6
#define ROUNDS 12

typedef long futex_site(word *address, long op, long value, const void *timeout, word *second, long value3);

static long plain_site(word *address, long op, long value, const void *timeout, word *second, long value3)
{
    return futex(address, (int)op, (uint32_t)value, timeout, second, (uint32_t)value3);
}

/* No comparison follows the call. */
static long odd_site(word *address, long op, long value, const void *timeout, word *second, long value3)
{
    register const void *r10 __asm__("r10") = timeout;
    register word *r8 __asm__("r8") = second;
    register long r9 __asm__("r9") = value3;
    long result = SYS_futex;
    __asm__ volatile("nop\n\tsyscall\n\tnop" : "+a"(result) : "D"(address), "S"(op), "d"(value), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    if (result < 0) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

static futex_site *const sites[2] = {plain_site, odd_site};
static word first, second;
static atomic_uint woken;

static void *wait_once(void *site)
{
    long result = ((futex_site *)site)(&first, FUTEX_WAIT_PRIVATE, 7, NULL, NULL, 0);
    CHECK(result == 0);
    atomic_fetch_add(&woken, 1);
    return NULL;
}

static void start_waiters(pthread_t *threads, int mix)
{
    atomic_store(&first, 7);
    atomic_store(&second, 7);
    atomic_store(&woken, 0);
    for (int i = 0; i < WAITERS; i++)
        start(&threads[i], wait_once, (void *)sites[mix == 2 ? i % 2 : mix]);
}

static void join_all(pthread_t *threads)
{
    for (int i = 0; i < WAITERS; i++)
        pthread_join(threads[i], NULL);
    CHECK(atomic_load(&woken) == WAITERS);
}

static void wakes(futex_site *waker, int mix, long count)
{
    pthread_t threads[WAITERS];
    long total = 0;
    start_waiters(threads, mix);
    while (total < WAITERS) {
        long now = waker(&first, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
        CHECK(now >= 0 && now <= count);
        total += now;
    }
    join_all(threads);
    CHECK(total == WAITERS && waker(&first, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0) == 0);
}

/* All are moved, some after one was woken; then they are woken where they are. */
static void requeues(futex_site *waker, int mix, long at_once)
{
    pthread_t threads[WAITERS];
    long total = 0, left;
    start_waiters(threads, mix);
    while (total < WAITERS) {
        long now = waker(&first, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)at_once, &second, 7);
        CHECK(now >= 0 && now <= at_once);
        total += now;
    }
    CHECK(total == WAITERS && atomic_load(&woken) == 0);
    CHECK(waker(&first, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0) == 0);
    CHECK(waker(&first, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1, &second, 8) == -1 && errno == EAGAIN);
    for (left = WAITERS; left > 0; left--)
        CHECK(waker(&second, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 1);
    join_all(threads);
}

static void wake_ops(futex_site *waker, int mix)
{
    pthread_t threads[WAITERS];
    long total = 0;
    start_waiters(threads, mix);
    while (total < WAITERS) {
        atomic_store(&second, 5);
        long now = waker(&second, FUTEX_WAKE_OP_PRIVATE, 1, (void *)2, &first, FUTEX_OP(FUTEX_OP_SET, 7, FUTEX_OP_CMP_EQ, 7));
        CHECK(now >= 0 && now <= 2 && atomic_load(&first) == 7);
        total += now;
    }
    join_all(threads);
}

static void bitsets(futex_site *site)
{
    word value = 3;
    struct timespec soon = after_ms(CLOCK_MONOTONIC, 20), wall = after_ms(CLOCK_REALTIME, 20), now, wrong = {0, 1000000000};
    CHECK(site(&value, FUTEX_WAIT_BITSET_PRIVATE, 3, &soon, NULL, 1) == -1 && errno == ETIMEDOUT);
    clock_gettime(CLOCK_MONOTONIC, &now);
    CHECK(now.tv_sec > soon.tv_sec || (now.tv_sec == soon.tv_sec && now.tv_nsec >= soon.tv_nsec));
    CHECK(site(&value, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 3, &wall, NULL, 1) == -1 && errno == ETIMEDOUT);
    CHECK(site(&value, FUTEX_WAIT_BITSET_PRIVATE, 3, &wrong, NULL, 1) == -1 && errno == EINVAL);
    CHECK(site(&value, FUTEX_WAIT_BITSET_PRIVATE, 3, (void *)8, NULL, 1) == -1 && errno == EFAULT);
    CHECK(site(&value, FUTEX_WAIT_BITSET_PRIVATE, 3, NULL, NULL, 0) == -1 && errno == EINVAL);
    CHECK(site(&value, FUTEX_WAKE_BITSET_PRIVATE, 3, NULL, NULL, 0) == -1 && errno == EINVAL);
    CHECK(site((void *)16, FUTEX_WAIT_PRIVATE, 3, NULL, NULL, 0) == -1 && errno == EFAULT);
    CHECK(site((word *)((char *)&value + 1), FUTEX_WAIT_PRIVATE, 3, NULL, NULL, 0) == -1 && errno == EINVAL);
    CHECK(site(&value, FUTEX_WAIT_PRIVATE, 4, NULL, NULL, 0) == -1 && errno == EAGAIN);
}

static atomic_uint handled;
static atomic_bool returned;
static word sleeping = 1;

static void on_signal(int signal)
{
    (void)signal;
    atomic_fetch_add(&handled, 1);
}

static void *wait_interrupted(void *site)
{
    long result = ((futex_site *)site)(&sleeping, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
    int error = errno;
    atomic_store(&returned, true);
    return (void *)(intptr_t)(result == 0 ? 0 : error);
}

/* Without SA_RESTART a handler ends the wait; with it the wait goes on and can still be woken. */
static void interrupts(futex_site *site, bool restart)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = restart ? SA_RESTART : 0};
    pthread_t thread;
    void *result;
    sigaction(SIGUSR1, &action, NULL);
    atomic_store(&returned, false);
    atomic_store(&handled, 0);
    start(&thread, wait_interrupted, (void *)site);
    for (unsigned sent = 1; sent <= 20 && !atomic_load(&returned); sent++) {
        pthread_kill(thread, SIGUSR1);
        UNTIL(atomic_load(&handled) >= sent || atomic_load(&returned));
    }
    if (!restart)
        UNTIL(atomic_load(&returned) || (pthread_kill(thread, SIGUSR1), 0));
    else
        UNTIL(site(&sleeping, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 1);
    pthread_join(thread, &result);
    CHECK((intptr_t)result == (restart ? 0 : EINTR));
}

static void *wait_for_ever(void *unused)
{
    plain_site(&sleeping, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
    return unused;
}

/* A process ends, and another is executed, though threads of it wait. */
static void exit_with_waiters(void)
{
    pthread_t thread;
    for (int i = 0; i < 4; i++)
        start(&thread, wait_for_ever, NULL);
    _exit(0);
}

static void exec_with_waiters(void)
{
    pthread_t thread;
    for (int i = 0; i < 4; i++)
        start(&thread, wait_for_ever, NULL);
    execl("/proc/self/exe", "futex_mixed", "nothing", NULL);
    _exit(1);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return 0;
    for (int round = 0; round < ROUNDS; round++) {
        futex_site *waker = sites[round / 3 % 2];
        int mix = round % 3; /* who waits: all by the plain site, all by the odd one, both */
        wakes(waker, mix, 1);
        wakes(waker, mix, 4);
        wakes(waker, mix, 100);
        wake_ops(waker, mix);
        if (round >= ROUNDS / 2) {
            requeues(waker, mix, 1);
            requeues(waker, mix, 100);
        }
    }
    for (int i = 0; i < 8; i++) {
        futex_site *site = sites[i / 2 % 2];
        bitsets(site);
        interrupts(site, i % 2);
    }
    in_child(exit_with_waiters);
    in_child(exec_with_waiters);
    return 0;
}
