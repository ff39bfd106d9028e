/*
 * What the simulated machine does not have: user threads of its own (tests act for programs themselves),
 * devices. Calls that can fail say so; the others are mistakes of the test.
 */
#include "body/sim/engine.h"

#include "kernel/assert.h"
#include "kernel/errno.h"

void body_random(void *buffer, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)buffer)[i] = (uint8_t)sim_random(256);
}

int body_user_create(struct thread *thread UNUSED, struct aspace *aspace UNUSED) { return -ENOSYS; }

int body_user_clone(struct thread *child UNUSED, struct aspace *child_aspace UNUSED, enum user_clone_kind kind UNUSED,
                    const struct user_word *word UNUSED)
{
    return -ENOSYS;
}

int body_user_exec(struct aspace *aspace UNUSED) { return -ENOSYS; }
void body_user_start(struct thread *thread UNUSED) { panic("the simulator has no user threads"); }
void body_user_entry(void *argument UNUSED) { panic("the simulator has no user threads"); }
void body_user_return(struct user_entry *entry UNUSED) { panic("the simulator has no user threads"); }
int64_t body_user_futex_wake(uaddr_t address UNUSED, uint32_t count UNUSED, uint32_t bitset UNUSED) { return 0; }

int64_t body_user_futex_requeue(uaddr_t from UNUSED, uaddr_t to UNUSED, uint32_t wake UNUSED, uint32_t move UNUSED) { return 0; }

bool body_user_asleep(struct thread *thread UNUSED) { return false; }
bool body_user_repeat(struct thread *thread UNUSED) { return false; }
bool body_user_words(uint64_t words[8] UNUSED) { return false; }
void body_user_set_words(const uint64_t words[8] UNUSED, int64_t result UNUSED, uint64_t badge UNUSED) { panic("calls here carry no words"); }
void body_user_set_second(uint64_t argument UNUSED) { panic("calls here carry no words"); }
void (*body_user_again(void))(void *argument) { return NULL; }
bool body_ring_possible(void) { return false; }
struct body_ring *body_ring_create(void) { return NULL; }
struct body_ring *body_ring_ref(struct body_ring *ring) { return ring; }
void body_ring_unref(struct body_ring *ring UNUSED) {}
bool body_ring_map(struct body_ring *ring UNUSED) { return false; }
bool body_ring_lend(struct body_ring *ring UNUSED, int fd UNUSED, bool writes UNUSED) { return false; }
uint32_t body_ring_recall(struct body_ring *ring UNUSED) { return 0; }
void body_ring_read(struct body_ring *ring UNUSED, uint32_t offset UNUSED, void *to UNUSED, uint32_t size UNUSED) {}
void body_user_kick(struct thread *thread UNUSED) {}
bool body_user_robust_list(struct thread *thread UNUSED, uaddr_t *head UNUSED) { return false; }
void body_user_robust_forget(struct thread *thread UNUSED) {}

bool body_user_stops_itself(UNUSED struct thread *thread) { return false; }
int body_user_ask_stop(UNUSED struct thread *thread, UNUSED uint32_t serial) { return -EOPNOTSUPP; }
void body_user_go_on(UNUSED struct thread *thread, UNUSED const struct user_regs *regs) {}
int body_task_order(UNUSED struct task *task, UNUSED enum task_order order) { return -ENOSYS; }
