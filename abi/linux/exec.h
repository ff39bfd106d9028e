/*
 * What the parts of exec share.
 *
 *   struct exec_args    the strings a program starts with, collected in the kernel
 *   struct elf_file     one ELF file: its headers, checked
 *   struct exec_image   a program on its way into a fresh address space
 *
 * exec_prepare does everything that may fail with an error for the caller: opening, scripts, headers, memory for
 * the new address space, credentials. exec_load fills the address space, which nobody sees yet. Between the two lies
 * the point of no return (exec.c), where the other threads die; afterwards a failure kills.
 */
#ifndef ABI_LINUX_EXEC_H
#define ABI_LINUX_EXEC_H

#include "abi/linux/file.h"
#include "abi/linux/process_life.h"

#define EXEC_STRING_MAX (32u * PAGE_SIZE) /* one string, terminator included */
#define EXEC_DEPTH_MAX 5                  /* interpreters of interpreters */

struct exec_args {
    char *strings; /* terminated, one after the other: argv, then envp */
    uint64_t size, capacity;
    uint64_t limit;     /* of strings and pointers together */
    uint64_t env_start; /* offset of the first environment string */
    uint32_t argc, envc;
};

/* --- exec_args.c ------------------------------------------------------------------------------------- */

/* Empty, with the limit that the current process's stack gives. */
void exec_args_init(struct exec_args *args, uint64_t stack_limit);
void exec_args_done(struct exec_args *args);
/* -E2BIG, -EFAULT, -ENOMEM */
int exec_args_read_user(struct exec_args *args, uaddr_t argv, uaddr_t envp);
int exec_args_read_kernel(struct exec_args *args, char *const *argv, char *const *envp);
/* A script: the first argument is replaced by interpreter, option (may be NULL) and the script's name. */
int exec_args_replace_first(struct exec_args *args, const char *interpreter, const char *option, const char *script);

/* --- elf.c ------------------------------------------------------------------------------------------- */

struct elf_header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
_Static_assert(sizeof(struct elf_header) == 64, "Elf64_Ehdr");

struct elf_segment {
    uint32_t type, flags;
    uint64_t offset, address, physical, file_size, memory_size, align;
};
_Static_assert(sizeof(struct elf_segment) == 56, "Elf64_Phdr");

enum { ELF_TYPE_EXEC = 2, ELF_TYPE_DYN = 3 };
enum { ELF_SEGMENT_LOAD = 1, ELF_SEGMENT_INTERPRETER = 3, ELF_SEGMENT_HEADERS = 6, ELF_SEGMENT_STACK = 0x6474e551 };

struct elf_file {
    struct file *file; /* referenced */
    struct elf_header header;
    struct elf_segment *segments;
    uint64_t low, high; /* of the loadable segments, page-rounded; low == high: none, or one is impossible */
    uint64_t bias;      /* after loading */
};

/* Takes over the reference (elf_close drops it, also after a failure). -ENOEXEC, -EIO (no whole header), -ENOMEM. */
int elf_open(struct elf_file *elf, struct file *file);
void elf_close(struct elf_file *elf);
/* The interpreter's name, to be freed: NULL when there is none. -ENOEXEC, -EIO, -ENOMEM. */
int elf_interpreter(struct elf_file *elf, char **name);
bool elf_wants_executable_stack(const struct elf_file *elf);
/* Where the headers are in memory, or 0. After loading. */
uaddr_t elf_headers_address(const struct elf_file *elf);
/* Maps the segments, moved by elf->bias. Without `replace` nothing may be there yet (-EEXIST). */
int elf_map(struct elf_file *elf, struct aspace *aspace, bool replace);

/* --- exec_image.c ------------------------------------------------------------------------------------ */

struct exec_image {
    struct exec_args args;
    char *name;            /* as the program learns it: AT_EXECFN */
    char comm[16];
    struct elf_file program, interpreter;
    bool has_interpreter;
    bool secure;           /* AT_SECURE */
    bool readable;         /* the user could read the program: it may dump core */
    struct cred *cred;     /* the new credentials */
    struct aspace *aspace; /* fresh */
    struct mm *mm;         /* over it */
    uint64_t stack_limit;
    uint32_t personality;
    uaddr_t entry, stack;  /* where it starts */
};

/* Takes over the file reference and the name; args filled by the caller. */
int exec_prepare(struct exec_image *image, struct file *file, char *name);
int exec_load(struct exec_image *image);
void exec_image_done(struct exec_image *image);

/* --- exec_stack.c, exec_cred.c ----------------------------------------------------------------------- */

/* Maps the stack, writes arguments, environment and auxiliary vector. Sets image->stack and mm's fields. */
int exec_stack_build(struct exec_image *image, uaddr_t top);
/* The credentials the program file gives: image->cred and image->secure. -ENOMEM. */
int exec_cred_prepare(struct exec_image *image);

#endif
