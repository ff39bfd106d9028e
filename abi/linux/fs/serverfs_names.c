/*
 * Names, links, directories and extended attributes of a file server: each operation is a message, its answer checked and learned.
 *
 * The layer above has checked permission and holds the directory's names lock, so one name is asked for once at a time.
 */
#include "abi/linux/fs/serverfs.h"

#include "kernel/alloc.h"
#include "kernel/string.h"

#define LISTING_SIZE 16384u

/* --- names ------------------------------------------------------------------------------------------- */

int server_lookup(struct node *dir, const char *name, size_t length, struct node **child)
{
    struct hyla_file_attributes found;
    struct server_question question;
    int error = length > NAME_LENGTH_MAX ? -ENAMETOOLONG : server_ask(dir, &question);

    if (error)
        return error;
    error = (int)file_call_lookup(question.link, question.id, name, (uint32_t)length, &found);
    if (!error)
        error = server_node_for(dir, &question, &found, child);
    server_done(&question);
    return error;
}

int server_create(struct node *dir, const char *name, size_t length, uint32_t mode, uint64_t rdev, const char *target, uint32_t uid,
                  uint32_t gid, struct node **child)
{
    struct hyla_file_attributes made;
    struct server_question question;
    size_t target_length = target ? strlen(target) : 0;
    int error = target_length > HYLA_FILE_TARGET_MAX ? -ENAMETOOLONG : server_ask(dir, &question);

    if (error)
        return error;
    error = (int)file_call_create(question.link, question.id, name, (uint32_t)length, mode, rdev, uid, gid, target ? target : "",
                                  (uint32_t)target_length, &made);
    if (!error && ((made.mode ^ mode) & LINUX_S_IFMT))
        error = -EIO;
    server_forget_attributes(dir);
    if (!error)
        error = server_node_for(dir, &question, &made, child);
    server_done(&question);
    return error;
}

/* The number of another node of the same server. */
static int number_of(const struct server_question *question, struct node *node, uint64_t *id)
{
    struct file_link *link;
    int error = server_link(node, &link, id);

    if (error)
        return error;
    if (link != question->link)
        error = -EIO;
    object_unref(link);
    return error;
}

int server_link_name(struct node *dir, const char *name, size_t length, struct node *target)
{
    struct hyla_file_attributes linked;
    struct server_question question;
    struct node *node = NULL;
    uint64_t id;
    int error = server_ask(dir, &question);

    if (error)
        return error;
    error = number_of(&question, target, &id);
    if (!error)
        error = (int)file_call_link(question.link, question.id, name, (uint32_t)length, id, &linked);
    server_forget_attributes(dir);
    server_forget_attributes(target);
    if (!error && linked.node != id)
        error = -EIO;
    if (!error)
        error = server_node_for(dir, &question, &linked, &node);
    object_unref(node);
    server_done(&question);
    return error;
}

static int remove_name(struct node *dir, const char *name, size_t length, uint32_t flags)
{
    struct file_link *link;
    uint64_t id;
    int error = server_link(dir, &link, &id);

    if (error)
        return error;
    error = (int)file_call_remove(link, id, name, (uint32_t)length, flags);
    server_forget_attributes(dir);
    object_unref(link);
    return error;
}

int server_unlink(struct node *dir, const char *name, size_t length) { return remove_name(dir, name, length, 0); }

int server_remove_directory(struct node *dir, const char *name, size_t length)
{
    return remove_name(dir, name, length, HYLA_FILE_REMOVE_DIRECTORY);
}

int server_rename(struct node *from, const char *name, size_t length, struct node *to, const char *new_name, size_t new_length,
                  uint32_t flags)
{
    struct server_question question;
    uint64_t to_id;
    int error = server_ask(from, &question);

    if (error)
        return error;
    error = number_of(&question, to, &to_id);
    if (!error)
        error = (int)file_call_rename(question.link, question.id, name, (uint32_t)length, to_id, new_name, (uint32_t)new_length, flags);
    server_forget_attributes(from);
    server_forget_attributes(to);
    server_done(&question);
    return error;
}

/* --- symbolic links and directories ------------------------------------------------------------------ */

int64_t server_read_link(struct node *node, char *target, size_t size)
{
    char *whole;
    struct file_link *link;
    uint64_t id;

    if ((node->mode & LINUX_S_IFMT) != LINUX_S_IFLNK)
        return -EINVAL;
    int64_t result = server_link(node, &link, &id);
    if (result)
        return result;
    whole = kalloc(HYLA_FILE_TARGET_MAX);
    result = whole ? file_call_read_link(link, id, whole, HYLA_FILE_TARGET_MAX) : -ENOMEM;
    object_unref(link);
    if (result >= 0 && (result == 0 || memchr(whole, 0, (size_t)result)))
        result = -EIO;
    if (result > (int64_t)size)
        result = (int64_t)size;
    if (result > 0)
        memcpy(target, whole, (size_t)result);
    kfree(whole);
    return result;
}

static bool entry_name_sound(const char *name, uint32_t length)
{
    return !memchr(name, '/', length) && !memchr(name, 0, length);
}

/* The entry at the front of what is left: how many bytes it takes, or -EIO. */
static int64_t entry_take(const char *from, uint64_t left, struct hyla_file_entry *entry, const char **name)
{
    if (left < sizeof *entry)
        return -EIO;
    memcpy(entry, from, sizeof *entry);
    uint64_t takes = sizeof *entry + round_up((uint64_t)entry->length, 8);
    if (!entry->length || entry->length > NAME_LENGTH_MAX || takes > left || !entry->next || entry->type > 15)
        return -EIO;
    *name = from + sizeof *entry;
    return entry_name_sound(*name, entry->length) ? (int64_t)takes : -EIO;
}

/* 1: all were taken; 0: the taker has enough; -EIO. */
static int emit_entries(const char *from, uint64_t left, int64_t *cookie, directory_emit *emit, void *context)
{
    struct hyla_file_entry entry;
    const char *name;

    while (left) {
        int64_t takes = entry_take(from, left, &entry, &name);
        if (takes < 0)
            return (int)takes;
        if (!emit(context, name, entry.length, entry.inode, (uint8_t)entry.type, entry.next))
            return 0;
        *cookie = entry.next;
        from += takes;
        left -= (uint64_t)takes;
    }
    return 1;
}

int server_read_directory(struct node *dir, int64_t *cookie, directory_emit *emit, void *context)
{
    struct file_link *link;
    uint64_t id;
    int error = server_link(dir, &link, &id);

    if (error)
        return error;
    char *entries = kalloc(LISTING_SIZE);
    int64_t result = entries ? 1 : -ENOMEM;
    /* Ends when the taker is full, at the latest: it takes a bounded number of bytes. */
    while (result > 0) {
        result = file_call_read_directory(link, id, *cookie, LISTING_SIZE, entries, LISTING_SIZE);
        if (result > 0)
            result = emit_entries(entries, (uint64_t)result, cookie, emit, context);
    }
    kfree(entries);
    object_unref(link);
    return (int)result;
}

/* --- extended attributes ----------------------------------------------------------------------------- */

/* What get and list answer: `length` says how long it is, `got` bytes of it came. */
static int64_t sized(int64_t got, uint32_t length, size_t size)
{
    if (got < 0)
        return got;
    if (!size)
        return length;
    return length > size ? -ERANGE : got == (int64_t)length ? got : -EIO;
}

int64_t server_get_xattr(struct node *node, const char *name, void *value, size_t size)
{
    uint32_t length = 0, room = (uint32_t)min_u64(size, HYLA_FILE_DATA_MAX);
    struct file_link *link;
    uint64_t id;
    int error = server_link(node, &link, &id);

    if (error)
        return error;
    int64_t got = file_call_get_xattr(link, id, name, (uint32_t)strlen(name), room, &length, value, room);
    object_unref(link);
    return sized(got, length, size);
}

int server_set_xattr(struct node *node, const char *name, const void *value, size_t size, int flags)
{
    struct file_link *link;
    uint64_t id;
    int error = size > HYLA_FILE_DATA_MAX ? -E2BIG : server_link(node, &link, &id);

    if (error)
        return error;
    error = (int)file_call_set_xattr(link, id, name, (uint32_t)strlen(name), (uint32_t)flags, value, (uint32_t)size);
    server_forget_attributes(node);
    object_unref(link);
    return error;
}

int64_t server_list_xattr(struct node *node, char *names, size_t size)
{
    uint32_t length = 0, room = (uint32_t)min_u64(size, HYLA_FILE_DATA_MAX);
    struct file_link *link;
    uint64_t id;
    int error = server_link(node, &link, &id);

    if (error)
        return error;
    int64_t got = file_call_list_xattr(link, id, room, &length, names, room);
    got = sized(got, length, size);
    object_unref(link);
    if (got == -EOPNOTSUPP)
        return 0;
    return got > 0 && size && names[got - 1] ? -EIO : got;
}

int server_remove_xattr(struct node *node, const char *name)
{
    struct file_link *link;
    uint64_t id;
    int error = server_link(node, &link, &id);

    if (error)
        return error;
    error = (int)file_call_remove_xattr(link, id, name, (uint32_t)strlen(name));
    server_forget_attributes(node);
    object_unref(link);
    return error;
}
