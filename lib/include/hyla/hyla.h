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

/*
 * A detached thread of the C library's that runs function(argument), and a handle to it with every right, for the other thread calls:
 * hyla_thread_wait waits for its end. With HYLA_THREAD_STOPPED it stands still before `function`, once suspended, and is started by
 * hyla_thread_resume. A negated errno value: -EAGAIN, -EINVAL, or what hyla_thread_self answers.
 */
enum hyla_thread_create_flag { HYLA_THREAD_STOPPED = 1 };
int64_t hyla_thread_create(void *(*function)(void *), void *argument, uint32_t flags);

/*
 * kevent(2): makes the changes, then waits for events. A change that cannot be made, and each with HYLA_EVENT_RECEIPT, is an event with
 * HYLA_EVENT_ERROR and, in `data`, an errno value or 0; when there are such, nothing is waited for. Without room for one the call ends with
 * its error, and the changes after it are not made. How many events there are; 0 when the deadline came first; or a negated errno value.
 */
int64_t hyla_kevent(hyla_handle_t queue, const struct hyla_event *changes, uint32_t change_count, struct hyla_event *events, uint32_t event_count, uint64_t deadline);

/* The text for a negated errno value. */
const char *hyla_error_text(int64_t error);

#ifdef __cplusplus
}
#endif
#endif
