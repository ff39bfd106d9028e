/*
 * A whole file system: a directory with one file. See ../README.md and docs/guide-file-server.md.
 */
#include <hyla/fs.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char text[] = "hello from a process\n";
enum { FILE_NUMBER = 2 };

static int64_t get_attributes(struct hyla_fs *fs, uint64_t node, struct hyla_file_attributes *a)
{
    (void)fs;
    *a = (struct hyla_file_attributes){.node = node, .mode = 0040755, .links = 2, .cache = HYLA_FILE_CACHE_ATTRIBUTES | HYLA_FILE_CACHE_NAMES};
    if (node == FILE_NUMBER) {
        a->mode = 0100644;
        a->links = 1;
        a->size = sizeof text - 1;
    }
    return node <= FILE_NUMBER ? 0 : -ENOENT;
}

static int64_t lookup(struct hyla_fs *fs, uint64_t directory, const char *name, struct hyla_file_attributes *found)
{
    return directory == HYLA_FILE_ROOT && !strcmp(name, "hello") ? get_attributes(fs, FILE_NUMBER, found) : -ENOENT;
}

static int64_t read_directory(struct hyla_fs *fs, uint64_t node, int64_t cookie, void *entries, uint32_t room)
{
    (void)fs;
    int64_t used = 0;
    if (cookie < 1)
        used = hyla_fs_entry(entries, room, used, ".", node, 0040000, 1);
    if (cookie < 2)
        used = hyla_fs_entry(entries, room, used, "..", node, 0040000, 2);
    if (cookie < 3)
        used = hyla_fs_entry(entries, room, used, "hello", FILE_NUMBER, 0100000, 3);
    return used;
}

static int64_t read_file(struct hyla_fs *fs, uint64_t node, uint64_t offset, void *bytes, uint32_t room)
{
    (void)fs;
    uint64_t size = sizeof text - 1;
    if (node != FILE_NUMBER || offset >= size)
        return node == FILE_NUMBER ? 0 : -EISDIR;
    if (room > size - offset)
        room = (uint32_t)(size - offset);
    memcpy(bytes, text + offset, room);
    return room;
}

int main(int argc, char **argv)
{
    static const struct hyla_file_ops ops = {
        .get_attributes = get_attributes, .lookup = lookup, .read_directory = read_directory, .read = read_file,
    };
    const struct hyla_fs_options options = {.ops = &ops, .label = "hello", .paged = 1};
    struct hyla_fs *fs;
    int error = argc == 2 ? hyla_fs_create(&options, &fs) : -EINVAL;
    if (!error && !(error = hyla_fs_mount(fs, argv[1], 0)))
        error = hyla_fs_run(fs);
    if (error)
        fprintf(stderr, "usage: %s DIRECTORY (%s)\n", argv[0], hyla_error_text(error));
    return error != 0;
}
