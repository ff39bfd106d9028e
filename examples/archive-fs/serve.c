/*
 * The archive server's answers. The index never changes, so kernels may keep what they were told for ever.
 *
 * A file's contents are a memory object. A small one is made whole when the file is first opened, and kept while the kernel knows the
 * file; of a large one pages are supplied on demand.
 */
#include "examples/archive-fs/archive.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define WHOLE_MAX ((uint64_t)16 << 20)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* references and contents of all nodes */

static struct node *node_of(uint64_t number)
{
    return number && number <= archive_index.node_count ? &archive_index.nodes[number] : NULL;
}

static void show(uint64_t number, struct hyla_file_attributes *a)
{
    const struct node *node = &archive_index.nodes[number];
    *a = (struct hyla_file_attributes){
        .node = number, .mode = node->mode, .uid = node->uid, .gid = node->gid, .links = node->links + (S_ISDIR(node->mode) ? 1 : 0), .size = node->size,
        .blocks = (node->size + 511) / 512, .rdev = node->rdev, .modify_seconds = node->modify_seconds, .modify_nanoseconds = node->modify_nanoseconds,
        .access_seconds = node->modify_seconds, .change_seconds = node->modify_seconds,
        .cache = HYLA_FILE_CACHE_NAMES | HYLA_FILE_CACHE_ABSENT | HYLA_FILE_CACHE_ATTRIBUTES,
    };
}

static int64_t get_attributes(struct hyla_fs *fs, uint64_t number, struct hyla_file_attributes *a)
{
    (void)fs;
    if (!node_of(number))
        return -ESTALE;
    show(number, a);
    return 0;
}

static int64_t lookup(struct hyla_fs *fs, uint64_t directory, const char *text, struct hyla_file_attributes *found)
{
    (void)fs;
    uint64_t name = node_of(directory) ? index_find(directory, text) : 0;
    if (!name)
        return node_of(directory) ? -ENOENT : -ESTALE;
    uint64_t number = archive_index.names[name].node;
    pthread_mutex_lock(&mutex);
    archive_index.nodes[number].references++;
    pthread_mutex_unlock(&mutex);
    show(number, found);
    return 0;
}

static int64_t forget(struct hyla_fs *fs, uint64_t number, uint64_t count)
{
    struct node *node = node_of(number);
    hyla_handle_t unused = 0;
    (void)fs;
    if (!node)
        return 0;
    pthread_mutex_lock(&mutex);
    node->references -= count < node->references ? count : node->references;
    if (!node->references) {
        unused = node->contents;
        node->contents = 0;
    }
    pthread_mutex_unlock(&mutex);
    if (unused)
        hyla_handle_close(unused);
    return 0;
}

static int64_t read_link(struct hyla_fs *fs, uint64_t number, void *target, uint32_t room)
{
    const struct node *node = node_of(number);
    (void)fs;
    if (!node || !node->target || node->size > room)
        return -EINVAL;
    memcpy(target, node->target, node->size);
    return (int64_t)node->size;
}

static int64_t read_directory(struct hyla_fs *fs, uint64_t number, int64_t cookie, void *entries, uint32_t room)
{
    const struct node *node = node_of(number);
    int64_t used = 0, after = 0;
    (void)fs;
    if (!node || !S_ISDIR(node->mode) || cookie < 0)
        return -ENOTDIR;
    if (cookie < 1)
        used = hyla_fs_entry(entries, room, used, ".", number, S_IFDIR, 1);
    if (cookie < 2 && used >= 0)
        used = hyla_fs_entry(entries, room, used, "..", node->parent, S_IFDIR, 2);
    for (uint64_t i = cookie > 2 ? (uint64_t)cookie - 2 : 0; i < node->child_count && after >= 0; i++) {
        const struct name *name = &archive_index.names[node->children[i]];
        after = hyla_fs_entry(entries, room, used, name->text, name->node, archive_index.nodes[name->node].mode, (int64_t)i + 3);
        used = after >= 0 ? after : used;
    }
    return used;
}

/* --- contents ---------------------------------------------------------------------------------------- */

/* The whole entry, straight into the object's own memory. */
static int64_t fill(const struct node *node, hyla_handle_t memobj)
{
    struct hyla_map map = {.size = node->size, .protection = HYLA_PROT_READ | HYLA_PROT_WRITE, .flags = HYLA_MAP_SHARED};
    int64_t result = hyla_memobj_map(memobj, &map);
    if (result < 0)
        return result;
    result = entry_read(node->entry, 0, (void *)(uintptr_t)map.address, node->size);
    hyla_memory_unmap(map.address, map.size);
    return result < 0 ? result : (uint64_t)result == node->size ? 0 : -EIO;
}

static int64_t make_contents(const struct node *node)
{
    int64_t memobj = hyla_memobj_create(node->size);
    int64_t error = memobj < 0 ? memobj : node->size && node->entry ? fill(node, (hyla_handle_t)memobj) : 0;
    if (!error)
        return memobj;
    if (memobj >= 0)
        hyla_handle_close((hyla_handle_t)memobj);
    return error;
}

/* Two may fill at once; the first to be done is kept. */
static int64_t open_file(struct hyla_fs *fs, uint64_t number, uint32_t flags, struct hyla_msg_handle *contents)
{
    struct node *node = node_of(number);
    if (!node || !S_ISREG(node->mode))
        return node ? -EINVAL : -ESTALE;
    if (flags & HYLA_FILE_OPEN_WRITE)
        return -EROFS;
    if (node->size > WHOLE_MAX)
        return hyla_fs_open_paged(fs, number, node->size, contents);
    pthread_mutex_lock(&mutex);
    hyla_handle_t kept = node->contents;
    pthread_mutex_unlock(&mutex);
    if (!kept) {
        int64_t made = make_contents(node);
        if (made < 0)
            return made;
        pthread_mutex_lock(&mutex);
        kept = node->contents;
        if (!kept)
            kept = node->contents = (hyla_handle_t)made;
        pthread_mutex_unlock(&mutex);
        if (kept != (hyla_handle_t)made)
            hyla_handle_close((hyla_handle_t)made);
    }
    *contents = (struct hyla_msg_handle){.handle = kept, .rights = HYLA_RIGHT_READ | HYLA_RIGHT_MAP | HYLA_RIGHT_TRANSFER};
    return 0;
}

static int64_t read_file(struct hyla_fs *fs, uint64_t number, uint64_t offset, void *bytes, uint32_t room)
{
    const struct node *node = node_of(number);
    (void)fs;
    if (!node || !S_ISREG(node->mode) || !node->entry)
        return node ? -EINVAL : -ESTALE;
    if (offset >= node->size)
        return 0;
    uint64_t wanted = node->size - offset < room ? node->size - offset : room;
    int64_t got = entry_read(node->entry, offset, bytes, wanted);
    return got >= 0 && (uint64_t)got < wanted ? -EIO : got; /* the archive promised more */
}

static int64_t get_space(struct hyla_fs *fs, struct hyla_file_space *space)
{
    (void)fs;
    *space = (struct hyla_file_space){.block_size = 4096, .files = archive_index.node_count, .name_length = 255};
    for (uint64_t i = 1; i <= archive_index.node_count; i++)
        space->blocks += (archive_index.nodes[i].size + 4095) / 4096;
    return 0;
}

const struct hyla_file_ops archive_ops = {
    .lookup = lookup, .forget = forget, .get_attributes = get_attributes, .read_link = read_link, .read_directory = read_directory, .open = open_file,
    .read = read_file,
    .get_space = get_space,
};
