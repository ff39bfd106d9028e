/* futex: locks whose owner the kernel knows, waiting on a condition with them, robust lists. */
#include <sched.h>
#include <stddef.h>

#include "futex_check.h"

static word lock_word, other_lock, condition;

static int pi(word *address, int op) { return futex(address, op, 0, NULL, NULL, 0) == 0 ? 0 : errno; }
static int lock(word *address)
{
    uint32_t expected = 0;
    return atomic_compare_exchange_strong(address, &expected, self_tid()) ? 0 : pi(address, FUTEX_LOCK_PI_PRIVATE);
}
static int unlock(word *address)
{
    uint32_t expected = self_tid();
    return atomic_compare_exchange_strong(address, &expected, 0) ? 0 : pi(address, FUTEX_UNLOCK_PI_PRIVATE);
}

/* --- exclusion --------------------------------------------------------------------------------------- */

static unsigned counter;

static void *count_up(void *argument)
{
    (void)argument;
    for (int i = 0; i < 2000; i++) {
        CHECK(lock(&lock_word) == 0);
        CHECK((lock_word & FUTEX_TID_MASK) == self_tid());
        counter++;
        CHECK(unlock(&lock_word) == 0);
    }
    return NULL;
}

static void excludes(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        start(&threads[i], count_up, NULL);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(counter == 8000 && (lock_word & FUTEX_TID_MASK) == 0);
}

/* --- errors ------------------------------------------------------------------------------------------ */

static void errors(void)
{
    word *read_only = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    lock_word = 0;
    CHECK(pi(&lock_word, FUTEX_LOCK_PI_PRIVATE) == 0 && lock_word == self_tid());
    CHECK(pi(&lock_word, FUTEX_LOCK_PI_PRIVATE) == EDEADLK);
    CHECK(pi(&lock_word, FUTEX_TRYLOCK_PI_PRIVATE) == EDEADLK);
    CHECK(pi(&lock_word, FUTEX_UNLOCK_PI_PRIVATE) == 0 && lock_word == 0);
    CHECK(pi(&lock_word, FUTEX_UNLOCK_PI_PRIVATE) == EPERM);
    lock_word = 0x3ffffff0;
    CHECK(pi(&lock_word, FUTEX_LOCK_PI_PRIVATE) == ESRCH);
    lock_word = FUTEX_OWNER_DIED;
    CHECK(pi(&lock_word, FUTEX_LOCK_PI_PRIVATE) == 0 && lock_word == (self_tid() | FUTEX_OWNER_DIED));
    lock_word = 0;
    CHECK(pi((word *)((char *)&lock_word + 2), FUTEX_LOCK_PI_PRIVATE) == EINVAL);
    CHECK(pi((word *)64, FUTEX_LOCK_PI_PRIVATE) == EFAULT);
    CHECK(pi(read_only, FUTEX_LOCK_PI_PRIVATE) == EFAULT);
    CHECK_ERROR(futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, NULL, &condition, 0), EINVAL);
    CHECK_ERROR(futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 1, NULL, &lock_word, 0), EAGAIN);
    CHECK_ERROR(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1, &condition, 0), EINVAL);
    CHECK_ERROR(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 2, (void *)1, &lock_word, 0), EINVAL);
    CHECK_ERROR(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)-1l, &lock_word, 0), EINVAL);
    CHECK_ERROR(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1, &lock_word, 7), EAGAIN);
}

/* --- timeouts ---------------------------------------------------------------------------------------- */

static void *lock_in_time(void *argument)
{
    struct timespec until = after_ms(CLOCK_REALTIME, 20);
    (void)argument;
    CHECK_ERROR(futex(&lock_word, FUTEX_LOCK_PI_PRIVATE, 0, &until, NULL, 0), ETIMEDOUT);
    until = after_ms(CLOCK_MONOTONIC, 5);
    CHECK_ERROR(futex(&lock_word, FUTEX_LOCK_PI2 | FUTEX_PRIVATE_FLAG, 0, &until, NULL, 0), ETIMEDOUT);
    CHECK(pi(&lock_word, FUTEX_TRYLOCK_PI_PRIVATE) == EAGAIN);
    return NULL;
}

static void times_out(void)
{
    pthread_t thread;
    lock_word = 0;
    CHECK(lock(&lock_word) == 0);
    start(&thread, lock_in_time, NULL);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK((lock_word & FUTEX_TID_MASK) == self_tid());
    CHECK(unlock(&lock_word) == 0 && lock_word == 0);
}

/* --- deadlock ---------------------------------------------------------------------------------------- */

static void *cross(void *argument)
{
    long error;
    (void)argument;
    CHECK(lock(&other_lock) == 0);
    do
        error = lock(&lock_word); /* waits for the main thread, or finds the cycle itself */
    while (error == EDEADLK);
    CHECK(error == 0);
    CHECK(unlock(&lock_word) == 0 && unlock(&other_lock) == 0);
    return NULL;
}

static void deadlock(void)
{
    pthread_t thread;
    lock_word = other_lock = 0;
    CHECK(lock(&lock_word) == 0);
    start(&thread, cross, NULL);
    /* The other is known to wait when the kernel finds the cycle; until then we time out. */
    for (;;) {
        struct timespec until = after_ms(CLOCK_MONOTONIC, 1);
        errno = 0;
        CHECK(futex(&other_lock, FUTEX_LOCK_PI2 | FUTEX_PRIVATE_FLAG, 0, &until, NULL, 0) != 0 || (unlock(&other_lock), 1));
        if (errno == EDEADLK)
            break;
        sched_yield(); /* on one CPU the other comes to wait only while we do not */
    }
    CHECK(unlock(&lock_word) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* --- a condition ------------------------------------------------------------------------------------- */

static _Atomic int returned;

static void *wait_condition(void *argument)
{
    (void)argument;
    CHECK(futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, NULL, &lock_word, 0) == 0);
    CHECK((lock_word & FUTEX_TID_MASK) == self_tid());
    returned++;
    CHECK(unlock(&lock_word) == 0);
    return NULL;
}

static void broadcasts(void)
{
    pthread_t threads[3];
    long moved = 0;
    lock_word = condition = 0;
    returned = 0;
    CHECK(lock(&lock_word) == 0);
    for (int i = 0; i < 3; i++)
        start(&threads[i], wait_condition, NULL);
    while (moved < 3) {
        long more = futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)5, &lock_word, 0);
        moved += more > 0 ? more : 0; /* -EAGAIN: to be tried again */
        sched_yield();
    }
    CHECK(returned == 0);
    CHECK_ERROR(futex_wake(&lock_word, 1), EINVAL);
    CHECK(unlock(&lock_word) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(returned == 3 && (lock_word & FUTEX_TID_MASK) == 0);
}

static _Atomic bool over;

static void *wait_condition_in_time(void *argument)
{
    struct timespec until = after_ms(CLOCK_MONOTONIC, 30);
    (void)argument;
    CHECK_ERROR(futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, &until, &lock_word, 0), ETIMEDOUT);
    over = true;
    return NULL;
}

static void moved_and_timed_out(void)
{
    pthread_t thread;
    lock_word = condition = 0;
    CHECK(lock(&lock_word) == 0);
    start(&thread, wait_condition_in_time, NULL);
    over = false;
    UNTIL(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)5, &lock_word, 0) == 1 || over);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK((lock_word & FUTEX_TID_MASK) == self_tid() && unlock(&lock_word) == 0 && lock_word == 0);
}

/* --- death of the owner ------------------------------------------------------------------------------ */

static void *lock_and_die(void *argument)
{
    CHECK(lock(argument) == 0);
    UNTIL(*(word *)argument & FUTEX_WAITERS);
    syscall(SYS_exit, 0);
    return NULL;
}

static void owner_dies(void)
{
    pthread_t thread;
    int error;
    do { /* it sees the waiters' bit before the kernel has found it, and may be gone by then */
        lock_word = 0;
        start(&thread, lock_and_die, &lock_word);
        UNTIL(lock_word & FUTEX_TID_MASK);
        error = pi(&lock_word, FUTEX_LOCK_PI_PRIVATE);
        CHECK(error == 0 || error == ESRCH);
        CHECK(pthread_join(thread, NULL) == 0);
    } while (error);
    CHECK((lock_word & FUTEX_TID_MASK) == self_tid() && (lock_word & FUTEX_OWNER_DIED));
    CHECK(pi(&lock_word, FUTEX_UNLOCK_PI_PRIVATE) == 0);
}

/* --- robust lists ------------------------------------------------------------------------------------ */

struct robust_lock {
    struct robust_list list;
    word value;
};
static struct robust_lock robust_locks[2];

/* What a C library does when it takes such locks, and then ends without giving them up. */
static void *die_with_locks(void *argument)
{
    static struct robust_list_head head;
    struct robust_list_head *old;
    size_t size;
    CHECK(syscall(SYS_get_robust_list, 0, &old, &size) == 0 && size == sizeof(head));
    CHECK_ERROR(syscall(SYS_set_robust_list, &head, 1), EINVAL);
    head.futex_offset = offsetof(struct robust_lock, value);
    head.list.next = &robust_locks[0].list;
    robust_locks[0].list.next = argument ? &robust_locks[0].list : &head.list; /* loops, or ends */
    robust_locks[0].value = self_tid() | FUTEX_WAITERS;
    robust_locks[1].value = self_tid();
    head.list_op_pending = &robust_locks[1].list;
    CHECK(syscall(SYS_set_robust_list, &head, sizeof(head)) == 0);
    CHECK(syscall(SYS_get_robust_list, 0, &old, &size) == 0 && old == &head);
    syscall(SYS_exit, 0);
    return NULL;
}

static void *wait_robust(void *argument)
{
    uint32_t value;
    (void)argument;
    while (!((value = robust_locks[0].value) & FUTEX_OWNER_DIED))
        if (value)
            futex(&robust_locks[0].value, FUTEX_WAIT, value, NULL, NULL, 0);
    return NULL;
}

static void robust(bool loop)
{
    pthread_t dying, waiting;
    memset(robust_locks, 0, sizeof(robust_locks));
    start(&waiting, wait_robust, NULL);
    start(&dying, die_with_locks, (void *)(long)loop);
    CHECK(pthread_join(waiting, NULL) == 0 && pthread_join(dying, NULL) == 0);
    CHECK(robust_locks[0].value == (FUTEX_OWNER_DIED | FUTEX_WAITERS));
    CHECK(robust_locks[1].value == (loop ? robust_locks[1].value : FUTEX_OWNER_DIED));
}

static void *die_with_garbage(void *argument)
{
    CHECK(syscall(SYS_set_robust_list, argument, sizeof(struct robust_list_head)) == 0);
    syscall(SYS_exit, 0);
    return NULL;
}

static void robust_garbage(void)
{
    static struct robust_list_head wild = {.list.next = (void *)0x123456789, .futex_offset = 12345, .list_op_pending = (void *)3};
    void *heads[] = {(void *)64, (void *)-64l, &wild};
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        start(&thread, die_with_garbage, heads[i]);
        CHECK(pthread_join(thread, NULL) == 0);
    }
}

/* A process that dies with a mutex of the C library's. */
static void robust_mutex(void)
{
    pthread_mutex_t *mutex = mmap(NULL, PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int protocol = 0; protocol < 2; protocol++) {
        pthread_mutexattr_t attributes;
        int status;
        pid_t pid;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        pthread_mutexattr_setprotocol(&attributes, protocol ? PTHREAD_PRIO_INHERIT : PTHREAD_PRIO_NONE);
        CHECK(pthread_mutex_init(mutex, &attributes) == 0);
        pid = fork();
        if (pid == 0)
            _exit(pthread_mutex_lock(mutex));
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
        CHECK(pthread_mutex_lock(mutex) == EOWNERDEAD);
        CHECK(pthread_mutex_consistent(mutex) == 0);
        CHECK(pthread_mutex_unlock(mutex) == 0);
    }
}

int main(void)
{
    excludes();
    errors();
    times_out();
    deadlock();
    broadcasts();
    moved_and_timed_out();
    owner_dies();
    robust(false);
    robust(true);
    robust_garbage();
    robust_mutex();
    return 0;
}
