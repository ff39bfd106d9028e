/*
 * System V shared memory: shmget, shmat, shmdt, shmctl.
 *
 * A segment is a memobj. Each attachment is a mapping whose owner is a file of a kind of its own, one per shmat; children of a
 * fork have the same file. So the last unmapping of all releases the file, in whatever way it came: shmdt, munmap, exec, exit.
 * A segment marked for removal stays in the table, without its key, until the last file has gone (shmctl(2)).
 *
 * The number of attachments is counted when somebody asks, by looking at every address space.
 */
#include "abi/linux/calls.h"
#include "abi/linux/anon.h"
#include "abi/linux/mm_internal.h"
#include "abi/linux/process_life.h"
#include "abi/linux/sysv_ipc.h"
#include "kernel/aspace.h"

enum { SHM_RDONLY = 010000, SHM_RND = 020000, SHM_REMAP = 040000, SHM_EXEC = 0100000 };
enum { SHM_DEST = 01000, SHM_LOCKED = 02000, SHM_HUGETLB = 04000 };
enum { SHM_LOCK = 11, SHM_UNLOCK = 12, SHM_STAT = 13, SHM_INFO = 14, SHM_STAT_ANY = 15 };
#define SEGMENTS_MAX 4096u
#define SEGMENT_SIZE_MAX MEMOBJ_SIZE_MAX

struct segment {
    struct sysv_object base;
    struct memobj *memobj; /* referenced, constant */
    uint64_t size;         /* constant: as it was asked for */
    uint64_t inode;
    /* under sysv_lock */
    uint32_t files; /* attachments, those that a fork has copied counted once */
    int64_t attach_time, detach_time, change_time;
    int32_t creator, last;
};

struct linux_shmid {
    struct linux_ipc_perm perm;
    uint64_t size;
    int64_t attach_time, detach_time, change_time;
    int32_t creator, last;
    uint64_t attached, unused[2];
};
_Static_assert(sizeof(struct linux_shmid) == 112, "shmid64_ds");

struct linux_shminfo {
    uint64_t max, min, segments, per_process, pages, unused[4];
};

struct linux_shm_info {
    int32_t used, padding;
    uint64_t total, resident, swapped, attempts, successes;
};

static struct sysv_table segments = {.limit = SEGMENTS_MAX};

static struct segment *segment_of(struct sysv_object *object) { return CONTAINER_OF(object, struct segment, base); }

/* --- life -------------------------------------------------------------------------------------------- */

static void segment_destroy(struct object *object)
{
    struct segment *segment = CONTAINER_OF(object, struct segment, base.object);

    object_unref(segment->memobj);
    kfree(segment);
}

static const struct object_type segment_type = {.name = "shm segment", .destroy = segment_destroy};

static struct sysv_object *segment_make(const struct sysv_get *get)
{
    struct segment *segment = kzalloc(sizeof *segment);

    if (!segment)
        return NULL;
    segment->memobj = memobj_create(round_up(get->size, PAGE_SIZE));
    if (!segment->memobj) {
        kfree(segment);
        return NULL;
    }
    sysv_object_init(&segment->base, &segment_type, get->flags);
    segment->size = get->size;
    segment->inode = anon_inode_next();
    segment->creator = current_process()->pid;
    segment->change_time = sysv_now();
    return &segment->base;
}

static int segment_fits(const struct sysv_object *object, uint64_t size)
{
    return CONTAINER_OF(object, struct segment, base)->size < size ? -EINVAL : 0;
}

int64_t sys_shmget(int32_t key, uint64_t size, uint32_t flags)
{
    struct sysv_get get = {.key = key, .flags = flags, .size = size, .fits = segment_fits, .make = segment_make};
    bool create = key == SYSV_IPC_PRIVATE || (flags & SYSV_IPC_CREAT);

    if (flags & SHM_HUGETLB)
        return create ? -ENOMEM : -EINVAL; /* as a Linux with no huge pages set aside */
    if (size > SEGMENT_SIZE_MAX)
        return -EINVAL;
    if (create && !size) { /* good enough for one that exists, but not to make one */
        get.flags &= ~(uint32_t)SYSV_IPC_CREAT;
        int64_t found = key == SYSV_IPC_PRIVATE ? -ENOENT : sysv_get(&segments, &get);
        if (found >= 0 && (flags & SYSV_IPC_EXCL))
            return -EEXIST;
        return found == -ENOENT ? -EINVAL : found;
    }
    return sysv_get(&segments, &get);
}

/* --- attachments ------------------------------------------------------------------------------------- */

static void attachment_release(struct file *file)
{
    struct segment *segment = file->data;
    bool gone;

    if (!segment) /* it never came to an attachment */
        return;
    mutex_lock(&sysv_lock);
    segment->detach_time = sysv_now();
    gone = --segment->files == 0 && (segment->base.mode & SHM_DEST) && !segment->base.removed;
    if (gone)
        sysv_remove_locked(&segments, &segment->base);
    mutex_unlock(&sysv_lock);
    if (gone)
        object_unref(segment);
    object_unref(segment);
}

static int attachment_stat(struct file *file, struct linux_stat_data *stat)
{
    struct segment *segment = file->data;

    anon_stat(stat, ANON_DEVICE_OTHER, segment->inode, LINUX_S_IFREG | (segment->base.mode & 0777), segment->base.uid, segment->base.gid,
              (struct file_time){.seconds = segment->change_time});
    stat->size = segment->size;
    return 0;
}

static const struct file_ops attachment_ops = {.kind = "shm", .stat = attachment_stat, .release = attachment_release};

/* Counts the attachment: from here on its release is what ends it. */
static int attachment_create(int32_t id, uint32_t flags, struct file **result)
{
    uint32_t wanted = SYSV_READ | (flags & SHM_RDONLY ? 0 : SYSV_WRITE) | (flags & SHM_EXEC ? 0111 : 0);
    struct file *file = file_create(&attachment_ops, flags & SHM_RDONLY ? LINUX_O_RDONLY : LINUX_O_RDWR, NULL);
    struct sysv_object *object;
    int error;

    if (!file)
        return -ENOMEM;
    mutex_lock(&sysv_lock);
    error = sysv_find_locked(&segments, id, &object);
    if (!error)
        error = sysv_permitted_locked(object, wanted);
    if (!error) {
        struct segment *segment = object_ref(segment_of(object));
        file->data = segment;
        segment->files++;
        segment->attach_time = sysv_now();
        segment->last = current_process()->pid;
    }
    mutex_unlock(&sysv_lock);
    if (error)
        file_unref(file);
    *result = file;
    return error;
}

/* The place that shmat asks for, as a request's address and flags. */
static int decode_place(uaddr_t address, uint32_t flags, struct aspace_map_request *request)
{
    if (!address)
        return flags & SHM_REMAP ? -EINVAL : 0;
    if (address & ~PAGE_MASK) {
        if (!(flags & SHM_RND))
            return -EINVAL;
        address &= PAGE_MASK;
        if (!address && (flags & SHM_REMAP))
            return -EINVAL;
    }
    request->address = address;
    request->flags |= flags & SHM_REMAP ? ASPACE_FIXED : ASPACE_FIXED_NOREPLACE;
    return 0;
}

int64_t sys_shmat(int32_t id, uaddr_t address, uint32_t flags)
{
    struct aspace_map_request request = {.prot = PROT_READ_BIT | (flags & SHM_RDONLY ? 0 : PROT_WRITE_BIT) | (flags & SHM_EXEC ? PROT_EXEC_BIT : 0),
                                         .flags = REGION_SHARED | (flags & SHM_RDONLY ? 0 : REGION_MAY_WRITE)};
    struct file *file;
    uaddr_t mapped;
    int error = id < 0 ? -EINVAL : decode_place(address, flags, &request);

    if (!error)
        error = attachment_create(id, flags, &file);
    if (error)
        return error;
    struct segment *segment = file->data;
    request.size = segment->memobj->size;
    request.memobj = segment->memobj;
    request.owner = &file->object;
    error = mm_map_request(&request, &mapped);
    file_unref(file);
    return error ? error == -EEXIST ? -EINVAL : error : (int64_t)mapped;
}

/* A mapping that shmat made at `base` and what is left of it: the region, borrowed. */
static struct region *find_attached_locked(struct aspace *aspace, uaddr_t base, const struct file *of, uaddr_t from)
{
    for (uaddr_t at = from;;) {
        struct region *region = aspace_find_after_locked(aspace, at);
        if (!region)
            return NULL;
        struct file *file = region->owner ? CONTAINER_OF(region->owner, struct file, object) : NULL;
        bool shm = file && file->ops == &attachment_ops && (!of || file == of);
        if (shm && region->start - region->offset == base)
            return region;
        if (!of && region->start >= base + SEGMENT_SIZE_MAX)
            return NULL;
        if (of && region->start >= base + ((struct segment *)of->data)->memobj->size)
            return NULL;
        at = region->end;
    }
}

int64_t sys_shmdt(uaddr_t address)
{
    struct mm *mm = current_mm();
    struct aspace *aspace = mm->aspace;
    struct file *file = NULL;
    int error = -EINVAL;

    if (address & ~PAGE_MASK)
        return -EINVAL;
    mutex_lock(&mm->mutex);
    for (uaddr_t from = address;;) {
        mutex_lock(&aspace->map_mutex);
        struct region *region = find_attached_locked(aspace, address, file, from);
        uaddr_t start = region ? region->start : 0, end = region ? region->end : 0;
        if (region && !file)
            file = object_ref(region->owner);
        mutex_unlock(&aspace->map_mutex);
        if (!region)
            break;
        error = aspace_unmap(aspace, start, end - start);
        if (error)
            break;
        from = end;
    }
    mutex_unlock(&mm->mutex);
    if (file) {
        struct segment *segment = file->data;
        mutex_lock(&sysv_lock);
        segment->last = current_process()->pid;
        segment->detach_time = sysv_now();
        mutex_unlock(&sysv_lock);
        file_unref(file);
    }
    return error;
}

/* --- counting ---------------------------------------------------------------------------------------- */

static uint64_t attached_in(struct aspace *aspace, const struct segment *segment)
{
    uint64_t count = 0;

    mutex_lock(&aspace->map_mutex);
    LIST_FOR_EACH(node, &aspace->regions) {
        struct region *region = LIST_ENTRY(node, struct region, link);
        struct file *file = region->owner ? CONTAINER_OF(region->owner, struct file, object) : NULL;
        count += file && file->ops == &attachment_ops && file->data == segment;
    }
    mutex_unlock(&aspace->map_mutex);
    return count;
}

/* Each address space once, though several processes may share it. */
static uint64_t count_attached(const struct segment *segment)
{
    static uint64_t stamp; /* under the tree lock, as every mm's */
    uint64_t count = 0;

    mutex_lock(&process_tree_lock);
    stamp++;
    LIST_FOR_EACH(node, &process_all) {
        struct mm *mm = process_mm(LIST_ENTRY(node, struct process, all_link));
        if (mm && mm->count_stamp != stamp) {
            mm->count_stamp = stamp;
            count += attached_in(mm->aspace, segment);
        }
        object_unref(mm);
    }
    mutex_unlock(&process_tree_lock);
    return count;
}

/* --- shmctl ------------------------------------------------------------------------------------------ */

static int64_t show(int32_t id, enum sysv_shown how, uaddr_t buffer)
{
    struct linux_shmid out = {0};
    struct sysv_object *object;

    mutex_lock(&sysv_lock);
    int error = sysv_find_shown_locked(&segments, id, how, &object);
    struct segment *segment = error ? NULL : object_ref(segment_of(object));
    if (segment) {
        sysv_show_locked(object, &out.perm);
        out.size = segment->size;
        out.attach_time = segment->attach_time;
        out.detach_time = segment->detach_time;
        out.change_time = segment->change_time;
        out.creator = segment->creator;
        out.last = segment->last;
        id = how == SYSV_SHOWN_BY_ID ? 0 : object->id;
    }
    mutex_unlock(&sysv_lock);
    if (!segment)
        return error;
    out.attached = count_attached(segment);
    object_unref(segment);
    return user_write(buffer, &out, sizeof out) ? -EFAULT : id;
}

/* The lock is not held while the attachments are counted: what it guards is read before. */
bool sysv_shm_line(uint32_t *place, char line[SYSV_LINE])
{
    mutex_lock(&sysv_lock);
    struct sysv_object *object = sysv_next_locked(&segments, place);
    struct segment *segment = object ? object_ref(segment_of(object)) : NULL;
    mutex_unlock(&sysv_lock);
    if (!segment)
        return false;
    uint64_t attached = count_attached(segment);
    mutex_lock(&sysv_lock);
    format(line, SYSV_LINE, "%10d %10d  %4o %21llu %5d %5d  %5llu %5u %5u %5u %5u %10lld %10lld %10lld %21llu %21u\n", object->key, object->id,
           object->mode, (unsigned long long)segment->size, segment->creator, segment->last, (unsigned long long)attached, object->uid,
           object->gid, object->cuid, object->cgid, (long long)segment->attach_time, (long long)segment->detach_time,
           (long long)segment->change_time, (unsigned long long)segment->memobj->size, 0u);
    mutex_unlock(&sysv_lock);
    object_unref(segment);
    return true;
}

static int64_t limits(uaddr_t buffer)
{
    struct linux_shminfo out = {.max = SEGMENT_SIZE_MAX, .min = 1, .segments = SEGMENTS_MAX, .per_process = SEGMENTS_MAX,
                                .pages = SEGMENT_SIZE_MAX / PAGE_SIZE};

    mutex_lock(&sysv_lock);
    int32_t last = sysv_last_index_locked(&segments);
    mutex_unlock(&sysv_lock);
    return user_write(buffer, &out, sizeof out) ? -EFAULT : last;
}

static int64_t usage(uaddr_t buffer)
{
    struct linux_shm_info out = {0};

    mutex_lock(&sysv_lock);
    out.used = (int32_t)segments.used;
    for (uint32_t i = 0; i < segments.capacity; i++)
        out.total += segments.slots[i] ? segment_of(segments.slots[i])->memobj->size / PAGE_SIZE : 0;
    out.resident = out.total;
    int32_t last = sysv_last_index_locked(&segments);
    mutex_unlock(&sysv_lock);
    return user_write(buffer, &out, sizeof out) ? -EFAULT : last;
}

static int set_locked(struct segment *segment, const struct linux_shmid *in)
{
    sysv_set_locked(&segment->base, &in->perm);
    segment->change_time = sysv_now();
    return 0;
}

/* True when it went out of the table. */
static bool remove_locked(struct segment *segment)
{
    segment->base.key = SYSV_IPC_PRIVATE;
    segment->base.mode |= SHM_DEST;
    if (segment->files)
        return false;
    sysv_remove_locked(&segments, &segment->base);
    return true;
}

static int lock_locked(struct segment *segment, bool lock, uint64_t limit)
{
    uint32_t euid = current_cred()->euid;

    if (!capable(LINUX_CAP_IPC_LOCK) && euid != segment->base.cuid && euid != segment->base.uid)
        return -EPERM;
    if (lock && !capable(LINUX_CAP_IPC_LOCK) && !limit)
        return -EPERM;
    segment->base.mode = lock ? segment->base.mode | SHM_LOCKED : segment->base.mode & ~(uint32_t)SHM_LOCKED;
    return 0;
}

static int64_t change(int32_t id, int32_t command, uaddr_t buffer)
{
    struct linux_shmid in;
    struct sysv_object *object = NULL;
    uint64_t lock_limit = rlimit(LINUX_RLIMIT_MEMLOCK);
    bool gone = false;

    if (command == SYSV_IPC_SET && user_read(&in, buffer, sizeof in))
        return -EFAULT;
    mutex_lock(&sysv_lock);
    int error = sysv_find_locked(&segments, id, &object);
    if (!error && command != SHM_LOCK && command != SHM_UNLOCK)
        error = sysv_owned_locked(object);
    if (!error && command == SYSV_IPC_RMID)
        gone = remove_locked(segment_of(object));
    else if (!error && command == SYSV_IPC_SET)
        error = set_locked(segment_of(object), &in);
    else if (!error)
        error = lock_locked(segment_of(object), command == SHM_LOCK, lock_limit);
    mutex_unlock(&sysv_lock);
    if (gone)
        object_unref(object);
    return error;
}

int64_t sys_shmctl(int32_t id, int32_t command, uaddr_t buffer)
{
    if (id < 0 || command < 0)
        return -EINVAL;
    switch (command) {
    case SYSV_IPC_INFO: return limits(buffer);
    case SHM_INFO: return usage(buffer);
    case SYSV_IPC_STAT: return show(id, SYSV_SHOWN_BY_ID, buffer);
    case SHM_STAT: return show(id, SYSV_SHOWN_BY_PLACE, buffer);
    case SHM_STAT_ANY: return show(id, SYSV_SHOWN_TO_ANYBODY, buffer);
    case SYSV_IPC_RMID:
    case SYSV_IPC_SET:
    case SHM_LOCK:
    case SHM_UNLOCK: return change(id, command, buffer);
    default: return -EINVAL;
    }
}
