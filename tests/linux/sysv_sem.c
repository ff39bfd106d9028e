/* System V semaphores: all or nothing, waiting and its ends, undo, and what semctl shows and sets. */
#include "process_check.h"

#include <sys/ipc.h>
#include <sys/sem.h>

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
    struct seminfo *info;
};

static int make(int count)
{
    int id = semget(IPC_PRIVATE, count, IPC_CREAT | 0600);

    CHECK(id >= 0);
    return id;
}

static int value(int id, int number) { return semctl(id, number, GETVAL); }
static void set(int id, int number, int to) { CHECK(semctl(id, number, SETVAL, (union semun){.val = to}) == 0); }
static void remove_set(int id) { CHECK(semctl(id, 0, IPC_RMID) == 0); }

static int op(int id, int number, int change, int flags)
{
    struct sembuf buf = {(unsigned short)number, (short)change, (short)flags};

    return semop(id, &buf, 1);
}

/* Until so many wait for semaphore `number` of the set. */
static void await_waiters(int id, int number, int command, int count)
{
    while (semctl(id, number, command) != count)
        sched_yield();
}

static void values_are_read_and_set(void)
{
    int id = make(3);
    unsigned short values[3] = {7, 8, 9};
    struct semid_ds ds;

    CHECK(value(id, 0) == 0);
    CHECK(semctl(id, 0, SETALL, (union semun){.array = values}) == 0 && value(id, 2) == 9);
    set(id, 1, 32767);
    CHECK_ERROR(semctl(id, 1, SETVAL, (union semun){.val = 32768}), ERANGE);
    CHECK_ERROR(semctl(id, 1, SETVAL, (union semun){.val = -1}), ERANGE);
    CHECK_ERROR(semctl(id, 3, GETVAL), EINVAL);
    CHECK(semctl(id, 0, GETALL, (union semun){.array = values}) == 0 && values[1] == 32767);
    CHECK(semctl(id, 0, IPC_STAT, (union semun){.buf = &ds}) == 0 && ds.sem_nsems == 3 && ds.sem_otime == 0 && ds.sem_ctime != 0);
    CHECK(op(id, 0, -7, 0) == 0 && value(id, 0) == 0 && semctl(id, 0, GETPID) == getpid());
    CHECK(semctl(id, 0, IPC_STAT, (union semun){.buf = &ds}) == 0 && ds.sem_otime != 0);
    CHECK_ERROR(op(id, 1, 1, 0), ERANGE);
    CHECK_ERROR(op(id, 3, 1, 0), EFBIG);
    remove_set(id);
    CHECK(semctl(id, 0, GETVAL) == -1 && (errno == EINVAL || errno == EIDRM));
}

static void sets_have_keys(void)
{
    key_t key = 0x48790000 + getpid() % 65536;
    int id = semget(key, 2, IPC_CREAT | IPC_EXCL | 0600);

    CHECK(id >= 0 && semget(key, 0, 0) == id && semget(key, 2, 0) == id);
    CHECK_ERROR(semget(key, 3, 0), EINVAL);
    CHECK_ERROR(semget(key, 2, IPC_CREAT | IPC_EXCL), EEXIST);
    CHECK_ERROR(semget(IPC_PRIVATE, 0, IPC_CREAT), EINVAL);
    CHECK_ERROR(semget(IPC_PRIVATE, -1, IPC_CREAT), EINVAL);
    remove_set(id);
    CHECK_ERROR(semget(key, 2, 0), ENOENT);
}

static void all_or_nothing(void)
{
    int id = make(2);
    struct sembuf both[] = {{0, -1, IPC_NOWAIT}, {1, -1, IPC_NOWAIT}}, zero[] = {{0, 0, IPC_NOWAIT}, {0, 2, 0}};

    set(id, 0, 1);
    CHECK_ERROR(semop(id, both, 2), EAGAIN);
    CHECK(value(id, 0) == 1);
    set(id, 1, 1);
    CHECK(semop(id, both, 2) == 0 && value(id, 0) == 0 && value(id, 1) == 0);
    CHECK(semop(id, zero, 2) == 0 && value(id, 0) == 2);
    CHECK_ERROR(semop(id, zero, 2), EAGAIN);
    CHECK_ERROR(semop(id, zero, 0), EINVAL);
    CHECK_ERROR(semop(id, zero, 501), E2BIG);
    CHECK_ERROR(semop(id, (struct sembuf *)8, 1), EFAULT);
    remove_set(id);
}

static void waiters_are_woken(void)
{
    int id = make(2);
    pid_t taker = fork();

    CHECK(taker >= 0);
    if (taker == 0) {
        CHECK(op(id, 0, -3, 0) == 0);
        _exit(0);
    }
    pid_t zero = fork();
    CHECK(zero >= 0);
    if (zero == 0) {
        struct sembuf bufs[] = {{1, 1, 0}, {0, 0, 0}};
        CHECK(op(id, 0, -1, IPC_NOWAIT) == -1);
        set(id, 1, 5);
        CHECK(op(id, 1, 0, 0) == 0 && semop(id, bufs, 2) == 0);
        _exit(0);
    }
    await_waiters(id, 0, GETNCNT, 1);
    await_waiters(id, 1, GETZCNT, 1);
    CHECK(op(id, 0, 2, 0) == 0 && value(id, 0) == 2);
    CHECK(op(id, 0, 1, 0) == 0);
    wait_exit(taker, 0);
    CHECK(value(id, 0) == 0);
    CHECK(op(id, 1, -5, 0) == 0);
    wait_exit(zero, 0);
    CHECK(value(id, 1) == 1 && semctl(id, 0, GETNCNT) == 0 && semctl(id, 1, GETZCNT) == 0);
    remove_set(id);
}

static void on_alarm(int signal) { (void)signal; }

static void waits_end(void)
{
    int id = make(1);
    struct sembuf take = {0, -1, 0};
    struct timespec soon = {0, 20000000}, wrong = {0, 1000000000};
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};

    CHECK_ERROR(semtimedop(id, &take, 1, &soon), EAGAIN);
    CHECK_ERROR(semtimedop(id, &take, 1, &wrong), EINVAL);
    int interrupted[2];
    char byte;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && pipe(interrupted) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK_ERROR(semop(id, &take, 1), EINTR); /* never restarted */
        CHECK(write(interrupted[1], "", 1) == 1);
        CHECK_ERROR(semop(id, &take, 1), EIDRM);
        _exit(0);
    }
    await_waiters(id, 0, GETNCNT, 1);
    CHECK(kill(pid, SIGUSR1) == 0);
    CHECK(read(interrupted[0], &byte, 1) == 1 && close(interrupted[0]) == 0 && close(interrupted[1]) == 0);
    await_waiters(id, 0, GETNCNT, 1);
    remove_set(id);
    wait_exit(pid, 0);
}

static void exit_undoes(void)
{
    int id = make(2);

    set(id, 0, 5);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(op(id, 0, -2, SEM_UNDO) == 0 && op(id, 0, -1, SEM_UNDO) == 0 && op(id, 1, 4, SEM_UNDO) == 0 && op(id, 1, 1, 0) == 0);
        _exit(0);
    }
    wait_exit(pid, 0);
    CHECK(value(id, 0) == 5 && value(id, 1) == 1);
    CHECK(semctl(id, 0, GETPID) == pid);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) { /* SETVAL forgets what was to be undone; what would go below zero stops there */
        CHECK(op(id, 0, -2, SEM_UNDO) == 0 && op(id, 1, 3, SEM_UNDO) == 0);
        set(id, 0, 9);
        CHECK(op(id, 1, -2, 0) == 0);
        raise(SIGKILL);
    }
    CHECK(WIFSIGNALED(wait_status(pid)));
    CHECK(value(id, 0) == 9 && value(id, 1) == 0);
    remove_set(id);
}

/* Many processes, one lock. */
static void a_lock_excludes(void)
{
    enum { PROCESSES = 4, ROUNDS = 200 };
    int id = make(1);
    int *count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(count != MAP_FAILED);
    set(id, 0, 1);
    for (int i = 0; i < PROCESSES; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        for (int round = 0; pid == 0 && round < ROUNDS; round++) {
            CHECK(op(id, 0, -1, SEM_UNDO) == 0);
            int seen = *(volatile int *)count;
            if (round % 8 == 0)
                sched_yield();
            *(volatile int *)count = seen + 1;
            CHECK(op(id, 0, 1, SEM_UNDO) == 0);
        }
        if (pid == 0)
            _exit(0);
    }
    for (int i = 0, status; i < PROCESSES; i++)
        CHECK(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(*count == PROCESSES * ROUNDS && value(id, 0) == 1);
    CHECK(munmap(count, 4096) == 0);
    remove_set(id);
}

static void the_tables_can_be_listed(void)
{
    int id = make(2), last;
    struct seminfo info;
    struct semid_ds ds;
    bool found = false;

    CHECK((last = semctl(0, 0, SEM_INFO, (union semun){.info = &info})) >= 0 && info.semusz >= 1 && info.semaem >= 2);
    for (int i = 0; i <= last; i++)
        found |= semctl(i, 0, SEM_STAT, (union semun){.buf = &ds}) == id;
    CHECK(found);
    CHECK_ERROR(semctl(id, 0, 99), EINVAL);
    remove_set(id);
}

int main(void)
{
    values_are_read_and_set();
    sets_have_keys();
    all_or_nothing();
    waiters_are_woken();
    waits_end();
    exit_undoes();
    a_lock_excludes();
    the_tables_can_be_listed();
    puts("sem ok");
}
