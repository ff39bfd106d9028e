/*
 * The first stack of a program: strings, random bytes, the auxiliary vector, environment and argument pointers
 * and their count, in the places where Linux has them (System V ABI, getauxval(3)).
 *
 * It is made in one kernel block that ends where the stack ends and is copied out at once.
 */
#include "abi/linux/exec.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#include <arch/linux.h>

#define STACK_MAPPED_MAX (8ull << 20)  /* what is mapped at once; beyond, the stack grows by faults */
#define STACK_MAPPED_MIN (128ull << 10) /* beyond the arguments */
#define AUXV_PAIRS_MAX 24

enum { AT_NULL = 0, AT_PHDR = 3, AT_PHENT = 4, AT_PHNUM = 5, AT_PAGESZ = 6, AT_BASE = 7, AT_FLAGS = 8, AT_ENTRY = 9, AT_UID = 11,
       AT_EUID = 12, AT_GID = 13, AT_EGID = 14, AT_PLATFORM = 15, AT_HWCAP = 16, AT_CLKTCK = 17, AT_SECURE = 23, AT_RANDOM = 25,
       AT_HWCAP2 = 26, AT_EXECFN = 31, AT_SYSINFO_EHDR = 33, AT_MINSIGSTKSZ = 51 };

struct auxv {
    uint64_t words[2 * AUXV_PAIRS_MAX];
    uint32_t count;
};

struct stack {
    uaddr_t top;     /* user address of the end */
    uint64_t size;   /* of the block */
    uint64_t at;     /* offset of the lowest byte used */
    uint8_t *block;
    uaddr_t strings, name, platform, random;
};

static uaddr_t address_of(const struct stack *stack, uint64_t offset) { return stack->top - stack->size + offset; }

static uaddr_t push(struct stack *stack, const void *bytes, uint64_t size)
{
    stack->at -= size;
    memcpy(stack->block + stack->at, bytes, size);
    return address_of(stack, stack->at);
}

static void push_strings(struct stack *stack, const struct exec_image *image)
{
    static const uint8_t zeros[8];
    uint8_t random[16];

    body_random(random, sizeof random);
    push(stack, zeros, sizeof zeros);
    stack->name = push(stack, image->name, strlen(image->name) + 1);
    stack->strings = push(stack, image->args.strings, image->args.size);
    stack->platform = push(stack, ARCH_PLATFORM, sizeof ARCH_PLATFORM);
    stack->random = push(stack, random, sizeof random);
}

static void add(struct auxv *auxv, uint64_t type, uint64_t value)
{
    auxv->words[auxv->count++] = type;
    auxv->words[auxv->count++] = value;
}

static void make_auxv(struct auxv *auxv, const struct exec_image *image, const struct stack *stack)
{
    const struct elf_file *program = &image->program;

    auxv->count = 0;
    if (image->mm->vdso)
        add(auxv, AT_SYSINFO_EHDR, image->mm->vdso);
    add(auxv, AT_MINSIGSTKSZ, round_up(ARCH_SIGNAL_FRAME_SIZE + body_user_fp_size(), 16));
    add(auxv, AT_HWCAP, arch_hwcap());
    add(auxv, AT_PAGESZ, PAGE_SIZE);
    add(auxv, AT_CLKTCK, 100);
    add(auxv, AT_PHDR, elf_headers_address(program));
    add(auxv, AT_PHENT, sizeof(struct elf_segment));
    add(auxv, AT_PHNUM, program->header.phnum);
    add(auxv, AT_BASE, image->has_interpreter ? image->interpreter.bias : 0);
    add(auxv, AT_FLAGS, 0);
    add(auxv, AT_ENTRY, program->header.entry + program->bias);
    add(auxv, AT_UID, image->cred->uid);
    add(auxv, AT_EUID, image->cred->euid);
    add(auxv, AT_GID, image->cred->gid);
    add(auxv, AT_EGID, image->cred->egid);
    add(auxv, AT_SECURE, image->secure);
    add(auxv, AT_RANDOM, stack->random);
    add(auxv, AT_HWCAP2, arch_hwcap2());
    add(auxv, AT_EXECFN, stack->name);
    add(auxv, AT_PLATFORM, stack->platform);
    add(auxv, AT_NULL, 0);
}

/* Writes the addresses of `count` strings from *offset of the strings on, and a NULL. */
static uint64_t *put_pointers(uint64_t *to, const struct exec_args *args, uaddr_t strings, uint64_t *offset, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        *to++ = strings + *offset;
        *offset += strlen(args->strings + *offset) + 1;
    }
    *to++ = 0;
    return to;
}

/* argc, the pointers and the auxiliary vector, at an address that is a multiple of 16. */
static void push_vectors(struct stack *stack, const struct exec_image *image, const struct auxv *auxv)
{
    const struct exec_args *args = &image->args;
    uint64_t size = (1ull + args->argc + 1 + args->envc + 1 + auxv->count) * sizeof(uint64_t);
    uint64_t offset = 0;

    stack->at = round_down(address_of(stack, stack->at) - size, 16) - (stack->top - stack->size);
    uint64_t *to = (uint64_t *)(void *)(stack->block + stack->at);
    *to++ = args->argc;
    to = put_pointers(to, args, stack->strings, &offset, args->argc);
    to = put_pointers(to, args, stack->strings, &offset, args->envc);
    memcpy(to, auxv->words, auxv->count * sizeof(uint64_t));
}

static int map_stack(const struct exec_image *image, const struct stack *stack)
{
    uint64_t size = max_u64(min_u64(image->stack_limit, STACK_MAPPED_MAX), stack->size + STACK_MAPPED_MIN);
    uint32_t execute = elf_wants_executable_stack(&image->program) ? PROT_EXEC_BIT : 0;
    uaddr_t mapped;

    size = round_up(size, PAGE_SIZE);
    struct aspace_map_request request = {
        .address = stack->top - size,
        .size = size,
        .prot = PROT_READ_BIT | PROT_WRITE_BIT | execute,
        .flags = REGION_STACK | REGION_GROWS_DOWN | REGION_MAY_WRITE | REGION_NO_RESERVE | ASPACE_FIXED_NOREPLACE,
        .name = "[stack]",
    };
    return aspace_map(image->aspace, &request, &mapped);
}

static void describe(const struct exec_image *image, const struct stack *stack, const struct auxv *auxv)
{
    struct mm *mm = image->mm;

    mm->stack_top = address_of(stack, stack->at);
    mm->arg_start = stack->strings;
    mm->arg_end = mm->env_start = stack->strings + image->args.env_start;
    mm->env_end = stack->strings + image->args.size;
    mm->auxv_size = auxv->count * sizeof(uint64_t);
    memcpy(mm->auxv, auxv->words, mm->auxv_size);
}

int exec_stack_build(struct exec_image *image, uaddr_t top)
{
    const struct exec_args *args = &image->args;
    uint64_t vectors = (3ull + args->argc + args->envc) * sizeof(uint64_t);
    struct stack stack = {.top = round_down(top, 16)};
    struct auxv auxv;

    /* The last 64 bytes: platform, random bytes, terminator, alignment. */
    stack.size = round_up(args->size + strlen(image->name) + 1 + vectors + sizeof auxv.words + 128, 16);
    stack.at = stack.size;
    int error = map_stack(image, &stack);
    if (error)
        return error;
    stack.block = kzalloc(stack.size);
    if (!stack.block)
        return -ENOMEM;
    push_strings(&stack, image);
    make_auxv(&auxv, image, &stack);
    push_vectors(&stack, image, &auxv);
    image->stack = address_of(&stack, stack.at);
    uint64_t used = stack.size - stack.at;
    if (body_copy_out(image->aspace, image->stack, stack.block + stack.at, used) != used)
        error = -EFAULT;
    describe(image, &stack, &auxv);
    kfree(stack.block);
    return error;
}
