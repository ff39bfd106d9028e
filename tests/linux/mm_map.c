/* mmap and munmap: places, flags, errors. */
#include "memory_check.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

static void errors(void)
{
    int fd = open("/proc/self/exe", O_RDONLY), wfd = open("/tmp", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600), pipes[2];
    char *page = map_pages(1, READ_WRITE);
    CHECK(fd >= 0 && pipe(pipes) == 0);
    CHECK_ERROR(mmap(NULL, 0, PROT_READ, ANONYMOUS, -1, 0), EINVAL);
    CHECK_ERROR(mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0), EINVAL);
    CHECK_ERROR(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 1), EINVAL);
    CHECK_ERROR(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 999, 0), EBADF);
    CHECK_ERROR(mmap(NULL, PAGE, READ_WRITE, MAP_SHARED, fd, 0), EACCES);
    CHECK_ERROR(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, pipes[0], 0), ENODEV);
    CHECK_ERROR(mmap(NULL, ~0ul - 100, PROT_READ, ANONYMOUS, -1, 0), ENOMEM);
    CHECK_ERROR(mmap(page + 1, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0), EINVAL);
    CHECK_ERROR(mmap(page, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    CHECK_ERROR(mmap(NULL, PAGE, READ_WRITE, MAP_SHARED_VALIDATE | (1 << 25), fd, 0), EOPNOTSUPP);
    CHECK_ERROR(mmap(NULL, PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0), EINVAL);
    if (wfd >= 0) {
        CHECK_ERROR(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, wfd, 0), EACCES);
        close(wfd);
    }
    CHECK_ERROR(munmap(page + 1, PAGE), EINVAL);
    CHECK_ERROR(munmap(page, 0), EINVAL);
    CHECK(munmap(page, PAGE) == 0);
    CHECK(munmap(page, PAGE) == 0);
    close(fd);
    close(pipes[0]);
    close(pipes[1]);
}

static void places(void)
{
    char *area = map_pages(8, READ_WRITE), *again;
    memset(area, 7, 8 * PAGE);
    CHECK(munmap(area + 2 * PAGE, PAGE) == 0);
    CHECK(fault_of(area + 2 * PAGE, false) == SIGSEGV && fault_code == SEGV_MAPERR && fault_address == area + 2 * PAGE);
    CHECK(area[PAGE] == 7 && area[3 * PAGE] == 7);
    again = mmap(area + 2 * PAGE, PAGE, READ_WRITE, ANONYMOUS, -1, 0);
    CHECK(again == area + 2 * PAGE && again[0] == 0);
    again = mmap(area + 3 * PAGE, PAGE, READ_WRITE, ANONYMOUS, -1, 0);
    CHECK(again != MAP_FAILED && again != area + 3 * PAGE);
    CHECK(munmap(again, PAGE) == 0);
    again = mmap(area + 3 * PAGE, 2 * PAGE, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(again == area + 3 * PAGE && again[0] == 0 && area[5 * PAGE] == 7);
    CHECK(fault_of(again, true) == SIGSEGV && fault_code == SEGV_ACCERR);
    CHECK(munmap(area, 8 * PAGE) == 0);
    for (int i = 0; i < 8; i++)
        CHECK(fault_of(area + i * PAGE, false) == SIGSEGV);
}

static void file_private(void)
{
    char name[] = "/tmp/hyla-map-XXXXXX", text[5] = {0};
    int fd = mkstemp(name);
    char *memory;
    CHECK(fd >= 0 && unlink(name) == 0 && write(fd, "hello", 5) == 5 && ftruncate(fd, 2 * PAGE) == 0);
    memory = mmap(NULL, 2 * PAGE, READ_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(memory != MAP_FAILED && memcmp(memory, "hello", 5) == 0 && memory[PAGE] == 0);
    memory[0] = 'j';
    CHECK(pread(fd, text, 5, 0) == 5 && memcmp(text, "hello", 5) == 0);
    CHECK(munmap(memory, 2 * PAGE) == 0);
    close(fd);
}

static void file_shared(void)
{
    char name[] = "/tmp/hyla-map-XXXXXX", text[6] = {0};
    int fd = mkstemp(name);
    char *one, *two;
    CHECK(fd >= 0 && unlink(name) == 0 && ftruncate(fd, 3 * PAGE) == 0);
    one = mmap(NULL, 3 * PAGE, READ_WRITE, MAP_SHARED, fd, 0);
    two = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, PAGE);
    CHECK(one != MAP_FAILED && two != MAP_FAILED);
    close(fd);
    strcpy(one + PAGE, "there");
    CHECK(strcmp(two, "there") == 0);
    CHECK(msync(one, 3 * PAGE, MS_SYNC) == 0);
    CHECK(mprotect(two, PAGE, READ_WRITE) == 0);
    two[0] = 'T';
    CHECK(one[PAGE] == 'T');
    memcpy(text, one + PAGE, 5);
    CHECK(strcmp(text, "There") == 0);
    CHECK(munmap(one, 3 * PAGE) == 0 && munmap(two, PAGE) == 0);
}

static void shared_over_fork(void)
{
    _Atomic int *shared = mmap(NULL, PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int *private = (int *)map_pages(1, READ_WRITE), status;
    pid_t pid;
    CHECK(shared != MAP_FAILED);
    *private = 1;
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        *private = 2;
        *shared = 42;
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(*shared == 42 && *private == 1);
}

static void limits(void)
{
    struct rlimit limit = {.rlim_cur = 512ul << 20, .rlim_max = RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    CHECK_ERROR(mmap(NULL, 1ul << 30, PROT_READ, ANONYMOUS | MAP_NORESERVE, -1, 0), ENOMEM);
    CHECK(mmap(NULL, 1ul << 20, PROT_READ, ANONYMOUS, -1, 0) != MAP_FAILED);
}

/* A stack made by hand grows when it is touched below. */
static void grows_down(void)
{
    char *area = map_pages(1024, PROT_NONE), *stack;
    CHECK(munmap(area, 1024 * PAGE) == 0);
    stack = mmap(area + 1000 * PAGE, PAGE, READ_WRITE, ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
    CHECK(stack == area + 1000 * PAGE);
    stack[0] = 1;
    CHECK(fault_of(stack - PAGE, true) == 0);
    CHECK(fault_of(stack - 5 * PAGE, true) == 0);
    CHECK(stack[-5 * (long)PAGE] == 1);
}

int main(void)
{
    errors();
    places();
    file_private();
    file_shared();
    shared_over_fork();
    in_child(limits);
    in_child(grows_down);
    return 0;
}
