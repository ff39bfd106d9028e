/*
 * memfd_create: files without a name, over a memobj, that can be sealed.
 *
 * A memfd is a node of a file system of its own kind, so everything above (positions, locks, stat, reopening through
 * /proc/self/fd) works as for any file. Its path has no place in the tree and counts as unlinked.
 *
 * Seals only ever grow; whoever changes the contents looks at them under the node's mutex, so that a change and a seal
 * that forbids it have an order. F_SEAL_WRITE is refused while somebody has the file mapped, which is seen by the
 * references on the memobj: a private mapping counts too, which Linux would let pass.
 */
#include "abi/linux/calls.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/aspace.h"
#include "kernel/string.h"

enum { MFD_CLOEXEC = 1, MFD_ALLOW_SEALING = 2, MFD_HUGETLB = 4, MFD_NOEXEC_SEAL = 8, MFD_EXEC = 16 };
enum { F_SEAL_SEAL = 1, F_SEAL_SHRINK = 2, F_SEAL_GROW = 4, F_SEAL_WRITE = 8, F_SEAL_FUTURE_WRITE = 16, F_SEAL_EXEC = 32,
       F_SEAL_ALL = 63 };
enum { MEMFD_NAME_MAX = 249 };
#define MEMFD_SIZE_MAX MEMOBJ_SIZE_MAX

struct memfd {
    struct memobj *memobj; /* referenced, constant */
    /* under node->mutex */
    uint32_t seals;
    uint32_t mode, uid, gid;
    struct file_time access, modify, change;
};

static struct memfd *memfd_of(struct node *node) { return node->data; }

/* --- attributes -------------------------------------------------------------------------------------- */

static int memfd_get_attr(struct node *node, struct linux_stat_data *stat)
{
    struct memfd *memfd = memfd_of(node);

    mutex_lock(&node->mutex);
    *stat = (struct linux_stat_data){
        .device = node->fs->device,
        .inode = node->inode,
        .size = memfd->memobj->size,
        .blocks = memobj_resident(memfd->memobj) / 512,
        .mode = LINUX_S_IFREG | memfd->mode,
        .uid = memfd->uid,
        .gid = memfd->gid,
        .block_size = PAGE_SIZE,
        .access = memfd->access,
        .modify = memfd->modify,
        .change = memfd->change,
    };
    mutex_unlock(&node->mutex);
    return 0;
}

static int resize_locked(struct memfd *memfd, uint64_t size)
{
    uint64_t old = memfd->memobj->size;

    if ((size < old && (memfd->seals & F_SEAL_SHRINK)) || (size > old && (memfd->seals & F_SEAL_GROW)))
        return -EPERM;
    if (size > MEMFD_SIZE_MAX)
        return -EFBIG;
    memfd->modify = wall_time();
    return size == old ? 0 : memobj_resize(memfd->memobj, size);
}

static int memfd_set_attr(struct node *node, const struct node_attr *attr)
{
    struct memfd *memfd = memfd_of(node);
    int error = 0;

    mutex_lock(&node->mutex);
    if (attr->valid & ATTR_SIZE)
        error = resize_locked(memfd, attr->size);
    if ((attr->valid & ATTR_MODE) && (memfd->seals & F_SEAL_EXEC) && ((attr->mode ^ memfd->mode) & 0111))
        error = -EPERM;
    if (!error) {
        memfd->mode = attr->valid & ATTR_MODE ? attr->mode & 07777 : memfd->mode;
        memfd->uid = attr->valid & ATTR_UID ? attr->uid : memfd->uid;
        memfd->gid = attr->valid & ATTR_GID ? attr->gid : memfd->gid;
        memfd->access = attr->valid & ATTR_ATIME ? attr->access : memfd->access;
        memfd->modify = attr->valid & ATTR_MTIME ? attr->modify : memfd->modify;
        memfd->change = wall_time();
    }
    mutex_unlock(&node->mutex);
    return error;
}

/* --- contents ---------------------------------------------------------------------------------------- */

static int64_t memfd_read(struct node *node, struct io *io, uint64_t offset)
{
    return io_put_memobj(io, memfd_of(node)->memobj, offset);
}

/* One page's worth, checked against the seals at the moment it is written. */
static int64_t write_page(struct node *node, const uint8_t *buffer, uint64_t offset, size_t size)
{
    struct memfd *memfd = memfd_of(node);
    int64_t result;

    mutex_lock(&node->mutex);
    if (memfd->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
        result = -EPERM;
    else if ((memfd->seals & F_SEAL_GROW) && offset + size > memfd->memobj->size)
        result = offset >= memfd->memobj->size ? -EPERM
                                               : memobj_write(memfd->memobj, buffer, offset, memfd->memobj->size - offset);
    else
        result = offset + size > MEMFD_SIZE_MAX ? -EFBIG : memobj_write(memfd->memobj, buffer, offset, size);
    if (result > 0)
        memfd->modify = memfd->change = wall_time();
    mutex_unlock(&node->mutex);
    return result;
}

static int64_t memfd_write(struct node *node, struct io *io, uint64_t offset)
{
    uint8_t *buffer = kalloc(PAGE_SIZE);
    int64_t moved = 0, error = 0;

    if (!buffer)
        return -ENOMEM;
    while (io_left(io) && !error) {
        size_t want = min_u64(io_left(io), PAGE_SIZE - (offset + (uint64_t)moved) % PAGE_SIZE);
        size_t got = io_get(io, buffer, want);
        int64_t put = got ? write_page(node, buffer, offset + (uint64_t)moved, got) : -EFAULT;
        moved += put > 0 ? put : 0;
        error = put < 0 ? put : (size_t)put < want ? 1 : 0;
    }
    kfree(buffer);
    return moved ? moved : error < 0 ? error : 0;
}

enum { FALLOC_KEEP_SIZE = 1, FALLOC_PUNCH_HOLE = 2 };

static int memfd_allocate(struct node *node, int mode, uint64_t offset, uint64_t size)
{
    struct memfd *memfd = memfd_of(node);
    uint64_t end = offset + size;
    int error = 0;

    if (mode & ~(FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE))
        return -EOPNOTSUPP;
    mutex_lock(&node->mutex);
    if (mode & FALLOC_PUNCH_HOLE) {
        error = memfd->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) ? -EPERM : 0;
        end = min_u64(end, memfd->memobj->size);
        if (!error && offset < end)
            error = memobj_punch(memfd->memobj, offset, end - offset);
    } else if (end > memfd->memobj->size && !(mode & FALLOC_KEEP_SIZE)) {
        error = resize_locked(memfd, end);
    }
    mutex_unlock(&node->mutex);
    return error;
}

static int memfd_map(struct node *node, uint32_t prot, bool shared, struct memobj **memobj)
{
    struct memfd *memfd = memfd_of(node);
    int error = 0;

    mutex_lock(&node->mutex);
    if (shared && (prot & PROT_WRITE_BIT) && (memfd->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)))
        error = -EPERM;
    else
        *memobj = object_ref(memfd->memobj);
    mutex_unlock(&node->mutex);
    return error;
}

static void memfd_release(struct node *node)
{
    struct memfd *memfd = memfd_of(node);

    object_unref(memfd->memobj);
    kfree(memfd);
}

static const struct node_ops memfd_ops = {
    .get_attr = memfd_get_attr,
    .set_attr = memfd_set_attr,
    .read = memfd_read,
    .write = memfd_write,
    .allocate = memfd_allocate,
    .map = memfd_map,
    .release = memfd_release,
};

/* --- seals ------------------------------------------------------------------------------------------- */

static int seals_add_locked(struct memfd *memfd, uint32_t seals)
{
    if (memfd->seals & F_SEAL_SEAL)
        return -EPERM;
    if ((seals & F_SEAL_WRITE) && !(memfd->seals & F_SEAL_WRITE) &&
        atomic32_load_acquire(&memfd->memobj->object.references) > 1)
        return -EBUSY;
    memfd->seals |= seals;
    return 0;
}

int64_t memfd_add_seals(struct file *file, uint32_t seals)
{
    int error;

    if (!file->node || file->node->ops != &memfd_ops || (seals & ~(uint32_t)F_SEAL_ALL))
        return -EINVAL;
    if (!file_writable(file))
        return -EPERM;
    mutex_lock(&file->node->mutex);
    error = seals_add_locked(memfd_of(file->node), seals);
    mutex_unlock(&file->node->mutex);
    return error;
}

int64_t memfd_get_seals(struct file *file)
{
    int64_t seals;

    if (!file->node || file->node->ops != &memfd_ops)
        return -EINVAL;
    mutex_lock(&file->node->mutex);
    seals = memfd_of(file->node)->seals;
    mutex_unlock(&file->node->mutex);
    return seals;
}

/* --- making ------------------------------------------------------------------------------------------ */

static int memfd_stat_fs(struct fs *fs, struct linux_statfs_data *stat)
{
    (void)fs;
    *stat = (struct linux_statfs_data){.type = 0x01021994, .block_size = PAGE_SIZE, .name_length = NAME_LENGTH_MAX};
    return 0;
}

static const struct fs_ops memfd_fs_ops = {.name = "tmpfs", .stat_fs = memfd_stat_fs};

/* The one file system of memfds; made by the first, and kept. */
static struct fs *memfd_fs(void)
{
    static struct atomic_ptr instance;
    struct fs *fs = atomic_ptr_load_acquire(&instance), *fresh;
    void *expected = NULL;

    if (fs)
        return fs;
    fresh = fs_create(&memfd_fs_ops, NULL);
    if (!fresh || atomic_ptr_cas(&instance, &expected, fresh))
        return fresh;
    object_unref(fresh);
    return expected;
}

static struct node *memfd_node(uint32_t flags)
{
    static struct atomic64 next_inode = ATOMIC_INIT(1);
    struct fs *fs = memfd_fs();
    struct memfd *memfd = kzalloc(sizeof(*memfd));
    struct node *node = fs && memfd ? node_create(fs, &memfd_ops, LINUX_S_IFREG | 0777, atomic64_add(&next_inode, 1), memfd) : NULL;

    if (!node) {
        kfree(memfd);
        return NULL;
    }
    memfd->memobj = memobj_create(0);
    memfd->mode = flags & MFD_NOEXEC_SEAL ? 0666 : 0777;
    memfd->seals = flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL) ? 0 : F_SEAL_SEAL;
    memfd->seals |= flags & MFD_NOEXEC_SEAL ? F_SEAL_EXEC : 0;
    memfd->uid = current_cred()->fsuid;
    memfd->gid = current_cred()->fsgid;
    memfd->access = memfd->modify = memfd->change = wall_time();
    if (memfd->memobj)
        return node;
    object_unref(node);
    return NULL;
}

static int memfd_file(const char *name, uint32_t flags, struct file **file)
{
    struct node *node = memfd_node(flags);
    struct path *path = node ? path_create(NULL, NULL, name, strlen(name), node) : NULL;
    int error = -ENOMEM;

    if (path) {
        path->gone = true;
        error = vfs_open_path(path, LINUX_O_RDWR | LINUX_O_LARGEFILE, file);
    }
    path_unref(path);
    return error;
}

int64_t sys_memfd_create(uaddr_t name_address, uint32_t flags)
{
    char name[6 + MEMFD_NAME_MAX + 1] = "memfd:";
    struct file *file;
    int64_t result;

    if (flags & ~(uint32_t)(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_NOEXEC_SEAL | MFD_EXEC))
        return -EINVAL;
    if ((flags & MFD_HUGETLB) || (flags & (MFD_EXEC | MFD_NOEXEC_SEAL)) == (MFD_EXEC | MFD_NOEXEC_SEAL))
        return -EINVAL;
    result = user_read_string(name + 6, name_address, sizeof(name) - 6);
    if (result < 0)
        return result == -ENAMETOOLONG ? -EINVAL : result;
    result = memfd_file(name, flags, &file);
    if (result)
        return result;
    result = fd_install(file, flags & MFD_CLOEXEC ? LINUX_O_CLOEXEC : 0);
    if (result < 0)
        file_unref(file);
    return result;
}
