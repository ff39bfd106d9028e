/*
 * Files in memory, served from a process: every operation of the file protocol but reading and writing, which nobody has to be asked
 * for, since each regular file is a memory object that the kernel holds. See ../README.md.
 *
 * One mutex guards the tree. A file is a slot of a table; its number is the slot's, so numbers are small and checked. A file lives as long
 * as it has names or the kernel has references to it. With a limit on the space, growing must be asked for (allocate), so the handles
 * given out lack RESIZE; what counts is the sizes, in whole pages.
 */
#include "examples/memory-fs/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct tree tree = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void tree_lock(void) { pthread_mutex_lock(&tree.mutex); }

int64_t tree_unlock(int64_t result)
{
    pthread_mutex_unlock(&tree.mutex);
    return result;
}

struct file *file_of(uint64_t number) { return number && number <= tree.size ? tree.files[number - 1] : NULL; }

/* --- files ------------------------------------------------------------------------------------------- */

static struct timespec now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time;
}

void file_changed(struct file *file, bool contents)
{
    file->change = now();
    if (contents)
        file->modify = file->change;
}

static bool table_grow(void)
{
    uint64_t size = tree.size ? 2 * tree.size : 64;
    struct file **files = realloc(tree.files, size * sizeof *files);
    if (!files)
        return false;
    memset(files + tree.size, 0, (size - tree.size) * sizeof *files);
    tree.files = files;
    tree.size = size;
    return true;
}

static uint64_t slot_find(void)
{
    for (uint64_t turn = 0; turn < tree.size; turn++) {
        uint64_t slot = (tree.next + turn) % tree.size;
        if (!tree.files[slot])
            return slot;
    }
    return tree.size;
}

struct file *file_make(uint32_t mode, uint32_t uid, uint32_t gid)
{
    uint64_t slot = slot_find();
    struct file *file = slot < tree.size || table_grow() ? calloc(1, sizeof *file) : NULL;
    if (!file)
        return NULL;
    if (S_ISREG(mode)) {
        int64_t memobj = hyla_memobj_create(0);
        file->memobj = memobj > 0 ? (hyla_handle_t)memobj : 0;
        if (!file->memobj) {
            free(file);
            return NULL;
        }
    }
    file->mode = mode;
    file->uid = uid;
    file->gid = gid;
    file->next_cookie = 3;
    file->access = file->modify = file->change = file->birth = now();
    file->number = slot + 1;
    tree.files[slot] = file;
    tree.next = slot + 1;
    tree.count++;
    return file;
}

static void file_free(struct file *file)
{
    tree.used -= file->charged;
    tree.files[file->number - 1] = NULL;
    tree.count--;
    if (file->memobj)
        hyla_handle_close(file->memobj);
    while (file->xattrs)
        xattr_drop(file, file->xattrs);
    free(file->target);
    free(file);
}

void file_put(struct file *file)
{
    if (!file->links && !file->references)
        file_free(file);
}

uint64_t file_size(const struct file *file)
{
    struct hyla_memobj_info info = {0};
    if (file->memobj && hyla_memobj_info(file->memobj, &info) == 0)
        return info.size;
    return file->target ? strlen(file->target) : file->entry_count * 20;
}

void file_show(const struct file *file, struct hyla_file_attributes *a)
{
    *a = (struct hyla_file_attributes){
        .node = file->number, .mode = file->mode, .links = file->links + (S_ISDIR(file->mode) ? 1 + file->directories : 0), .uid = file->uid, .gid = file->gid,
        .rdev = file->rdev, .size = file_size(file), .blocks = file->charged / 512,
        .access_seconds = file->access.tv_sec, .access_nanoseconds = (uint32_t)file->access.tv_nsec,
        .modify_seconds = file->modify.tv_sec, .modify_nanoseconds = (uint32_t)file->modify.tv_nsec,
        .change_seconds = file->change.tv_sec, .change_nanoseconds = (uint32_t)file->change.tv_nsec,
        .birth_seconds = file->birth.tv_sec, .birth_nanoseconds = (uint32_t)file->birth.tv_nsec,
        .cache = HYLA_FILE_CACHE_ATTRIBUTES | HYLA_FILE_CACHE_NAMES | HYLA_FILE_CACHE_ABSENT,
    };
}

/* --- sizes ------------------------------------------------------------------------------------------- */

#define PAGE 4096u

/* The file is to have this size: whether there is room. What a file once took it gives back when it is cut. */
static int64_t charge(struct file *file, uint64_t size)
{
    uint64_t wanted = (size + PAGE - 1) / PAGE * PAGE;
    if (wanted > file->charged && tree.limit && wanted - file->charged > tree.limit - tree.used)
        return -ENOSPC;
    tree.used += wanted - file->charged;
    file->charged = wanted;
    return 0;
}

static int64_t resize(struct file *file, uint64_t size)
{
    uint64_t before = file->charged;
    int64_t error = charge(file, size);
    if (!error) {
        error = hyla_memobj_resize(file->memobj, size);
        if (error)
            charge(file, before);
    }
    return error;
}

/* --- attributes -------------------------------------------------------------------------------------- */

static int64_t get_attributes(struct hyla_fs *fs, uint64_t node, struct hyla_file_attributes *a)
{
    (void)fs;
    tree_lock();
    struct file *file = file_of(node);
    if (file)
        file_show(file, a);
    return tree_unlock(file ? 0 : -ESTALE);
}

static int64_t apply(struct file *file, const struct hyla_file_changes *c)
{
    if (c->valid & HYLA_FILE_SET_SIZE) {
        int64_t error = file->memobj ? resize(file, c->size) : -EINVAL;
        if (error)
            return error;
        file_changed(file, true);
    }
    if (c->valid & HYLA_FILE_SET_MODE)
        file->mode = (file->mode & S_IFMT) | (c->mode & 07777);
    if (c->valid & HYLA_FILE_SET_UID)
        file->uid = c->uid;
    if (c->valid & HYLA_FILE_SET_GID)
        file->gid = c->gid;
    if (c->valid & HYLA_FILE_SET_ACCESS)
        file->access = (struct timespec){c->access_seconds, c->access_nanoseconds};
    if (c->valid & HYLA_FILE_SET_MODIFY)
        file->modify = (struct timespec){c->modify_seconds, c->modify_nanoseconds};
    if (c->valid != HYLA_FILE_SET_ACCESS)
        file->change = now();
    return 0;
}

static int64_t set_attributes(struct hyla_fs *fs, uint64_t node, const struct hyla_file_changes *changes, struct hyla_file_attributes *a)
{
    (void)fs;
    tree_lock();
    struct file *file = file_of(node);
    int64_t result = file ? apply(file, changes) : -ESTALE;
    if (!result)
        file_show(file, a);
    return tree_unlock(result);
}

static int64_t forget(struct hyla_fs *fs, uint64_t node, uint64_t count)
{
    (void)fs;
    tree_lock();
    struct file *file = file_of(node);
    if (file) {
        file->references -= count < file->references ? count : file->references;
        file_put(file);
    }
    return tree_unlock(0);
}

/* --- contents ---------------------------------------------------------------------------------------- */

static int64_t open_file(struct hyla_fs *fs, uint64_t node, uint32_t flags, struct hyla_msg_handle *contents)
{
    (void)fs;
    uint32_t rights = HYLA_RIGHT_READ | HYLA_RIGHT_MAP | HYLA_RIGHT_TRANSFER;
    tree_lock();
    struct file *file = file_of(node);
    if (!file || !file->memobj)
        return tree_unlock(file ? -EINVAL : -ESTALE);
    if (flags & HYLA_FILE_OPEN_WRITE)
        rights |= HYLA_RIGHT_WRITE;
    *contents = (struct hyla_msg_handle){.handle = file->memobj, .rights = rights};
    return tree_unlock(0);
}

static int64_t make_room(struct file *file, uint32_t mode, uint64_t offset, uint64_t size)
{
    uint64_t now_size = file_size(file), end = offset + size;
    int64_t error = 0;
    if ((mode & (HYLA_FILE_ALLOCATE_PUNCH_HOLE | HYLA_FILE_ALLOCATE_ZERO_RANGE)) && offset < now_size)
        error = hyla_memobj_punch(file->memobj, offset, (end < now_size ? end : now_size) - offset);
    if (!error && !(mode & HYLA_FILE_ALLOCATE_KEEP_SIZE) && end > now_size)
        error = resize(file, end);
    if (!error)
        file_changed(file, true);
    return error;
}

static int64_t allocate(struct hyla_fs *fs, uint64_t node, uint32_t mode, uint64_t offset, uint64_t size, struct hyla_file_attributes *a)
{
    (void)fs;
    tree_lock();
    struct file *file = file_of(node);
    int64_t result = !file ? -ESTALE : !file->memobj ? -EINVAL : offset > UINT64_MAX - size ? -EFBIG : make_room(file, mode, offset, size);
    if (!result)
        file_show(file, a);
    return tree_unlock(result);
}

static int64_t sync_file(struct hyla_fs *fs, uint64_t node, uint32_t flags)
{
    (void)fs, (void)node, (void)flags; /* there is nothing safer than this */
    return 0;
}

static int64_t get_space(struct hyla_fs *fs, struct hyla_file_space *space)
{
    (void)fs;
    tree_lock();
    uint64_t left = tree.limit ? tree.limit - tree.used : 0;
    *space = (struct hyla_file_space){
        .type = 0x01021994, .block_size = PAGE, .blocks = tree.limit / PAGE, .blocks_free = left / PAGE, .blocks_available = left / PAGE,
        .files = tree.size, .files_free = tree.size - tree.count, .name_length = 255,
    };
    return tree_unlock(0);
}

const struct hyla_file_ops memory_ops = {
    .lookup = memory_lookup, .forget = forget, .get_attributes = get_attributes, .set_attributes = set_attributes, .create = memory_create,
    .link = memory_link, .remove = memory_remove, .rename = memory_rename, .read_link = memory_read_link, .read_directory = memory_read_directory,
    .open = open_file, .allocate = allocate, .sync = sync_file, .get_xattr = memory_get_xattr, .set_xattr = memory_set_xattr,
    .list_xattr = memory_list_xattr, .remove_xattr = memory_remove_xattr, .get_space = get_space,
};
