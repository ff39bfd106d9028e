/*
 * A directory shown read-only by a process of its own: hyla-fs-host [--port HANDLE | --mount DIRECTORY [--again]] DIRECTORY
 *
 * A file is a name in a directory: numbers are slots of a table of (directory, name), kept while the kernel has references to the file or
 * to something beneath it. Each question goes to the directory's own files by their path beneath it, symbolic links never followed;
 * nothing is cached here but contents, whose pages are supplied on demand: changes of them show when the file has been forgotten and is
 * opened again, other changes as soon as this process itself sees them.
 */
#include "examples/server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define BUCKETS 4096u

struct file {
    struct file *next; /* in its bucket */
    uint64_t number, directory, references, children;
    char name[];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* the table */
static struct file *by_name[BUCKETS], **by_number;
static uint64_t number_room, number_next = HYLA_FILE_ROOT + 1;
static int source = -1;

/* --- the table, with the mutex held ------------------------------------------------------------------ */

static struct file **bucket_of(uint64_t directory, const char *name)
{
    uint64_t hash = directory * 0x9e3779b97f4a7c15u;
    while (*name)
        hash = (hash ^ (unsigned char)*name++) * 0x100000001b3u;
    return &by_name[(hash >> 32) % BUCKETS];
}

static struct file *file_of(uint64_t number) { return number < number_room ? by_number[number] : NULL; }

static bool make_room(void)
{
    if (number_next < number_room)
        return true;
    uint64_t room = number_room ? 2 * number_room : 1024;
    struct file **more = realloc(by_number, room * sizeof *more);
    if (!more)
        return false;
    memset(more + number_room, 0, (room - number_room) * sizeof *more);
    by_number = more;
    number_room = room;
    return true;
}

static struct file *file_make(uint64_t directory, const char *name)
{
    struct file *file = make_room() ? calloc(1, sizeof *file + strlen(name) + 1) : NULL;
    if (!file)
        return NULL;
    strcpy(file->name, name);
    file->directory = directory;
    file->number = number_next++; /* never used again, so that a late question cannot mean another file */
    by_number[file->number] = file;
    struct file **bucket = bucket_of(directory, name);
    file->next = *bucket;
    *bucket = file;
    if (file_of(directory))
        file_of(directory)->children++;
    return file;
}

static struct file *file_get(uint64_t directory, const char *name)
{
    for (struct file *file = *bucket_of(directory, name); file; file = file->next)
        if (file->directory == directory && !strcmp(file->name, name))
            return file;
    return file_make(directory, name);
}

/* Frees what nobody needs, and then perhaps the directories above it. */
static void file_put(struct file *file)
{
    while (file && !file->references && !file->children) {
        struct file *above = file_of(file->directory), **at = bucket_of(file->directory, file->name);
        while (*at != file)
            at = &(*at)->next;
        *at = file->next;
        by_number[file->number] = NULL;
        free(file);
        if (above)
            above->children--;
        file = above;
    }
}

/* The path beneath the source, from its end; "." for the root. False: no such number, or too long. */
static bool path_of(uint64_t number, char buffer[PATH_MAX], const char **path)
{
    char *at = buffer + PATH_MAX - 1;
    *at = 0;
    pthread_mutex_lock(&mutex);
    bool fine = true;
    while (fine && number != HYLA_FILE_ROOT) {
        const struct file *file = file_of(number);
        size_t length = file ? strlen(file->name) : 0;
        fine = file && length + 1 < (size_t)(at - buffer);
        if (!fine)
            break;
        if (*at)
            *--at = '/';
        at -= length;
        memcpy(at, file->name, length);
        number = file->directory;
    }
    pthread_mutex_unlock(&mutex);
    *path = *at ? at : ".";
    return fine;
}

/* --- answers ----------------------------------------------------------------------------------------- */

/* Opens beneath the source; the last component is no symbolic link. */
static int open_number(uint64_t number, int flags)
{
    char buffer[PATH_MAX];
    const char *path;
    int fd = path_of(number, buffer, &path) ? openat(source, path, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : (errno = ESTALE, -1);
    return fd < 0 ? -errno : fd;
}

static int64_t show(uint64_t number, struct hyla_file_attributes *a)
{
    char buffer[PATH_MAX];
    const char *path;
    struct stat s;
    if (!path_of(number, buffer, &path))
        return -ESTALE;
    if (fstatat(source, path, &s, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -errno;
    *a = (struct hyla_file_attributes){
        .node = number, .inode = s.st_ino, .size = (uint64_t)s.st_size, .blocks = (uint64_t)s.st_blocks, .rdev = s.st_rdev, .mode = s.st_mode,
        .links = (uint32_t)s.st_nlink, .uid = s.st_uid, .gid = s.st_gid, .block_size = (uint32_t)s.st_blksize,
        .access_seconds = s.st_atim.tv_sec, .access_nanoseconds = (uint32_t)s.st_atim.tv_nsec,
        .modify_seconds = s.st_mtim.tv_sec, .modify_nanoseconds = (uint32_t)s.st_mtim.tv_nsec,
        .change_seconds = s.st_ctim.tv_sec, .change_nanoseconds = (uint32_t)s.st_ctim.tv_nsec,
    };
    return 0;
}

static int64_t get_attributes(struct hyla_fs *fs, uint64_t node, struct hyla_file_attributes *a)
{
    (void)fs;
    return show(node, a);
}

static int64_t lookup(struct hyla_fs *fs, uint64_t directory, const char *name, struct hyla_file_attributes *found)
{
    (void)fs;
    pthread_mutex_lock(&mutex);
    struct file *file = directory == HYLA_FILE_ROOT || file_of(directory) ? file_get(directory, name) : NULL;
    if (file)
        file->references++;
    uint64_t number = file ? file->number : 0;
    pthread_mutex_unlock(&mutex);
    int64_t result = file ? show(number, found) : -ENOMEM;
    if (result && file) {
        pthread_mutex_lock(&mutex);
        file->references--;
        file_put(file);
        pthread_mutex_unlock(&mutex);
    }
    return result;
}

static int64_t forget(struct hyla_fs *fs, uint64_t node, uint64_t count)
{
    (void)fs;
    pthread_mutex_lock(&mutex);
    struct file *file = file_of(node);
    if (file) {
        file->references -= count < file->references ? count : file->references;
        file_put(file);
    }
    pthread_mutex_unlock(&mutex);
    return 0;
}

static int64_t read_link(struct hyla_fs *fs, uint64_t node, void *target, uint32_t room)
{
    char buffer[PATH_MAX];
    const char *path;
    (void)fs;
    ssize_t length = path_of(node, buffer, &path) ? readlinkat(source, path, target, room) : (errno = ESTALE, -1);
    return length < 0 ? -errno : length;
}

/* Cookies are the directory's own positions, from 1 on. */
static int64_t read_directory(struct hyla_fs *fs, uint64_t node, int64_t cookie, void *entries, uint32_t room)
{
    int64_t used = 0, after = 0;
    int fd = open_number(node, O_RDONLY | O_DIRECTORY);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    (void)fs;
    if (!dir)
        return fd < 0 ? fd : (close(fd), -ENOMEM);
    if (cookie)
        seekdir(dir, cookie - 1);
    for (const struct dirent *entry; after >= 0 && (entry = readdir(dir));) {
        after = hyla_fs_entry(entries, room, used, entry->d_name, entry->d_ino, (uint32_t)entry->d_type << 12, telldir(dir) + 1);
        used = after >= 0 ? after : used;
    }
    closedir(dir);
    return used;
}

static int64_t read_file(struct hyla_fs *fs, uint64_t node, uint64_t offset, void *bytes, uint32_t room)
{
    int fd = open_number(node, O_RDONLY);
    (void)fs;
    if (fd < 0)
        return fd;
    ssize_t got = pread(fd, bytes, room, (off_t)offset);
    int64_t result = got < 0 ? -errno : got;
    close(fd);
    return result;
}

static int64_t get_space(struct hyla_fs *fs, struct hyla_file_space *space)
{
    struct statvfs s;
    (void)fs;
    if (fstatvfs(source, &s))
        return -errno;
    *space = (struct hyla_file_space){
        .block_size = s.f_frsize, .blocks = s.f_blocks, .blocks_free = s.f_bfree, .blocks_available = s.f_bavail, .files = s.f_files,
        .files_free = s.f_ffree, .name_length = s.f_namemax,
    };
    return 0;
}

static int usage(const char *name)
{
    fprintf(stderr, "usage: %s [--port HANDLE | --mount DIRECTORY [--again]] DIRECTORY\n", name);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct hyla_file_ops ops = {
        .get_attributes = get_attributes, .lookup = lookup, .forget = forget, .read_link = read_link, .read_directory = read_directory, .read = read_file,
        .get_space = get_space,
    };
    struct server_line line = {.flags = MS_RDONLY};
    const char *directory = NULL;
    for (int at = 1; at < argc;) {
        int words = server_option(&line, argc, argv, at);
        if (!words && !directory && argv[at][0] != '-') {
            directory = argv[at];
            words = 1;
        }
        if (!words)
            return usage(argv[0]);
        at += words;
    }
    if (!directory || (!line.port && !line.mount))
        return usage(argv[0]);
    source = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (source < 0) {
        fprintf(stderr, "host: %s: %s\n", directory, strerror(errno));
        return 1;
    }
    return server_run(&line, &ops, true, "host");
}
