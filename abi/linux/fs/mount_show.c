/*
 * The mounts as /proc/PID/mounts, mountinfo and mountstats show them: proc(5). Blanks, tabs, newlines and backslashes in names are written in octal.
 */
#include "abi/linux/fs/vfs.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

/* One mount's names, for the time it is shown. */
struct shown {
    struct mount *mount;
    char *place, *source, *options, *root; /* of PATH_LENGTH_MAX bytes each, in one block */
};

static void escape(char *to, const char *from)
{
    char *end = to + PATH_LENGTH_MAX - 5;

    for (; *from && to < end; from++) {
        if (*from == ' ' || *from == '\t' || *from == '\n' || *from == '\\')
            to += format(to, 5, "\\%03o", (uint8_t)*from);
        else
            *to++ = *from;
    }
    *to = 0;
}

/* Where it is, as the reader sees it: false when it is nowhere. */
static bool place_fill(struct shown *shown)
{
    struct path *root;
    char *name = shown->options; /* not used yet */

    spin_lock(&path_cache_lock);
    root = shown->mount->root ? path_ref(shown->mount->root) : NULL;
    spin_unlock(&path_cache_lock);
    int64_t length = root ? path_name(root, name, PATH_LENGTH_MAX) : -1;
    path_unref(root);
    if (length >= 0)
        escape(shown->place, name);
    return length >= 0;
}

static bool shown_fill(struct shown *shown)
{
    const struct mount *mount = shown->mount;
    struct fs *fs = mount->fs;
    int length;

    if (!place_fill(shown))
        return false;
    escape(shown->source, mount->source);
    escape(shown->root, mount->root_name ? mount->root_name : "/");
    length = format(shown->options, PATH_LENGTH_MAX, "%s%s%s%s", (mount->flags & MOUNT_READ_ONLY) || fs->read_only ? "ro" : "rw",
                    mount->flags & MOUNT_NO_SUID ? ",nosuid" : "", mount->flags & MOUNT_NO_DEV ? ",nodev" : "",
                    mount->flags & MOUNT_NO_EXEC ? ",noexec" : "");
    if (fs->ops->show_options)
        fs->ops->show_options(fs, shown->options + length, PATH_LENGTH_MAX - (size_t)length);
    return true;
}

static int line_mounts(const struct shown *shown, char *buffer, size_t size)
{
    return format(buffer, size, "%s %s %s %s 0 0\n", shown->source, shown->place, shown->mount->fs->ops->name, shown->options);
}

static int line_statistics(const struct shown *shown, char *buffer, size_t size)
{
    struct fs *fs = shown->mount->fs;
    char served[64] = "";
    bool dead;
    uint64_t messages = serverfs_messages(fs, &dead);

    if (fs->ops->remote)
        format(served, sizeof served, " messages %llu%s", (unsigned long long)messages, dead ? " dead" : "");
    return format(buffer, size, "device %s mounted on %s with fstype %s%s\n", shown->source, shown->place, fs->ops->name, served);
}

static uint32_t parent_id(struct mount *mount)
{
    spin_lock(&path_cache_lock);
    uint32_t id = mount->mountpoint && mount->mountpoint->mount ? mount->mountpoint->mount->id : mount->id;
    spin_unlock(&path_cache_lock);
    return id;
}

static int line_info(const struct shown *shown, char *buffer, size_t size)
{
    struct mount *mount = shown->mount;

    return format(buffer, size, "%u %u 0:%llu %s %s %s - %s %s %s\n", mount->id, parent_id(mount), (unsigned long long)mount->fs->device,
                  shown->root, shown->place, shown->options, mount->fs->ops->name, shown->source, shown->options);
}

static int show(char *buffer, size_t size, int (*line)(const struct shown *shown, char *buffer, size_t size))
{
    char *block = kalloc(4 * PATH_LENGTH_MAX);
    struct shown shown = {.place = block, .source = block + PATH_LENGTH_MAX, .options = block + 2 * PATH_LENGTH_MAX,
                          .root = block + 3 * PATH_LENGTH_MAX};
    size_t used = 0;
    int length = 0;

    if (!block)
        return -ENOMEM;
    for (uint32_t i = 0; (size_t)length < size - used && (shown.mount = mount_number(i)); i++) {
        used += (size_t)length;
        length = shown_fill(&shown) ? line(&shown, buffer + used, size - used) : 0;
        object_unref(shown.mount);
    }
    if ((size_t)length < size - used)
        used += (size_t)length;
    kfree(block);
    return (int)used;
}

int mounts_show(char *buffer, size_t size) { return show(buffer, size, line_mounts); }
int mounts_show_info(char *buffer, size_t size) { return show(buffer, size, line_info); }
int mounts_show_statistics(char *buffer, size_t size) { return show(buffer, size, line_statistics); }

int mounts_each(bool (*each)(void *context, struct fs *fs, const char *source, const char *name, bool read_only), void *context)
{
    char *name = kalloc(PATH_LENGTH_MAX), *options = kalloc(PATH_LENGTH_MAX);
    struct shown shown = {.place = name, .options = options};
    bool more = true;

    for (uint32_t i = 0; name && options && more && (shown.mount = mount_number(i)); i++) {
        const struct mount *mount = shown.mount;
        if (place_fill(&shown))
            more = each(context, mount->fs, mount->source, name, (mount->flags & MOUNT_READ_ONLY) || mount->fs->read_only);
        object_unref(shown.mount);
    }
    kfree(options);
    kfree(name);
    return name && options ? 0 : -ENOMEM;
}
