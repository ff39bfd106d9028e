/*
 * /proc/PID/mounts and mountinfo, from the one text that the mount table makes.
 */
#include "abi/linux/fs/procfs.h"
#include "kernel/alloc.h"

#define MOUNTS_SIZE ((size_t)32 << 10)

int proc_show_mounts(const struct proc_node *node, struct proc_text *text)
{
    (void)node;
    char *to = proc_room(text, MOUNTS_SIZE);
    int length = to ? mounts_show(to, MOUNTS_SIZE) : -ENOMEM;
    if (length > 0)
        text->length += (size_t)length;
    return length < 0 ? length : 0;
}

/* One word of a line: its length; *line moves behind it and the blank. */
static int word(const char **line, const char *end, const char **start)
{
    *start = *line;
    while (*line < end && **line != ' ' && **line != '\n')
        ++*line;
    int length = (int)(*line - *start);
    if (*line < end)
        ++*line;
    return length;
}

/* "source place type options 0 0" becomes "id parent 0:id / place options - type source options". */
static const char *mountinfo_line(struct proc_text *text, const char *line, const char *end, int id)
{
    const char *part[6];
    int length[6];
    for (int i = 0; i < 6; i++)
        length[i] = word(&line, end, &part[i]);
    proc_add(text, "%d %d 0:%d / %.*s %.*s - %.*s %.*s %.*s\n", id, id == 1 ? 0 : 1, id + 20, length[1], part[1], length[3], part[3],
             length[2], part[2], length[0], part[0], length[3], part[3]);
    return line;
}

int proc_show_mountinfo(const struct proc_node *node, struct proc_text *text)
{
    struct proc_text mounts = {0};
    int error = proc_show_mounts(node, &mounts);
    const char *line = mounts.bytes, *end = line + mounts.length;
    for (int id = 1; !error && line < end; id++)
        line = mountinfo_line(text, line, end, id);
    kfree(mounts.bytes);
    return error;
}
