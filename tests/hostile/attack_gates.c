/* Attacks through the stub's gates: host calls that the filter lets through, with arguments of our own. */
#include "hostile.h"

static void noise(uint64_t *seed, uint64_t *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        words[i] = random_argument(seed);
}

/* --- reach: is there any way to the host? ------------------------------------------------------------ */

/* Every descriptor but the two that the stub needs: none may be open at the host. */
static void no_host_descriptor(void)
{
    char byte = 'x';
    for (int fd = 0; fd < 1100; fd++) {
        if (fd == STUB_SOCKET_FD || fd == STUB_DOORBELL_FD)
            continue;
        MUST(gate_call(SYS_write, fd, (long)&byte, 1, 0, 0, 0) == -EBADF);
        MUST(gate_call(SYS_recvmsg, fd, (long)&byte, MSG_DONTWAIT, 0, 0, 0) < 0);
    }
    for (int fd = 0; fd < 64; fd++)
        for (int prot = 1; prot < 8; prot++)
            MUST(gate_call(SYS_mmap, 0, 4096, prot, MAP_SHARED, fd, 0) < 0);
}

static void no_host_file(const char *secret)
{
    struct stat64 about;
    static const long opens[] = {SYS_open, SYS_creat, SYS_stat, SYS_readlink, SYS_truncate, SYS_unlink, SYS_chmod, SYS_execve, SYS_rename};
    for (size_t i = 0; i < sizeof opens / sizeof opens[0]; i++) {
        if (opens[i] == SYS_creat) /* makes a file of that name in here */
            continue;
        long result = gate_call(opens[i], (long)secret, opens[i] == SYS_rename ? (long)"/taken" : 0, 0, 0, 0, 0);
        MUST(result < 0);
    }
    MUST(gate_call(SYS_openat, AT_FDCWD, (long)secret, O_RDONLY, 0, 0, 0) < 0);
    MUST(gate_call(SYS_openat2, AT_FDCWD, (long)secret, 0, 24, 0, 0) < 0);
    for (int fd = 0; fd < 16; fd++) {
        MUST(gate_call(SYS_openat, fd, (long)secret + 1, O_RDONLY, 0, 0, 0) < 0);
        MUST(gate_call(SYS_openat, fd, (long)"../../../../../../../../etc/hostname", O_RDONLY, 0, 0, 0) < 0);
    }
    MUST(gate_call(SYS_open, (long)"/proc/1/root/etc/passwd", 0, 0, 0, 0, 0) < 0);
    MUST(stat64(secret, &about) < 0 && errno == ENOENT);
}

static void no_host_process(pid_t pid)
{
    char byte;
    struct {
        void *base;
        size_t size;
    } here = {&byte, 1}, there = {&byte, 1};
    MUST(gate_call(SYS_kill, pid, SIGKILL, 0, 0, 0, 0) == -ESRCH && kill(pid, SIGKILL) < 0);
    MUST(gate_call(SYS_tgkill, pid, pid, SIGKILL, 0, 0, 0) == -ESRCH);
    MUST(gate_call(SYS_tkill, pid, SIGKILL, 0, 0, 0, 0) == -ESRCH);
    MUST(gate_call(SYS_pidfd_open, pid, 0, 0, 0, 0, 0) < 0);
    MUST(gate_call(SYS_ptrace, 16, pid, 0, 0, 0, 0) < 0);
    MUST(gate_call(SYS_process_vm_readv, pid, (long)&here, 1, (long)&there, 1, 0) < 0);
    MUST(gate_call(SYS_process_vm_writev, pid, (long)&here, 1, (long)&there, 1, 0) < 0);
    /* The host's own numbers of the sandbox: its first processes. */
    for (int fd = 0; fd < 64; fd++)
        MUST(gate_call(SYS_pidfd_getfd, fd, 3, 0, 0, 0, 0) < 0);
}

static void no_network(const char *path, int port)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct {
        uint16_t family, port;
        uint8_t address[12];
    } internet = {AF_INET, (uint16_t)(port >> 8 | port << 8), {127, 0, 0, 1}};
    snprintf(local.sun_path, sizeof local.sun_path, "%s", path);
    long fd = gate_call(SYS_socket, AF_UNIX, SOCK_STREAM, 0, 0, 0, 0);
    MUST(fd < 0 || gate_call(SYS_connect, fd, (long)&local, sizeof local, 0, 0, 0) < 0);
    memmove(local.sun_path + 1, local.sun_path, sizeof local.sun_path - 1);
    local.sun_path[0] = 0;
    MUST(fd < 0 || gate_call(SYS_connect, fd, (long)&local, (long)(3 + strlen(path)), 0, 0, 0) < 0);
    fd = gate_call(SYS_socket, AF_INET, SOCK_STREAM, 0, 0, 0, 0);
    MUST(fd < 0 || gate_call(SYS_connect, fd, (long)&internet, sizeof internet, 0, 0, 0) < 0);
    for (fd = 0; fd < 16; fd++)
        MUST(gate_call(SYS_connect, fd, (long)&internet, sizeof internet, 0, 0, 0) < 0);
}

/* Words: a host file, a host process, a host's local socket, a TCP port of the host. */
int attack_reach(const struct attack *attack)
{
    MUST(attack->extra[0] && attack->extra[1] && attack->extra[2] && attack->extra[3]);
    MUST(gate_call(SYS_getpid, 0, 0, 0, 0, 0, 0) == getpid());
    no_host_descriptor();
    no_host_file(attack->extra[0]);
    no_host_process(atoi(attack->extra[1]));
    no_network(attack->extra[2], atoi(attack->extra[3]));
    return 0;
}

/* --- gates: jumps to anywhere in the stub ------------------------------------------------------------ */

static const long host_calls[] = {202, 1, 15, 9, 11, 10, 25, 28, 47, 3, 33, 324, 60, 231, 56, 158};

static void jump_once(uint64_t *seed, uint64_t gate, bool to_gate)
{
    static uint64_t stack[512];
    uint64_t registers[15];
    noise(seed, registers, 15);
    noise(seed, stack, 512);
    if (to_gate)
        registers[0] = (uint64_t)host_calls[random_next(seed) % (sizeof host_calls / sizeof host_calls[0])];
    else
        gate = STUB_IMAGE_BASE + random_next(seed) % 0x2800;
    jump_to(gate, registers, stack);
}

int attack_gates(const struct attack *attack)
{
    uint64_t gates[GATES_MAX], seed = attack->seed, until = clock_ms() + attack->seconds * 1000;
    unsigned count = gates_find(gates);
    int status;
    MUST(count > 0);
    for (unsigned i = 0; clock_ms() < until; i++) {
        random_next(&seed);
        pid_t pid = fork();
        MUST(pid >= 0);
        if (pid == 0)
            jump_once(&seed, gates[i / 2 % count], i % 2);
        end_within(pid, 100, &status);
    }
    return 0;
}

/* --- clone: processes that nobody approved ----------------------------------------------------------- */

int attack_clone(const struct attack *attack)
{
    uint64_t seed = attack->seed, until = clock_ms() + attack->seconds * 1000;
    static const long flags[] = {SIGCHLD, 0, 0x01000000 | 0x00200000 | 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000, 0x100 | 0x4000 | SIGCHLD,
                                 0x10000000, 0x20000000, 0x00020000, 0x7e020000, 0x8000};
    for (unsigned i = 0; clock_ms() < until; i++) {
        long with = i < sizeof flags / sizeof flags[0] ? flags[i] : (long)random_next(&seed);
        long nonce = i % 2 ? 0 : (long)random_argument(&seed);
        MUST(gate_call(SYS_clone, with, (long)&seed, 0, 0, 0, nonce) < 0);
    }
    return 0;
}

/* --- the signals that the stub lives on -------------------------------------------------------------- */

static void spin(void)
{
    for (volatile uint64_t turns = 0;; turns++)
        ;
}

int attack_block(const struct attack *attack)
{
    (void)attack;
    gate_sigreturn(spin, ~0ul);
}

/* The stub's text becomes returns, but for the way back from a signal: what arrives has no effect. */
int attack_swallow(const struct attack *attack)
{
    unsigned char *text = (unsigned char *)STUB_IMAGE_BASE;
    (void)attack;
    MUST(gate_call(SYS_mprotect, STUB_IMAGE_BASE, 0x2000, 7, 0, 0, 0) == 0);
    for (size_t i = 0; i < 0x2000; i++) {
        if (i + 7 <= 0x2000 && !memcmp(text + i, "\xb8\x0f\0\0\0\x0f\x05", 7))
            i += 6;
        else
            text[i] = 0xc3;
    }
    spin();
    return 1;
}

/* --- garbage: on the descriptors of the stub --------------------------------------------------------- */

/* Hellos of all kinds, noise of all lengths, a doorbell rung to its limit, then nothing left to talk with. */
int attack_garbage(const struct attack *attack)
{
    uint64_t seed = attack->seed, until = clock_ms() + attack->seconds * 1000;
    static uint64_t words[1024], one = 1, most = (uint64_t)-2;
    while (clock_ms() < until) {
        noise(&seed, words, 1024);
        for (unsigned i = 0; i < 256; i++) {
            uint32_t hello[2] = {STUB_HELLO, i % 3 ? i : (uint32_t)random_next(&seed)};
            gate_call(SYS_write, STUB_SOCKET_FD, (long)hello, i % 7 ? 8 : 1 + i % 9, 0, 0, 0);
        }
        gate_call(SYS_write, STUB_SOCKET_FD, (long)words, (long)(random_next(&seed) % sizeof words), 0, 0, 0);
        for (unsigned i = 0; i < 1024; i++)
            gate_call(SYS_write, STUB_DOORBELL_FD, (long)&one, 8, 0, 0, 0);
        MUST(getppid() > 0);
    }
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) { /* from here on nobody hears it */
        gate_call(SYS_write, STUB_SOCKET_FD, (long)words, 0, 0, 0, 0);
        gate_call(SYS_write, STUB_DOORBELL_FD, (long)&most, 8, 0, 0, 0);
        for (int fd = 0; fd < 64; fd++)
            gate_call(SYS_close, fd, 0, 0, 0, 0, 0);
        for (;;)
            getppid();
    }
    int status;
    end_within(child, 500, &status);
    return 0;
}
