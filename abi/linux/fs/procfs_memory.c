/*
 * /proc/PID/maps, smaps, cmdline, environ, auxv: what can be read of a process's memory map and memory.
 */
#include "abi/linux/fs/procfs.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#define MAPS_CHUNK ((size_t)32 << 10)
#define STRINGS_MAX ((uint64_t)1 << 20)

static int mm_of(const struct proc_node *node, bool checked, struct mm **mm)
{
    struct process *process;
    int error = 0;
    if (checked)
        error = proc_process_checked(node, &process);
    else if (!(process = proc_process(node)))
        error = -ESRCH;
    if (error)
        return error;
    *mm = process_mm(process); /* NULL: a zombie, whose files are empty */
    object_unref(process);
    return 0;
}

static int show_regions(const struct proc_node *node, struct proc_text *text, int64_t (*show)(struct mm *, uaddr_t *, char *, size_t))
{
    struct mm *mm;
    uaddr_t cursor = 0;
    int64_t length = mm_of(node, true, &mm);
    if (length || !mm)
        return (int)length;
    do {
        char *to = proc_room(text, MAPS_CHUNK);
        length = to ? show(mm, &cursor, to, MAPS_CHUNK) : -ENOMEM;
        if (length > 0)
            text->length += (size_t)length;
    } while (length > 0);
    object_unref(mm);
    return (int)length;
}

int proc_show_maps(const struct proc_node *node, struct proc_text *text) { return show_regions(node, text, mm_show_maps); }
int proc_show_smaps(const struct proc_node *node, struct proc_text *text) { return show_regions(node, text, mm_show_smaps); }

static int show_range(struct mm *mm, uaddr_t start, uaddr_t end, struct proc_text *text)
{
    uint64_t size = end > start ? min_u64(end - start, STRINGS_MAX) : 0;
    char *to = size ? proc_room(text, size) : NULL;
    if (to)
        text->length += body_copy_in(mm->aspace, to, start, size);
    return 0;
}

/*
 * A program that overwrote its arguments' last terminator (setproctitle) shows what it wrote, as far as into the
 * environment, up to the first terminator.
 */
int proc_show_cmdline(const struct proc_node *node, struct proc_text *text)
{
    struct mm *mm;
    int error = mm_of(node, false, &mm);
    if (error || !mm)
        return error;
    show_range(mm, mm->arg_start, mm->arg_end, text);
    if (text->length && text->bytes[text->length - 1]) {
        show_range(mm, mm->env_start, mm->env_end, text);
        text->length = strnlen(text->bytes, text->length);
    }
    object_unref(mm);
    return 0;
}

int proc_show_environ(const struct proc_node *node, struct proc_text *text)
{
    struct mm *mm;
    int error = mm_of(node, true, &mm);
    if (error || !mm)
        return error;
    show_range(mm, mm->env_start, mm->env_end, text);
    object_unref(mm);
    return 0;
}

int proc_show_auxv(const struct proc_node *node, struct proc_text *text)
{
    struct mm *mm;
    int error = mm_of(node, true, &mm);
    if (error || !mm)
        return error;
    proc_add_bytes(text, mm->auxv, mm->auxv_size);
    object_unref(mm);
    return 0;
}
