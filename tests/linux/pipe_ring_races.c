/*
 * Pipes in use (see pipe_ring_check.h) that others look at, or write to, in the middle of a call: nothing comes twice, nothing is lost,
 * what is written at once stays whole.
 */
#include "pipe_ring_check.h"

#include <sys/mman.h>

/* --- looked at by a third one ------------------------------------------------------------------------------ */

#define LOOKS 150
#define CALLS_BETWEEN 2500 /* enough for a kernel to find the pipe quiet again */
#define PIECE 3001

static volatile unsigned long *calls_done; /* shared: of the reader */

static unsigned char byte_at(unsigned long position) { return (unsigned char)(position * 31 + (position >> 8) * 7 + (position >> 16)); }

static void write_pieces(int fd)
{
    static unsigned char bytes[PIECE];
    for (unsigned long done = 0;; done += sizeof bytes) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = byte_at(done + i);
        ssize_t put = write(fd, bytes, sizeof bytes);
        if (put < 0 && errno == EPIPE)
            _exit(0);
        CHECK(put == sizeof bytes);
    }
}

/* Asks how much is there, each time after the reader has had peace for a while. */
static void look_on(int fd)
{
    for (unsigned long look = 1; look <= LOOKS; look++) {
        while (*calls_done < look * CALLS_BETWEEN)
            sched_yield();
        CHECK(readable_bytes(fd) >= 0);
    }
    _exit(0);
}

static void looked_at_by_a_third(void)
{
    static unsigned char bytes[PIECE];
    int ends[2];
    pid_t writer, onlooker;
    unsigned long done = 0;
    ssize_t got;
    CHECK(pipe(ends) == 0);
    calls_done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!(writer = fork())) {
        on_signal(SIGPIPE, SIG_IGN, 0);
        close(ends[0]);
        write_pieces(ends[1]);
    }
    if (!(onlooker = fork()))
        look_on(ends[0]);
    close(ends[1]);
    while (*calls_done < (LOOKS + 1) * CALLS_BETWEEN && (got = read(ends[0], bytes, sizeof bytes)) > 0) {
        for (ssize_t i = 0; i < got; i++)
            CHECK(bytes[i] == byte_at(done + i));
        done += got;
        ++*calls_done;
    }
    child_done(onlooker);
    close(ends[0]);
    child_done(writer);
}

/* --- two writers that meet ---------------------------------------------------------------------------------- */

#define ROUNDS 60
#define RECORDS 120
#define RECORD 4000

static int records[2];
static pthread_barrier_t start;

static void *write_records(void *argument)
{
    char record[RECORD];
    memset(record, *(char *)argument, sizeof record);
    for (int i = 0; i < WARM; i++)
        CHECK(write(records[1], record, 1) == 1); /* now and then with peace: the reader follows */
    pthread_barrier_wait(&start);
    for (int i = 0; i < RECORDS; i++)
        CHECK(write(records[1], record, sizeof record) == sizeof record);
    return NULL;
}

static void read_whole(char *to, size_t size)
{
    for (size_t have = 0; have < size;) {
        ssize_t part = read(records[0], to + have, size - have);
        CHECK(part > 0);
        have += part;
    }
}

static void writers_that_meet(void)
{
    static char names[2] = {'a', 'b'};
    char record[RECORD];
    pthread_t writers[2];
    for (int round = 0; round < ROUNDS; round++) {
        int seen[2] = {0, 0};
        CHECK(pipe(records) == 0 && pthread_barrier_init(&start, NULL, 2) == 0);
        for (int i = 0; i < 2; i++)
            CHECK(pthread_create(&writers[i], NULL, write_records, &names[i]) == 0);
        for (int i = 0; i < 2 * WARM; i++)
            read_whole(record, 1);
        for (int i = 0; i < 2 * RECORDS; i++) {
            read_whole(record, sizeof record);
            for (size_t j = 1; j < sizeof record; j++)
                CHECK(record[j] == record[0]);
            seen[record[0] - 'a']++;
        }
        CHECK(seen[0] == RECORDS && seen[1] == RECORDS);
        for (int i = 0; i < 2; i++)
            pthread_join(writers[i], NULL);
        pthread_barrier_destroy(&start);
        close(records[0]), close(records[1]);
    }
}

int main(void)
{
    looked_at_by_a_third();
    writers_that_meet();
    return 0;
}
