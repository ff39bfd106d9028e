/* futex: requeue, compare-and-requeue, wake-op. */
#include "futex_check.h"

static word a, b;

static void *wait_a(void *argument)
{
    (void)argument;
    return (void *)futex_wait(&a, 0);
}

/* Starts `count` waiters on a and returns when all of them sleep (on a again). */
static void sleepers(pthread_t *threads, int count)
{
    a = b = 0;
    for (int i = 0; i < count; i++)
        start(&threads[i], wait_a, NULL);
    do {
        sched_yield();
        futex(&a, FUTEX_REQUEUE_PRIVATE, 0, (void *)10, &b, 0);
    } while (futex(&b, FUTEX_REQUEUE_PRIVATE, 0, (void *)10, &a, 0) != count);
}

static void join(pthread_t *threads, int count)
{
    for (int i = 0; i < count; i++) {
        void *result;
        CHECK(pthread_join(threads[i], &result) == 0 && result == 0);
    }
}

static void counts(void)
{
    pthread_t threads[5];
    sleepers(threads, 5);
    CHECK(futex(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2, &b, 0) == 3);
    CHECK(futex_wake(&b, 10) == 2);
    CHECK(futex(&a, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)0, &b, 0) == 0);
    CHECK(futex(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)0, &b, 0) == 1);
    CHECK(futex_wake(&b, 10) == 0 && futex_wake(&a, 10) == 1);
    join(threads, 5);
}

static void onto_itself(void)
{
    pthread_t threads[3];
    sleepers(threads, 3);
    CHECK(futex(&a, FUTEX_REQUEUE_PRIVATE, 0, (void *)0x7fffffff, &a, 0) == 3);
    CHECK(futex_wake(&a, 10) == 3);
    join(threads, 3);
}

/* A waiter that was moved leaves the word it is on now. */
static _Atomic bool over;

static void *timed_wait(void *argument)
{
    struct timespec until = after_ms(CLOCK_MONOTONIC, 30);
    (void)argument;
    errno = 0;
    futex(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, &until, NULL, ~0u);
    over = true;
    return (void *)(long)errno;
}

static void timeout_after_move(void)
{
    pthread_t thread;
    void *result;
    a = b = 0;
    start(&thread, timed_wait, NULL);
    UNTIL(futex(&a, FUTEX_REQUEUE_PRIVATE, 0, (void *)1, &b, 0) == 1 || over);
    CHECK(pthread_join(thread, &result) == 0 && result == (void *)ETIMEDOUT);
    CHECK(futex_wake(&a, 1) == 0 && futex_wake(&b, 1) == 0);
}

/* One that dies after it was moved, too. */
static void death_after_move(void)
{
    word *words = mmap(NULL, PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit((int)futex(words, FUTEX_WAIT, 0, NULL, NULL, 0));
    UNTIL(futex(words, FUTEX_REQUEUE, 0, (void *)1, words + 1, 0) == 1);
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
    CHECK(futex(words + 1, FUTEX_WAKE, 1, NULL, NULL, 0) == 0 && futex(words, FUTEX_WAKE, 1, NULL, NULL, 0) == 0);
}

static void *wait_b(void *argument)
{
    return (void *)futex_wait(&b, (uint32_t)(uintptr_t)argument);
}

static void wake_op(void)
{
    pthread_t threads[2];
    sleepers(threads, 1);
    b = 5;
    start(&threads[1], wait_b, (void *)5);
    UNTIL(futex(&b, FUTEX_REQUEUE_PRIVATE, 0, (void *)1, &b, 0) == 1);
    /* compares false: only the first is woken, the operation is done */
    CHECK(futex(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 6)) == 1);
    CHECK(b == 8);
    CHECK(futex(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, FUTEX_OP(FUTEX_OP_ADD, -3, FUTEX_OP_CMP_GT, 7)) == 1);
    CHECK(b == 5);
    join(threads, 2);
    CHECK(futex(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, FUTEX_OP(FUTEX_OP_SET, 12, FUTEX_OP_CMP_NE, 0)) == 0 && b == 12);
    CHECK(futex(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, FUTEX_OP(FUTEX_OP_ANDN, 4, FUTEX_OP_CMP_LT, 0)) == 0 && b == 8);
    CHECK(futex(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, FUTEX_OP(FUTEX_OP_XOR, 9, FUTEX_OP_CMP_LE, 0)) == 0 && b == 1);
    CHECK(futex(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, FUTEX_OP((FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT), 4, FUTEX_OP_CMP_GE, 0)) == 0);
    CHECK(b == 17);
    CHECK_ERROR(futex(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, FUTEX_OP(7, 0, 0, 0)), ENOSYS);
    CHECK_ERROR(futex(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, (word *)64, FUTEX_OP(FUTEX_OP_SET, 0, 0, 0)), EFAULT);
}

int main(void)
{
    counts();
    onto_itself();
    timeout_after_move();
    death_after_move();
    wake_op();
    return 0;
}
