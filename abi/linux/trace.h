/*
 * Tracing: an strace-like log of calls, signals and ends. See trace.c.
 *
 * Everything here is for the current user thread unless said otherwise, and does nothing (one load and a branch) when
 * tracing is off. May suspend: no spinlock held.
 */
#ifndef ABI_LINUX_TRACE_H
#define ABI_LINUX_TRACE_H

#include "abi/linux/call.h"
#include "abi/linux/signal.h"

/* Lives on the stack of the dispatch while the call is served. */
struct trace_call {
    bool shown;
    uint32_t row;
    uint64_t number;
    const uint64_t *arguments;
    uint32_t resume_at; /* the first argument that is shown after the call */
};

void trace_call_begin(struct trace_call *call, uint64_t number, uint32_t row, const uint64_t arguments[6]);
void trace_call_end(struct trace_call *call, int64_t result);

/* "--- SIGINT {…} ---": the signal is delivered to the current thread. */
void trace_signal(int signal, const struct linux_siginfo *info);
/* "+++ exited with 0 +++" or "+++ killed by SIGKILL +++": the last thread of the current process ends. */
void trace_process_end(int32_t wait_status);
/* The current thread, not the last of its process, ends. */
void trace_thread_end(void);

struct trace_options {
    /* Where lines go: called with whole chunks of text, one at a time, in a user thread. */
    void (*output)(const char *text, size_t length);
    const char *calls;     /* "open,read", "!futex" or NULL: all. Unknown names are refused. */
    const char *processes; /* "1,3" by guest process id, or NULL: all */
    uint32_t string_limit; /* bytes of a string or buffer shown; 0: 32 */
};
/* Turns CALL_HOOK_TRACE on. Before the first program. -EINVAL with *what: the word that was not understood; -ENOMEM. */
int trace_start(const struct trace_options *options, char what[64]);

#endif
