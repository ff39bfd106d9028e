/* mprotect, madvise, msync, mincore. */
#include "memory_check.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#define MADV_KEEPONFORK 19
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

static void protect(void)
{
    char *area = map_pages(6, READ_WRITE);
    memset(area, 5, 6 * PAGE);
    CHECK(mprotect(area + PAGE, 2 * PAGE, PROT_READ) == 0);
    CHECK(area[PAGE] == 5 && fault_of(area + PAGE, true) == SIGSEGV && fault_code == SEGV_ACCERR);
    CHECK(mprotect(area + 2 * PAGE, PAGE, PROT_NONE) == 0);
    CHECK(fault_of(area + 2 * PAGE, false) == SIGSEGV && fault_code == SEGV_ACCERR);
    CHECK(mprotect(area, 6 * PAGE, READ_WRITE) == 0);
    CHECK(area[2 * PAGE] == 5 && fault_of(area + 2 * PAGE, true) == 0);
    CHECK_ERROR(mprotect(area + 1, PAGE, PROT_READ), EINVAL);
    CHECK_ERROR(mprotect(area, PAGE, 0x100), EINVAL);
    CHECK(mprotect(area, 0, PROT_READ) == 0);
    CHECK(munmap(area + 3 * PAGE, PAGE) == 0);
    CHECK_ERROR(mprotect(area, 6 * PAGE, PROT_READ), ENOMEM);
    CHECK_ERROR(mprotect(area, PAGE, PROT_READ | PROT_GROWSDOWN), EINVAL);
    CHECK(munmap(area, 6 * PAGE) == 0);
}

static void protect_read_only_file(void)
{
    int fd = open("/proc/self/exe", O_RDONLY);
    char *shared = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0), *private = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(shared != MAP_FAILED && private != MAP_FAILED);
    CHECK_ERROR(mprotect(shared, PAGE, READ_WRITE), EACCES);
    CHECK(mprotect(private, PAGE, READ_WRITE) == 0);
    private[0] = 'x';
    CHECK(private[0] == 'x' && shared[0] == 0x7f);
    close(fd);
}

static void execute(void)
{
#ifdef __riscv
    static const unsigned char code[] = {0x13, 0x05, 0xa0, 0x02, 0x82, 0x80}; /* li a0, 42; ret */
#else
    static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3}; /* mov $42, %eax; ret */
#endif
    char *area = map_pages(1, READ_WRITE);
    memcpy(area, code, sizeof(code));
    CHECK(mprotect(area, PAGE, PROT_READ | PROT_EXEC) == 0);
    CHECK(((int (*)(void))area)() == 42);
    CHECK(munmap(area, PAGE) == 0);
}

static void advise(void)
{
    char *area = map_pages(4, READ_WRITE);
    memset(area, 9, 4 * PAGE);
    CHECK(madvise(area + PAGE, PAGE, MADV_DONTNEED) == 0);
    CHECK(area[0] == 9 && area[PAGE] == 0 && area[2 * PAGE] == 9);
    CHECK(madvise(area, 4 * PAGE, MADV_WILLNEED) == 0 && madvise(area, 4 * PAGE, MADV_RANDOM) == 0);
    CHECK_ERROR(madvise(area + 1, PAGE, MADV_DONTNEED), EINVAL);
    CHECK_ERROR(madvise(area, PAGE, 1234), EINVAL);
    CHECK(madvise(area, 0, MADV_DONTNEED) == 0);
    CHECK(munmap(area + 2 * PAGE, PAGE) == 0);
    CHECK_ERROR(madvise(area, 4 * PAGE, MADV_DONTNEED), ENOMEM);
    CHECK(area[0] == 0 && area[3 * PAGE] == 0); /* carried out around the hole */
    CHECK(madvise(area, 2 * PAGE, MADV_POPULATE_WRITE) == 0);
    CHECK(mprotect(area, PAGE, PROT_READ) == 0);
    CHECK_ERROR(madvise(area, PAGE, MADV_POPULATE_WRITE), EINVAL);
    CHECK_ERROR(madvise(area, PAGE, MADV_REMOVE), EINVAL);
    CHECK(munmap(area, 4 * PAGE) == 0);
}

static void advise_shared(void)
{
    char *area = mmap(NULL, 4 * PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    memset(area, 3, 4 * PAGE);
    CHECK(madvise(area, 4 * PAGE, MADV_DONTNEED) == 0 && area[0] == 3);
    CHECK(madvise(area + PAGE, PAGE, MADV_REMOVE) == 0);
    CHECK(area[0] == 3 && area[PAGE] == 0 && area[2 * PAGE] == 3);
    CHECK_ERROR(madvise(area, PAGE, MADV_FREE), EINVAL);
    CHECK_ERROR(madvise(area, PAGE, MADV_WIPEONFORK), EINVAL);
    CHECK(munmap(area, 4 * PAGE) == 0);
}

static char *kept, *wiped, *dropped, *kept_again;

static void look_in_child(void)
{
    CHECK(kept[0] == 1 && wiped[0] == 0 && kept_again[0] == 1);
    CHECK(fault_of(dropped, false) == SIGSEGV);
}

static void advise_fork(void)
{
    kept = map_pages(1, READ_WRITE), wiped = map_pages(1, READ_WRITE), dropped = map_pages(1, READ_WRITE);
    kept_again = map_pages(1, READ_WRITE);
    kept[0] = wiped[0] = dropped[0] = kept_again[0] = 1;
    CHECK(madvise(wiped, PAGE, MADV_WIPEONFORK) == 0 && madvise(dropped, PAGE, MADV_DONTFORK) == 0);
    CHECK(madvise(kept_again, PAGE, MADV_WIPEONFORK) == 0 && madvise(kept_again, PAGE, MADV_KEEPONFORK) == 0);
    in_child(look_in_child);
    CHECK(wiped[0] == 1 && dropped[0] == 1);
}

static void sync_and_core(void)
{
    char *area = map_pages(4, READ_WRITE);
    unsigned char present[4];
    memset(area, 1, 4 * PAGE);
    CHECK(mincore(area, 4 * PAGE, present) == 0);
    CHECK((present[0] & 1) && (present[3] & 1));
    CHECK_ERROR(mincore(area + 1, PAGE, present), EINVAL);
    CHECK_ERROR(mincore(area, PAGE, (unsigned char *)8), EFAULT);
    CHECK(msync(area, 4 * PAGE, MS_ASYNC) == 0 && msync(area, 4 * PAGE, MS_SYNC) == 0 && msync(area, 0, MS_SYNC) == 0);
    CHECK_ERROR(msync(area, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
    CHECK_ERROR(msync(area + 1, PAGE, MS_SYNC), EINVAL);
    CHECK_ERROR(msync(area, PAGE, 64), EINVAL);
    CHECK(munmap(area + PAGE, PAGE) == 0);
    CHECK_ERROR(mincore(area, 4 * PAGE, present), ENOMEM);
    CHECK_ERROR(msync(area, 4 * PAGE, MS_SYNC), ENOMEM);
    CHECK(munmap(area, 4 * PAGE) == 0);
}

int main(void)
{
    protect();
    protect_read_only_file();
    execute();
    advise();
    advise_shared();
    advise_fork();
    sync_and_core();
    return 0;
}
