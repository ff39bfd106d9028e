/*
 * The reader of cpio archives in "newc" format: headers of ASCII hexadecimal numbers, each followed by a name and the
 * contents, all padded to four bytes; a member named TRAILER!!! ends an archive.
 *
 * The archive comes from outside: sizes are checked before they are used, names may not climb ("..") and symbolic links are
 * not followed while unpacking. Hard links are members with the same inode number; the last of them brings the contents.
 */
#include "abi/linux/fs/cpio.h"

#include "kernel/alloc.h"
#include "kernel/string.h"

#define HEADER_SIZE 110u
#define FIELDS 13u
enum { FIELD_INODE, FIELD_MODE, FIELD_UID, FIELD_GID, FIELD_LINKS, FIELD_TIME, FIELD_SIZE, FIELD_MAJOR, FIELD_MINOR, FIELD_RDEV_MAJOR,
       FIELD_RDEV_MINOR, FIELD_NAME_SIZE, FIELD_CHECK };

/* A file with several names, for the names to come. */
struct linked {
    struct linked *next;
    uint32_t inode, major, minor;
    struct node *node;
};

struct member {
    uint32_t fields[FIELDS];
    const char *name;
    const uint8_t *contents;
};

struct unpacking {
    struct fs *fs;
    const uint8_t *at, *end;
    struct linked *linked;
};

/* --- reading ------------------------------------------------------------------------------------------- */

static int read_field(const uint8_t *text, uint32_t *value)
{
    *value = 0;
    for (int i = 0; i < 8; i++) {
        uint8_t c = text[i] | 0x20;
        bool decimal = text[i] >= '0' && text[i] <= '9';
        if (!decimal && (c < 'a' || c > 'f'))
            return -EINVAL;
        *value = *value << 4 | (uint32_t)(decimal ? text[i] - '0' : c - 'a' + 10);
    }
    return 0;
}

/* Moves over bytes and their padding; lengths are counted from the member's start, which is aligned to 4. */
static const uint8_t *take(struct unpacking *u, uint64_t size)
{
    const uint8_t *start = u->at;
    if (size > (uint64_t)(u->end - u->at))
        return NULL;
    u->at += size;
    return start;
}

static void skip_padding(struct unpacking *u, const uint8_t *base)
{
    while (u->at < u->end && (uint64_t)(u->at - base) % 4)
        u->at++;
}

static int read_member(struct unpacking *u, struct member *member)
{
    const uint8_t *header = take(u, HEADER_SIZE);
    if (!header || (memcmp(header, "070701", 6) && memcmp(header, "070702", 6)))
        return -EINVAL;
    for (uint32_t i = 0; i < FIELDS; i++)
        if (read_field(header + 6 + i * 8, &member->fields[i]))
            return -EINVAL;
    uint32_t name_size = member->fields[FIELD_NAME_SIZE];
    const uint8_t *name = take(u, name_size);
    if (!name || name_size == 0 || name_size > PATH_LENGTH_MAX || name[name_size - 1])
        return -EINVAL;
    member->name = (const char *)name;
    skip_padding(u, header);
    member->contents = take(u, member->fields[FIELD_SIZE]);
    if (!member->contents)
        return -EINVAL;
    skip_padding(u, header);
    return 0;
}

/* --- making -------------------------------------------------------------------------------------------- */

/* The next component of *name, which moves behind it; its length, 0 at the end. */
static size_t next_component(const char **name, const char **component)
{
    for (;;) {
        while (**name == '/')
            (*name)++;
        *component = *name;
        while (**name && **name != '/')
            (*name)++;
        size_t length = (size_t)(*name - *component);
        if (length != 1 || **component != '.')
            return length;
    }
}

/* A folder in `dir`, made when it is not there. A reference. */
static int enter(struct node *dir, const char *name, size_t length, struct node **child)
{
    int error = dir->ops->lookup(dir, name, length, child);
    if (error == -ENOENT)
        error = dir->ops->create(dir, name, length, LINUX_S_IFDIR | 0755, 0, NULL, 0, 0, child);
    if (!error && ((*child)->mode & LINUX_S_IFMT) != LINUX_S_IFDIR) {
        object_unref(*child);
        return -ENOTDIR;
    }
    return error;
}

/* The folder for the last component; *last is empty for the root itself. A reference in *dir. */
static int find_parent(struct unpacking *u, const char *name, struct node **dir, const char **last, size_t *length)
{
    const char *next;
    size_t next_length;
    int error = 0;
    *dir = object_ref(u->fs->root);
    *length = next_component(&name, last);
    while (!error && *length && (next_length = next_component(&name, &next))) {
        struct node *child;
        bool climbs = *length == 2 && !memcmp(*last, "..", 2);
        error = climbs || *length > NAME_LENGTH_MAX ? -EINVAL : enter(*dir, *last, *length, &child);
        if (error)
            break;
        object_unref(*dir);
        *dir = child;
        *last = next;
        *length = next_length;
    }
    if (!error && (*length > NAME_LENGTH_MAX || (*length == 2 && !memcmp(*last, "..", 2))))
        error = -EINVAL;
    if (error)
        object_unref(*dir);
    return error;
}

static int write_contents(struct node *node, const struct member *member)
{
    uint64_t size = member->fields[FIELD_SIZE];
    struct io io;
    if (!size)
        return 0;
    io_init_kernel(&io, (void *)(uintptr_t)member->contents, size);
    int64_t written = node->ops->write(node, &io, 0);
    return written < 0 ? (int)written : (uint64_t)written == size ? 0 : -ENOSPC;
}

static int set_attributes(struct node *node, const struct member *member)
{
    const uint32_t *fields = member->fields;
    struct file_time time = {.seconds = fields[FIELD_TIME]};
    struct node_attr attr = {.valid = ATTR_MODE | ATTR_UID | ATTR_GID | ATTR_ATIME | ATTR_MTIME, .mode = fields[FIELD_MODE] & 07777,
                             .uid = fields[FIELD_UID], .gid = fields[FIELD_GID], .access = time, .modify = time};
    return node->ops->set_attr(node, &attr);
}

static uint64_t device_number(const uint32_t *fields)
{
    uint64_t major = fields[FIELD_RDEV_MAJOR], minor = fields[FIELD_RDEV_MINOR];
    return (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~(uint64_t)0xff) << 12 | (major & ~(uint64_t)0xfff) << 32;
}

static struct linked *find_linked(struct unpacking *u, const uint32_t *fields)
{
    for (struct linked *known = u->linked; known; known = known->next)
        if (known->inode == fields[FIELD_INODE] && known->major == fields[FIELD_MAJOR] && known->minor == fields[FIELD_MINOR])
            return known;
    return NULL;
}

static int remember(struct unpacking *u, const uint32_t *fields, struct node *node)
{
    struct linked *linked = kalloc(sizeof *linked);
    if (!linked)
        return -ENOMEM;
    *linked = (struct linked){u->linked, fields[FIELD_INODE], fields[FIELD_MAJOR], fields[FIELD_MINOR], object_ref(node)};
    u->linked = linked;
    return 0;
}

/* A new node, or one more name of an old one. A later member of the same name replaces an earlier one. */
static int make_node(struct unpacking *u, struct node *dir, const char *name, size_t length, const struct member *member, struct node **node)
{
    const uint32_t *fields = member->fields;
    uint32_t mode = fields[FIELD_MODE];
    bool may_be_linked = fields[FIELD_LINKS] > 1 && (mode & LINUX_S_IFMT) != LINUX_S_IFDIR;
    struct linked *known = may_be_linked ? find_linked(u, fields) : NULL;
    char *target = NULL;
    int error;
    if ((mode & LINUX_S_IFMT) == LINUX_S_IFDIR)
        return enter(dir, name, length, node);
    if (!dir->ops->lookup(dir, name, length, node)) {
        object_unref(*node);
        error = dir->ops->unlink(dir, name, length);
        if (error)
            return error;
    }
    if (known) {
        *node = object_ref(known->node);
        error = dir->ops->link(dir, name, length, *node);
        if (error)
            object_unref(*node);
        return error;
    }
    if ((mode & LINUX_S_IFMT) == LINUX_S_IFLNK) {
        uint64_t size = fields[FIELD_SIZE];
        target = size < PATH_LENGTH_MAX ? kzalloc(size + 1) : NULL;
        if (!target)
            return size < PATH_LENGTH_MAX ? -ENOMEM : -EINVAL;
        memcpy(target, member->contents, size);
    }
    error = dir->ops->create(dir, name, length, mode, device_number(fields), target, fields[FIELD_UID], fields[FIELD_GID], node);
    kfree(target);
    return !error && may_be_linked ? remember(u, fields, *node) : error;
}

static int unpack_member(struct unpacking *u, const struct member *member)
{
    struct node *dir, *node;
    const char *last;
    size_t length;
    int error = find_parent(u, member->name, &dir, &last, &length);
    if (error)
        return error;
    if (length)
        error = make_node(u, dir, last, length, member, &node);
    else
        node = object_ref(dir);
    object_unref(dir);
    if (error)
        return error;
    if ((node->mode & LINUX_S_IFMT) == LINUX_S_IFREG)
        error = write_contents(node, member);
    if (!error)
        error = set_attributes(node, member);
    object_unref(node);
    return error;
}

static void forget_linked(struct unpacking *u)
{
    for (struct linked *next; u->linked; u->linked = next) {
        next = u->linked->next;
        object_unref(u->linked->node);
        kfree(u->linked);
    }
}

int cpio_unpack(struct fs *fs, const void *archive, uint64_t size)
{
    struct unpacking u = {.fs = fs, .at = archive, .end = (const uint8_t *)archive + size};
    struct member member;
    int error = 0;
    while (!error && u.at < u.end) {
        if (!*u.at) { /* archives are padded, and may follow each other */
            u.at++;
            continue;
        }
        error = read_member(&u, &member);
        if (!error && !strcmp(member.name, "TRAILER!!!"))
            forget_linked(&u);
        else if (!error)
            error = unpack_member(&u, &member);
    }
    forget_linked(&u);
    return error;
}
