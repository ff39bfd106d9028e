/*
 * Call sites of a program's own, entered by many threads at once while signals arrive: whatever a kernel below does with
 * the instructions of a site (Hyla rewrites them into jumps), each call returns its own result, the comparison behind it is
 * right, and no other register changes.
 */
#include "memory_check.h"

#define SITES 160
#define SITE_SIZE 64
#define THREADS 4
#define CALLS_AT_A_SITE 24

/* Arguments in rdi and rsi, the result in rax, the comparison's answer in rdx. */
typedef struct {
    int64_t result;
    uint64_t is_error;
} site_function(int64_t number, int64_t argument);

/*
 *   push %rbx; mov $0x5eed5eed,%ebx; mov %rdi,%rax; mov %rsi,%rdi; mov $0,%esi; mov $1,%edx
 *   syscall; cmp $-4095,%rax
 *   setae %dl; movzbl %dl,%edx; cmp $0x5eed5eed,%ebx; pop %rbx; je 1f; ud2; 1: ret
 */
static const uint8_t site_code[] = {
    0x53, 0xbb, 0xed, 0x5e, 0xed, 0x5e, 0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0xbe, 0, 0, 0, 0, 0xba, 1, 0, 0, 0,
    0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff,
    0x0f, 0x93, 0xc2, 0x0f, 0xb6, 0xd2, 0x81, 0xfb, 0xed, 0x5e, 0xed, 0x5e, 0x5b, 0x74, 0x02, 0x0f, 0x0b, 0xc3,
};

static uint8_t *sites;
static pthread_barrier_t barrier, end;
static pthread_t threads[THREADS];
static atomic_uint bad;
static atomic_bool done;

static void do_nothing(int signal) { (void)signal; }

static void make_sites(unsigned offset)
{
    size_t size = SITES * SITE_SIZE + offset;
    uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    sites = memory + offset; /* some offsets put sites across cache lines */
    for (int i = 0; i < SITES; i++)
        memcpy(sites + i * SITE_SIZE, site_code, sizeof site_code);
    CHECK(mprotect(memory, size, PROT_READ | PROT_EXEC) == 0);
}

static void call_one(site_function *site, int call)
{
    bool wrong;
    switch (call % 3) {
    case 0: wrong = site(SYS_getpid, 0).result != getpid(); break;
    case 1: wrong = site(SYS_close, -7).result != -EBADF || !site(SYS_lseek, -7).is_error; break;
    default: wrong = site(SYS_getppid, 0).is_error || site(SYS_gettid, 0).result != syscall(SYS_gettid); break;
    }
    if (wrong)
        atomic_fetch_add(&bad, 1);
}

static void *work(void *argument)
{
    int number = (int)(intptr_t)argument;
    for (int i = 0; i < SITES; i++) {
        if (i % 8 == 0)
            pthread_barrier_wait(&barrier);
        for (int call = 0; call < CALLS_AT_A_SITE; call++)
            call_one((site_function *)(sites + i * SITE_SIZE), call + number);
    }
    pthread_barrier_wait(&end);
    pthread_barrier_wait(&end);
    return NULL;
}

static void *pester(void *unused)
{
    for (unsigned i = 0; !atomic_load(&done); i++) {
        pthread_kill(threads[i % THREADS], SIGUSR1);
        sched_yield();
    }
    return unused;
}

static void run(unsigned offset, bool with_signals)
{
    pthread_t pesterer;
    make_sites(offset);
    atomic_store(&done, false);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i) == 0);
    if (with_signals)
        CHECK(pthread_create(&pesterer, NULL, pester, NULL) == 0);
    pthread_barrier_wait(&end);
    atomic_store(&done, true);
    if (with_signals)
        pthread_join(pesterer, NULL);
    pthread_barrier_wait(&end);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(atomic_load(&bad) == 0);
}

int main(void)
{
    signal(SIGUSR1, do_nothing);
    CHECK(pthread_barrier_init(&barrier, NULL, THREADS) == 0 && pthread_barrier_init(&end, NULL, THREADS + 1) == 0);
    run(0, false);
    run(37, false);
    run(11, true);
    return 0;
}
