/*
 * What the Linux body's own devices (host files, standard streams, the command) ask of its event loop.
 */
#ifndef BODY_LINUX_HOST_H
#define BODY_LINUX_HOST_H

#include "kernel/types.h"

/*
 * Runs function(argument) on a thread of the blocking pool while the calling microthread is suspended, and
 * returns what it returned. For host calls that may block; the function sees host errno as usual and
 * must return negated errors itself. On the scheduler's own stack it runs in place.
 */
int64_t host_call(int64_t (*function)(void *argument), void *argument);

/* A host descriptor in the event loop, edge-triggered. */
struct host_watch {
    int fd;
    /* On a worker, in no thread's context: must not suspend; may notify knotes, wake waiters, post async work. */
    void (*ready)(struct host_watch *watch, uint32_t epoll_events);
    bool registered;
    uint32_t slot; /* the event loop's */
};
/* epoll_events as epoll_ctl(2) takes them; EPOLLET is added. 0 or -errno (-EPERM: not pollable, always ready). */
int host_watch_add(struct host_watch *watch, uint32_t epoll_events);
/* Afterwards ready() runs nowhere. May suspend. */
void host_watch_remove(struct host_watch *watch);

struct host_options {
    uint32_t workers;    /* 0: one per CPU */
    uint64_t memory;     /* 0: no limit. Of the sandbox; here the host's stand-in for a guest that maps without asking */
    bool verbose;
    bool no_rewrite;     /* leave every call site trapping (tests, benchmarks) */
    bool no_local_waits; /* waits for private futexes come to the kernel, though the stub could do them (traces) */
    bool no_sandbox;     /* only attached processes will come */
    bool no_namespaces;  /* as where the host allows none: a guardian stands behind the sandbox (tests) */
    bool no_vm_access;   /* do without process_vm_readv/writev (tests; other places forbid it) */
};
/* Prepares the server process: sandbox parent, workers not yet running. 0, or -errno with a line in *why. */
int host_init(const struct host_options *options, const char **why);
/*
 * Runs the server on the calling host thread and its workers until host_stop: `first` runs on a kernel-only thread
 * once everything is up. Returns the status given to host_stop.
 */
int host_run(void (*first)(void *argument), void *argument);
/* Or'ed to an exit code: the status of a server that cannot go on, above every wait status of a program. */
#define HOST_FAILED 0x10000
/* From any thread or a host signal handler's watch: everything ends, no host process stays. */
void host_stop(int status);

struct host_statistics {
    uint64_t calls_served, calls_by_page_poll, doorbells, s2c_rounds, traps, sites_rewritten, kicks, pulls, rings, host_calls_pooled;
};
void host_statistics_read(struct host_statistics *statistics);

#endif
