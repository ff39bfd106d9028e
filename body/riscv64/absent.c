/*
 * What this body does not do for programs: waits, rings and channels outside the kernel. Here the kernel is a trap away.
 */
#include "kernel/body.h"
#include "kernel/errno.h"

int64_t body_user_futex_wake(UNUSED uaddr_t address, UNUSED uint32_t count, UNUSED uint32_t bitset) { return 0; }

int64_t body_user_futex_requeue(UNUSED uaddr_t from, UNUSED uaddr_t to, UNUSED uint32_t wake, UNUSED uint32_t move) { return 0; }

bool body_user_asleep(UNUSED struct thread *thread) { return false; }
bool body_user_robust_list(UNUSED struct thread *thread, UNUSED uaddr_t *head) { return false; }
void body_user_robust_forget(UNUSED struct thread *thread) {}
bool body_user_repeat(UNUSED struct thread *thread) { return false; }

int64_t body_channel_open(UNUSED user_channel_maker make, UNUSED void *context)
{
    return -ENOSYS;
}

bool body_ring_possible(void) { return false; }
struct body_ring *body_ring_create(void) { return NULL; }
struct body_ring *body_ring_ref(struct body_ring *ring) { return ring; }
void body_ring_unref(UNUSED struct body_ring *ring) {}
bool body_ring_map(UNUSED struct body_ring *ring) { return false; }
bool body_ring_lend(UNUSED struct body_ring *ring, UNUSED int fd, UNUSED bool writes) { return false; }
uint32_t body_ring_recall(UNUSED struct body_ring *ring) { return 0; }
void body_ring_read(UNUSED struct body_ring *ring, UNUSED uint32_t offset, UNUSED void *to, UNUSED uint32_t size) {}

bool body_user_stops_itself(UNUSED struct thread *thread) { return false; }
int body_user_ask_stop(UNUSED struct thread *thread, UNUSED uint32_t serial) { return -EOPNOTSUPP; }
void body_user_go_on(UNUSED struct thread *thread, UNUSED const struct user_regs *regs) {}
int body_task_order(UNUSED struct task *task, UNUSED enum task_order order) { return -ENOSYS; }
