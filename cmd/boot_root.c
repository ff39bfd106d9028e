/*
 * The machine's root as an initramfs: a cpio archive in "newc" format in memory.
 *
 * A folder is walked without following links; a tar archive (POSIX ustar with the extensions of GNU and pax for long names)
 * is taken apart; a cpio archive is used as it is. Either may be compressed: gzip, xz, zstd or bzip2 unpacks it then. Owners become root, since the folder was likely made by somebody without
 * the right to keep them.
 */
#include "cmd/boot.h"
#include "cmd/command.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TAR_BLOCK 512u
#define CPIO_HEADER 110u

struct packing {
    FILE *out;
    uint32_t inode;
};

/* --- writing ------------------------------------------------------------------------------------------- */

static void pad(FILE *out, size_t written)
{
    static const char zeros[4];
    fwrite(zeros, 1, -written & 3, out);
}

/* A member's header and name; its contents follow. */
static void put_header(struct packing *packing, const char *name, mode_t mode, uint64_t size, int64_t time)
{
    size_t name_size = strlen(name) + 1;
    fprintf(packing->out, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", ++packing->inode, (unsigned)mode, 0, 0, 1,
            (unsigned)time, (unsigned)size, 0, 0, 0, 0, (unsigned)name_size, 0);
    fwrite(name, 1, name_size, packing->out);
    pad(packing->out, 110 + name_size);
}

static void put_bytes(struct packing *packing, const char *name, mode_t mode, const void *bytes, size_t size, int64_t time)
{
    put_header(packing, name, mode, size, time);
    fwrite(bytes, 1, size, packing->out);
    pad(packing->out, size);
}

/* As many bytes as the header will say, even if the file changes meanwhile. */
static int put_file(struct packing *packing, const char *name, int fd, const struct stat *stat)
{
    char buffer[65536];
    put_header(packing, name, stat->st_mode, (uint64_t)stat->st_size, stat->st_mtime);
    for (off_t left = stat->st_size; left > 0;) {
        size_t want = left < (off_t)sizeof buffer ? (size_t)left : sizeof buffer;
        ssize_t got = read(fd, buffer, want);
        if (got < 0)
            return -errno;
        if (got == 0)
            memset(buffer, 0, (size_t)(got = (ssize_t)want));
        fwrite(buffer, 1, (size_t)got, packing->out);
        left -= got;
    }
    pad(packing->out, (size_t)stat->st_size);
    return 0;
}

/* --- from a folder ------------------------------------------------------------------------------------- */

static int pack_folder(struct packing *packing, int fd, const char *name);

static int pack_regular(struct packing *packing, int folder, const char *entry, const char *name)
{
    struct stat now;
    int fd = openat(folder, entry, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK), error;
    if (fd < 0)
        return -errno;
    error = fstat(fd, &now) ? -errno : 0;
    if (!error)
        error = put_file(packing, name, fd, &now);
    close(fd);
    return error;
}

static int pack_link(struct packing *packing, int folder, const char *entry, const char *name)
{
    char target[PATH_MAX];
    ssize_t size = readlinkat(folder, entry, target, sizeof target);
    if (size < 0)
        return -errno;
    put_bytes(packing, name, S_IFLNK | 0777, target, (size_t)size, 0);
    return 0;
}

static int pack_entry(struct packing *packing, int folder, const char *entry, const char *name)
{
    struct stat stat;
    if (fstatat(folder, entry, &stat, AT_SYMLINK_NOFOLLOW))
        return -errno;
    switch (stat.st_mode & S_IFMT) {
    case S_IFREG: return stat.st_size > UINT32_MAX ? -EFBIG : pack_regular(packing, folder, entry, name);
    case S_IFLNK: return pack_link(packing, folder, entry, name);
    case S_IFDIR: {
        int fd = openat(folder, entry, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        put_header(packing, name, stat.st_mode, 0, stat.st_mtime);
        return fd < 0 ? -errno : pack_folder(packing, fd, name);
    }
    case S_IFIFO: put_header(packing, name, stat.st_mode, 0, stat.st_mtime); return 0;
    default: return 0; /* devices and sockets mean nothing elsewhere */
    }
}

static int pack_named(struct packing *packing, int folder, const char *entry, const char *prefix)
{
    char name[PATH_MAX];
    if (snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "/" : "", entry) >= (int)sizeof name)
        return -ENAMETOOLONG;
    int error = pack_entry(packing, folder, entry, name);
    if (error && error != -ENAMETOOLONG)
        complain("--root: %s: %s", name, error_text(error));
    return error;
}

static bool is_dots(const char *name) { return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])); }

/* Closes fd. */
static int pack_folder(struct packing *packing, int fd, const char *name)
{
    DIR *folder = fdopendir(fd);
    struct dirent *entry;
    int error = 0;
    if (!folder) {
        error = -errno;
        close(fd);
        return error;
    }
    while (!error && (entry = readdir(folder)))
        if (!is_dots(entry->d_name))
            error = pack_named(packing, fd, entry->d_name, name);
    closedir(folder);
    return error;
}

/* --- from a tar archive -------------------------------------------------------------------------------- */

struct tar_header {
    char name[100], mode[8], uid[8], gid[8], size[12], time[12], checksum[8], type, link[100], magic[6], version[2], owner[32], group[32],
        major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct tar_header) == TAR_BLOCK, "ustar header");

static uint64_t octal(const char *field, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size && field[i] && field[i] != ' '; i++)
        value = value << 3 | (uint64_t)((field[i] - '0') & 7);
    return value;
}

/* Names that an earlier member gave for the next one; empty: none. */
struct tar_names {
    char name[PATH_MAX], link[PATH_MAX];
};

static void take_text(char *to, const char *from, uint64_t size)
{
    if (size < PATH_MAX) {
        memcpy(to, from, size);
        to[size] = 0;
    }
}

/* pax: lines of "LENGTH KEY=VALUE\n". */
static void take_pax(struct tar_names *names, const char *text, uint64_t size)
{
    while (size) {
        char *end;
        unsigned long length = strtoul(text, &end, 10);
        if (length < 5 || length > size || *end != ' ' || text[length - 1] != '\n')
            return;
        const char *pair = end + 1;
        uint64_t pair_size = (uint64_t)(text + length - 1 - pair);
        if (pair_size > 5 && !memcmp(pair, "path=", 5))
            take_text(names->name, pair + 5, pair_size - 5);
        else if (pair_size > 9 && !memcmp(pair, "linkpath=", 9))
            take_text(names->link, pair + 9, pair_size - 9);
        text += length;
        size -= length;
    }
}

static void tar_name(const struct tar_header *header, const struct tar_names *names, char name[PATH_MAX])
{
    if (*names->name)
        snprintf(name, PATH_MAX, "%s", names->name);
    else if (*header->prefix && !memcmp(header->magic, "ustar\0", 6))
        snprintf(name, PATH_MAX, "%.155s/%.100s", header->prefix, header->name);
    else
        snprintf(name, PATH_MAX, "%.100s", header->name);
    for (size_t length = strlen(name); length > 1 && name[length - 1] == '/';)
        name[--length] = 0;
}

/* A hard link becomes a copy of what the archive had under the other name: found by going through it again. */
static const char *tar_find(const char *archive, uint64_t size, const char *wanted, uint64_t *found_size);

static void put_tar_member(struct packing *packing, const struct tar_header *header, const struct tar_names *names, const char *archive,
                           uint64_t archive_size, const char *contents, uint64_t size)
{
    char name[PATH_MAX], target[PATH_MAX];
    mode_t mode = (mode_t)octal(header->mode, sizeof header->mode) & 07777;
    int64_t time = (int64_t)octal(header->time, sizeof header->time);
    tar_name(header, names, name);
    if (*names->link)
        memcpy(target, names->link, sizeof target);
    else
        snprintf(target, sizeof target, "%.100s", header->link);
    if (header->type == '2')
        put_bytes(packing, name, S_IFLNK | 0777, target, strlen(target), time);
    else if (header->type == '5')
        put_header(packing, name, S_IFDIR | mode, 0, time);
    else if (header->type == '1' && (contents = tar_find(archive, archive_size, target, &size)))
        put_bytes(packing, name, S_IFREG | mode, contents, size, time);
    else if (header->type == '0' || !header->type)
        put_bytes(packing, name, S_IFREG | mode, contents, size, time);
}

/* Calls member for each; false when the archive is cut off: it must have its end, a block of zeros. */
static bool tar_walk(const char *archive, uint64_t size, void (*member)(void *, const struct tar_header *, const struct tar_names *, const char *, uint64_t),
                     void *context)
{
    struct tar_names names = {"", ""};
    uint64_t at = 0;
    while (at + TAR_BLOCK <= size && archive[at]) {
        const struct tar_header *header = (const void *)(archive + at);
        uint64_t bytes = octal(header->size, sizeof header->size), blocks = (bytes + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
        const char *contents = archive + at + TAR_BLOCK;
        if (blocks > size - at - TAR_BLOCK)
            return false;
        at += TAR_BLOCK + blocks;
        if (header->type == 'L')
            take_text(names.name, contents, strnlen(contents, bytes));
        else if (header->type == 'K')
            take_text(names.link, contents, strnlen(contents, bytes));
        else if (header->type == 'x')
            take_pax(&names, contents, bytes);
        else if (header->type != 'g') {
            member(context, header, &names, contents, bytes);
            names = (struct tar_names){"", ""};
        }
    }
    return at + TAR_BLOCK <= size;
}

struct tar_search {
    const char *wanted, *found;
    uint64_t size;
};

static void search_member(void *context, const struct tar_header *header, const struct tar_names *names, const char *contents, uint64_t size)
{
    struct tar_search *search = context;
    char name[PATH_MAX];
    tar_name(header, names, name);
    if ((header->type == '0' || !header->type) && !strcmp(name, search->wanted)) {
        search->found = contents;
        search->size = size;
    }
}

static const char *tar_find(const char *archive, uint64_t size, const char *wanted, uint64_t *found_size)
{
    struct tar_search search = {wanted, NULL, 0};
    tar_walk(archive, size, search_member, &search);
    *found_size = search.size;
    return search.found;
}

struct tar_packing {
    struct packing *packing;
    const char *archive;
    uint64_t size;
};

static void pack_member(void *context, const struct tar_header *header, const struct tar_names *names, const char *contents, uint64_t size)
{
    struct tar_packing *tar = context;
    put_tar_member(tar->packing, header, names, tar->archive, tar->size, contents, size);
}

static int pack_tar(struct packing *packing, const char *archive, uint64_t size)
{
    struct tar_packing tar = {packing, archive, size};
    return tar_walk(archive, size, pack_member, &tar) ? 0 : -EINVAL;
}

/* --- from a cpio archive ------------------------------------------------------------------------------- */

/* An eight-digit hexadecimal field of a header, or -1. */
static int64_t cpio_field(const char *header, unsigned index)
{
    char text[9] = "", *end;
    memcpy(text, header + 6 + 8 * index, 8);
    for (int i = 0; i < 8; i++)
        if (!memchr("0123456789abcdefABCDEF", text[i], 22))
            return -1;
    return (int64_t)strtoul(text, &end, 16);
}

/* Every member is whole up to the trailer. What the names and modes say is the kernel's to judge. */
static bool cpio_whole(const char *archive, uint64_t size)
{
    for (uint64_t at = 0; at + CPIO_HEADER <= size;) {
        int64_t bytes = cpio_field(archive + at, 6), name = cpio_field(archive + at, 11);
        if (memcmp(archive + at, "07070", 5) || bytes < 0 || name < 1)
            return false;
        uint64_t contents = (at + CPIO_HEADER + (uint64_t)name + 3) & ~(uint64_t)3;
        if (contents > size || (uint64_t)bytes > size - contents || archive[at + CPIO_HEADER + (uint64_t)name - 1])
            return false;
        if (!strcmp(archive + at + CPIO_HEADER, "TRAILER!!!"))
            return true;
        at = (contents + (uint64_t)bytes + 3) & ~(uint64_t)3;
    }
    return false;
}

/* --- compressed ---------------------------------------------------------------------------------------- */

struct compression {
    const char *magic;
    size_t magic_size;
    const char *program;
};

/* A compressed archive by its first bytes; NULL: none that is known. */
static const struct compression *find_compression(int fd)
{
    static const struct compression known[] = {{"\x1f\x8b", 2, "gzip"}, {"\xfd" "7zXZ", 5, "xz"}, {"\x28\xb5\x2f\xfd", 4, "zstd"}, {"BZh", 3, "bzip2"}};
    char start[6] = "";
    if (pread(fd, start, sizeof start, 0) < 0)
        return NULL;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!memcmp(start, known[i].magic, known[i].magic_size))
            return &known[i];
    return NULL;
}

/* What the program makes of it, as a file in memory; -1 after a complaint. */
static int decompress(int fd, const char *program, const char *name)
{
    int out = memfd_create("root", MFD_CLOEXEC), status = -1;
    pid_t pid = out < 0 ? -1 : fork();
    if (pid == 0) {
        dup2(fd, 0);
        dup2(out, 1);
        execlp(program, program, "-dc", (char *)NULL);
        _exit(EXIT_NOT_FOUND);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid > 0 && status == 0)
        return out;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOT_FOUND)
        complain("--root '%s': it takes %s to read it, which is not installed", name, program);
    else
        complain("--root '%s': %s cannot decompress it", name, program);
    if (out >= 0)
        close(out);
    return -1;
}

/* --- choosing ------------------------------------------------------------------------------------------ */

/* A member that says where it is from: what the archive begins with does not matter to the kernel. */
static int pack_archive(struct packing *packing, int fd, const char *name)
{
    struct stat stat;
    char *archive = fstat(fd, &stat) || !stat.st_size ? MAP_FAILED : mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int error = 0;
    if (archive == MAP_FAILED)
        error = -EINVAL;
    else if (stat.st_size > 6 && (!memcmp(archive, "070701", 6) || !memcmp(archive, "070702", 6)) && cpio_whole(archive, (uint64_t)stat.st_size))
        fwrite(archive, 1, (size_t)stat.st_size, packing->out);
    else if (stat.st_size > 263 && !memcmp(archive + 257, "ustar", 5))
        error = pack_tar(packing, archive, (uint64_t)stat.st_size);
    else
        error = -EINVAL;
    if (archive != MAP_FAILED)
        munmap(archive, (size_t)stat.st_size);
    if (error)
        complain("--root '%s': neither a folder nor a whole tar or cpio (newc) archive", name);
    return error;
}

static int pack_given(struct packing *packing, const char *root)
{
    struct stat stat;
    int fd = open(root, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat)) {
        complain("--root '%s': %s", root, strerror(errno));
        return -EINVAL;
    }
    if (S_ISDIR(stat.st_mode))
        return pack_folder(packing, fd, "");
    const struct compression *compression = find_compression(fd);
    if (compression) {
        int plain = decompress(fd, compression->program, root);
        close(fd);
        if (plain < 0)
            return -EINVAL;
        fd = plain;
    }
    int error = pack_archive(packing, fd, root);
    close(fd);
    return error;
}

/* Without a root: the program under the name it was given, made absolute. */
static int pack_program(struct packing *packing, char **argv)
{
    char *absolute = realpath(argv[0], NULL);
    struct stat now;
    int fd = absolute ? open(absolute, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &now) || !S_ISREG(now.st_mode)) {
        complain("cannot read '%s': %s (without --root the machine has this program only)", argv[0], fd < 0 ? strerror(errno) : "no regular file");
        return -EINVAL;
    }
    put_header(packing, "tmp", S_IFDIR | 01777, 0, 0);
    int error = put_file(packing, absolute + 1, fd, &now);
    argv[0] = absolute;
    close(fd);
    return error;
}

/* Bytes of "512M" and the like; a number alone is in MiB, as the emulator takes it. */
static uint64_t memory_bytes(const char *text)
{
    char *unit;
    uint64_t value = strtoull(text, &unit, 10);
    int shift = *unit == 'K' || *unit == 'k' ? 10 : *unit == 'G' || *unit == 'g' ? 30 : 20;
    return value << shift;
}

/* The emulator puts it behind the first half of memory, or the first 128 MiB; the device tree and some room are behind it. */
static bool fits(int fd, const char *memory)
{
    struct stat stat;
    uint64_t bytes = memory_bytes(memory), before = bytes / 2 < (128u << 20) ? bytes / 2 : 128u << 20;
    if (fstat(fd, &stat) || (uint64_t)stat.st_size + (6u << 20) <= bytes - before)
        return true;
    complain("the root's %llu MiB do not fit into the machine's memory of %s: --memory gives it more", (unsigned long long)stat.st_size >> 20, memory);
    return false;
}

int boot_root_pack(const struct boot_options *options)
{
    int fd = memfd_create("initramfs", 0); /* the emulator inherits it */
    struct packing packing = {.out = fd < 0 ? NULL : fdopen(dup(fd), "w")};
    if (!packing.out) {
        complain("cannot make an initramfs: %s", strerror(errno));
        return -1;
    }
    int error = options->root ? pack_given(&packing, options->root) : pack_program(&packing, options->argv);
    put_header(&packing, "TRAILER!!!", 0, 0, 0);
    if (fclose(packing.out) && !error) {
        complain("cannot make an initramfs: %s", strerror(errno));
        error = -EIO;
    }
    if (!error && !fits(fd, options->memory))
        error = -ENOMEM;
    return error ? -1 : fd;
}
