/*
 * A program on its way: from a file and its arguments to a filled address space.
 *
 * Scripts name an interpreter, which is opened in their place, a few times over; a dynamic ELF program names the
 * file that loads it. Places follow Linux: a fixed program where it wants to be, a movable one in the lower two
 * thirds, the loader and all later mappings below the stack, the heap behind the program; each moved by a random
 * distance unless the personality says no.
 */
#include "abi/linux/exec.h"
#include "abi/linux/fs/fs.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#include <arch/linux.h>

#define SCRIPT_HEAD 256
#define STACK_GAP_MIN (128ull << 20)
#define HEAP_RANDOM (32ull << 20)

/* --- scripts ----------------------------------------------------------------------------------------- */

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

static char *skip_blanks(char *from)
{
    while (is_blank(*from))
        from++;
    return from;
}

/*
 * The interpreter and its one argument (or NULL) in a head of SCRIPT_HEAD bytes with a terminator behind. -ENOEXEC when
 * there is no name, or it does not end within the head.
 */
static int parse_script(char *head, char **interpreter, char **option)
{
    char *end = memchr(head, '\n', SCRIPT_HEAD);
    char *name = skip_blanks(head + 2);

    if (!end) {
        char *word = name;
        while (*word && !is_blank(*word))
            word++;
        if (word == head + SCRIPT_HEAD)
            return -ENOEXEC;
        end = head + strnlen(head, SCRIPT_HEAD);
    }
    while (end > head + 2 && is_blank(end[-1]))
        end--;
    *end = '\0';
    if (name >= end || !*name)
        return -ENOEXEC;
    char *rest = name;
    while (*rest && !is_blank(*rest))
        rest++;
    *interpreter = name;
    *option = NULL;
    if (*rest) {
        *rest = '\0';
        rest = skip_blanks(rest + 1);
        *option = *rest ? rest : NULL;
    }
    return 0;
}

/* Puts the interpreter in the script's place. *script is the name by which the interpreter finds it. */
static int enter_script(struct exec_image *image, struct file **file, char *head, char **script)
{
    char *interpreter, *option;
    int error = parse_script(head, &interpreter, &option);

    if (!error)
        error = exec_args_replace_first(&image->args, interpreter, option, *script);
    if (error)
        return error;
    char *name = kstrdup(interpreter);
    if (!name)
        return -ENOMEM;
    file_unref(*file);
    *file = NULL;
    kfree(*script);
    *script = name;
    return vfs_open_exec(LINUX_AT_FDCWD, name, 0, file);
}

/* Follows scripts to a program. Takes over *file, and gives another or NULL. */
static int resolve_scripts(struct exec_image *image, struct file **file)
{
    char *script = kstrdup(image->name);
    char *head = kalloc(SCRIPT_HEAD + 1);
    int error = script && head ? 0 : -ENOMEM;

    for (int depth = 0; !error; depth++) {
        memset(head, 0, SCRIPT_HEAD + 1);
        int64_t size = file_read_kernel(*file, head, SCRIPT_HEAD, 0);
        if (size < 0)
            error = (int)size;
        if (error || head[0] != '#' || head[1] != '!')
            break;
        error = depth >= EXEC_DEPTH_MAX ? -ELOOP : enter_script(image, file, head, &script);
    }
    kfree(script);
    kfree(head);
    return error;
}

/* --- everything that may fail ------------------------------------------------------------------------ */

static int open_interpreter(struct exec_image *image)
{
    struct file *file;
    char *name;
    int error = elf_interpreter(&image->program, &name);

    if (error || !name)
        return error;
    error = vfs_open_exec(LINUX_AT_FDCWD, name, 0, &file);
    kfree(name);
    if (error)
        return error;
    image->has_interpreter = true;
    error = elf_open(&image->interpreter, file);
    return error == -ENOEXEC ? -ELIBBAD : error;
}

static void set_comm(struct exec_image *image)
{
    const char *slash = strrchr(image->name, '/');

    format(image->comm, sizeof image->comm, "%s", slash ? slash + 1 : image->name);
}

static int create_space(struct exec_image *image)
{
    image->aspace = aspace_create();
    image->mm = image->aspace ? mm_create(image->aspace) : NULL;
    return image->mm ? 0 : -ENOMEM;
}

int exec_prepare(struct exec_image *image, struct file *file, char *name)
{
    image->name = name;
    set_comm(image);
    int error = resolve_scripts(image, &file);
    if (error) {
        if (file)
            file_unref(file);
        return error;
    }
    error = elf_open(&image->program, file);
    if (error == -EIO)
        error = -ENOEXEC; /* too short for a header */
    if (!error)
        error = open_interpreter(image);
    if (!error)
        error = exec_cred_prepare(image);
    if (!error)
        error = create_space(image);
    return error;
}

void exec_image_done(struct exec_image *image)
{
    exec_args_done(&image->args);
    elf_close(&image->program);
    elf_close(&image->interpreter);
    object_unref(image->cred);
    object_unref(image->mm);
    object_unref(image->aspace);
    kfree(image->name);
    image->name = NULL;
    image->cred = NULL;
    image->mm = NULL;
    image->aspace = NULL;
}

/* --- filling the address space ----------------------------------------------------------------------- */

/* A random number of bytes, whole pages, below limit. */
static uint64_t random_distance(const struct exec_image *image, uint64_t limit)
{
    uint64_t value;

    if ((image->personality & LINUX_PERSONALITY_NO_RANDOMIZE) || limit < PAGE_SIZE)
        return 0;
    body_random(&value, sizeof value);
    return value % limit & PAGE_MASK;
}

static uint64_t alignment(const struct elf_file *elf)
{
    uint64_t align = PAGE_SIZE;

    for (uint32_t i = 0; i < elf->header.phnum; i++) {
        const struct elf_segment *segment = &elf->segments[i];
        bool power = segment->align && !(segment->align & (segment->align - 1));
        if (segment->type == ELF_SEGMENT_LOAD && power && segment->align <= 1u << 30)
            align = max_u64(align, segment->align);
    }
    return align;
}

/* Finds room anywhere for a movable file: a mapping that its segments will replace. */
static int reserve_anywhere(struct exec_image *image, struct elf_file *elf)
{
    uint64_t align = alignment(elf);
    struct aspace_map_request request = {.size = elf->high - elf->low + align - PAGE_SIZE, .flags = REGION_NO_RESERVE};
    uaddr_t address;
    int error = aspace_map(image->aspace, &request, &address);

    if (error)
        return error;
    elf->bias = round_up(address, align) - elf->low;
    error = elf_map(elf, image->aspace, true);
    return error;
}

/* At `base` if that is free, else anywhere. A fixed file only where it wants. */
static int map_at(struct exec_image *image, struct elf_file *elf, uaddr_t base)
{
    uint64_t align = alignment(elf);

    if (elf->header.type == ELF_TYPE_EXEC)
        return elf_map(elf, image->aspace, false);
    base = round_down(base, align);
    if (elf->high - elf->low > image->aspace->high || base > image->aspace->high - (elf->high - elf->low))
        return reserve_anywhere(image, elf);
    elf->bias = base - elf->low;
    int error = elf_map(elf, image->aspace, false);
    return error == -EEXIST ? reserve_anywhere(image, elf) : error;
}

static void find_vdso(struct exec_image *image)
{
    struct aspace *aspace = image->aspace;

    mutex_lock(&aspace->mutex);
    LIST_FOR_EACH(node, &aspace->regions) {
        struct region *region = LIST_ENTRY(node, struct region, link);
        if (region->name && !strcmp(region->name, "[vdso]"))
            image->mm->vdso = region->start;
    }
    mutex_unlock(&aspace->mutex);
}

/* Returns where the stack ends; mappings go below a gap that lets it grow. */
static uaddr_t lay_out(struct exec_image *image)
{
    struct aspace *aspace = image->aspace;
    uaddr_t top = min_u64(aspace->ceiling, ARCH_USER_TOP);
    uint64_t room = top - aspace->floor;
    uint64_t gap = min_u64(max_u64(image->stack_limit, STACK_GAP_MIN), room / 6 * 5);
    uaddr_t stack_top = top - random_distance(image, min_u64(16ull << 30, room / 64));
    uaddr_t high = round_down(top - gap - (top - stack_top), PAGE_SIZE);

    high -= random_distance(image, min_u64(1ull << 40, room / 64));
    if (high < aspace->high && high > aspace->low)
        aspace->high = high;
    return stack_top;
}

int exec_load(struct exec_image *image)
{
    struct elf_file *program = &image->program, *interpreter = &image->interpreter;
    uaddr_t stack_top = lay_out(image);
    uint64_t room = image->aspace->ceiling;
    uaddr_t base = min_u64(ARCH_USER_TOP, room) / 3 * 2 & PAGE_MASK;
    int error = map_at(image, program, base + random_distance(image, min_u64(1ull << 40, room / 64)));

    if (!error && image->has_interpreter)
        error = map_at(image, interpreter, image->aspace->high - (interpreter->high - interpreter->low));
    if (error)
        return error;
    mm_set_brk(image->mm, program->high + program->bias + random_distance(image, HEAP_RANDOM));
    mm_set_exe(image->mm, program->file);
    image->mm->dumpable = image->readable && !image->secure;
    find_vdso(image);
    const struct elf_file *starter = image->has_interpreter ? interpreter : program;
    image->entry = starter->header.entry + starter->bias;
    if (image->entry >= ARCH_USER_TOP)
        return -EINVAL;
    return exec_stack_build(image, stack_top);
}
