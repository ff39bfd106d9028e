/*
 * libhyla: Hyla's native calls for C and C++ programs.
 *
 * Include this one. Results are non-negative, or a negated errno value; nothing here sets errno. All functions may be called
 * from any thread, and all calls also from signal handlers. A thread needs no preparation: its first call registers it.
 */
#ifndef HYLA_HYLA_H
#define HYLA_HYLA_H

#include <hyla/calls.h>
#include <hyla/numbers.h>
#include <hyla/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Finds out the world, and on bare Linux attaches to the server at $HYLA_SOCKET, or else at $XDG_RUNTIME_DIR/hyla.sock. Every call
 * does this by itself when nobody has. 0, or why there is no kernel of Hyla's: -ENOENT or -ECONNREFUSED (no server), -EACCES, -EPROTO
 * (another version), -ENOMEM, … May wait for the server, at most a few seconds.
 */
int hyla_start(void);
/* The same with the server at `path` (NULL: as hyla_start). -EALREADY: started already. */
int hyla_start_at(const char *path);
/* Gives everything back that the process holds in its server. Other threads' calls answer -ENOTCONN from now on. */
void hyla_stop(void);

/* An enum hyla_world. Starts. */
int hyla_world(void);

/* Any call by its number, with all six arguments as they are: for tracers, fuzzers and calls that this header does not know. */
int64_t hyla_syscall(uint64_t number, const uint64_t arguments[6]);

/* Nanoseconds on the clock that deadlines are measured on. */
uint64_t hyla_now(void);

/*
 * Whether calls of this thread that wait return -EINTR when a signal handler has run meanwhile. Off at first: then they go on
 * waiting. Attached only; inside `hyla run` sigaction's SA_RESTART decides. Answers what was so before.
 */
int hyla_set_interruptible(int on);

/* The text for a negated errno value. */
const char *hyla_error_text(int64_t error);

#ifdef __cplusplus
}
#endif
#endif
