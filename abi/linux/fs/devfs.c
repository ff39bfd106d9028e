/*
 * /dev: an in-memory file system that comes with the usual nodes, and the table of what device numbers open.
 *
 * Programs may add to it and remove from it like from any tmpfs. A device node anywhere (made with mknod, or lying
 * in a root directory of the host's) opens the guest's device of that number, never the host's.
 */
#include "abi/linux/fs/devfs.h"

#include "abi/linux/fs/fuse_mount.h"
#include "abi/linux/fs/memfs.h"
#include "abi/linux/process.h"
#include "abi/linux/tty.h"
#include "kernel/string.h"

enum { MAJOR_MEMORY = 1, MAJOR_TTY = 5, MAJOR_MISC = 10, MAJOR_PTS = 136 };
enum { MINOR_TTY = 0, MINOR_CONSOLE = 1, MINOR_PTMX = 2, MINOR_FUSE = 229 };

#define REGISTERED_MAX 16u
static struct device_entry registered[REGISTERED_MAX];
static uint32_t registered_count;

static struct fs *first_instance; /* what device_stat speaks of; kept for ever */

static uint64_t number_of(uint32_t major, uint32_t minor) { return (uint64_t)major << 8 | minor; }
static uint32_t major_of(uint64_t rdev) { return (uint32_t)(rdev >> 8 & 0xfff); }
static uint32_t minor_of(uint64_t rdev) { return (uint32_t)((rdev & 0xff) | (rdev >> 12 & 0xfff00)); }

static int terminal_open(uint32_t minor, uint32_t flags, struct file **file)
{
    switch (minor) {
    case MINOR_TTY:
        return tty_open_controlling(flags, file);
    case MINOR_CONSOLE: /* never the controlling terminal by being opened */
        return tty_console() ? tty_open(tty_console(), flags | LINUX_O_NOCTTY, file) : -ENXIO;
    case MINOR_PTMX:
        return pty_open_master(flags, file);
    default:
        return -ENXIO;
    }
}

int device_register(const struct device_entry *entry)
{
    if (registered_count == REGISTERED_MAX)
        return -ENOSPC;
    registered[registered_count++] = *entry;
    return 0;
}

static const struct device_entry *find_registered(uint32_t type, uint64_t rdev)
{
    for (uint32_t i = 0; i < registered_count; i++)
        if ((registered[i].mode & LINUX_S_IFMT) == type && registered[i].major == major_of(rdev) && registered[i].minor == minor_of(rdev))
            return &registered[i];
    return NULL;
}

int device_open(uint32_t mode, uint64_t rdev, uint32_t flags, struct file **file)
{
    const struct device_entry *entry = find_registered(mode & LINUX_S_IFMT, rdev);
    if (entry)
        return entry->open(entry->data, flags, file);
    if ((mode & LINUX_S_IFMT) != LINUX_S_IFCHR)
        return -ENXIO;
    switch (major_of(rdev)) {
    case MAJOR_MEMORY:
        return memory_device_open(minor_of(rdev), flags, file);
    case MAJOR_TTY:
        return terminal_open(minor_of(rdev), flags, file);
    case MAJOR_MISC:
        return minor_of(rdev) == MINOR_FUSE ? fuse_device_open(flags, file) : -ENXIO;
    case MAJOR_PTS:
        return pty_open_slave(rdev, flags, file);
    default:
        return -ENXIO;
    }
}

/* --- the tree ---------------------------------------------------------------------------------------- */

struct device {
    const char *name;
    uint32_t mode, major, minor, gid;
};

static const struct device devices[] = {
    {"null", 0666, MAJOR_MEMORY, 3, 0},         {"zero", 0666, MAJOR_MEMORY, 5, 0},     {"full", 0666, MAJOR_MEMORY, 7, 0},
    {"random", 0666, MAJOR_MEMORY, 8, 0},       {"urandom", 0666, MAJOR_MEMORY, 9, 0},  {"tty", 0666, MAJOR_TTY, MINOR_TTY, 5},
    {"console", 0620, MAJOR_TTY, MINOR_CONSOLE, 5}, {"ptmx", 0666, MAJOR_TTY, MINOR_PTMX, 5},
    {"fuse", 0666, MAJOR_MISC, MINOR_FUSE, 0},
};

struct symlink {
    const char *name, *target;
};

static const struct symlink symlinks[] = {
    {"fd", "/proc/self/fd"},
    {"stdin", "/proc/self/fd/0"},
    {"stdout", "/proc/self/fd/1"},
    {"stderr", "/proc/self/fd/2"},
};

static int add(struct fs *fs, const char *name, uint32_t mode, uint64_t rdev, const char *target, uint32_t gid)
{
    struct node *node;
    int error = fs->root->ops->create(fs->root, name, strlen(name), mode, rdev, target, 0, gid, &node);
    if (!error)
        object_unref(node);
    return error;
}

static int add_pts(struct fs *fs)
{
    struct node *node = pty_directory_create(fs, memfs_inode(fs));
    int error = node ? memfs_adopt(fs->root, "pts", node) : -ENOMEM;
    object_unref(node);
    return error;
}

static int populate(struct fs *fs)
{
    int error = add_pts(fs);
    for (size_t i = 0; i < ARRAY_SIZE(devices) && !error; i++)
        error = add(fs, devices[i].name, LINUX_S_IFCHR | devices[i].mode, number_of(devices[i].major, devices[i].minor), NULL, devices[i].gid);
    for (uint32_t i = 0; i < registered_count && !error; i++)
        error = add(fs, registered[i].name, registered[i].mode, number_of(registered[i].major, registered[i].minor), NULL, registered[i].gid);
    for (size_t i = 0; i < ARRAY_SIZE(symlinks) && !error; i++)
        error = add(fs, symlinks[i].name, LINUX_S_IFLNK | 0777, 0, symlinks[i].target, 0);
    return error ? error : add(fs, "shm", LINUX_S_IFDIR | 01777, 0, NULL, 0);
}

struct fs *devfs_create(void)
{
    struct fs *fs = memfs_create_named("devtmpfs");
    if (!fs || populate(fs)) {
        object_unref(fs);
        return NULL;
    }
    if (!first_instance)
        first_instance = object_ref(fs);
    return fs;
}

int device_stat(uint64_t rdev, struct linux_stat_data *stat)
{
    struct fs *fs = first_instance;
    struct node *node;
    if (fs && major_of(rdev) == MAJOR_PTS)
        return pty_slave_stat(fs, rdev, stat);
    if (!fs || rdev != number_of(MAJOR_TTY, MINOR_CONSOLE))
        return -ENOENT;
    int error = fs->root->ops->lookup(fs->root, "console", 7, &node);
    if (error)
        return error;
    error = node->ops->get_attr(node, stat);
    object_unref(node);
    return error;
}
