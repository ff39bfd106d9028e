/* eventfd: counting, semaphore mode, the largest value, readiness, waiting. */
#include "event_check.h"

static void put(int fd, uint64_t value) { CHECK(write(fd, &value, 8) == 8); }
static uint64_t get(int fd)
{
    uint64_t value;
    CHECK(read(fd, &value, 8) == 8);
    return value;
}

static void counting(void)
{
    uint64_t value = UINT64_MAX;
    int fd = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK(poll_one(fd, POLLIN | POLLOUT) == (POLLIN | POLLOUT));
    CHECK(get(fd) == 3 && poll_one(fd, POLLIN | POLLOUT) == POLLOUT);
    CHECK_ERROR(read(fd, &value, 8), EAGAIN);
    CHECK_ERROR(read(fd, &value, 7), EINVAL);
    CHECK_ERROR(write(fd, &value, 7), EINVAL);
    CHECK_ERROR(write(fd, &value, 8), EINVAL);
    put(fd, 0);
    CHECK(poll_one(fd, POLLIN) == 0);
    put(fd, UINT64_MAX - 1);
    CHECK(poll_one(fd, POLLIN | POLLOUT) == POLLIN);
    value = 1;
    CHECK_ERROR(write(fd, &value, 8), EAGAIN);
    put(fd, 0);
    CHECK(get(fd) == UINT64_MAX - 1);
    close(fd);
    CHECK_ERROR(eventfd(0, 0x40), EINVAL);
}

static void semaphore(void)
{
    int fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    uint64_t value;
    CHECK(get(fd) == 1 && get(fd) == 1);
    CHECK_ERROR(read(fd, &value, 8), EAGAIN);
    close(fd);
}

static int shared;
static void *taker(void *argument)
{
    (void)argument;
    CHECK(get(shared) == 1);
    return NULL;
}

static void waiting(void)
{
    pthread_t threads[4];
    shared = eventfd(0, EFD_SEMAPHORE);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, taker, NULL) == 0);
    put(shared, 4);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    close(shared);
    shared = eventfd(UINT32_MAX, 0);
    put(shared, UINT64_MAX - 1 - UINT32_MAX);
    pid_t child = fork();
    if (!child) {
        put(shared, 5); /* waits for room */
        _exit(0);
    }
    CHECK(get(shared) == UINT64_MAX - 1 && get(shared) == 5);
    child_done(child);
    uint64_t value;
    tick_start(0);
    CHECK_ERROR(read(shared, &value, 8), EINTR);
    tick_stop();
    close(shared);
}

/* A stream, with a position that lseek finds to be 0 whatever it is asked. */
static void seeking(void)
{
    uint64_t value = 0;
    int fd = eventfd(3, 0);

    CHECK(fd >= 0 && lseek(fd, 5, SEEK_SET) == 0 && lseek(fd, 1, SEEK_CUR) == 0 && lseek(fd, -3, SEEK_END) == 0);
    CHECK_ERROR(lseek(fd, 0, 99), EINVAL);
    CHECK_ERROR(pread(fd, &value, 8, 0), ESPIPE);
    CHECK(get(fd) == 3 && close(fd) == 0);
}

int main(void)
{
    counting();
    seeking();
    semaphore();
    waiting();
    return 0;
}
