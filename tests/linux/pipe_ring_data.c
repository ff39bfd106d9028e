/* Pipes in use (see pipe_ring_check.h): what comes through, whole and in order, between processes and threads. */
#include "pipe_ring_check.h"

static char large[1 << 17];

static unsigned next_random(unsigned *seed) { return (*seed = *seed * 1103515245 + 12345) >> 8; }

/* As if it were `count` from the stream of all numbers, whose bytes are mixed. */
static unsigned char byte_at(unsigned long position) { return (unsigned char)(position * 31 + (position >> 8) * 7 + (position >> 16)); }

static void write_stream(int fd, unsigned long total, unsigned seed, unsigned most)
{
    static unsigned char bytes[1 << 17];
    for (unsigned long done = 0; done < total;) {
        size_t size = 1 + next_random(&seed) % (next_random(&seed) % 50 ? 300 : most);
        if (size > total - done)
            size = total - done;
        for (size_t i = 0; i < size; i++)
            bytes[i] = byte_at(done + i);
        CHECK(write(fd, bytes, size) == (ssize_t)size);
        done += size;
    }
    _exit(0);
}

static void disturb(int fd, unsigned which)
{
    int other;
    switch (which % 5) {
    case 0: readable_bytes(fd); break;
    case 1: poll_one(fd, POLLIN); break;
    case 2: CHECK((other = dup(fd)) >= 0 && close(other) == 0); break;
    case 3: CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(fd, F_SETFL, 0) == 0); break;
    default: sched_yield(); break;
    }
}

static void stream(unsigned long total, unsigned most, unsigned disturbances)
{
    static unsigned char bytes[1 << 17];
    unsigned seed = most;
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (!child) {
        close(ends[0]);
        write_stream(ends[1], total, 4711, most);
    }
    close(ends[1]);
    unsigned long done = 0;
    ssize_t got;
    while ((got = read(ends[0], bytes, 1 + next_random(&seed) % (next_random(&seed) % 20 ? 400 : sizeof bytes))) > 0) {
        for (ssize_t i = 0; i < got; i++)
            CHECK(bytes[i] == byte_at(done + i));
        done += got;
        if (disturbances && next_random(&seed) % disturbances == 0)
            disturb(ends[0], next_random(&seed));
    }
    CHECK(got == 0 && done == total);
    close(ends[0]);
    child_done(child);
}

static void streams(void)
{
    stream(6000000, 300, 0);
    stream(6000000, 9000, 200);
    stream(6000000, 4096, 1500);
    stream(20000000, 100000, 100);
}

static void large_writes(void)
{
    begin();
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = 1;
    pid_t child = fork();
    if (!child) { /* more orders of one byte each than a pipe holds */
        CHECK(write(to[1], large, sizeof large) == sizeof large);
        _exit(0);
    }
    for (size_t got = 0; got < sizeof large;) {
        ssize_t part = read(from[0], block, sizeof block);
        CHECK(part > 0);
        got += part;
    }
    child_done(child);
    warm();
    end();
}

#define WRITERS 3
#define RECORDS 4000
#define RECORD 700

static void record_of(char record[RECORD], int writer, int number)
{
    memset(record, 'a' + writer, RECORD);
    memcpy(record, &number, sizeof number);
}

/* Writes of at most PIPE_BUF bytes stay whole and in each writer's order, though one of the writers is killed. */
static void whole_records(bool kill_one)
{
    int ends[2], seen[WRITERS] = {0};
    pid_t children[WRITERS];
    char record[RECORD], expected[RECORD];
    CHECK(pipe(ends) == 0);
    for (int i = 0; i < WRITERS; i++)
        if (!(children[i] = fork())) {
            close(ends[0]);
            for (int j = 0; j < RECORDS; j++) {
                record_of(record, i, j);
                CHECK(write(ends[1], record, RECORD) == RECORD);
            }
            _exit(0);
        }
    close(ends[1]);
    for (int records = 0;; records++) {
        size_t have = 0;
        ssize_t part;
        while (have < RECORD && (part = read(ends[0], record + have, RECORD - have)) > 0)
            have += part;
        if (!have)
            break;
        int writer = record[RECORD - 1] - 'a';
        CHECK(have == RECORD && writer >= 0 && writer < WRITERS);
        record_of(expected, writer, seen[writer]++);
        CHECK(memcmp(record, expected, RECORD) == 0);
        if (kill_one && records == 1000)
            kill(children[0], SIGKILL);
    }
    for (int i = 0; i < WRITERS; i++) {
        CHECK(waitpid(children[i], NULL, 0) == children[i]);
        CHECK(seen[i] == RECORDS || (kill_one && i == 0));
    }
    close(ends[0]);
}

#define PAIRS 12
static int there[PAIRS][2], back[PAIRS][2];

static void *answer_all(void *unused)
{
    char byte;
    (void)unused;
    for (int i = 0; i < PAIRS * 400; i++)
        CHECK(read(there[i % PAIRS][0], &byte, 1) == 1 && write(back[i % PAIRS][1], &byte, 1) == 1);
    return NULL;
}

/* More pipes than one thread, and one process, can have in use at once. */
static void many_pipes(void)
{
    pthread_t thread;
    char byte;
    for (int i = 0; i < PAIRS; i++)
        CHECK(pipe(there[i]) == 0 && pipe(back[i]) == 0);
    CHECK(pthread_create(&thread, NULL, answer_all, NULL) == 0);
    for (int i = 0; i < PAIRS * 400; i++) {
        char sent = (char)i;
        CHECK(write(there[i % PAIRS][1], &sent, 1) == 1 && read(back[i % PAIRS][0], &byte, 1) == 1 && byte == sent);
    }
    pthread_join(thread, NULL);
    for (int i = 0; i < PAIRS; i++)
        close(there[i][0]), close(there[i][1]), close(back[i][0]), close(back[i][1]);
}

#define READERS 4
#define ITEMS 20000
static unsigned long sums[READERS];
static int items[2];

static void *read_items(void *argument)
{
    unsigned item;
    while (read(items[0], &item, sizeof item) == sizeof item)
        *(unsigned long *)argument += item;
    return NULL;
}

static void many_readers(void)
{
    pthread_t threads[READERS];
    unsigned long sum = 0;
    CHECK(pipe(items) == 0);
    for (int i = 0; i < READERS; i++)
        CHECK(pthread_create(&threads[i], NULL, read_items, &sums[i]) == 0);
    for (unsigned i = 1; i <= ITEMS; i++)
        CHECK(write(items[1], &i, sizeof i) == sizeof i);
    close(items[1]);
    for (int i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        sum += sums[i];
    }
    CHECK(sum == (unsigned long)ITEMS * (ITEMS + 1) / 2);
    close(items[0]);
}

static void *read_quota(void *argument)
{
    unsigned item;
    for (unsigned i = 0; i < ITEMS / READERS; i++)
        CHECK(read(items[0], &item, sizeof item) == sizeof item);
    return argument;
}

/* Who stops reading leaves the rest to the others, wherever they wait. */
static void readers_that_stop(void)
{
    pthread_t threads[READERS];
    CHECK(pipe(items) == 0);
    for (int i = 0; i < READERS; i++)
        CHECK(pthread_create(&threads[i], NULL, read_quota, NULL) == 0);
    for (unsigned i = 1; i <= ITEMS; i++)
        CHECK(write(items[1], &i, sizeof i) == sizeof i);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    close(items[0]);
    close(items[1]);
}

int main(void)
{
    streams();
    large_writes();
    whole_records(false);
    whole_records(true);
    many_pipes();
    many_readers();
    readers_that_stop();
    return 0;
}
