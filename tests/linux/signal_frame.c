/* The frame: registers and FP state survive a handler, the handler may change them, faults tell what happened. */
#include "signal_check.h"

#include <immintrin.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

static volatile siginfo_t last;
static volatile sig_atomic_t count;
static sigjmp_buf back;

static void scribble(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    memcpy((void *)&last, info, sizeof last);
    count++;
    __asm__ volatile("pcmpeqd %%xmm0, %%xmm0; pcmpeqd %%xmm7, %%xmm7; pcmpeqd %%xmm15, %%xmm15; fninit; fldpi" ::
                         : "xmm0", "xmm7", "xmm15");
    _mm_setcsr(_mm_getcsr() | 0x6000);
}

/* Sends itself SIGUSR1 by a system call with known values in every register that a call keeps. */
static void registers_survive(void)
{
    uint64_t in[2] = {0x1122334455667788, 0x99aabbccddeeff00}, out[6] = {0};
    unsigned csr = _mm_getcsr();
    long result = SYS_tgkill;
    handle(SIGUSR1, scribble, 0);
    __asm__ volatile("movups (%[in]), %%xmm0; movups (%[in]), %%xmm7; movups (%[in]), %%xmm15;"
                     "mov $0x12, %%r12; mov $0x13, %%r13; mov $0x14, %%r14; std;"
                     "syscall;"
                     "pushf; cld; pop %%rdx; movups %%xmm0, (%[out]); movups %%xmm7, 16(%[out]); movups %%xmm15, 32(%[out])"
                     : "+a"(result)
                     : "D"((long)getpid()), "S"((long)gettid()), "d"((long)SIGUSR1), [in] "r"(in), [out] "r"(out)
                     : "rcx", "r11", "r12", "r13", "r14", "xmm0", "xmm7", "xmm15", "memory");
    CHECK(result == 0 && count == 1);
    for (int i = 0; i < 3; i++)
        CHECK(out[2 * i] == in[0] && out[2 * i + 1] == in[1]);
    CHECK(_mm_getcsr() == csr);
}

__attribute__((target("avx"))) static void wide_registers_survive(void)
{
    uint64_t in[4] = {1, 2, 3, 4}, out[4] = {0};
    long result = SYS_tgkill;
    if (!__builtin_cpu_supports("avx"))
        return;
    __asm__ volatile("vmovups (%[in]), %%ymm9; syscall; vmovups %%ymm9, (%[out]); vzeroupper"
                     : "+a"(result)
                     : "D"((long)getpid()), "S"((long)gettid()), "d"((long)SIGUSR1), [in] "r"(in), [out] "r"(out)
                     : "rcx", "r11", "xmm9", "memory");
    CHECK(result == 0 && memcmp(in, out, sizeof in) == 0);
}

/* A signal that comes while the program computes: from a timer. */
static void signal_while_computing(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec often = {.it_value.tv_nsec = 1000000, .it_interval.tv_nsec = 1000000};
    timer_t timer;
    double sum = 0, expected = 0;
    for (int i = 1; i <= 1000; i++)
        expected += 1.0 / i;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    count = 0;
    CHECK(timer_settime(timer, 0, &often, NULL) == 0);
    while (count < 20) {
        sum = 0;
        for (int i = 1; i <= 1000; i++)
            sum += 1.0 / i;
        CHECK(sum == expected);
    }
    CHECK(timer_delete(timer) == 0);
}

static void skip(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)signal;
    memcpy((void *)&last, info, sizeof last);
    count++;
    uc->uc_mcontext.gregs[REG_RIP] += 2; /* the length of the faulting instruction */
    uc->uc_mcontext.gregs[REG_RAX] = 42;
}

static void handler_changes_registers(void)
{
    uint64_t rax = 0;
    count = 0;
    handle(SIGILL, skip, 0);
    __asm__ volatile("ud2" : "+a"(rax));
    CHECK(count == 1 && rax == 42 && last.si_signo == SIGILL && last.si_code == ILL_ILLOPN);
}

static void jump_back(int signal, siginfo_t *info, void *context)
{
    (void)context;
    memcpy((void *)&last, info, sizeof last);
    siglongjmp(back, signal);
}

static void faults_tell(void)
{
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    volatile int zero = 0;
    CHECK(page != MAP_FAILED);
    handle(SIGSEGV, jump_back, 0);
    handle(SIGFPE, jump_back, 0);
    if (!sigsetjmp(back, 1)) {
        page[7] = 1;
        CHECK(false);
    }
    CHECK(last.si_signo == SIGSEGV && last.si_code == SEGV_ACCERR && last.si_addr == page + 7);
    CHECK(munmap(page, 4096) == 0);
    if (!sigsetjmp(back, 1)) {
        page[9] = 1;
        CHECK(false);
    }
    CHECK(last.si_code == SEGV_MAPERR && last.si_addr == page + 9);
    if (!sigsetjmp(back, 1)) {
        __asm__ volatile("movb $1, (%0)" ::"r"(0x8000000000000000) : "memory");
        CHECK(false);
    }
    CHECK(last.si_signo == SIGSEGV && last.si_code == SI_KERNEL);
    if (!sigsetjmp(back, 1)) {
        __asm__ volatile("xor %%edx, %%edx; mov $1, %%eax; idivl %0" ::"m"(zero) : "eax", "edx");
        CHECK(false);
    }
    CHECK(last.si_signo == SIGFPE && last.si_code == FPE_INTDIV);
    if (!sigsetjmp(back, 1)) {
        ((void (*)(void))(uintptr_t)0x10)();
        CHECK(false);
    }
    CHECK(last.si_signo == SIGSEGV && last.si_addr == (void *)0x10);
}

static void blocked_fault(void)
{
    handle(SIGSEGV, jump_back, 0);
    block(SIGSEGV);
    *(volatile int *)8 = 1;
}

static void ignored_fault(void)
{
    signal(SIGSEGV, SIG_IGN);
    *(volatile int *)8 = 1;
}

/* A frame that cannot be written. */
static void no_stack(void)
{
    handle(SIGUSR1, scribble, 0);
    __asm__ volatile("mov $0x1000, %%rsp; syscall" ::"a"((long)SYS_tgkill), "D"((long)getpid()), "S"((long)gettid()),
                     "d"((long)SIGUSR1)
                     : "rcx", "r11", "memory");
}

/* A return to an address that cannot be. */
static void bad_address(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] = (greg_t)0x8000000000001000;
}

static void bad_return(void)
{
    signal(SIGSEGV, SIG_DFL);
    handle(SIGUSR1, bad_address, 0);
    raise(SIGUSR1);
}

/* Privileged flags do not come back from a frame. */
static void wild_flags(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] |= 0x3000 | 0x1;
}

static void flags_are_sanitised(void)
{
    uint64_t flags;
    handle(SIGUSR1, wild_flags, 0);
    raise(SIGUSR1);
    __asm__ volatile("pushf; pop %0" : "=r"(flags));
    CHECK((flags & 0x3000) == 0);
}

int main(void)
{
    int status;
    registers_survive();
    wide_registers_survive();
    signal_while_computing();
    handler_changes_registers();
    faults_tell();
    flags_are_sanitised();
    status = status_of(blocked_fault);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    status = status_of(ignored_fault);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    status = status_of(no_stack);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    status = status_of(bad_return);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    return 0;
}
