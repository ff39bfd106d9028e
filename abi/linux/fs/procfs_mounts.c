/*
 * /proc/PID/mounts, mountinfo and mountstats: the mount table's own text.
 */
#include "abi/linux/fs/procfs.h"

#define MOUNTS_SIZE ((size_t)64 << 10)

static int add(struct proc_text *text, int (*show)(char *buffer, size_t size))
{
    char *to = proc_room(text, MOUNTS_SIZE);
    int length = to ? show(to, MOUNTS_SIZE) : -ENOMEM;
    if (length > 0)
        text->length += (size_t)length;
    return length < 0 ? length : 0;
}

int proc_show_mounts(const struct proc_node *node, struct proc_text *text)
{
    (void)node;
    return add(text, mounts_show);
}

int proc_show_mountinfo(const struct proc_node *node, struct proc_text *text)
{
    (void)node;
    return add(text, mounts_show_info);
}

int proc_show_mountstats(const struct proc_node *node, struct proc_text *text)
{
    (void)node;
    return add(text, mounts_show_statistics);
}
