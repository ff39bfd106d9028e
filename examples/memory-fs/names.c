/*
 * Directories: lists of entries in the order of their cookies, which count upwards and are never used again, so that a listing
 * that goes on after names came and went shows every name that stayed, once.
 */
#include "examples/memory-fs/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int64_t directory_of(uint64_t number, struct file **directory)
{
    *directory = file_of(number);
    return !*directory ? -ESTALE : S_ISDIR((*directory)->mode) ? 0 : -ENOTDIR;
}

static struct entry **find(struct file *directory, const char *name)
{
    struct entry **at = &directory->entries;
    while (*at && strcmp((*at)->name, name))
        at = &(*at)->next;
    return at;
}

/* An entry for the file, not yet in a directory. NULL: no memory. */
static struct entry *entry_make(const char *name, struct file *file)
{
    struct entry *entry = calloc(1, sizeof *entry + strlen(name) + 1);
    if (entry) {
        strcpy(entry->name, name);
        entry->file = file;
    }
    return entry;
}

static void entry_add(struct file *directory, struct entry *entry)
{
    struct entry **end = &directory->entries;
    while (*end)
        end = &(*end)->next;
    entry->next = NULL;
    entry->cookie = directory->next_cookie++;
    *end = entry;
    entry->file->links++;
    directory->entry_count++;
    if (S_ISDIR(entry->file->mode)) {
        directory->directories++;
        entry->file->parent = directory;
    }
    file_changed(directory, true);
    file_changed(entry->file, false);
}

/* Out of the directory; its file may have no name left. */
static struct entry *entry_take(struct file *directory, struct entry **at)
{
    struct entry *entry = *at;
    *at = entry->next;
    entry->file->links--;
    directory->entry_count--;
    directory->directories -= S_ISDIR(entry->file->mode);
    file_changed(directory, true);
    file_changed(entry->file, false);
    return entry;
}

static void entry_drop(struct file *directory, struct entry **at)
{
    struct entry *entry = entry_take(directory, at);
    file_put(entry->file);
    free(entry);
}

/* --- looking ----------------------------------------------------------------------------------------- */

static int64_t named(struct file *file, struct hyla_file_attributes *a)
{
    file->references++;
    file_show(file, a);
    return 0;
}

int64_t memory_lookup(struct hyla_fs *fs, uint64_t number, const char *name, struct hyla_file_attributes *found)
{
    struct file *directory;
    (void)fs;
    tree_lock();
    int64_t result = directory_of(number, &directory);
    if (!result) {
        struct entry *entry = *find(directory, name);
        result = entry ? named(entry->file, found) : -ENOENT;
    }
    return tree_unlock(result);
}

int64_t memory_read_link(struct hyla_fs *fs, uint64_t node, void *target, uint32_t room)
{
    (void)fs;
    tree_lock();
    struct file *file = file_of(node);
    int64_t result = file && file->target ? (int64_t)strlen(file->target) : -EINVAL;
    if (result > room)
        result = -EIO;
    if (result > 0)
        memcpy(target, file->target, (size_t)result);
    return tree_unlock(result);
}

static int64_t list(const struct file *directory, int64_t cookie, void *entries, uint32_t room)
{
    const struct file *parent = directory->parent ? directory->parent : directory;
    int64_t used = 0, after = 0;
    if (cookie < 1)
        used = hyla_fs_entry(entries, room, used, ".", directory->number, directory->mode, 1);
    if (cookie < 2 && used >= 0)
        used = (after = hyla_fs_entry(entries, room, used, "..", parent->number, parent->mode, 2)) < 0 ? used : after;
    for (const struct entry *entry = directory->entries; entry && used >= 0; entry = entry->next) {
        if (entry->cookie <= cookie)
            continue;
        after = hyla_fs_entry(entries, room, used, entry->name, entry->file->number, entry->file->mode, entry->cookie);
        if (after < 0)
            break;
        used = after;
    }
    return used == 0 && after < 0 ? -EINVAL : used; /* not even one fits */
}

int64_t memory_read_directory(struct hyla_fs *fs, uint64_t node, int64_t cookie, void *entries, uint32_t room)
{
    struct file *directory;
    (void)fs;
    tree_lock();
    int64_t result = directory_of(node, &directory);
    return tree_unlock(result ? result : list(directory, cookie, entries, room));
}

/* --- changing ---------------------------------------------------------------------------------------- */

/* The directory, which still has a name, has none like this yet. */
static int64_t may_add(uint64_t number, const char *name, struct file **directory)
{
    int64_t error = directory_of(number, directory);
    if (error)
        return error;
    if (!(*directory)->links)
        return -ENOENT;
    return *find(*directory, name) ? -EEXIST : 0;
}

static int64_t add(struct file *directory, const char *name, struct file *file, struct hyla_file_attributes *a)
{
    struct entry *entry = entry_make(name, file);
    if (!entry) {
        file_put(file);
        return -ENOMEM;
    }
    entry_add(directory, entry);
    return named(file, a);
}

int64_t memory_create(struct hyla_fs *fs, uint64_t number, const char *name, uint32_t mode, uint64_t rdev, uint32_t uid, uint32_t gid,
                      const char *target, struct hyla_file_attributes *made)
{
    struct file *directory;
    (void)fs;
    tree_lock();
    int64_t result = may_add(number, name, &directory);
    if (result)
        return tree_unlock(result);
    struct file *file = file_make(mode, uid, gid);
    if (!file)
        return tree_unlock(-ENOSPC);
    file->rdev = rdev;
    if (S_ISLNK(mode) && !(file->target = strdup(target))) {
        file_put(file);
        return tree_unlock(-ENOMEM);
    }
    return tree_unlock(add(directory, name, file, made));
}

int64_t memory_link(struct hyla_fs *fs, uint64_t number, const char *name, uint64_t node, struct hyla_file_attributes *linked)
{
    struct file *directory;
    (void)fs;
    tree_lock();
    struct file *file = file_of(node);
    int64_t result = file ? may_add(number, name, &directory) : -ESTALE;
    if (!result && S_ISDIR(file->mode))
        result = -EPERM;
    if (!result && file->links >= 65000)
        result = -EMLINK;
    return tree_unlock(result ? result : add(directory, name, file, linked));
}

static int64_t may_remove(const struct file *file, bool is_directory)
{
    if (is_directory != (bool)S_ISDIR(file->mode))
        return is_directory ? -ENOTDIR : -EISDIR;
    return file->entry_count ? -ENOTEMPTY : 0;
}

int64_t memory_remove(struct hyla_fs *fs, uint64_t number, const char *name, uint32_t flags)
{
    struct file *directory;
    (void)fs;
    tree_lock();
    int64_t result = directory_of(number, &directory);
    struct entry **at = result ? NULL : find(directory, name);
    if (!result)
        result = *at ? may_remove((*at)->file, flags & HYLA_FILE_REMOVE_DIRECTORY) : -ENOENT;
    if (!result)
        entry_drop(directory, at);
    return tree_unlock(result);
}

/* --- renaming ---------------------------------------------------------------------------------------- */

static bool beneath(const struct file *file, const struct file *ancestor)
{
    while (file && file != ancestor)
        file = file->parent;
    return file != NULL;
}

static int64_t exchange(struct file *from, struct entry **a, struct file *to, struct entry **b)
{
    struct file *first = (*a)->file, *second = (*b)->file;
    if (beneath(from, second) || beneath(to, first))
        return -EINVAL;
    (*a)->file = second;
    (*b)->file = first;
    from->directories += (uint32_t)S_ISDIR(second->mode) - (uint32_t)S_ISDIR(first->mode);
    to->directories += (uint32_t)S_ISDIR(first->mode) - (uint32_t)S_ISDIR(second->mode);
    first->parent = S_ISDIR(first->mode) ? to : NULL;
    second->parent = S_ISDIR(second->mode) ? from : NULL;
    file_changed(from, true);
    file_changed(to, true);
    file_changed(first, false);
    file_changed(second, false);
    return 0;
}

/* The new name is made first, so that nothing is lost when there is no memory. */
static int64_t move(struct file *from, const char *name, struct file *to, const char *new_name)
{
    struct file *file = (*find(from, name))->file;
    struct entry **replaced = find(to, new_name);
    if (beneath(to, file))
        return -EINVAL;
    if (*replaced) {
        int64_t error = may_remove((*replaced)->file, S_ISDIR(file->mode));
        if (error)
            return error;
    }
    struct entry *entry = entry_make(new_name, file);
    if (!entry)
        return -ENOMEM;
    if (*replaced)
        entry_drop(to, replaced);
    file->references++; /* while it has no name */
    free(entry_take(from, find(from, name)));
    entry_add(to, entry);
    file->references--;
    return 0;
}

static int64_t rename_in(struct file *from, const char *name, struct file *to, const char *new_name, uint32_t flags)
{
    struct entry **old = find(from, name), **new = find(to, new_name);
    if (!*old || ((flags & HYLA_FILE_RENAME_EXCHANGE) && !*new))
        return -ENOENT;
    if (*new && (flags & HYLA_FILE_RENAME_NOREPLACE))
        return -EEXIST;
    if (*new && (*old)->file == (*new)->file)
        return 0;
    return flags & HYLA_FILE_RENAME_EXCHANGE ? exchange(from, old, to, new) : move(from, name, to, new_name);
}

int64_t memory_rename(struct hyla_fs *fs, uint64_t from_number, const char *name, uint64_t to_number, const char *new_name, uint32_t flags)
{
    struct file *from, *to;
    (void)fs;
    tree_lock();
    int64_t result = directory_of(from_number, &from);
    if (!result)
        result = directory_of(to_number, &to);
    if (!result && !to->links)
        result = -ENOENT;
    return tree_unlock(result ? result : rename_in(from, name, to, new_name, flags));
}
