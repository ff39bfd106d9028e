/*
 * What an archive holds, as nodes and names: one pass over its headers, before anything is served.
 *
 * Names are taken apart at slashes; "." is passed over, an entry with ".." in its name is left out, as is one whose name goes through
 * something that is no directory. Directories that no entry describes are made. A later entry of a name takes the place of
 * an earlier one. What comes after damage is missing, and a line on standard error says so.
 */
#include "examples/archive-fs/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct index archive_index;

/* --- reading through a descriptor that others use too ------------------------------------------------ */

#define BLOCK_SIZE ((size_t)256 << 10)

struct position {
    int fd;
    int64_t at;
    char block[BLOCK_SIZE];
};

static la_ssize_t on_read(struct archive *archive, void *data, const void **block)
{
    struct position *position = data;
    ssize_t got = pread(position->fd, position->block, BLOCK_SIZE, position->at);
    if (got < 0)
        archive_set_error(archive, errno, "cannot be read");
    else
        position->at += got;
    *block = position->block;
    return got;
}

static la_int64_t on_skip(struct archive *archive, void *data, la_int64_t count)
{
    struct position *position = data;
    struct stat stat;
    (void)archive;
    if (fstat(position->fd, &stat) || !S_ISREG(stat.st_mode) || count > stat.st_size - position->at)
        return 0; /* it then reads */
    position->at += count;
    return count;
}

struct archive *archive_begin(int fd, void **data)
{
    struct position *position = calloc(1, sizeof *position);
    struct archive *archive = position ? archive_read_new() : NULL;
    if (!archive) {
        free(position);
        return NULL;
    }
    position->fd = fd;
    archive_read_support_filter_all(archive);
    archive_read_support_format_tar(archive);
    archive_read_support_format_cpio(archive);
    archive_read_set_read_callback(archive, on_read);
    archive_read_set_skip_callback(archive, on_skip);
    archive_read_set_callback_data(archive, position);
    *data = position;
    if (archive_read_open1(archive) >= ARCHIVE_WARN)
        return archive;
    fprintf(stderr, "archive: %s\n", archive_error_string(archive));
    archive_end(archive, position);
    return NULL;
}

void archive_end(struct archive *archive, void *position)
{
    archive_read_free(archive);
    free(position);
}

/* --- tables ------------------------------------------------------------------------------------------ */

static bool grow(void **array, uint64_t *room, uint64_t wanted, size_t size)
{
    if (wanted <= *room)
        return true;
    uint64_t more = *room ? 2 * *room : 256;
    char *bigger = realloc(*array, more * size);
    if (!bigger)
        return false;
    memset(bigger + *room * size, 0, (more - *room) * size);
    *array = bigger;
    *room = more;
    return true;
}

static uint64_t hash(uint64_t directory, const char *text)
{
    uint64_t value = directory * 0x9e3779b97f4a7c15u;
    while (*text)
        value = (value ^ (unsigned char)*text++) * 0x100000001b3u;
    return value ^ value >> 29;
}

/* The bucket that holds the name, or the free one where it belongs. */
static uint64_t *bucket_of(uint64_t directory, const char *text)
{
    uint64_t mask = archive_index.bucket_count - 1, at = hash(directory, text) & mask;
    for (;; at = (at + 1) & mask) {
        const struct name *name = &archive_index.names[archive_index.buckets[at]];
        if (!archive_index.buckets[at] || (name->directory == directory && !strcmp(name->text, text)))
            return &archive_index.buckets[at];
    }
}

static bool buckets_grow(void)
{
    if (2 * (archive_index.name_count + 1) < archive_index.bucket_count)
        return true;
    uint64_t count = archive_index.bucket_count ? 2 * archive_index.bucket_count : 1024;
    uint64_t *buckets = calloc(count, sizeof *buckets);
    if (!buckets)
        return false;
    free(archive_index.buckets);
    archive_index.buckets = buckets;
    archive_index.bucket_count = count;
    for (uint64_t i = 1; i <= archive_index.name_count; i++)
        *bucket_of(archive_index.names[i].directory, archive_index.names[i].text) = i;
    return true;
}

uint64_t index_find(uint64_t directory, const char *text) { return *bucket_of(directory, text); }

static uint64_t node_make(uint32_t mode)
{
    if (archive_index.node_count >= ENTRIES_MAX || !grow((void **)&archive_index.nodes, &archive_index.node_room, archive_index.node_count + 2, sizeof(struct node)))
        return 0;
    uint64_t number = ++archive_index.node_count;
    archive_index.nodes[number] = (struct node){.mode = mode};
    return number;
}

/* The name leads to the node from now on. */
static bool name_set(uint64_t directory, const char *text, uint64_t number)
{
    uint64_t *bucket = buckets_grow() ? bucket_of(directory, text) : NULL;
    struct node *in = &archive_index.nodes[directory];
    if (bucket && *bucket) {
        archive_index.nodes[archive_index.names[*bucket].node].links--;
    } else {
        if (!bucket || !grow((void **)&archive_index.names, &archive_index.name_room, archive_index.name_count + 2, sizeof(struct name)) ||
            !grow((void **)&in->children, &in->child_room, in->child_count + 1, sizeof(uint64_t)))
            return false;
        char *copy = strdup(text);
        if (!copy)
            return false;
        *bucket = ++archive_index.name_count;
        archive_index.names[*bucket] = (struct name){.directory = directory, .text = copy};
        in->children[in->child_count++] = *bucket;
    }
    archive_index.names[*bucket].node = number;
    archive_index.nodes[number].links++;
    if (S_ISDIR(archive_index.nodes[number].mode))
        archive_index.nodes[number].parent = directory;
    return true;
}

/* --- paths ------------------------------------------------------------------------------------------- */

/* The next component: false at the end. *bad: the path is not one to be shown. */
static bool component_next(const char **path, char text[256], bool *bad)
{
    do {
        while (**path == '/')
            ++*path;
        size_t length = strcspn(*path, "/");
        if (!length)
            return false;
        *bad |= length > 255 || (length == 2 && !strncmp(*path, "..", 2));
        if (*bad)
            return false;
        memcpy(text, *path, length);
        text[length] = 0;
        *path += length;
    } while (!strcmp(text, "."));
    return true;
}

static uint64_t directory_in(uint64_t directory, const char *text)
{
    uint64_t name = index_find(directory, text), number = name ? archive_index.names[name].node : 0;
    if (number)
        return S_ISDIR(archive_index.nodes[number].mode) ? number : 0;
    number = node_make(S_IFDIR | 0755);
    if (!number)
        return 0;
    archive_index.nodes[number].modify_seconds = archive_index.nodes[HYLA_FILE_ROOT].modify_seconds;
    return name_set(directory, text, number) ? number : 0;
}

/* The directory that a path's last component belongs into, which is made; 0: there cannot be one. `last` empty: the root itself. */
static uint64_t parent_make(const char *path, char last[256])
{
    uint64_t directory = HYLA_FILE_ROOT;
    char text[256];
    bool bad = false;
    unsigned depth = 0;
    *last = 0;
    while (component_next(&path, text, &bad)) {
        if (*last)
            directory = ++depth < DEPTH_MAX ? directory_in(directory, last) : 0;
        if (!directory)
            return 0;
        memcpy(last, text, sizeof text);
    }
    return bad ? 0 : directory;
}

uint64_t index_path(const char *path)
{
    uint64_t number = HYLA_FILE_ROOT;
    char text[256];
    bool bad = false;
    while (number && component_next(&path, text, &bad)) {
        uint64_t name = index_find(number, text);
        number = name ? archive_index.names[name].node : 0;
    }
    return bad ? 0 : number;
}

/* --- entries ----------------------------------------------------------------------------------------- */

static void describe(struct node *node, struct archive_entry *entry, uint64_t number)
{
    int64_t size = archive_entry_size(entry);
    long nanoseconds = archive_entry_mtime_nsec(entry);
    node->mode = (node->mode & S_IFMT) | (archive_entry_perm(entry) & 07777);
    node->uid = (uint32_t)archive_entry_uid(entry);
    node->gid = (uint32_t)archive_entry_gid(entry);
    node->modify_seconds = archive_entry_mtime(entry);
    node->modify_nanoseconds = nanoseconds > 0 && nanoseconds < 1000000000 ? (uint32_t)nanoseconds : 0;
    if (S_ISREG(node->mode)) {
        node->size = size > 0 ? (uint64_t)size : 0;
        node->entry = number;
    }
    if (S_ISCHR(node->mode) || S_ISBLK(node->mode))
        node->rdev = archive_entry_rdev(entry);
}

/* A file of its own; a directory that is there already is only described. */
static uint64_t node_for(struct archive_entry *entry, uint64_t directory, const char *last, uint64_t number)
{
    uint32_t mode = archive_entry_filetype(entry);
    uint64_t name = *last ? index_find(directory, last) : 0, made = !*last ? HYLA_FILE_ROOT : name ? archive_index.names[name].node : 0;
    const char *target = archive_entry_symlink(entry);
    if (!made || !S_ISDIR(mode) || !S_ISDIR(archive_index.nodes[made].mode))
        made = *last ? node_make(mode) : 0;
    if (!made)
        return 0;
    describe(&archive_index.nodes[made], entry, number);
    if (S_ISLNK(mode)) {
        char *copy = strdup(target ? target : "");
        if (!copy || !*copy || strlen(copy) > HYLA_FILE_TARGET_MAX) {
            free(copy);
            return 0;
        }
        archive_index.nodes[made].target = copy;
        archive_index.nodes[made].size = strlen(copy);
    }
    return made;
}

static bool type_shown(uint32_t mode)
{
    return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISCHR(mode) || S_ISBLK(mode) || S_ISFIFO(mode);
}

/* False: it is left out. */
static bool take_entry(struct archive_entry *entry, uint64_t number)
{
    const char *path = archive_entry_pathname(entry), *hard = archive_entry_hardlink(entry);
    char last[256];
    uint64_t directory = path ? parent_make(path, last) : 0, made;
    if (!directory)
        return false;
    if (hard) {
        made = index_path(hard);
        if (made && S_ISDIR(archive_index.nodes[made].mode))
            made = 0;
        else if (made && archive_entry_size(entry) > 0 && !archive_index.nodes[made].size)
            describe(&archive_index.nodes[made], entry, number); /* cpio keeps the contents with the last name */
    } else {
        made = type_shown(archive_entry_filetype(entry)) ? node_for(entry, directory, last, number) : 0;
    }
    if (!made || (!*last && made != HYLA_FILE_ROOT))
        return false;
    uint64_t name = *last ? index_find(directory, last) : 0;
    if (!*last || (name && archive_index.names[name].node == made))
        return true;
    return name_set(directory, last, made);
}

static bool make_root(int fd)
{
    struct stat stat;
    if (!node_make(S_IFDIR | 0755) || !buckets_grow() || !grow((void **)&archive_index.names, &archive_index.name_room, 2, sizeof(struct name)))
        return false;
    archive_index.nodes[HYLA_FILE_ROOT].parent = HYLA_FILE_ROOT;
    archive_index.nodes[HYLA_FILE_ROOT].links = 1;
    archive_index.nodes[HYLA_FILE_ROOT].modify_seconds = fstat(fd, &stat) == 0 ? stat.st_mtime : 0;
    return true;
}

int index_make(int fd)
{
    struct archive_entry *entry;
    uint64_t number = 0, left_out = 0;
    void *position;
    struct archive *archive = make_root(fd) ? archive_begin(fd, &position) : NULL;
    if (!archive)
        return -EIO;
    int result;
    while ((result = archive_read_next_header(archive, &entry)) == ARCHIVE_OK || result == ARCHIVE_WARN || result == ARCHIVE_RETRY) {
        if (++number > ENTRIES_MAX)
            break;
        if (result != ARCHIVE_RETRY)
            left_out += !take_entry(entry, number);
    }
    if (result != ARCHIVE_EOF)
        fprintf(stderr, "archive: damaged after %llu entries: %s\n", (unsigned long long)number,
                archive_error_string(archive) ? archive_error_string(archive) : "too many");
    if (left_out)
        fprintf(stderr, "archive: %llu entries cannot be shown\n", (unsigned long long)left_out);
    archive_end(archive, position);
    return result != ARCHIVE_EOF && !number ? -EIO : 0;
}
