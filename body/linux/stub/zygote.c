/*
 * The zygote: the first process of the sandbox and the parent of every stub process.
 *
 * It is init of its own pid namespace (so that all die with it) and blocks on its control socket (so that
 * it dies with the server, whichever way the server goes). It lays the stub's memory out, throws away
 * everything else, installs the filter, and then makes a fresh stub process for each request.
 *
 * argv: [1] control socket's descriptor, [2] kernel page's descriptor, [3] core limit etc. are fixed.
 */
#include "body/linux/stub/stub.h"

#define SYS_MMAP 9
#define SYS_MUNMAP 11
#define SYS_RT_SIGACTION 13
#define SYS_OPEN 2
#define SYS_READ 0
#define SYS_CLOSE 3
#define SYS_WRITE 1
#define SYS_SETSID 112
#define SYS_PRCTL 157
#define SYS_PRLIMIT 302
#define SYS_SECCOMP 317
#define SYS_CLOSE_RANGE 436
#define SYS_EXIT_GROUP 231
#define SYS_DUP2 33

extern void stub_signal(int, const struct host_siginfo *, struct host_context *);
extern char stub_restorer[];
extern const struct filter_instruction {
    uint16_t code;
    uint8_t jump_true, jump_false;
    uint32_t k;
} stub_filter[];
extern const uint16_t stub_filter_length;
void switch_stack_and_call(void *stack, void (*function)(void *), void *argument);

static void die(int status) { host_call3(SYS_EXIT_GROUP, status, 0, 0); }

static void install_handler(int signal)
{
    struct {
        void *handler;
        uint64_t flags;
        void *restorer;
        uint64_t mask;
    } action = {stub_signal, 0x04000000 /* RESTORER */ | 0x08000000 /* ONSTACK */ | 0x40000000 /* NODEFER */ | 4 /* SIGINFO */,
                stub_restorer, 1ul << (STUB_INTERRUPT_SIGNAL - 1)};
    if (host_call6(SYS_RT_SIGACTION, signal, (long)&action, 0, 8, 0, 0) < 0)
        die(101);
}

static void ignore(int signal)
{
    struct {
        uint64_t handler, flags, restorer, mask;
    } action = {1, 0, 0, 0};
    host_call6(SYS_RT_SIGACTION, signal, (long)&action, 0, 8, 0, 0);
}

static void map(uint64_t at, uint64_t size, int prot, int flags, int fd)
{
    if (host_call6(SYS_MMAP, (long)at, (long)size, prot, flags | 0x100000 /* FIXED_NOREPLACE */, fd, 0) != (long)at)
        die(102);
}

static uint64_t parse_hex(const char **at)
{
    uint64_t value = 0;
    for (;; (*at)++) {
        char c = **at;
        if (c >= '0' && c <= '9')
            value = value * 16 + (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (uint64_t)(c - 'a') + 10;
        else
            return value;
    }
}

static int contains(const char *line, const char *end, const char *word)
{
    for (; line < end; line++) {
        int i = 0;
        while (word[i] && line + i < end && line[i] == word[i])
            i++;
        if (!word[i])
            return 1;
    }
    return 0;
}

/* Everything that exec brought and that is neither the stub nor the host's vdso. */
static void forget_the_rest(void)
{
    static char maps[16384];
    long fd = host_call3(SYS_OPEN, "/proc/self/maps", 0, 0), length = 0, got;
    while (fd >= 0 && (got = host_call3(SYS_READ, fd, maps + length, (long)sizeof maps - 1 - length)) > 0)
        length += got;
    host_call3(SYS_CLOSE, fd, 0, 0);
    maps[length > 0 ? length : 0] = 0;
    for (const char *line = maps; *line;) {
        const char *end = line;
        while (*end && *end != '\n')
            end++;
        const char *at = line;
        uint64_t from = parse_hex(&at);
        at++;
        uint64_t to = parse_hex(&at);
        int ours = (from >= STUB_REGION_BASE && to <= STUB_REGION_END) || from == SITE_TABLE_BASE;
        if (!ours && !contains(line, end, "[vdso]") && !contains(line, end, "[vvar") && !contains(line, end, "[vsyscall]"))
            host_call3(SYS_MUNMAP, from, to - from, 0);
        line = *end ? end + 1 : end;
    }
}

/* Returns the filter's listener, which the server fetches out of this process: nothing can be sent any more. */
static int confine(int socket)
{
    struct {
        uint16_t length;
        const void *filter;
    } program = {stub_filter_length, stub_filter};
    static const uint64_t core[2] = {1, 1};
    host_call6(SYS_PRLIMIT, 0, 4 /* CORE */, (long)core, 0, 0, 0);
    host_call6(SYS_PRCTL, 38 /* NO_NEW_PRIVS */, 1, 0, 0, 0, 0);
    long listener = host_call3(SYS_SECCOMP, 1 /* FILTER */, 8 /* NEW_LISTENER */, &program);
    if (listener < 0)
        die(103);
    uint32_t hello[2] = {ZYGOTE_LISTENER, (uint32_t)listener};
    if (host_call3(SYS_WRITE, socket, hello, sizeof hello) != sizeof hello)
        die(104);
    return (int)listener;
}

static void zygote_loop(void *argument)
{
    int socket = (int)(long)argument;
    forget_the_rest();
    int listener = confine(socket);
    for (;;) {
        static int fds[STUB_FD_REGISTERS]; /* not on the stack: the child begins on a copy of it */
        char tag;
        long got = stub_receive_fds(socket, fds, STUB_FD_REGISTERS, &tag);
        if (got < 0)
            die(0); /* the server is gone */
        if (listener >= 0) /* the server has it now */
            host_call3(SYS_CLOSE, listener, 0, 0);
        listener = -1;
        if (tag == ZYGOTE_SPAWN && got == 3)
            stub_spawn(fds);
        for (long i = 0; i < got; i++)
            host_call3(SYS_CLOSE, fds[i], 0, 0);
    }
}

static int parse_number(const char *text)
{
    int value = 0;
    while (*text >= '0' && *text <= '9')
        value = value * 10 + *text++ - '0';
    return value;
}

void zygote_main(uint64_t *stack)
{
    char **argv = (char **)(stack + 1);
    if (stack[0] < 3)
        die(100);
    int socket = parse_number(argv[1]), kernel_page = parse_number(argv[2]);
    static const int handled[] = {4, 5, 7, 8, 11, 31, STUB_INTERRUPT_SIGNAL};
    for (unsigned i = 0; i < sizeof handled / sizeof handled[0]; i++)
        install_handler(handled[i]);
    ignore(17); /* children are reaped by the host */
    ignore(13);
    host_call3(SYS_SETSID, 0, 0, 0);
    int noreserve = 0x4022; /* PRIVATE | ANONYMOUS | NORESERVE */
    map(STUB_THUNKS_BASE, STUB_THUNKS_SIZE, 7, noreserve, -1);
    map(STUB_AREAS_BASE, (uint64_t)CLIENT_THREADS_MAX * STUB_AREA_SIZE, 3, noreserve, -1);
    map(KERNEL_PAGE_BASE, 4096, 1, 1 /* SHARED */, kernel_page);
    map(SITE_TABLE_BASE, SITE_TABLE_SIZE, 3, noreserve, -1);
    rewrite_init();
    /* Descriptors 3 and 4 are the children's; keep the control socket out of their way. */
    host_call3(SYS_DUP2, socket, ZYGOTE_CONTROL_FD, 0);
    host_call3(SYS_CLOSE_RANGE, 0, ZYGOTE_CONTROL_FD - 1, 0);
    host_call3(SYS_CLOSE_RANGE, ZYGOTE_CONTROL_FD + 1, ~0u, 0);
    switch_stack_and_call((void *)(STUB_AREAS_BASE + AREA_THREAD - 64), zygote_loop, (void *)(long)ZYGOTE_CONTROL_FD);
}
