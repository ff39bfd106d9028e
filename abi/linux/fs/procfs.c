/*
 * /proc as a file system: nodes, directories, and files whose text is made when they are read.
 *
 * Reading from the start makes the text anew and keeps it with the open file, so that a reader who comes in pieces sees
 * one moment. Nothing is cached above: each lookup asks whether the process is still there.
 *
 * Making text takes any lock of the kernel, so an open file's text is replaced under a spinlock, never while it is made.
 */
#include "abi/linux/fs/procfs.h"

#include "kernel/alloc.h"
#include "kernel/string.h"

#define PROC_MAGIC 0x9fa0
#define TEXT_MAX ((size_t)16 << 20)

static const struct node_ops proc_ops, proc_magic_ops;

/* --- text -------------------------------------------------------------------------------------------- */

char *proc_room(struct proc_text *text, size_t size)
{
    size_t needed = text->length + size;
    if (text->failed || needed > TEXT_MAX) {
        text->failed = true;
        return NULL;
    }
    if (needed > text->capacity) {
        size_t capacity = text->capacity * 2 > needed ? text->capacity * 2 : needed + 256;
        char *bytes = krealloc(text->bytes, capacity);
        if (!bytes) {
            text->failed = true;
            return NULL;
        }
        text->bytes = bytes;
        text->capacity = capacity;
    }
    return text->bytes + text->length;
}

void proc_add_bytes(struct proc_text *text, const void *bytes, size_t size)
{
    char *to = proc_room(text, size);
    if (!to)
        return;
    memcpy(to, bytes, size);
    text->length += size;
}

void proc_add(struct proc_text *text, const char *pattern, ...)
{
    va_list args;
    va_start(args, pattern);
    int length = format_va(NULL, 0, pattern, args);
    va_end(args);
    char *to = proc_room(text, (size_t)length + 1);
    if (!to)
        return;
    va_start(args, pattern);
    format_va(to, (size_t)length + 1, pattern, args);
    va_end(args);
    text->length += (size_t)length;
}

/* --- open files -------------------------------------------------------------------------------------- */

/* One moment's text, shared by the open file and whoever reads from it right now. */
struct moment {
    struct object object;
    struct proc_text text;
};

struct proc_file {
    struct proc_node node;
    struct spinlock lock; /* rank NODE_TABLE */
    struct moment *moment; /* referenced, or NULL */
};

static void moment_destroy(struct object *object)
{
    struct moment *moment = CONTAINER_OF(object, struct moment, object);
    kfree(moment->text.bytes);
    kfree(moment);
}

static const struct object_type moment_type = {.name = "proc text", .destroy = moment_destroy};

static int moment_make(struct proc_file *open, struct moment **result)
{
    struct moment *moment = kzalloc(sizeof *moment);
    if (!moment)
        return -ENOMEM;
    object_init(&moment->object, &moment_type);
    int error = open->node.entry->show(&open->node, &moment->text);
    if (!error && moment->text.failed)
        error = -ENOMEM;
    if (error) {
        object_unref(moment);
        return error;
    }
    spin_lock(&open->lock);
    struct moment *old = open->moment;
    open->moment = object_ref(moment);
    spin_unlock(&open->lock);
    object_unref(old);
    *result = moment;
    return 0;
}

static int moment_for(struct proc_file *open, int64_t position, struct moment **result)
{
    spin_lock(&open->lock);
    *result = position && open->moment ? object_ref(open->moment) : NULL;
    spin_unlock(&open->lock);
    return *result ? 0 : moment_make(open, result);
}

static int64_t proc_read(struct file *file, struct io *io, int64_t *position)
{
    struct proc_file *open = file->data;
    struct moment *moment;
    if (!open->node.entry->show)
        return -EINVAL;
    int error = moment_for(open, *position, &moment);
    if (error)
        return error;
    size_t length = moment->text.length, at = *position < 0 || (uint64_t)*position > length ? length : (size_t)*position;
    size_t want = length - at < io_left(io) ? length - at : io_left(io);
    size_t put = io_put(io, moment->text.bytes + at, want);
    object_unref(moment);
    *position += (int64_t)put;
    return put || !want ? (int64_t)put : -EFAULT;
}

#define STORE_MAX 4096u

static int64_t proc_write(struct file *file, struct io *io, int64_t *position)
{
    struct proc_file *open = file->data;
    size_t size = io_left(io) < STORE_MAX ? io_left(io) : STORE_MAX;
    if (!open->node.entry->store)
        return -EIO;
    char *text = kzalloc(size + 1);
    if (!text)
        return -ENOMEM;
    int64_t done = io_get(io, text, size) == size ? open->node.entry->store(&open->node, text, size) : -EFAULT;
    kfree(text);
    if (done)
        return done;
    *position += (int64_t)size;
    return (int64_t)size;
}

static int64_t proc_seek(struct file *file, int64_t offset, int whence)
{
    if (whence == 1)
        offset += file->position;
    else if (whence != 0)
        return -EINVAL;
    if (offset < 0)
        return -EINVAL;
    file->position = offset;
    return offset;
}

static void proc_release_file(struct file *file)
{
    struct proc_file *open = file->data;
    object_unref(open->moment);
    kfree(open);
}

static const struct file_ops proc_file_ops = {
    .kind = "file",
    .read = proc_read,
    .write = proc_write,
    .seek = proc_seek,
    .release = proc_release_file,
};

static int proc_open(struct node *node, uint32_t flags, struct file **file)
{
    *file = NULL;
    if ((node->mode & LINUX_S_IFMT) != LINUX_S_IFREG)
        return 0;
    struct proc_file *open = kzalloc(sizeof *open);
    if (!open)
        return -ENOMEM;
    open->node = *proc_of(node);
    spinlock_init(&open->lock, RANK_NODE_TABLE);
    *file = file_create(&proc_file_ops, flags, open);
    if (!*file) {
        kfree(open);
        return -ENOMEM;
    }
    return 0;
}

/* --- nodes ------------------------------------------------------------------------------------------- */

static uint64_t inode_of(const struct proc_node *proc)
{
    uint64_t place = (uintptr_t)proc->entry >> 4 & 0xfffff;
    uint64_t id = (uint64_t)(uint32_t)(proc->tid ? proc->tid : proc->pid);
    return (id << 20 ^ place) + (uint64_t)proc->fd_plus_one * 0x100000001u + 2;
}

static struct node *make_node(struct fs *fs, const struct proc_node *proc)
{
    struct proc_node *copy = kalloc(sizeof *copy);
    if (!copy)
        return NULL;
    *copy = *proc;
    struct node *node = node_create(fs, proc->entry->follow ? &proc_magic_ops : &proc_ops, proc->entry->mode, inode_of(proc), copy);
    if (!node)
        kfree(copy);
    else
        node->flags |= NODE_NO_CACHE | NODE_NAMES_FIXED;
    return node;
}

static void proc_release_node(struct node *node) { kfree(node->data); }

/* Whom it belongs to: the process's effective user, root when it does not want to be looked at. */
static int owner_of(const struct proc_node *proc, uint32_t *uid, uint32_t *gid)
{
    struct process *process = proc_process(proc);
    if (!process)
        return -ENOENT;
    struct cred *cred = process_cred(process);
    struct mm *mm = process_mm(process);
    if (cred && (!mm || mm->dumpable || proc->entry == &proc_pid_entry || proc->entry == &proc_tid_entry)) {
        *uid = cred->euid;
        *gid = cred->egid;
    }
    object_unref(mm);
    object_unref(cred);
    object_unref(process);
    return 0;
}

static int proc_get_attr(struct node *node, struct linux_stat_data *stat)
{
    const struct proc_node *proc = proc_of(node);
    uint32_t uid = 0, gid = 0;
    if (proc->pid) {
        int error = owner_of(proc, &uid, &gid);
        if (error)
            return error;
    }
    struct file_time now = wall_time();
    *stat = (struct linux_stat_data){
        .device = node->fs->device,
        .inode = node->inode,
        .link_count = (node->mode & LINUX_S_IFMT) == LINUX_S_IFDIR ? 2 : 1,
        .size = proc->fd_plus_one && proc->entry->link ? 64 : 0,
        .mode = node->mode,
        .uid = uid,
        .gid = gid,
        .block_size = 1024,
        .access = now,
        .modify = now,
        .change = now,
    };
    return 0;
}

static int proc_set_attr(struct node *node, const struct node_attr *attr)
{
    (void)node;
    return attr->valid & ~(uint32_t)(ATTR_SIZE | ATTR_ATIME | ATTR_MTIME) ? -EPERM : 0;
}

static int64_t proc_read_link(struct node *node, char *target, size_t size)
{
    const struct proc_node *proc = proc_of(node);
    return proc->entry->link ? proc->entry->link(proc, target, size) : -EINVAL;
}

static int proc_follow(struct node *node, struct path **path, struct file **file)
{
    return proc_of(node)->entry->follow(proc_of(node), path, file);
}

/* --- directories ------------------------------------------------------------------------------------- */

static int child_of(const struct proc_node *dir, const char *name, size_t length, struct proc_node *child)
{
    const struct proc_entry *entry = dir->entry;
    *child = *dir;
    for (size_t i = 0; i < entry->child_count; i++) {
        child->entry = &entry->children[i];
        if (strlen(child->entry->name) == length && !memcmp(child->entry->name, name, length))
            return 0;
    }
    return entry->find ? entry->find(dir, name, length, child) : -ENOENT;
}

static int proc_lookup(struct node *dir, const char *name, size_t length, struct node **child)
{
    struct proc_node proc;
    int error = child_of(proc_of(dir), name, length, &proc);
    if (error)
        return error;
    *child = make_node(dir->fs, &proc);
    return *child ? 0 : -ENOMEM;
}

static bool emit_child(struct proc_node *child, const char *name, int64_t next, directory_emit *emit, void *context)
{
    return emit(context, name, strlen(name), inode_of(child), (uint8_t)((child->entry->mode & LINUX_S_IFMT) >> 12), next);
}

/* Cookies: 0 and 1 the dots, then the table's entries, then what `next` counts. */
static int proc_read_directory(struct node *dir, int64_t *cookie, directory_emit *emit, void *context)
{
    const struct proc_node *proc = proc_of(dir);
    int64_t fixed = 2 + (int64_t)proc->entry->child_count;
    while (*cookie < 2) {
        if (!emit(context, "..", (size_t)*cookie + 1, dir->inode, LINUX_S_IFDIR >> 12, *cookie + 1))
            return 0;
        ++*cookie;
    }
    for (; *cookie < fixed; ++*cookie) {
        struct proc_node child = *proc;
        child.entry = &proc->entry->children[*cookie - 2];
        if (!emit_child(&child, child.entry->name, *cookie + 1, emit, context))
            return 0;
    }
    while (proc->entry->next) {
        struct proc_node child = *proc;
        char name[24];
        int64_t at = *cookie - fixed;
        if (!proc->entry->next(proc, &at, name, &child) || !emit_child(&child, name, at + fixed + 1, emit, context))
            break;
        *cookie = at + fixed + 1;
    }
    return 0;
}

#define COMMON_OPS                                                                                                     \
    .get_attr = proc_get_attr, .set_attr = proc_set_attr, .lookup = proc_lookup, .read_link = proc_read_link, \
    .read_directory = proc_read_directory, .open = proc_open, .release = proc_release_node

static const struct node_ops proc_ops = {COMMON_OPS};
static const struct node_ops proc_magic_ops = {COMMON_OPS, .follow = proc_follow};

/* --- the instance ------------------------------------------------------------------------------------ */

static int proc_stat_fs(struct fs *fs, struct linux_statfs_data *stat)
{
    *stat = (struct linux_statfs_data){.type = PROC_MAGIC, .block_size = PAGE_SIZE, .fsid = fs->device, .name_length = NAME_LENGTH_MAX};
    return 0;
}

static int proc_sync_fs(struct fs *fs)
{
    (void)fs;
    return 0;
}

static void proc_release_fs(struct fs *fs) { kfree(fs->data); }

static const struct fs_ops proc_fs_ops = {.name = "proc", .stat_fs = proc_stat_fs, .sync_fs = proc_sync_fs, .release = proc_release_fs};

struct fs *procfs_create(void)
{
    struct proc_entry *root = kzalloc(sizeof *root);
    if (!root)
        return NULL;
    *root = (struct proc_entry){.name = "", .mode = LINUX_S_IFDIR | 0555, .children = proc_system_entries, .child_count = proc_system_count,
                                .find = proc_root_find, .next = proc_root_next};
    struct fs *fs = fs_create(&proc_fs_ops, root);
    if (!fs) {
        kfree(root);
        return NULL;
    }
    struct proc_node proc = {.entry = root};
    fs->root = make_node(fs, &proc);
    if (fs->root)
        return fs;
    object_unref(fs);
    return NULL;
}
