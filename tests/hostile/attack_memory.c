/* Attacks on memory: the call pages, the stub's place, what the sandbox may use. */
#include "hostile.h"

/* --- scribble: over the call pages while calls are made ---------------------------------------------- */

static uint64_t scribble_seed;

static void *scribble(void *unused)
{
    struct call_slot *slots = (struct call_slot *)(CALL_PAGES_BASE + CALL_PAGES_HEADER_SIZE);
    uint64_t seed = scribble_seed, *header = (uint64_t *)CALL_PAGES_BASE;
    (void)unused;
    for (;;) {
        uint64_t value = random_argument(&seed), where = random_next(&seed);
        uint32_t *words = (uint32_t *)&slots[where % 4];
        switch (where / 8 % 8) {
        case 0: slots[where % 4].state = (uint32_t)value % 8; break;
        case 1: slots[where % 4].kind = (uint32_t)(value % 8 | (where & 0x300)); break;
        case 2: header[where / 64 % 512] = value; break;
        case 3: words[where / 64 % (offsetof(struct call_slot, commands) / 4)] = (uint32_t)value; break;
        case 4: slots[where % 4].commands[where / 64 % 4].result = (int64_t)value; break;
        case 5: slots[where % 4].commands[where / 64 % 4].arguments[where / 512 % 7] = value; break;
        case 6: slots[where % 4].commands[where / 64 % 4].operation = (uint32_t)value % 24; break;
        default: words[where / 64 % (CALL_SLOT_SIZE / 4)] = (uint32_t)value; break;
        }
        for (uint64_t pause = seed % 512; pause > 0; pause--)
            __builtin_ia32_pause();
    }
    return NULL;
}

static void be_busy(uint64_t seed)
{
    char buffer[64];
    int fd = open("/proc/self/status", O_RDONLY);
    for (unsigned i = 0;; i++) {
        struct itimerval soon = {.it_value.tv_usec = 500 + (long)(random_next(&seed) % 3000)};
        getppid();
        pread(fd, buffer, sizeof buffer, 0);
        void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(page, 4096, PROT_READ);
        munmap(page, 4096);
        if (i % 16 == 0)
            setitimer(ITIMER_REAL, &soon, NULL);
        if (i % 32 == 31 && fork() == 0)
            _exit(0);
        waitpid(-1, NULL, WNOHANG);
    }
}

static void nothing(int number) { (void)number; }

int attack_scribble(const struct attack *attack)
{
    uint64_t seed = attack->seed, until = clock_ms() + attack->seconds * 1000;
    int status;
    while (clock_ms() < until) {
        scribble_seed = random_next(&seed);
        pid_t pid = fork();
        MUST(pid >= 0);
        if (pid == 0) {
            pthread_t thread;
            struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
            sigaction(SIGALRM, &action, NULL);
            MUST(pthread_create(&thread, NULL, scribble, NULL) == 0);
            be_busy(seed);
        }
        end_within(pid, 50 + (unsigned)(seed % 400), &status);
    }
    return 0;
}

/* --- map-over: the kernel refuses; tear-down: the gates do not, and only the caller suffers ----------- */

static const struct place {
    uint64_t at, size;
} places[] = {
    {STUB_IMAGE_BASE, 4096},   {STUB_IMAGE_BASE + STUB_TEXT_SIZE, 4096}, {STUB_THUNKS_BASE, 4096},
    {STUB_AREAS_BASE, 65536},  {CALL_PAGES_BASE, 8192},                  {KERNEL_PAGE_BASE, 4096},
    {SITE_TABLE_BASE, 65536},  {STUB_REGION_BASE, 4096},                 {STUB_REGION_END - 4096, 4096},
    {STUB_REGION_BASE - 4096, 8192}, {STUB_REGION_END - 4096, 8192},     {STUB_REGION_BASE - 4096, 0x20000000000},
};

static void refused(const struct place *place)
{
    int fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    void *at = (void *)place->at, *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(page != MAP_FAILED);
    MUST(mmap(at, place->size, PROT_READ | PROT_WRITE, fixed, -1, 0) == MAP_FAILED);
    MUST(mmap(at, place->size, PROT_READ | PROT_WRITE, fixed | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
    MUST(munmap(at, place->size) < 0);
    MUST(mprotect(at, place->size, PROT_READ | PROT_WRITE | PROT_EXEC) < 0);
    MUST(mremap(page, 4096, place->size, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED);
    MUST(mremap(at, place->size, place->size + 4096, MREMAP_MAYMOVE) == MAP_FAILED);
    MUST(madvise(at, place->size, MADV_DONTNEED) < 0);
    MUST(getppid() > 0);
    void *hinted = mmap(at, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); /* goes somewhere else */
    MUST(hinted != MAP_FAILED);
    uint64_t got = (uint64_t)hinted;
    MUST(got + 4096 <= STUB_REGION_BASE || got >= STUB_REGION_END);
    MUST(got + 4096 <= SITE_TABLE_BASE || got >= SITE_TABLE_BASE + SITE_TABLE_SIZE);
    MUST(munmap(hinted, 4096) == 0 && munmap(page, 4096) == 0);
}

int attack_map_over(const struct attack *attack)
{
    (void)attack;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        refused(&places[i]);
    return 0;
}

static void tear(const struct place *place, unsigned way)
{
    long at = (long)place->at, size = (long)place->size;
    switch (way) {
    case 0: gate_call(SYS_munmap, at, size, 0, 0, 0, 0); break;
    case 1: gate_call(SYS_mmap, at, size, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0); break;
    case 2: gate_call(SYS_mprotect, at, size, 0, 0, 0, 0); break;
    case 3: gate_call(SYS_madvise, at, size, MADV_DONTNEED, 0, 0, 0); break;
    case 4: gate_call(SYS_mremap, at, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, 0x10000000, 0); break;
    default: gate_call(SYS_madvise, at, size, MADV_REMOVE, 0, 0, 0); break;
    }
    for (unsigned i = 0; i < 1000; i++) {
        getppid();
        mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (i == 500 && fork() == 0)
            _exit(0);
    }
}

/* All at once: one that has made itself deaf takes the kernel a while to end. */
int attack_tear_down(const struct attack *attack)
{
    enum { WAYS = 6, ALL = sizeof places / sizeof places[0] * WAYS };
    pid_t pids[ALL];
    int status;
    (void)attack;
    for (unsigned i = 0; i < ALL; i++) {
        pids[i] = fork();
        MUST(pids[i] >= 0);
        if (pids[i] == 0) {
            tear(&places[i / WAYS], i % WAYS);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < ALL; i++)
        end_within(pids[i], 20, &status);
    return 0;
}

int attack_unmap(const struct attack *attack)
{
    (void)attack;
    munmap((void *)0x10000, SITE_TABLE_BASE - 0x10000);
    munmap((void *)(SITE_TABLE_BASE + SITE_TABLE_SIZE), STUB_REGION_BASE - SITE_TABLE_BASE - SITE_TABLE_SIZE);
    return 1;
}

/* --- memory: all there is ---------------------------------------------------------------------------- */

static void fill(char *memory, size_t size)
{
    for (size_t i = 0; memory != MAP_FAILED && i < size; i += 4096)
        memory[i] = 1;
}

static void fill_file(int fd)
{
    static char block[1 << 20];
    memset(block, 1, sizeof block);
    for (unsigned i = 0; i < 4096 && fd >= 0; i++)
        if (write(fd, block, sizeof block) <= 0)
            break;
}

/* Bounded at 4 GiB of each kind, so that a limit that does not hold is seen by the test and not by the machine. */
int attack_memory(const struct attack *attack)
{
    size_t piece = 16 << 20;
    (void)attack;
    if (fork() == 0) {
        fill_file(open("/tmp/hostile-file", O_CREAT | O_RDWR, 0600));
        fill_file((int)syscall(SYS_memfd_create, "hostile", 0));
        pause();
    }
    for (unsigned i = 0; i < 256; i++) {
        fill(mmap(NULL, piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), piece);
        fill(mmap(NULL, piece, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), piece);
        sbrk(1 << 20);
    }
    return 0;
}

/* The same without asking the kernel. Word: what must not be exceeded, in MiB. */
int attack_gate_memory(const struct attack *attack)
{
    long piece = 16 << 20, most = attack->extra[0] ? atol(attack->extra[0]) : 0, have = 0;
    for (unsigned i = 0; i < 64; i++) {
        char *memory = (char *)gate_call(SYS_mmap, 0, piece, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if ((uint64_t)memory > (uint64_t)-4096)
            break;
        fill(memory, (size_t)piece);
        have += piece >> 20;
    }
    MUST(have <= most);
    return 0;
}

/* --- stolen forks: a clone that was approved for the stub is made by somebody else -------------------- */

static volatile uint64_t stolen;

/* Looks for the number that goes with an approved fork, and uses it first. */
static void *thief(void *unused)
{
    struct call_slot *slot = (struct call_slot *)(CALL_PAGES_BASE + CALL_PAGES_HEADER_SIZE);
    (void)unused;
    for (;;) {
        for (unsigned i = 0; i < 2; i++) {
            uint64_t nonce = __atomic_load_n(&slot->commands[i].arguments[0], __ATOMIC_RELAXED);
            if (__atomic_load_n(&slot->commands[i].operation, __ATOMIC_RELAXED) != STUB_FORK || nonce == stolen)
                continue;
            stolen = nonce;
            if (gate_call(SYS_clone, SIGCHLD, 0, 0, 0, 0, (long)nonce) == 0) {
                gate_call(SYS_close, STUB_SOCKET_FD, 0, 0, 0, 0, 0);
                gate_call(SYS_close, STUB_DOORBELL_FD, 0, 0, 0, 0, 0);
                for (uint32_t never = 0;;) /* asleep, and unheard of */
                    gate_call(SYS_futex, (long)&never, 0, 0, 0, 0, 0);
            }
        }
    }
    return NULL;
}

int attack_stolen_forks(const struct attack *attack)
{
    pthread_t thread;
    uint64_t until = clock_ms() + attack->seconds * 1000;
    MUST(pthread_create(&thread, NULL, thief, NULL) == 0);
    while (clock_ms() < until) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        if (pid > 0)
            waitpid(pid, NULL, 0);
    }
    return 0;
}
