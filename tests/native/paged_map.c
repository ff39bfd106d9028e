/*
 * Mappings of a memobj whose pages a thread of the same program supplies: faults, first writes, eviction, truncation, forks. Made of
 * plain system calls, so that the same program runs on the RISC-V machine; an attached process has no such mappings, and passes.
 */

#include <errno.h>
#include <hyla/numbers.h>
#include <hyla/types.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #what, errno); \
            _exit(1); \
        } \
    } while (0)

#define PAGE 4096u
#define PAGES 64u
#define HUGE (1ul << 30)

static struct {
    uint32_t port, wake, pager, memobj;
    pthread_t thread;
    char store[PAGES][PAGE];
    atomic_uint asked, bad_page;
} file;

static long supply(struct hyla_page_run *run, const void *data, unsigned long size)
{
    return syscall(HYLA_CALL_PAGER_SUPPLY, file.pager, run, data, size);
}

static void page_in(const struct hyla_msg *msg)
{
    for (uint64_t i = 0; i < msg->words[3]; i++) {
        struct hyla_page_run one = {.first = msg->words[2] + i, .count = 1, .epoch = msg->words[4]};
        file.asked++;
        if (one.first == file.bad_page)
            CHECK(syscall(HYLA_CALL_PAGER_FAIL, file.pager, &one, EIO) == 0);
        else if (one.first >= PAGES)
            CHECK(supply(&one, &one.first, sizeof one.first) >= 0);
        else
            CHECK(supply(&one, file.store[one.first], PAGE) >= 0);
    }
}

static void write_back(void)
{
    static char bytes[4 * PAGE];
    struct hyla_page_run run;
    while (syscall(HYLA_CALL_PAGER_CLEAN, file.pager, 0, UINT64_MAX, bytes, sizeof bytes, &run) > 0) {
        for (uint64_t i = 0; i < run.count && run.first + i < PAGES; i++)
            memcpy(file.store[run.first + i], bytes + i * PAGE, PAGE);
        CHECK(syscall(HYLA_CALL_PAGER_CLEANED, file.pager, &run, 0) == 0);
    }
}

static void *pager_thread(void *argument)
{
    struct hyla_pager_news news;
    for (;;) {
        struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = file.port};
        long result = syscall(HYLA_CALL_MSG, &msg);
        if (result < 0 && errno == EINTR)
            continue;
        CHECK(result == 0);
        if (msg.words[0] == 99)
            return argument;
        if (msg.words[0] == HYLA_PAGER_PAGE_IN) {
            page_in(&msg);
            continue;
        }
        CHECK(syscall(HYLA_CALL_PAGER_NEWS, file.pager, &news) == 0);
        if (news.flags & HYLA_NEWS_RESIZED)
            for (uint64_t page = (news.lowest + PAGE - 1) / PAGE; page < PAGES; page++)
                memset(file.store[page], 0, PAGE);
        if (news.flags & HYLA_NEWS_CLEAN)
            write_back();
    }
}

static void begin(void)
{
    file.bad_page = ~0u;
    file.port = (uint32_t)syscall(HYLA_CALL_PORT_CREATE, 16);
    file.wake = (uint32_t)syscall(HYLA_CALL_PORT_MAKE_SEND, file.port, 5, 0);
    file.pager = (uint32_t)syscall(HYLA_CALL_PAGER_CREATE, file.port, 77, HUGE);
    file.memobj = (uint32_t)syscall(HYLA_CALL_PAGER_MEMOBJ, file.pager, HYLA_RIGHT_ALL);
    CHECK((int)file.port > 0 && (int)file.wake > 0 && (int)file.pager > 0 && (int)file.memobj > 0);
    for (unsigned i = 0; i < PAGES; i++)
        memset(file.store[i], 'a' + (int)i % 26, PAGE);
    CHECK(pthread_create(&file.thread, NULL, pager_thread, NULL) == 0);
}

static volatile char *map(uint64_t size, uint64_t offset, uint32_t flags)
{
    struct hyla_map map = {.size = size, .offset = offset, .protection = HYLA_PROT_READ | HYLA_PROT_WRITE, .flags = flags};
    if (syscall(HYLA_CALL_MEMOBJ_MAP, file.memobj, &map) < 0 && errno == ENODEV)
        exit(0); /* this body does not map on demand yet */
    CHECK(map.address);
    return (volatile char *)map.address;
}

static uint8_t flags_of(uint64_t page)
{
    uint8_t flags = 0xff;
    CHECK(syscall(HYLA_CALL_PAGER_QUERY, file.pager, page, &flags, 1) == 0);
    return flags;
}

static long evict(uint64_t first, uint64_t count) { return syscall(HYLA_CALL_PAGER_EVICT, file.pager, first, count, 0); }
static long sync_all(void) { return syscall(HYLA_CALL_MEMOBJ_SYNC, file.memobj, 0, UINT64_MAX); }

static sigjmp_buf back;
static siginfo_t got;

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    got = *info;
    siglongjmp(back, number);
}

/* The signal that an access brings, 0 when none. */
static int touch(volatile char *at, bool write)
{
    int number = sigsetjmp(back, 1);
    if (!number && write)
        *at = 'w';
    else if (!number)
        (void)*at;
    return number;
}

static void reading(volatile char *bytes)
{
    CHECK(bytes[5 * PAGE + 7] == 'f' && bytes[6 * PAGE] == 'g');
    unsigned asked = file.asked;
    CHECK(bytes[5 * PAGE] == 'f' && file.asked == asked);
    CHECK(!(flags_of(5) & HYLA_PAGE_DIRTY) && flags_of(5) & HYLA_PAGE_PRESENT);
}

static void first_writes(volatile char *bytes)
{
    bytes[5 * PAGE + 1] = 'X';
    CHECK(flags_of(5) & HYLA_PAGE_DIRTY && !(flags_of(6) & HYLA_PAGE_DIRTY));
    CHECK(sync_all() == 0);
    CHECK(file.store[5][1] == 'X' && !(flags_of(5) & HYLA_PAGE_DIRTY));
    bytes[5 * PAGE + 2] = 'Y';
    CHECK(flags_of(5) & HYLA_PAGE_DIRTY && file.store[5][2] == 'f');
    CHECK(evict(5, 1) == 0); /* dirty */
    CHECK(sync_all() == 0 && file.store[5][2] == 'Y');
    bytes[20 * PAGE] = 'Z'; /* not read before */
    CHECK(bytes[20 * PAGE] == 'Z' && bytes[20 * PAGE + 1] == 'u');
    CHECK(sync_all() == 0 && file.store[20][0] == 'Z');
}

static void eviction(volatile char *bytes)
{
    CHECK(evict(5, 1) == 1 && flags_of(5) == 0);
    file.store[5][9] = '9';
    CHECK(bytes[5 * PAGE + 9] == '9' && bytes[5 * PAGE + 2] == 'Y');
}

static void private_copies(volatile char *shared)
{
    volatile char *own = map(PAGES * PAGE, 0, 0);
    CHECK(own[8 * PAGE] == 'i');
    own[8 * PAGE] = 'p';
    own[9 * PAGE + 1] = 'q';
    CHECK(shared[8 * PAGE] == 'i' && shared[9 * PAGE + 1] == 'j' && !(flags_of(8) & HYLA_PAGE_DIRTY));
    evict(8, 2);
    CHECK(own[8 * PAGE] == 'p' && own[8 * PAGE + 1] == 'i' && own[9 * PAGE] == 'j' && own[9 * PAGE + 1] == 'q');
    CHECK(munmap((void *)own, PAGES * PAGE) == 0);
}

static void copies_bring_pages(volatile char *bytes)
{
    char buffer[64];
    int ends[2];
    CHECK(pipe(ends) == 0);
    CHECK(write(ends[1], (void *)(bytes + 31 * PAGE - 8), 16) == 16);
    CHECK(read(ends[0], buffer, 16) == 16 && memcmp(buffer, "eeeeeeeeffffffff", 16) == 0);
    CHECK(write(ends[1], "0123456789", 10) == 10);
    CHECK(read(ends[0], (void *)(bytes + 33 * PAGE - 5), 10) == 10);
    CHECK(memcmp((void *)(bytes + 33 * PAGE - 5), "0123456789", 10) == 0);
    CHECK(flags_of(32) & HYLA_PAGE_DIRTY && flags_of(33) & HYLA_PAGE_DIRTY);
    close(ends[0]);
    close(ends[1]);
}

static void forking(volatile char *shared)
{
    volatile char *own = map(PAGES * PAGE, 0, 0);
    int status;
    own[40 * PAGE] = '1';
    shared[41 * PAGE] = '1';
    pid_t child = fork();
    if (child == 0) {
        CHECK(own[40 * PAGE] == '1' && own[42 * PAGE] == 'q');
        own[40 * PAGE] = '2';
        shared[41 * PAGE + 1] = '2';
        shared[43 * PAGE] = '2';
        _exit(shared[41 * PAGE] == '1' && shared[44 * PAGE] == 's' ? 7 : 8);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    CHECK(own[40 * PAGE] == '1' && shared[41 * PAGE + 1] == '2' && shared[43 * PAGE] == '2');
    CHECK(flags_of(43) & HYLA_PAGE_DIRTY);
    CHECK(munmap((void *)own, PAGES * PAGE) == 0);
}

/* What another program has mapped is taken from it, too, while it runs and while it waits. */
static void eviction_elsewhere(volatile char *shared)
{
    int there[2], go[2], status;
    char byte;
    CHECK(pipe(there) == 0 && pipe(go) == 0);
    pid_t child = fork();
    if (child == 0) {
        CHECK(shared[50 * PAGE] == 'y' && shared[51 * PAGE] == 'z');
        shared[51 * PAGE] = 'c';
        CHECK(write(there[1], "r", 1) == 1 && read(go[0], &byte, 1) == 1);
        CHECK(shared[50 * PAGE] == 'N'); /* it waited in the kernel */
        shared[51 * PAGE] = 'd';
        CHECK(write(there[1], "r", 1) == 1);
        while (shared[50 * PAGE] != 'M') /* it runs */
            ;
        shared[51 * PAGE] = 'e';
        _exit(7);
    }
    CHECK(read(there[0], &byte, 1) == 1);
    CHECK(sync_all() == 0 && file.store[51][0] == 'c');
    file.store[50][0] = 'N';
    CHECK(evict(50, 1) == 1);
    CHECK(write(go[1], "g", 1) == 1 && read(there[0], &byte, 1) == 1);
    CHECK(sync_all() == 0 && file.store[51][0] == 'd');
    file.store[50][0] = 'M';
    CHECK(evict(50, 1) == 1);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    CHECK(flags_of(51) & HYLA_PAGE_DIRTY && sync_all() == 0 && file.store[51][0] == 'e');
    for (int i = 0; i < 2; i++) {
        close(there[i]);
        close(go[i]);
    }
}

static void changes_of_the_map(volatile char *bytes)
{
    volatile char *other = map(8 * PAGE, 10 * PAGE, HYLA_MAP_SHARED);
    other[PAGE] = 'A';
    CHECK(mprotect((void *)other, 2 * PAGE, PROT_READ) == 0);
    CHECK(touch(other + PAGE, true) == SIGSEGV && got.si_addr == other + PAGE && got.si_code == SEGV_ACCERR);
    CHECK(touch(other + 2 * PAGE, true) == 0 && touch(other + PAGE, false) == 0);
    CHECK(mprotect((void *)other, 8 * PAGE, PROT_READ | PROT_WRITE) == 0 && touch(other + PAGE, true) == 0);
    CHECK(bytes[11 * PAGE] == 'w');
    volatile char *moved = mremap((void *)other, 8 * PAGE, 16 * PAGE, MREMAP_MAYMOVE);
    CHECK(moved != MAP_FAILED && moved[PAGE] == 'w' && moved[3 * PAGE] == 'n' && moved[12 * PAGE] == 'w');
    CHECK(munmap((void *)(moved + PAGE), PAGE) == 0 && touch(moved + PAGE, false) == SIGSEGV && got.si_code == SEGV_MAPERR);
    CHECK(madvise((void *)moved, PAGE, MADV_DONTNEED) == 0 && moved[0] == 'k');
    CHECK(munmap((void *)moved, 16 * PAGE) == 0);
}

static void bus_errors(volatile char *bytes)
{
    evict(55, 1);
    file.bad_page = 55;
    CHECK(touch(bytes + 55 * PAGE + 3, false) == SIGBUS && got.si_code == BUS_ADRERR && got.si_addr == bytes + 55 * PAGE + 3);
    file.bad_page = ~0u;
    CHECK(touch(bytes + 55 * PAGE + 3, false) == 0);
    bytes[57 * PAGE] = 'x';
    CHECK(syscall(HYLA_CALL_MEMOBJ_RESIZE, file.memobj, 56 * PAGE + 9) == 0);
    CHECK(touch(bytes + 57 * PAGE + 3, true) == SIGBUS && got.si_code == BUS_ADRERR && got.si_addr == bytes + 57 * PAGE + 3);
    CHECK(touch(bytes + 57 * PAGE, false) == SIGBUS);
    CHECK(touch(bytes + 56 * PAGE + 100, false) == 0 && bytes[56 * PAGE + 8] == 'e' && bytes[56 * PAGE + 9] == 0);
    CHECK(syscall(HYLA_CALL_MEMOBJ_RESIZE, file.memobj, HUGE) == 0);
    CHECK(bytes[57 * PAGE] == 0 && bytes[56 * PAGE + 8] == 'e');
}

static void large(void)
{
    volatile char *bytes = map(HUGE, 0, HYLA_MAP_SHARED);
    unsigned asked = file.asked;
    for (uint64_t page = 100; page < HUGE / PAGE; page += 1013)
        CHECK(*(volatile uint64_t *)(bytes + page * PAGE) == page);
    CHECK(file.asked - asked <= HUGE / PAGE / 1013 + 1);
    CHECK(munmap((void *)bytes, HUGE) == 0);
}

static void death(volatile char *bytes)
{
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = file.wake, .words = {99}};
    CHECK(bytes[0] == 'a');
    CHECK(syscall(HYLA_CALL_MSG, &msg) == 0 && pthread_join(file.thread, NULL) == 0);
    CHECK(syscall(HYLA_CALL_HANDLE_CLOSE, file.pager) == 0);
    CHECK(touch(bytes, false) == 0 && bytes[0] == 'a');
    CHECK(touch(bytes + PAGE, false) == SIGBUS && touch(bytes, true) == SIGBUS);
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    if (syscall(HYLA_CALL_PROBE) < 0)
        return 0;
    CHECK(sigaction(SIGBUS, &action, NULL) == 0 && sigaction(SIGSEGV, &action, NULL) == 0);
    begin();
    volatile char *bytes = map(PAGES * PAGE, 0, HYLA_MAP_SHARED);
    reading(bytes);
    first_writes(bytes);
    eviction(bytes);
    private_copies(bytes);
    copies_bring_pages(bytes);
    forking(bytes);
    eviction_elsewhere(bytes);
    changes_of_the_map(bytes);
    large();
    bus_errors(bytes);
    death(bytes);
    puts("ok");
    return 0;
}
