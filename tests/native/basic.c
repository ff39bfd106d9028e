/* Ids, clocks, handles, memobjs, mappings, timers, futexes: each call once, and its errors. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

#define ALL_MEMOBJ (HYLA_RIGHT_READ | HYLA_RIGHT_WRITE | HYLA_RIGHT_MAP | HYLA_RIGHT_RESIZE | HYLA_RIGHT_COPY | HYLA_RIGHT_TRANSFER)

static void ids_and_clocks(void)
{
    struct hyla_ids ids;
    uint64_t now, wall;
    CHECK(hyla_probe() >> 16 == 0x4859);
    CHECK_IS(hyla_ids_get(&ids), 0);
    CHECK(ids.task > 0 && ids.thread > 0 && (int)ids.world == hyla_world());
    CHECK_IS(hyla_clock_get(HYLA_CLOCK_MONOTONIC, &now), 0);
    CHECK(now <= hyla_now() && hyla_now() - now < 10000000000u);
    CHECK_IS(hyla_clock_get(HYLA_CLOCK_WALL, &wall), 0);
    CHECK(wall > now);
    CHECK_IS(hyla_clock_get(7, &now), -EINVAL);
    uint64_t until = soon(3);
    CHECK_IS(hyla_sleep(until), 0);
    CHECK(hyla_now() >= until);
    CHECK_IS(hyla_sleep(1), 0);
}

static void handles(void)
{
    struct hyla_handle_info info, other;
    hyla_handle_t memobj = HANDLE(hyla_memobj_create(4096));
    CHECK_IS(hyla_handle_info(memobj, &info), 0);
    CHECK(info.kind == HYLA_OBJECT_KIND_MEMOBJ && info.rights == ALL_MEMOBJ && info.handles == 1);
    hyla_handle_t copy = HANDLE(hyla_handle_copy(memobj, HYLA_RIGHT_READ));
    CHECK_IS(hyla_handle_info(copy, &other), 0);
    CHECK(other.rights == HYLA_RIGHT_READ && other.object == info.object && other.handles == 2 && copy != memobj);
    CHECK_IS(hyla_handle_copy(copy, HYLA_RIGHT_ALL), -EACCES);
    CHECK_IS(hyla_memobj_write(copy, 0, "x", 1), -EACCES);
    CHECK_IS(hyla_handle_close(copy), 0);
    CHECK_IS(hyla_handle_close(copy), -EBADF);
    CHECK_IS(hyla_handle_info(copy, &other), -EBADF);
    CHECK_IS(hyla_handle_close(HYLA_HANDLE_NONE), -EBADF);
    CHECK_IS(hyla_handle_close(memobj), 0);
    CHECK_IS(hyla_memobj_read(memobj, 0, &info, 1), -EBADF);
    hyla_handle_t timer = HANDLE(hyla_timer_create());
    CHECK_IS(hyla_memobj_resize(timer, 1), -EINVAL);
    CHECK_IS(hyla_handle_close(timer), 0);
}

static void memobj_bytes(void)
{
    static char big[300000], back[300000];
    struct hyla_memobj_info info;
    char text[16] = "";
    hyla_handle_t memobj = HANDLE(hyla_memobj_create(0));
    CHECK_IS(hyla_memobj_read(memobj, 0, text, sizeof text), 0);
    CHECK_IS(hyla_memobj_write(memobj, 3, "hello", 5), 5);
    CHECK_IS(hyla_memobj_read(memobj, 0, text, sizeof text), 8);
    CHECK(memcmp(text, "\0\0\0hello", 8) == 0);
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i * 7 + i / 251);
    CHECK_IS(hyla_memobj_write(memobj, 4000, big, sizeof big), sizeof big);
    CHECK_IS(hyla_memobj_read(memobj, 4000, back, sizeof back), sizeof back);
    CHECK(memcmp(big, back, sizeof big) == 0);
    CHECK_IS(hyla_memobj_info(memobj, &info), 0);
    CHECK(info.size == 4000 + sizeof big && info.resident >= sizeof big);
    CHECK_IS(hyla_memobj_resize(memobj, 10), 0);
    CHECK_IS(hyla_memobj_read(memobj, 5, text, sizeof text), 5);
    CHECK_IS(hyla_memobj_punch(memobj, 0, 4096), 0);
    CHECK_IS(hyla_memobj_read(memobj, 0, text, 8), 8);
    CHECK(memcmp(text, "\0\0\0\0\0\0\0\0", 8) == 0);
    CHECK_IS(hyla_memobj_seal(memobj, 64), -EINVAL);
    CHECK_IS(hyla_memobj_seal(memobj, HYLA_SEAL_GROW), 0);
    CHECK_IS(hyla_memobj_write(memobj, 8, "hello", 5), -EPERM);
    CHECK_IS(hyla_memobj_resize(memobj, 11), -EPERM);
    CHECK_IS(hyla_memobj_resize(memobj, 9), 0);
    CHECK_IS(hyla_memobj_seal(memobj, HYLA_SEAL_WRITE | HYLA_SEAL_SEAL), 0);
    CHECK_IS(hyla_memobj_write(memobj, 0, "h", 1), -EPERM);
    CHECK_IS(hyla_memobj_punch(memobj, 0, 1), -EPERM);
    CHECK_IS(hyla_memobj_seal(memobj, HYLA_SEAL_SHRINK), -EPERM);
    CHECK_IS(hyla_memobj_create(UINT64_MAX), -EFBIG);
    CHECK_IS(hyla_memobj_read(memobj, 0, (void *)(uintptr_t)16, 9), -EFAULT);
    CHECK_IS(hyla_handle_close(memobj), 0);
}

static void mappings(void)
{
    char text[6] = "";
    hyla_handle_t memobj = HANDLE(hyla_memobj_create(8192)), reader = HANDLE(hyla_handle_copy(memobj, HYLA_RIGHT_READ | HYLA_RIGHT_MAP));
    struct hyla_map map = {.size = 8192, .protection = HYLA_PROT_READ | HYLA_PROT_WRITE, .flags = HYLA_MAP_SHARED}, second = map;
    CHECK_IS(hyla_memobj_write(memobj, 0, "before", 6), 6);
    CHECK_IS(hyla_memobj_map(memobj, &map), 0);
    volatile char *bytes = (char *)(uintptr_t)map.address;
    CHECK(bytes[0] == 'b' && bytes[5] == 'e');
    bytes[4096] = 'm';
    CHECK_IS(hyla_memobj_read(memobj, 4096, text, 1), 1);
    CHECK(text[0] == 'm');
    CHECK_IS(hyla_memobj_write(memobj, 1, "E", 1), 1);
    CHECK(bytes[1] == 'E');
    CHECK_IS(hyla_memobj_map(reader, &second), -EACCES);
    second.protection = HYLA_PROT_READ;
    CHECK_IS(hyla_memobj_map(reader, &second), 0);
    CHECK(*(volatile char *)(uintptr_t)(second.address + 4096) == 'm' && second.address != map.address);
    CHECK_IS(hyla_memobj_seal(memobj, HYLA_SEAL_WRITE), -EBUSY);
    CHECK_IS(hyla_memory_protect(second.address, 4096, HYLA_PROT_READ | HYLA_PROT_WRITE), -EACCES);
    CHECK_IS(hyla_memory_protect(map.address, 4096, HYLA_PROT_READ), 0);
    CHECK_IS(hyla_memory_protect(map.address, 4096, 64), -EINVAL);
    second = map;
    second.flags |= 128;
    CHECK_IS(hyla_memobj_map(memobj, &second), -EINVAL);
    CHECK_IS(hyla_memory_unmap(map.address, 8192), 0);
    second = (struct hyla_map){.size = 4096, .protection = HYLA_PROT_READ | HYLA_PROT_WRITE, .offset = 4096}; /* a private copy */
    CHECK_IS(hyla_memobj_map(memobj, &second), 0);
    *(volatile char *)(uintptr_t)second.address = 'p';
    CHECK_IS(hyla_memobj_read(memobj, 4096, text, 1), 1);
    CHECK(text[0] == 'm');
    CHECK_IS(hyla_handle_close(memobj), 0);
    CHECK_IS(hyla_handle_close(reader), 0);
}

static void timers(void)
{
    hyla_handle_t timer = HANDLE(hyla_timer_create());
    uint64_t start = hyla_now();
    CHECK_IS(hyla_timer_wait(timer, soon(2)), -ETIMEDOUT);
    CHECK_IS(hyla_timer_set(timer, &(struct hyla_timer_setting){.deadline = start + 5000000}), 0);
    CHECK_IS(hyla_timer_wait(timer, HYLA_NEVER), 1);
    CHECK(hyla_now() >= start + 5000000);
    CHECK_IS(hyla_timer_wait(timer, 1), -ETIMEDOUT);
    CHECK_IS(hyla_timer_set(timer, &(struct hyla_timer_setting){.deadline = start, .interval = 1000000}), 0);
    CHECK(hyla_timer_wait(timer, HYLA_NEVER) >= 1 && hyla_timer_wait(timer, HYLA_NEVER) >= 1);
    CHECK_IS(hyla_timer_set(timer, &(struct hyla_timer_setting){.deadline = start, .interval = 1}), -EINVAL);
    CHECK_IS(hyla_timer_set(timer, &(struct hyla_timer_setting){0}), 0);
    CHECK_IS(hyla_timer_wait(timer, soon(3)), -ETIMEDOUT);
    CHECK_IS(hyla_handle_close(timer), 0);
}

/* --- futexes, two threads ---------------------------------------------------------------------------- */

static _Atomic uint32_t word, turns;

static void *waker(void *argument)
{
    (void)argument;
    for (uint32_t i = 1; i <= 100; i++) {
        atomic_store(&word, i);
        CHECK(hyla_futex_wake(&word, 1, 0) >= 0);
        while (atomic_load(&turns) < i)
            CHECK(hyla_sleep(hyla_now() + 10000) == 0);
    }
    return NULL;
}

static void futexes(void)
{
    pthread_t thread;
    CHECK_IS(hyla_futex_wait(&word, 7, 0, HYLA_NEVER), -EAGAIN);
    CHECK_IS(hyla_futex_wait(&word, 0, 0, soon(2)), -ETIMEDOUT);
    CHECK_IS(hyla_futex_wait(&word, 0, 64, HYLA_NEVER), -EINVAL);
    CHECK_IS(hyla_futex_wait((char *)&word + 1, 0, 0, HYLA_NEVER), -EINVAL);
    CHECK_IS(hyla_futex_wake(&word, 1, 0), 0);
    CHECK(pthread_create(&thread, NULL, waker, NULL) == 0);
    for (uint32_t seen = 0; seen < 100;) {
        int64_t result = hyla_futex_wait(&word, seen, 0, HYLA_NEVER);
        CHECK(result == 0 || result == -EAGAIN);
        seen = atomic_load(&word);
        atomic_store(&turns, seen);
    }
    CHECK(pthread_join(thread, NULL) == 0);
}

static void tasks(void)
{
    struct hyla_task_info info;
    struct hyla_ids ids;
    hyla_handle_t self = HANDLE(hyla_task_self());
    CHECK_IS(hyla_task_info(self, &info), 0);
    CHECK_IS(hyla_ids_get(&ids), 0);
    CHECK(!info.ended && info.handles >= 1 && (ids.world == HYLA_WORLD_MANAGED || info.task == ids.task));
    CHECK_IS(hyla_task_wait(self, soon(2)), -ETIMEDOUT);
    CHECK_IS(hyla_handle_close(self), 0);
}

int main(void)
{
    start_or_fail();
    ids_and_clocks();
    handles();
    memobj_bytes();
    mappings();
    timers();
    futexes();
    tasks();
    return 0;
}
