/*
 * Inside of /proc: a tree of tables whose leaves make their text when they are read. See proc(5).
 *
 *   struct proc_entry   what a name stands for: constant, shared by all processes
 *   struct proc_node    a node: an entry with the process, thread or descriptor it speaks of
 *   struct proc_text         growing text
 */
#ifndef ABI_LINUX_FS_PROCFS_H
#define ABI_LINUX_FS_PROCFS_H

#include "abi/linux/fs/fs.h"
#include "abi/linux/process_life.h"

struct proc_text {
    char *bytes;
    size_t length, capacity;
    bool failed; /* out of memory */
};
void proc_add(struct proc_text *text, const char *pattern, ...) PRINTF_LIKE(2, 3);
void proc_add_bytes(struct proc_text *text, const void *bytes, size_t size);
/* Room for `size` more bytes at the end, or NULL; text->length is then to be moved by the caller. */
char *proc_room(struct proc_text *text, size_t size);

struct proc_node {
    const struct proc_entry *entry;
    int32_t pid, tid; /* 0: not of a process */
    int fd_plus_one;    /* 0: not of a descriptor */
};
static inline const struct proc_node *proc_of(const struct node *node) { return node->data; }

struct proc_entry {
    const char *name;
    uint32_t mode; /* with type bits */
    /* Files. Negative errors are read's. */
    int (*show)(const struct proc_node *node, struct proc_text *text);
    int (*store)(const struct proc_node *node, const char *text, size_t length);
    /* Links: the text; magic links also the very thing. */
    int64_t (*link)(const struct proc_node *node, char *target, size_t size);
    int (*follow)(const struct proc_node *node, struct path **path, struct file **file);
    /* Directories: names that are always there, then names of their own. */
    const struct proc_entry *children;
    size_t child_count;
    int (*find)(const struct proc_node *dir, const char *name, size_t length, struct proc_node *child);
    /* The first one at or after *at, which moves to it: its name. False at the end. */
    bool (*next)(const struct proc_node *dir, int64_t *at, char name[24], struct proc_node *child);
};
#define PROC_FILE(name_, permissions, show_) {.name = (name_), .mode = LINUX_S_IFREG | (permissions), .show = (show_)}

/* procfs_pid.c */
extern const struct proc_entry proc_pid_entry, proc_tid_entry;
int proc_root_find(const struct proc_node *dir, const char *name, size_t length, struct proc_node *child);
bool proc_root_next(const struct proc_node *dir, int64_t *at, char name[24], struct proc_node *child);
/* A reference to the process, or NULL. */
struct process *proc_process(const struct proc_node *node);
/* A reference to the thread that a node under task/, or else the process, speaks of; NULL: gone. */
struct lthread *proc_thread(const struct proc_node *node);
/* The process if the caller may look into it, by ptrace's rule: -ESRCH, -EACCES. */
int proc_process_checked(const struct proc_node *node, struct process **process);
int64_t proc_number(const char *name, size_t length); /* -1: none */

/* procfs_fd.c */
int proc_fd_find(const struct proc_node *dir, const char *name, size_t length, struct proc_node *child);
bool proc_fd_next(const struct proc_node *dir, int64_t *at, char name[24], struct proc_node *child);
int proc_fdinfo_find(const struct proc_node *dir, const char *name, size_t length, struct proc_node *child);
bool proc_fdinfo_next(const struct proc_node *dir, int64_t *at, char name[24], struct proc_node *child);

/* procfs_status.c */
int proc_show_stat(const struct proc_node *node, struct proc_text *text);
int proc_show_statm(const struct proc_node *node, struct proc_text *text);
int proc_show_status(const struct proc_node *node, struct proc_text *text);
int proc_show_limits(const struct proc_node *node, struct proc_text *text);
int proc_show_io(const struct proc_node *node, struct proc_text *text);
int proc_show_schedstat(const struct proc_node *node, struct proc_text *text);

/* procfs_memory.c */
int proc_show_maps(const struct proc_node *node, struct proc_text *text);
int proc_show_smaps(const struct proc_node *node, struct proc_text *text);
int proc_show_cmdline(const struct proc_node *node, struct proc_text *text);
int proc_show_environ(const struct proc_node *node, struct proc_text *text);
int proc_show_auxv(const struct proc_node *node, struct proc_text *text);

/* procfs_mounts.c */
int proc_show_mounts(const struct proc_node *node, struct proc_text *text);
int proc_show_mountinfo(const struct proc_node *node, struct proc_text *text);
int proc_show_mountstats(const struct proc_node *node, struct proc_text *text);

/* procfs_system.c, procfs_sys.c */
extern const struct proc_entry proc_system_entries[];
extern const size_t proc_system_count;
#define PROC_SYS_COUNT 4
#define PROC_SYSVIPC_COUNT 3
extern const struct proc_entry proc_sysvipc_entries[PROC_SYSVIPC_COUNT];
extern const struct proc_entry proc_sys_entries[PROC_SYS_COUNT];

#endif
