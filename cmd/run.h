/*
 * `hyla run`: what its files share.
 *
 *   run_options.c   argv to struct run_options
 *   run_mount.c     --bind, --rw and --mount
 *   run_serve.c     file systems that programs in the sandbox serve
 *   run_tree.c      the guest's tree of files
 *   run_server.c    file servers, which are processes of the sandbox
 *   run_program.c   finding the program; why one cannot run
 *   run_signals.c   the host's signals to the guest
 *   run_report.c    --trace and --stats
 *   run.c           all of it in order
 */
#ifndef CMD_RUN_H
#define CMD_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum run_mount_type {
    RUN_MOUNT_BIND,   /* a piece of the host's tree */
    RUN_MOUNT_FUSE,   /* what a FUSE program in the sandbox serves */
    RUN_MOUNT_MEMORY, /* the memory server */
    RUN_MOUNT_TAR,    /* the archive server */
    RUN_MOUNT_HOST,   /* a piece of the host's tree, through a server */
};

/* Something that is shown to the guest besides its root. */
struct run_mount {
    enum run_mount_type type;
    char *source;      /* on the host */
    char *program;     /* its command line, without the destination */
    char *destination; /* in the guest, absolute */
    const char *size;  /* as given, or NULL */
    bool read_only;
};

struct run_options {
    const char *rootfs; /* NULL: the host's own */
    const char *root_image; /* an archive in its place, or NULL */
    struct run_mount *mounts;
    size_t mount_count;
    const char *cwd; /* NULL: the default */
    char **environment; /* NULL-terminated; the array and nothing in it is owned */
    size_t environment_count;
    const char *hostname;
    uint32_t uid, gid;
    bool user_given;
    uint64_t memory;     /* bytes; 0: no limit */
    uint32_t processes;  /* 0: no limit */
    uint32_t workers;    /* 0: one per CPU */
    bool trace, statistics, verbose;
    const char *trace_file; /* NULL: standard error */
    const char *trace_calls, *trace_processes;
    uint32_t trace_string;
    bool no_rewrite, no_vm_access, no_namespaces;
    char **argv; /* the program and its arguments, NULL-terminated */
    bool no_program; /* set before parsing: the options alone */
};

/* -1: run; else the exit code (help was shown, or a complaint written); with no_program RUN_WANTS_HELP where help was asked for. */
enum { RUN_WANTS_HELP = 256 };
int run_options_parse(struct run_options *options, int argc, char **argv);
void run_help(void);
/* Bytes; K, M, G and T are powers of 1024. False: no size. */
bool run_size_parse(const char *text, uint64_t *size);

/* --bind, --rw, --mount: each adds to options->mounts. 0, or the exit code after a complaint. */
int run_mount_bind(struct run_options *options, const char *text);
int run_mount_writable(struct run_options *options, const char *path);
int run_mount_parse(struct run_options *options, const char *text);

/* Where the guest's program starts. Static memory. */
const char *run_start_directory(void);
/* One of the program's standard streams, referenced; NULL: closed. Before the program starts. */
struct file *run_stream(int fd);
/* type=fuse: starts the program and waits for its mount. On a kernel thread. 0, or the exit code after a complaint. */
int run_serve(const struct run_options *options, const struct run_mount *mount);
/*
 * Starts the file server for a mount (not of type bind or fuse) and attaches it. On a kernel thread. 0 with *fs, or the exit code after a
 * complaint.
 */
struct fs;
int run_server_start(const struct run_options *options, const struct run_mount *mount, struct fs **fs);

/* Builds the guest's mounts. On a kernel thread. 0, or the exit code after a complaint. */
int run_tree_build(const struct run_options *options);

/*
 * The path of the program as execvp(3) would find it, in the guest's tree. On a kernel thread. 0 with *path (malloc'ed),
 * or the exit code after a complaint.
 */
int run_program_find(const struct run_options *options, const char *cwd, char **path);
/* The complaint, and the exit code, for a program that could not be started with `error`. On a kernel thread. */
int run_program_failed(const char *path, const char *cwd, int error);

/* Blocks the forwarded signals; before any thread is made. -errno. */
int run_signals_block(void);
/*
 * From now on each goes through `deliver`, on a kernel thread; but a second SIGTERM, and without a terminal a second SIGINT, ends
 * the server as if the program had died of it. Called on a kernel thread. -errno.
 */
int run_signals_forward(void (*deliver)(int signal), bool terminal);

/* trace_sink.c, also for `hyla server`. Opens a file, or standard error for NULL: 0, or the exit code after a complaint. */
int trace_sink_open(const char *file);
void trace_sink_write(const char *text, size_t length);
void trace_sink_close(void);

/* Opens the trace. 0, or the exit code after a complaint. */
int run_report_start(const struct run_options *options);
/* Turns the hooks on: on a kernel thread. 0, or the exit code after a complaint. */
int run_report_enable(const struct run_options *options);
/* Prints what --stats asked for. */
void run_report_finish(const struct run_options *options);

#endif
