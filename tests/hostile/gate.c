/* The stub as seen by a guest: where its host calls are, and ways to get there. */
#include "hostile.h"

unsigned gates_find(uint64_t gates[GATES_MAX])
{
    const unsigned char *text = (const unsigned char *)STUB_IMAGE_BASE;
    unsigned count = 0;
    for (size_t i = 0; i + 1 < 4096 * 2 && count < GATES_MAX; i++)
        if (text[i] == 0x0f && text[i + 1] == 0x05)
            gates[count++] = STUB_IMAGE_BASE + i;
    return count;
}

/* The one that returns: syscall; ret. */
static uint64_t returning_gate(void)
{
    static uint64_t found;
    uint64_t gates[GATES_MAX];
    unsigned count = found ? 0 : gates_find(gates);
    for (unsigned i = 0; i < count; i++)
        if (((const unsigned char *)gates[i])[2] == 0xc3)
            found = gates[i];
    MUST(found);
    return found;
}

long gate_call(long number, long a, long b, long c, long d, long e, long f)
{
    uint64_t gate = returning_gate(); /* first: a call would spoil the registers below */
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\t" /* past the red zone */
                     "call *%[gate]\n\t"
                     "lea 128(%%rsp), %%rsp"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9), [gate] "b"(gate)
                     : "rcx", "r11", "memory");
    return result;
}

/* `stack` gets the address as its first word; what follows is what the code there finds on its stack. */
void jump_to(uint64_t address, const uint64_t registers[15], uint64_t *stack)
{
    stack[0] = address;
    __asm__ volatile("mov %[stack], %%rsp\n\t"
                     "mov 8(%%rax), %%rbx\n\t"
                     "mov 16(%%rax), %%rcx\n\t"
                     "mov 24(%%rax), %%rdx\n\t"
                     "mov 32(%%rax), %%rsi\n\t"
                     "mov 40(%%rax), %%rdi\n\t"
                     "mov 48(%%rax), %%rbp\n\t"
                     "mov 56(%%rax), %%r8\n\t"
                     "mov 64(%%rax), %%r9\n\t"
                     "mov 72(%%rax), %%r10\n\t"
                     "mov 80(%%rax), %%r11\n\t"
                     "mov 88(%%rax), %%r12\n\t"
                     "mov 96(%%rax), %%r13\n\t"
                     "mov 104(%%rax), %%r14\n\t"
                     "mov 112(%%rax), %%r15\n\t"
                     "mov (%%rax), %%rax\n\t"
                     "ret"
                     :
                     : "a"(registers), [stack] "r"(stack)
                     : "memory");
    __builtin_unreachable();
}

/* As the host lays it out on a signal stack, from the ucontext on. */
struct frame {
    uint64_t flags, link, stack[3];
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
    uint16_t cs, gs, fs, ss;
    uint64_t error_code, trap_number, old_mask, cr2, fp_state, reserved[8];
    uint64_t mask;
};

void gate_sigreturn(void (*to)(void), uint64_t blocked)
{
    static char stack[65536] __attribute__((aligned(64)));
    static struct frame frame;
    static uint64_t on_stack[64 + sizeof frame / 8];
    frame = (struct frame){.flags = 6, .rsp = (uint64_t)stack + sizeof stack - 8, .rip = (uint64_t)to, .eflags = 0x202,
                           .cs = 0x33, .ss = 0x2b, .mask = blocked};
    memcpy(&on_stack[1], &frame, sizeof frame);
    const uint64_t registers[15] = {SYS_rt_sigreturn};
    jump_to(returning_gate(), registers, on_stack);
}
