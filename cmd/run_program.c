/*
 * Finding the program in the guest's tree, and saying in words why one cannot run.
 *
 * The search is execvp(3)'s: a name with a slash is a path, any other is looked for along the guest's PATH. What may run
 * is decided by exec; the search only skips what is no executable regular file, and remembers that it saw one.
 */
#include "cmd/command.h"
#include "cmd/run.h"

#include "abi/linux/fs/fs.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *search_path(const struct run_options *options)
{
    for (size_t i = 0; i < options->environment_count; i++) {
        if (!strncmp(options->environment[i], "PATH=", 5))
            return options->environment[i] + 5;
    }
    return DEFAULT_PATH;
}

/* 0: an executable regular file; -EACCES: something else; or the walk's error. */
static int check(const char *path)
{
    struct path *place;
    int error = path_walk(LINUX_AT_FDCWD, path, 0, &place);
    if (error)
        return error;
    struct linux_stat_data data;
    struct node *node = path_node(place);
    error = node->ops->get_attr(node, &data);
    if (!error && ((data.mode & LINUX_S_IFMT) != LINUX_S_IFREG || !(data.mode & 0111)))
        error = -EACCES;
    path_unref(place);
    return error;
}

/* directory[0..length) / name, below cwd when relative. malloc'ed, or NULL. */
static char *join(const char *cwd, const char *directory, size_t length, const char *name)
{
    char *path = NULL;
    bool absolute = length && *directory == '/';
    const char *first = absolute ? "" : cwd;
    if (asprintf(&path, "%s%s%.*s/%s", first, absolute || !length ? "" : "/", (int)length, directory, name) < 0)
        return NULL;
    return path;
}

static int search(const struct run_options *options, const char *cwd, char **found)
{
    const char *name = options->argv[0];
    bool denied = false;
    for (const char *next = search_path(options); next; next = *next ? next + 1 : NULL) {
        size_t length = strcspn(next, ":");
        char *path = join(cwd, next, length, name);
        if (!path)
            return -ENOMEM;
        int error = strlen(path) < PATH_LENGTH_MAX ? check(path) : -ENAMETOOLONG;
        if (!error) {
            *found = path;
            return 0;
        }
        denied |= error == -EACCES;
        free(path);
        next += length;
    }
    return denied ? -EACCES : -ENOENT;
}

int run_program_find(const struct run_options *options, const char *cwd, char **path)
{
    const char *name = options->argv[0];
    int error = 0;
    if (strchr(name, '/'))
        *path = strdup(name);
    else
        error = *name ? search(options, cwd, path) : -ENOENT;
    if (!error && !*path)
        error = -ENOMEM;
    if (!error)
        return 0;
    if (error == -ENOENT) {
        complain("cannot run '%s': not found%s", name, *name ? " along PATH" : "");
        return EXIT_NOT_FOUND;
    }
    complain("cannot run '%s': %s", name, error_text(error));
    return error == -EACCES ? EXIT_NOT_EXECUTABLE : EXIT_HYLA;
}

/* --- why not ----------------------------------------------------------------------------------------- */

/* The first bytes of a file: how many, or 0. */
static size_t read_head(const char *path, void *buffer, size_t size)
{
    struct path *place;
    if (path_walk(LINUX_AT_FDCWD, path, 0, &place))
        return 0;
    struct node *node = path_node(place);
    struct io io;
    io_init_kernel(&io, buffer, size);
    int64_t got = (node->mode & LINUX_S_IFMT) == LINUX_S_IFREG && node->ops->read ? node->ops->read(node, &io, 0) : 0;
    path_unref(place);
    return got < 0 ? 0 : (size_t)got;
}

static const char *machine_name(uint16_t machine, char buffer[32])
{
    switch (machine) {
    case EM_386: return "32-bit x86";
    case EM_ARM: return "32-bit ARM";
    case EM_AARCH64: return "64-bit ARM";
    case EM_RISCV: return "RISC-V";
    case EM_PPC64: return "64-bit POWER";
    case EM_S390: return "s390";
    default:
        snprintf(buffer, 32, "machine %u", machine);
        return buffer;
    }
}

/* What is wrong with the file's format, in words. */
static void explain_format(char *text, size_t size, const uint8_t *head, size_t got)
{
    Elf64_Ehdr header;
    char name[32];
    if (!got)
        snprintf(text, size, "the file is empty");
    else if (got < 4 || memcmp(head, ELFMAG, SELFMAG)) {
        snprintf(text, size, "it is neither an ELF program nor a script that names its interpreter with #!");
    } else if (got < sizeof header) {
        snprintf(text, size, "its ELF header is cut off");
    } else {
        memcpy(&header, head, sizeof header);
        if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_machine != EM_X86_64)
            snprintf(text, size, "it is a program for %s, not for x86-64", machine_name(header.e_machine, name));
        else
            snprintf(text, size, "its ELF headers are damaged");
    }
}

/* The name of the interpreter that an ELF program or a script asks for, when it lies in the head. */
static bool interpreter_of(const uint8_t *head, size_t got, char name[256])
{
    if (got > 2 && head[0] == '#' && head[1] == '!')
        return sscanf((const char *)head + 2, " %255[^ \t\n]", name) == 1;
    Elf64_Ehdr header;
    if (got < sizeof header || memcmp(head, ELFMAG, SELFMAG))
        return false;
    memcpy(&header, head, sizeof header);
    for (size_t i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        uint64_t at = header.e_phoff + i * sizeof segment;
        if (header.e_phoff > got || at + sizeof segment > got)
            return false;
        memcpy(&segment, head + at, sizeof segment);
        if (segment.p_type != PT_INTERP)
            continue;
        if (segment.p_offset >= got || !segment.p_filesz || segment.p_filesz > 255 || segment.p_filesz > got - segment.p_offset)
            return false;
        memcpy(name, head + segment.p_offset, segment.p_filesz);
        name[segment.p_filesz] = 0;
        return true;
    }
    return false;
}

int run_program_failed(const char *path, const char *cwd, int error)
{
    uint8_t head[4096];
    char name[256], text[160];
    char *absolute = *path == '/' ? strdup(path) : join(cwd, "", 0, path);
    size_t got = absolute ? read_head(absolute, head, sizeof head - 1) : 0;
    head[got] = 0;
    bool exists = absolute && check(absolute) != -ENOENT;
    free(absolute);
    if (error == -ENOEXEC) {
        explain_format(text, sizeof text, head, got);
        complain("cannot run '%s': %s", path, text);
    } else if ((error == -ENOENT || error == -ELIBBAD) && exists && interpreter_of(head, got, name)) {
        complain("cannot run '%s': its interpreter '%s' is %s", path, name, error == -ENOENT ? "missing" : "not a usable program");
    } else {
        complain("cannot run '%s': %s", path, error_text(error));
    }
    return (error == -ENOENT && !exists) || error == -ENOTDIR ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}
