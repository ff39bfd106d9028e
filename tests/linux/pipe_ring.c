/* Pipes in use (see pipe_ring_check.h) that are looked at, watched and changed. */
#include "pipe_ring_check.h"

#include <sys/mman.h>
#include <sys/uio.h>

static void looked_at(void)
{
    struct stat stat;
    begin();
    for (int i = 0; i < 3; i++) {
        order_done(150);
        CHECK(readable_bytes(from[0]) == 150);
        CHECK(poll_one(from[0], POLLIN) == POLLIN && poll_one(to[1], POLLOUT) == POLLOUT);
        CHECK(fstat(from[0], &stat) == 0 && S_ISFIFO(stat.st_mode));
        CHECK(read(from[0], block, sizeof block) == 150 && block[149] == (char)150);
        CHECK(poll_one(from[0], POLLIN) == 0 && readable_bytes(from[0]) == 0);
        warm();
    }
    end();
}

/* A wait that begins while the pipe is in use must see what comes after it. */
static void waited_for(void)
{
    begin();
    for (int i = 0; i < 300; i++) {
        struct pollfd one = {.fd = from[0], .events = POLLIN};
        order(7);
        CHECK(poll(&one, 1, 10000) == 1 && one.revents == POLLIN);
        CHECK(read(from[0], block, 7) == 7);
        if (i % 100 == 0)
            warm();
    }
    warm();
    end();
}

static volatile bool last_order;

/* Asleep here while others read what it is told of, and then they do not. */
static void *see_last(void *epoll)
{
    struct epoll_event event;
    bool last = false;
    while (!last) {
        CHECK(epoll_wait(*(int *)epoll, &event, 1, -1) == 1);
        last = last_order;
    }
    return NULL;
}

static void watched_by_another(void)
{
    pthread_t thread;
    begin();
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, from[0], &event) == 0);
    CHECK(pthread_create(&thread, NULL, see_last, &epoll) == 0);
    warm();
    warm();
    last_order = true;
    order(9);
    pthread_join(thread, NULL);
    CHECK(read(from[0], block, sizeof block) == 9);
    close(epoll);
    end();
}

static void watched(void)
{
    begin();
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, from[0], &event) == 0);
    for (int i = 0; i < 300; i++) {
        if (i % 100 == 0)
            warm(), warm(); /* watched, but only read for a while */
        order(9);
        CHECK(epoll_wait(epoll, &event, 1, 10000) == 1);
        CHECK(read(from[0], block, sizeof block) == 9);
    }
    close(epoll);
    warm();
    end();
}

static void made_nonblocking(void)
{
    begin();
    order_done(20);
    CHECK(fcntl(from[0], F_SETFL, O_NONBLOCK) == 0);
    CHECK(read(from[0], block, sizeof block) == 20);
    CHECK_ERROR(read(from[0], block, 1), EAGAIN);
    int off = 0, on = 1;
    CHECK(ioctl(from[0], FIONBIO, &off) == 0);
    warm();
    CHECK(ioctl(from[0], FIONBIO, &on) == 0);
    CHECK_ERROR(read(from[0], block, 1), EAGAIN);
    CHECK(ioctl(from[0], FIONBIO, &off) == 0);
    warm();
    end();
}

static void resized(void)
{
    begin();
    order_done(100);
    CHECK(fcntl(from[0], F_GETPIPE_SZ) == 65536);
    CHECK(fcntl(from[0], F_SETPIPE_SZ, 1 << 20) == 1 << 20);
    CHECK(read(from[0], block, sizeof block) == 100 && block[99] == 100);
    warm();
    CHECK(fcntl(to[1], F_SETPIPE_SZ, 4096) == 4096);
    warm();
    end();
}

static void in_vectors(void)
{
    char first[30], second[100];
    struct iovec vectors[2] = {{first, sizeof first}, {second, sizeof second}};
    begin();
    order_done(120);
    CHECK(readv(from[0], vectors, 2) == 120 && first[29] == 120 && second[89] == 120);
    unsigned char orders[2] = {3, 4};
    struct iovec out[2] = {{orders, 1}, {orders + 1, 1}};
    CHECK(writev(to[1], out, 2) == 2);
    for (size_t got = 0; got < 7;)
        got += read(from[0], block, 7 - got);
    CHECK_ERROR(pread(from[0], block, 1, 0), ESPIPE);
    warm();
    end();
}

static void faults(void)
{
    begin();
    order_done(50);
    CHECK_ERROR(syscall(SYS_read, from[0], (void *)8, 5), EFAULT);
    CHECK(readable_bytes(from[0]) == 50 && read(from[0], block, sizeof block) == 50);
    warm();
    CHECK_ERROR(syscall(SYS_write, to[1], (void *)8, 1), EFAULT);
    CHECK_ERROR(syscall(SYS_write, to[1], (void *)-1000l, 5), EFAULT);
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mprotect(page + 4096, 4096, PROT_NONE) == 0);
    warm();
    order_done(100);
    CHECK(read(from[0], page + 4096 - 100, 200) == 100 && page[4095] == 100); /* what is there decides, not what is asked for */
    CHECK(read(from[0], page, 0) == 0 && write(to[1], page, 0) == 0);
    warm();
    end();
}

static void spliced(void)
{
    int other[2];
    CHECK(pipe(other) == 0);
    begin();
    order_done(90);
    CHECK(tee(from[0], other[1], 40, 0) == 40 && read(other[0], block, 100) == 40);
    CHECK(splice(from[0], NULL, other[1], NULL, 60, 0) == 60);
    CHECK(read(other[0], block, 100) == 60 && block[59] == 90 && read(from[0], block, 100) == 30);
    warm();
    CHECK(write(other[1], "\5", 1) == 1 && splice(other[0], NULL, to[1], NULL, 1, 0) == 1);
    for (size_t got = 0; got < 5;)
        got += read(from[0], block, 5 - got);
    close(other[0]);
    close(other[1]);
    warm();
    end();
}

int main(void)
{
    looked_at();
    waited_for();
    watched();
    watched_by_another();
    made_nonblocking();
    resized();
    in_vectors();
    faults();
    spliced();
    return 0;
}
