/*
 * Private futexes in the stub: threads of one address space that wait for and wake each other need nobody else, so the host's
 * own futex serves them. What the host cannot do for them (signals, relative timeouts, waits for many words, priority
 * inheritance, shared words) the kernel does, and a wait that an interrupt ends is handed on to it.
 *
 * Two counts per hash of the address say who waits where: the kernel's census (kernel/futex.h), and the sleepers, who are
 * here. A wake looks at both after the program has changed the word; a sleeper counts itself before the host compares the
 * word: so a count of zero means nobody, as for the census. Where both have somebody the kernel decides, and has
 * the sleepers woken by a command (body/linux/sleepers.c).
 *
 * Before it sleeps a thread may spin (stub_spin), if the word's last two wakes came from another CPU than its own: two threads
 * that wake each other from different CPUs then need the host in neither direction. Who spins is not counted as a sleeper, which is
 * as if its wait had begun a moment later.
 *
 * A requeue moves sleepers to a bucket that does not count them, and nobody here learns when they leave: from the first one
 * on every bucket counts one too many.
 */
#include "body/linux/stub/stub.h"

#define SYS_FUTEX 202
#define FUTEX_PRIVATE 128
#define FUTEX_REALTIME 256

enum { WAIT = 0, WAKE = 1, REQUEUE = 3, CMP_REQUEUE = 4, WAIT_BITSET = 9, WAKE_BITSET = 10 };

static struct call_pages_header *const header = (void *)CALL_PAGES_BASE;
static const struct kernel_page *const kernel_page = (void *)KERNEL_PAGE_BASE;

static uint32_t bucket_of(uint64_t address) { return (uint32_t)((address >> 2) ^ (address >> 10) ^ (address >> 18)) & 255; }
static int is_word(uint64_t address) { return !(address & 3) && !(address >> 47); }
static uint32_t read_count(const uint32_t *count) { return __atomic_load_n(count, __ATOMIC_RELAXED); }

static int answer(uint64_t *result, long value)
{
    *result = (uint64_t)value;
    return 1;
}

static void note_waker(uint32_t bucket)
{
    uint16_t old = __atomic_load_n(&header->wakers[bucket], __ATOMIC_RELAXED);
    uint16_t wakers = (uint16_t)(old << 8 | ((current_cpu_hint() + 1) & 255));
    if (wakers != old)
        __atomic_store_n(&header->wakers[bucket], wakers, __ATOMIC_RELAXED);
}

static int woken_from_elsewhere(uint32_t bucket)
{
    uint32_t wakers = __atomic_load_n(&header->wakers[bucket], __ATOMIC_RELAXED), here = (current_cpu_hint() + 1) & 255;
    uint32_t last = wakers & 255, before = wakers >> 8;
    return (last && last != here) || (before && before != here);
}

/* Only when the kernel knows of nobody. Errors are the kernel's to tell. */
static int wake(const struct futex_call *call)
{
    uint32_t bucket = bucket_of(call->address);
    note_waker(bucket);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!is_word(call->address) || read_count(&header->census[bucket]))
        return 0;
    if (!read_count(&header->sleepers[bucket]) && call->operation == (WAKE | FUTEX_PRIVATE))
        return answer(call->result, 0);
    long woken = host_call6(SYS_FUTEX, (long)call->address, (long)call->operation, (long)call->value, 0, 0, (long)call->value3);
    return woken >= 0 && answer(call->result, woken);
}

static void count_everywhere(void)
{
    if (__atomic_load_n(&header->sleepers_moved, __ATOMIC_ACQUIRE))
        return;
    for (int i = 0; i < 256; i++)
        __atomic_fetch_add(&header->sleepers[i], 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&header->sleepers_moved, 1, __ATOMIC_RELEASE);
}

static int requeue(const struct futex_call *call)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!is_word(call->address) || !is_word(call->second) || read_count(&header->census[bucket_of(call->address)]))
        return 0;
    count_everywhere();
    long moved = host_call6(SYS_FUTEX, (long)call->address, (long)call->operation, (long)call->value, (long)call->timeout,
                            (long)call->second, (long)call->value3);
    return (moved >= 0 || moved == -11) && answer(call->result, moved);
}

/* May sleep in the host. Not answered: an interrupt came, or the word's page is the kernel's to bring. */
static int wait(struct stub_thread *self, const struct futex_call *call)
{
    if (!is_word(call->address) || !kernel_page->local_waits)
        return 0;
    uint32_t bucket = bucket_of(call->address), *sleepers = &header->sleepers[bucket];
    if (woken_from_elsewhere(bucket) && stub_spin(self, &self->futex_luck, call->address, (uint32_t)call->value))
        return answer(call->result, -11);
    __atomic_fetch_add(sleepers, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&header->asleep, 1, __ATOMIC_RELAXED);
    self->slot->asleep = 1;
    long result = stub_futex_wait((void *)call->address, call->operation, (uint32_t)call->value, (void *)call->timeout, self,
                                  (uint32_t)call->value3);
    self->slot->asleep = 0;
    __atomic_fetch_sub(&header->asleep, 1, __ATOMIC_RELAXED);
    __atomic_fetch_sub(sleepers, 1, __ATOMIC_RELEASE);
    if (result == 0 || result == -11 || result == -110)
        return answer(call->result, result);
    self->pending = 0; /* the kernel is entered now: it sees what the interrupt was for */
    return 0;
}

int futex_call_local(struct stub_thread *self, const struct futex_call *call)
{
    switch (call->operation) {
    case WAKE | FUTEX_PRIVATE:
    case WAKE_BITSET | FUTEX_PRIVATE: return wake(call);
    case REQUEUE | FUTEX_PRIVATE:
    case CMP_REQUEUE | FUTEX_PRIVATE: return requeue(call);
    case WAIT | FUTEX_PRIVATE: return self && !call->timeout && wait(self, call);
    case WAIT_BITSET | FUTEX_PRIVATE:
    case WAIT_BITSET | FUTEX_PRIVATE | FUTEX_REALTIME: return self && wait(self, call);
    }
    return 0;
}

int futex_word_differs(uint64_t address, uint32_t value)
{
    uint32_t word;
    return is_word(address) && stub_copy(&word, (void *)address, 4) == 0 && word != value;
}
