/*
 * A ring of numbers in shared memory: the producer makes it and gives it to the consumer over a port; after that both only load, store,
 * and wait on futexes in the ring when there is nothing to do. See ../README.md.
 */
#include "examples/example.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS 1024u
#define NUMBERS 200000u
#define TURNS 2000 /* looks before a wait: the other is often just about to move on */
#define PATIENCE_NS 5000000000u /* then look whether the other is alive */

struct ring {
    _Atomic uint32_t head; /* how many were put in; the consumer waits on it */
    _Atomic uint32_t head_waiters;
    _Atomic uint32_t tail; /* how many were taken out; the producer waits on it */
    _Atomic uint32_t tail_waiters;
    uint32_t slots[SLOTS];
};

static struct ring *map_ring(hyla_handle_t memobj)
{
    struct hyla_map map = {.size = sizeof(struct ring), .protection = HYLA_PROT_READ | HYLA_PROT_WRITE, .flags = HYLA_MAP_SHARED};
    must(hyla_memobj_map(memobj, &map), "memobj_map");
    return (struct ring *)(uintptr_t)map.address;
}

/* Waits while *word is `value`. The count of waiters goes up before the kernel looks at the word, and the waker looks at it after its change. */
static void wait_while(_Atomic uint32_t *word, uint32_t value, _Atomic uint32_t *waiters, hyla_handle_t other)
{
    for (int turn = 0; turn < TURNS; turn++)
        if (atomic_load_explicit(word, memory_order_acquire) != value)
            return;
    atomic_fetch_add(waiters, 1);
    int64_t result = atomic_load(word) == value ? hyla_futex_wait(word, value, HYLA_FUTEX_SHARED, hyla_now() + PATIENCE_NS) : 0;
    atomic_fetch_sub(waiters, 1);
    if (result == -ETIMEDOUT && other && hyla_task_wait(other, 1) == 0) {
        fprintf(stderr, "the other side has died\n");
        _exit(1);
    }
}

static void move_on(_Atomic uint32_t *word, uint32_t value, _Atomic uint32_t *waiters)
{
    atomic_store(word, value);
    if (atomic_load(waiters))
        must(hyla_futex_wake(word, 1, HYLA_FUTEX_SHARED), "futex_wake");
}

static void produce(struct ring *ring, hyla_handle_t consumer)
{
    for (uint32_t i = 0; i < NUMBERS; i++) {
        for (uint32_t tail; i - (tail = atomic_load(&ring->tail)) == SLOTS;)
            wait_while(&ring->tail, tail, &ring->tail_waiters, consumer);
        ring->slots[i % SLOTS] = i * 7;
        move_on(&ring->head, i + 1, &ring->head_waiters);
    }
}

static int consume(struct ring *ring)
{
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < NUMBERS; i++) {
        while (atomic_load(&ring->head) == i)
            wait_while(&ring->head, i, &ring->head_waiters, 0);
        wrong += ring->slots[i % SLOTS] != i * 7;
        move_on(&ring->tail, i + 1, &ring->tail_waiters);
    }
    return wrong != 0;
}

/* The consumer says who it is, and is given the ring in answer. */
static int consumer(hyla_handle_t producer)
{
    struct hyla_msg_handle me = {.handle = (hyla_handle_t)must(hyla_task_self(), "task_self"), .rights = HYLA_RIGHT_READ | HYLA_RIGHT_TRANSFER, .move = 1};
    struct hyla_msg_handle ring;
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = producer, .send_handles = (uintptr_t)&me, .send_handle_count = 1,
                           .receive_handles = (uintptr_t)&ring, .receive_handle_count = 1};
    must(hyla_msg(&msg), "asking for the ring");
    return consume(map_ring(ring.handle));
}

int main(void)
{
    struct hyla_msg_handle handle;
    int status;
    must(hyla_start(), "no kernel of Hyla's");
    hyla_handle_t port = (hyla_handle_t)must(hyla_port_create(0), "port_create");
    hyla_handle_t right = (hyla_handle_t)must(hyla_port_make_send(port, 0, HYLA_RIGHT_COPY), "port_make_send");
    if (fork() == 0)
        _exit(consumer(right));
    hyla_handle_t memobj = (hyla_handle_t)must(hyla_memobj_create(sizeof(struct ring)), "memobj_create");
    struct ring *ring = map_ring(memobj);
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = port, .receive_handles = (uintptr_t)&handle, .receive_handle_count = 1};
    must(hyla_msg(&msg), "receive");
    hyla_handle_t other = handle.handle;
    handle = (struct hyla_msg_handle){.handle = memobj, .rights = HYLA_RIGHT_READ | HYLA_RIGHT_WRITE | HYLA_RIGHT_MAP};
    msg = (struct hyla_msg){.flags = HYLA_MSG_SEND, .to = msg.reply, .send_handles = (uintptr_t)&handle, .send_handle_count = 1};
    must(hyla_msg(&msg), "answer");
    produce(ring, other);
    int failed = wait(&status) < 0 || status != 0;
    printf("%u numbers through a ring of %u\n", NUMBERS, SLOTS);
    return failed;
}
