/* brk, memory limits, locks and barriers. */
#include <linux/membarrier.h>

#include "memory_check.h"

static long set_break(void *end) { return syscall(SYS_brk, end); }

static void heap(void)
{
    char *start = (char *)set_break(NULL), *page = (char *)(((uintptr_t)start + PAGE - 1) & ~(PAGE - 1));
    CHECK((char *)set_break((void *)16) == start);
    CHECK((char *)set_break(page + 3 * PAGE + 10) == page + 3 * PAGE + 10);
    memset(start, 1, 3 * PAGE);
    CHECK((char *)set_break(page + PAGE) == page + PAGE);
    CHECK(fault_of(page + PAGE, false) == SIGSEGV);
    CHECK((char *)set_break(page + 3 * PAGE) == page + 3 * PAGE);
    CHECK(page[2 * PAGE] == 0 && start[0] == 1);
    CHECK((char *)set_break(start) == start);
}

static void heap_blocked(void)
{
    char *start = (char *)set_break(NULL), *page = (char *)(((uintptr_t)start + PAGE - 1) & ~(PAGE - 1));
    char *wall = mmap(page + 4 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(wall == page + 4 * PAGE);
    CHECK((char *)set_break(page + 8 * PAGE) == start);
    CHECK((char *)set_break(page + 2 * PAGE) == page + 2 * PAGE);
}

static void heap_limit(void)
{
    struct rlimit limit = {.rlim_cur = 8ul << 20, .rlim_max = RLIM_INFINITY};
    char *start = (char *)set_break(NULL);
    CHECK(setrlimit(RLIMIT_DATA, &limit) == 0);
    CHECK((char *)set_break(start + (16ul << 20)) == start);
    CHECK_ERROR(mmap(NULL, 16ul << 20, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM);
    CHECK(mmap(NULL, 16ul << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
}

static void locks(void)
{
    struct rlimit limit = {.rlim_cur = 4 * PAGE, .rlim_max = 4 * PAGE};
    char *area = map_pages(8, READ_WRITE);
    CHECK(mlock(area, 2 * PAGE) == 0 && munlock(area, 2 * PAGE) == 0);
    CHECK(syscall(SYS_mlock2, area, PAGE, 1) == 0);
    CHECK_ERROR(syscall(SYS_mlock2, area, PAGE, 2), EINVAL);
    CHECK_ERROR(madvise(area, PAGE, MADV_DONTNEED), EINVAL);
    CHECK_ERROR(msync(area, PAGE, MS_INVALIDATE), EBUSY);
    CHECK_ERROR(mlockall(0), EINVAL);
    CHECK_ERROR(mlockall(64), EINVAL);
    CHECK(munlockall() == 0);
    CHECK(munmap(area + 3 * PAGE, PAGE) == 0);
    CHECK_ERROR(mlock(area, 8 * PAGE), ENOMEM);
    CHECK(munlockall() == 0 && setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    if (geteuid() == 0)
        CHECK(setresuid(65534, 65534, 65534) == 0);
    CHECK(mlock(area, 3 * PAGE) == 0);
    CHECK_ERROR(mlock(area + 4 * PAGE, 2 * PAGE), ENOMEM);
    CHECK(mlock(area, 3 * PAGE) == 0); /* counted once */
    CHECK_ERROR(mmap(NULL, 4 * PAGE, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0), EAGAIN);
}

static void barriers(void)
{
    long offered = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    CHECK(offered > 0 && (offered & MEMBARRIER_CMD_PRIVATE_EXPEDITED));
    CHECK_ERROR(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 1, 0), EINVAL);
    CHECK_ERROR(syscall(SYS_membarrier, 1 << 20, 0, 0), EINVAL);
    CHECK_ERROR(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), EPERM);
    CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0);
    CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0);
}

int main(void)
{
    in_child(heap);
    in_child(heap_blocked);
    in_child(heap_limit);
    in_child(locks);
    in_child(barriers);
    return 0;
}
