/*
 * What /proc/PID/maps, smaps, statm and status say of an address space.
 *
 * One region at a time is copied out under the lock, with a reference to its file; its text, which asks the
 * file's path for a name and so takes other locks, is made after. A map that changes meanwhile is shown as
 * Linux shows it: each line true when it was made.
 */
#include "abi/linux/fs/fs.h"
#include "abi/linux/mm_internal.h"

struct region_view {
    uaddr_t start, end;
    uint32_t prot, flags;
    uint64_t offset;
    bool memobj;
    struct file *file; /* referenced, or NULL */
    const char *name;
};

static bool next_view(struct aspace *aspace, uaddr_t at, struct region_view *view)
{
    struct region *region;

    mutex_lock(&aspace->map_mutex);
    region = aspace_find_after_locked(aspace, at);
    if (region)
        *view = (struct region_view){
            .start = region->start,
            .end = region->end,
            .prot = region->prot,
            .flags = region->flags,
            .offset = region->offset,
            .memobj = region->memobj,
            .file = region->owner ? object_ref(region->owner) : NULL,
            .name = region->name,
        };
    mutex_unlock(&aspace->map_mutex);
    return region;
}

struct view_file {
    uint64_t device, inode;
    char name[PATH_LENGTH_MAX];
};

static void view_name(const struct region_view *view, struct view_file *out)
{
    struct linux_stat_data stat;

    out->device = out->inode = 0;
    out->name[0] = 0;
    if (view->file) {
        if (!view->file->path || path_name(view->file->path, out->name, sizeof(out->name)) < 0)
            format(out->name, sizeof(out->name), "anon_inode:[%s]", view->file->ops->kind ? view->file->ops->kind : "file");
        if (!file_stat(view->file, &stat)) {
            out->device = stat.device;
            out->inode = stat.inode;
        }
    } else if (view->name) {
        format(out->name, sizeof(out->name), "%s", view->name);
    }
}

static int format_line(char *buffer, size_t size, const struct region_view *view, const struct view_file *file)
{
    uint32_t major = (uint32_t)(file->device >> 8 & 0xfff), minor = (uint32_t)((file->device & 0xff) | (file->device >> 12 & 0xfff00));
    int length = format(buffer, size, "%08llx-%08llx %c%c%c%c %08llx %02x:%02x %llu", (unsigned long long)view->start,
                        (unsigned long long)view->end, view->prot & PROT_READ_BIT ? 'r' : '-', view->prot & PROT_WRITE_BIT ? 'w' : '-',
                        view->prot & PROT_EXEC_BIT ? 'x' : '-', view->flags & REGION_SHARED ? 's' : 'p',
                        (unsigned long long)(view->memobj ? view->offset : 0), major, minor, (unsigned long long)file->inode);

    if (!file->name[0])
        return length + format(buffer + length, size - length, " \n");
    while (length < 73)
        buffer[length++] = ' ';
    return length + format(buffer + length, size - length, "%s\n", file->name);
}

static int format_sizes(char *buffer, size_t size, const struct region_view *view)
{
    unsigned long long all = (view->end - view->start) >> 10, clean = view->flags & REGION_COMMITTED ? 0 : all;

    return format(buffer, size,
                  "Size: %18llu kB\nKernelPageSize: %8u kB\nMMUPageSize: %11u kB\nRss: %19llu kB\nPss: %19llu kB\n"
                  "Shared_Clean: %10llu kB\nShared_Dirty: %10u kB\nPrivate_Clean: %9u kB\nPrivate_Dirty: %9llu kB\n"
                  "Referenced: %12llu kB\nAnonymous: %13llu kB\nSwap: %18u kB\nLocked: %16llu kB\n",
                  all, 4, 4, all, all, clean, 0, 0, all - clean, all, view->memobj ? 0 : all, 0,
                  view->flags & REGION_LOCKED ? all : 0);
}

#define SIZES_TEXT_MAX 640u

static int64_t show(struct mm *mm, uaddr_t *cursor, char *buffer, size_t size, size_t block, bool sizes)
{
    struct view_file *file = kalloc(sizeof(*file));
    struct region_view view;
    int64_t done = 0;

    if (!file)
        return -ENOMEM;
    while (size - done >= block && next_view(mm->aspace, *cursor, &view)) {
        view_name(&view, file);
        done += format_line(buffer + done, size - done, &view, file);
        if (sizes)
            done += format_sizes(buffer + done, size - done, &view);
        if (view.file)
            file_unref(view.file);
        *cursor = view.end;
    }
    kfree(file);
    return done;
}

int64_t mm_show_maps(struct mm *mm, uaddr_t *cursor, char *buffer, size_t size)
{
    return show(mm, cursor, buffer, size, MM_MAPS_LINE_MAX, false);
}

int64_t mm_show_smaps(struct mm *mm, uaddr_t *cursor, char *buffer, size_t size)
{
    return show(mm, cursor, buffer, size, MM_MAPS_LINE_MAX + SIZES_TEXT_MAX, true);
}

void mm_usage(struct mm *mm, struct mm_usage *usage)
{
    struct aspace *aspace = mm->aspace;

    *usage = (struct mm_usage){0};
    mutex_lock(&aspace->map_mutex);
    usage->mapped = aspace->mapped_bytes;
    usage->data = aspace->data_bytes;
    usage->locked = aspace->locked_bytes;
    LIST_FOR_EACH(node, &aspace->regions)
    {
        const struct region *region = LIST_ENTRY(node, struct region, link);
        uint64_t size = region->end - region->start;
        if (region->flags & REGION_BODY)
            continue;
        if (region->flags & (REGION_STACK | REGION_GROWS_DOWN))
            usage->stack += size;
        if (region->prot & PROT_EXEC_BIT)
            usage->executable += size;
        if (region->memobj)
            usage->shared += size;
    }
    mutex_unlock(&aspace->map_mutex);
}
