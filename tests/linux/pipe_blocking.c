/* Pipes that wait: readers, writers, death of either side, interruption, atomic writes. */
#include "event_check.h"

#define WRITERS 4
#define RECORDS 2000
#define RECORD 300

static int data[2], back[2];

static void ping_pong(void)
{
    char byte;
    CHECK(pipe(data) == 0 && pipe(back) == 0);
    pid_t child = fork();
    if (!child) {
        close(data[1]);
        close(back[0]);
        while (read(data[0], &byte, 1) == 1)
            CHECK(write(back[1], &byte, 1) == 1);
        _exit(0);
    }
    close(data[0]);
    close(back[1]);
    for (int i = 0; i < 2000; i++) {
        char sent = i;
        CHECK(write(data[1], &sent, 1) == 1 && read(back[0], &byte, 1) == 1 && byte == sent);
    }
    close(data[1]);
    CHECK(read(back[0], &byte, 1) == 0);
    close(back[0]);
    child_done(child);
}

/* Writes of up to PIPE_BUF bytes are never mixed. */
static void atomic_records(void)
{
    static char record[RECORD];
    int seen[WRITERS] = {0};
    CHECK(pipe(data) == 0);
    for (int i = 0; i < WRITERS; i++)
        if (!fork()) {
            memset(record, 'a' + i, RECORD);
            for (int j = 0; j < RECORDS; j++)
                CHECK(write(data[1], record, RECORD) == RECORD);
            _exit(0);
        }
    close(data[1]);
    for (;;) {
        size_t got = 0;
        ssize_t part;
        while (got < RECORD && (part = read(data[0], record + got, RECORD - got)) > 0)
            got += part;
        if (!got)
            break;
        CHECK(got == RECORD && record[0] >= 'a' && record[0] < 'a' + WRITERS);
        for (int i = 1; i < RECORD; i++)
            CHECK(record[i] == record[0]);
        seen[record[0] - 'a']++;
    }
    for (int i = 0; i < WRITERS; i++) {
        int status;
        CHECK(seen[i] == RECORDS && wait(&status) > 0 && status == 0);
    }
    close(data[0]);
}

static void *blocked_writer(void *argument)
{
    static char much[1 << 20];
    (void)argument;
    errno = 0;
    ssize_t written = write(data[1], much, sizeof much);
    CHECK(written >= 65536 && written < (ssize_t)sizeof much);
    CHECK_ERROR(write(data[1], much, 1), EPIPE);
    return NULL;
}

/* The reader's death ends a write that waits; what was written counts. */
static void reader_dies(void)
{
    pthread_t thread;
    char byte;
    on_signal(SIGPIPE, SIG_IGN, 0);
    CHECK(pipe(data) == 0);
    CHECK(pthread_create(&thread, NULL, blocked_writer, NULL) == 0);
    while (readable_bytes(data[0]) < 65536)
        sched_yield();
    CHECK(read(data[0], &byte, 1) == 1);
    close(data[0]);
    CHECK(pthread_join(thread, NULL) == 0);
    close(data[1]);
}

static void *reader_to_end(void *argument)
{
    char byte;
    (void)argument;
    CHECK(read(data[0], &byte, 1) == 0);
    return NULL;
}

static void writer_dies(void)
{
    pthread_t threads[3];
    CHECK(pipe(data) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, reader_to_end, NULL) == 0);
    close(data[1]);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    close(data[0]);
}

static void interrupted(void)
{
    static char much[1 << 20];
    char byte;
    CHECK(pipe(data) == 0);
    tick_start(0);
    CHECK_ERROR(read(data[0], &byte, 1), EINTR);
    CHECK(write(data[1], much, sizeof much) == 65536);
    CHECK_ERROR(write(data[1], much, 1), EINTR);
    tick_stop();
    close(data[0]);
    close(data[1]);
}

static void *late_writer(void *argument)
{
    (void)argument;
    sigset_t set;
    sigfillset(&set);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    while (ticks < 5)
        sched_yield();
    CHECK(write(data[1], "x", 1) == 1);
    return NULL;
}

static void restarted(void)
{
    pthread_t thread;
    char byte;
    CHECK(pipe(data) == 0);
    tick_start(SA_RESTART);
    CHECK(pthread_create(&thread, NULL, late_writer, NULL) == 0);
    CHECK(read(data[0], &byte, 1) == 1 && ticks >= 5);
    tick_stop();
    CHECK(pthread_join(thread, NULL) == 0);
    close(data[0]);
    close(data[1]);
}

int main(void)
{
    ping_pong();
    atomic_records();
    reader_dies();
    writer_dies();
    interrupted();
    restarted();
    return 0;
}
