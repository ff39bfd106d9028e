/*
 * hostile MODE SEED SECONDS [WORD...]: attacks the sandbox it runs in, as one of two children of a supervisor.
 *
 * The other child is the companion: an ordinary program that makes pipes, children, mappings and files, and checks each
 * result. However the attack goes, the companion must never see a wrong one, must still answer afterwards, and must end
 * with the status it chose. An attacker that does not end by itself is killed, and must then go at once. A mode that is
 * `exact` attacks in ways whose failure can be seen from inside: the attacker itself must then end with 0.
 *
 * Exit status: 0 all held, 1 something did not.
 */
#include "hostile.h"

#define COMPANION_STATUS 42
#define GRACE_MS 10000

static const struct mode {
    const char *name;
    int (*run)(const struct attack *);
    bool exact;
} modes[] = {
    {"reach", attack_reach, true},           {"gates", attack_gates, true},         {"clone", attack_clone, true},
    {"block", attack_block, false},          {"swallow", attack_swallow, false},    {"garbage", attack_garbage, true},
    {"calls", attack_calls, true},           {"flood", attack_flood, true},         {"legacy", attack_legacy, true},
    {"scribble", attack_scribble, true},     {"map-over", attack_map_over, true},   {"tear-down", attack_tear_down, true},
    {"unmap", attack_unmap, false},          {"memory", attack_memory, false},      {"gate-memory", attack_gate_memory, true},
    {"fork", attack_fork, false},            {"stolen-forks", attack_stolen_forks, false}, {"elf", attack_elf, true},
    {"rings", attack_rings, true},
};

uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

uint64_t random_argument(uint64_t *state)
{
    static const uint64_t edges[] = {0, 1, 2, 3, 4, 8, 4095, 4096, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff,
                                     0x8000000000000000, (uint64_t)-1, (uint64_t)-2, (uint64_t)-4095, (uint64_t)-4096, (uint64_t)-100,
                                     0x7ffffffff000, 0x800000000000, 0xffff800000000000, 0xffffffffff600000,
                                     SITE_TABLE_BASE, STUB_IMAGE_BASE, STUB_AREAS_BASE, CALL_PAGES_BASE, KERNEL_PAGE_BASE, STUB_REGION_END - 8};
    static char scratch[65536];
    uint64_t noise = random_next(state);
    switch (noise % 8) {
    case 0: return edges[noise / 8 % (sizeof edges / sizeof edges[0])];
    case 1: return noise / 8 % 16;
    case 2: return 1ul << noise / 8 % 64;
    case 3: return (uint64_t)scratch + noise / 8 % sizeof scratch;
    case 4: return ((uint64_t)scratch + sizeof scratch / 2) & ~0xffful;
    case 5: return (uint64_t)&state & ~7ul;
    case 6: return noise / 8 % 70000;
    default: return noise;
    }
}

uint64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Waits for the end of a child through its pidfd. */
static bool ended(int pidfd, unsigned milliseconds)
{
    struct pollfd poll_one = {.fd = pidfd, .events = POLLIN};
    uint64_t until = clock_ms() + milliseconds;
    for (;;) {
        uint64_t now = clock_ms();
        int got = poll(&poll_one, 1, now < until ? (int)(until - now) : 0);
        if (got > 0 || (got == 0 && now >= until))
            return got > 0;
    }
}

bool end_within(pid_t pid, unsigned milliseconds, int *status)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    MUST(pidfd >= 0);
    bool by_itself = ended(pidfd, milliseconds);
    if (!by_itself) {
        kill(pid, SIGKILL);
        if (!ended(pidfd, GRACE_MS)) {
            dprintf(2, "a killed process is still there after %d ms\n", GRACE_MS);
            _exit(1);
        }
    }
    close(pidfd);
    MUST(waitpid(pid, status, 0) == pid);
    return by_itself;
}

/* --- the companion ----------------------------------------------------------------------------------- */

/* Limits that the attacker has used up are the sandbox's, so these two may fail. */
static bool is_shortage(int error) { return error == EAGAIN || error == ENOMEM; }

static void use_child(unsigned round)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit((int)(round % 200));
    MUST(child > 0 || is_shortage(errno));
    if (child > 0) {
        MUST(waitpid(child, &status, 0) == child);
        MUST(WIFEXITED(status) && WEXITSTATUS(status) == (int)(round % 200));
    }
}

static void use_memory(unsigned round)
{
    unsigned char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(page != MAP_FAILED || is_shortage(errno));
    if (page == MAP_FAILED)
        return;
    MUST(page[0] == 0 && page[8191] == 0);
    memset(page, (int)round, 8192);
    MUST(page[100] == (unsigned char)round && page[8000] == (unsigned char)round);
    MUST(munmap(page, 8192) == 0);
}

static void use_pipe(unsigned round)
{
    int ends[2];
    unsigned got = 0;
    MUST(pipe(ends) == 0);
    MUST(write(ends[1], &round, sizeof round) == sizeof round);
    MUST(read(ends[0], &got, sizeof got) == sizeof got && got == round);
    close(ends[0]);
    close(ends[1]);
}

__attribute__((noreturn)) static void companion(int questions, int answers)
{
    pid_t self = getpid(), parent = getppid();
    for (unsigned round = 1;; round++) {
        struct pollfd asked = {.fd = questions, .events = POLLIN};
        char question;
        MUST(getpid() == self && getppid() == parent);
        use_pipe(round);
        use_memory(round);
        use_child(round);
        if (poll(&asked, 1, 0) == 0)
            continue;
        if (read(questions, &question, 1) != 1 || question == 'q')
            _exit(COMPANION_STATUS);
        MUST(write(answers, &round, sizeof round) == sizeof round);
    }
}

/* --- the supervisor ---------------------------------------------------------------------------------- */

static unsigned ask(int questions, int answers)
{
    unsigned round = 0;
    struct pollfd answered = {.fd = answers, .events = POLLIN};
    MUST(write(questions, "?", 1) == 1);
    MUST(poll(&answered, 1, GRACE_MS) == 1);
    MUST(read(answers, &round, sizeof round) == sizeof round);
    return round;
}

static pid_t start_attack(const struct mode *mode, const struct attack *attack)
{
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        setpgid(0, 0);
        _exit(mode->run(attack));
    }
    setpgid(pid, pid);
    return pid;
}

static int supervise(const struct mode *mode, const struct attack *attack)
{
    int questions[2], answers[2], status;
    MUST(pipe(questions) == 0 && pipe(answers) == 0);
    pid_t friend = fork();
    MUST(friend >= 0);
    if (friend == 0) {
        close(questions[1]);
        companion(questions[0], answers[1]);
    }
    unsigned before = ask(questions[1], answers[0]);
    pid_t attacker = start_attack(mode, attack);
    bool by_itself = end_within(attacker, attack->seconds * 1000 + (mode->exact ? GRACE_MS : 0), &status);
    printf("%s: the attacker %s, status %#x\n", mode->name, by_itself ? "ended" : "was killed", (unsigned)status);
    bool held = !mode->exact || (by_itself && status == 0);
    unsigned after = ask(questions[1], answers[0]);
    kill(-attacker, SIGKILL); /* what it has left behind */
    MUST(ask(questions[1], answers[0]) > before && after > before);
    MUST(write(questions[1], "q", 1) == 1);
    MUST(end_within(friend, GRACE_MS, &status));
    printf("%s: companion did %u rounds, status %#x\n", mode->name, after, (unsigned)status);
    return held && WIFEXITED(status) && WEXITSTATUS(status) == COMPANION_STATUS ? 0 : 1;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IONBF, 0);
    for (size_t i = 0; argc >= 4 && i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(argv[1], modes[i].name))
            continue;
        struct attack attack = {strtoull(argv[2], NULL, 0) * 0x9e3779b97f4a7c15u + 1, (unsigned)atoi(argv[3]), argv + 4};
        return supervise(&modes[i], &attack);
    }
    dprintf(2, "hostile MODE SEED SECONDS [WORD...]\n");
    return 2;
}
