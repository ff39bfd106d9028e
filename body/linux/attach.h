/*
 * Attached clients: ordinary processes of the host that want the kernel's services. docs/attached.md is the chapter.
 *
 *   attach.c         the listener, connections, the check-in
 *   attach_life.c    what came of a connection: threads that arrive, leave, vanish; the process's end
 *   attach_stop.c    threads that are asked to stand still; processes that are stopped and ended
 *   attach_s2c.c     waiting for what a client was asked to do to itself, bounded in time
 *   attach_page.h    what libhyla shares
 *
 * An attached process is a struct client like a managed one (client.h), with one host process that nobody here started, call slots that
 * threads take by themselves, and slot 0 for S2C (client->first, borrowed under client->rewriting). Three descriptors: the socket, the
 * doorbell, the pidfd.
 *
 * Death, of whatever kind (the pidfd, the socket's end by exit, exec or hyla_stop, a cut), comes together in attach_end, once: no more
 * arrivals, then threads lost, then the task left.
 */
#ifndef BODY_LINUX_ATTACH_H
#define BODY_LINUX_ATTACH_H

#include "body/linux/attach_page.h"
#include "body/linux/client.h"
#include "kernel/timer.h"
#include "kernel/user.h"

enum attach_state { ATTACH_CONNECTED, ATTACH_WELCOMED, ATTACH_RUNNING, ATTACH_ENDED };

struct attached {
    struct list link; /* under the lock of all */
    struct atomic32 references; /* the list, the client */
    /* Only the work function touches these. */
    enum attach_state state;
    int fd; /* the connection, until a client owns it */
    bool same_ids; /* the process sees itself by the pid that the server sees */
    struct attach_hello hello;
    struct aspace *aspace;
    struct task *task;
    /* Constant once the state is RUNNING. */
    struct client *client; /* referenced */
    int32_t pid;
    int32_t signal;
    /* Anybody. */
    struct atomic32 ending; /* it is to end */
    struct atomic32 overdue;
    struct spinlock arriving; /* rank ARRIVALS: one thread arrives at a time */
    struct spinlock cancelling; /* the same rank: one cancellation is served at a time */
    struct host_watch watch;
    struct timer deadline;
    struct async_work work;
};

struct attach_options {
    int listener;           /* a listening SEQPACKET socket */
    uint32_t processes_max; /* at most so many at once */
    /* What ATTACH_LOOK asks for, as text: put() may be called any number of times. On a kernel thread. */
    void (*look)(uint32_t what, void (*put)(void *context, const char *text, size_t length), void *context);
};
/* After host_init, before host_run. -errno with a line in *why. */
int attach_start(const struct attach_options *options, const char **why);
/* Every attached thread's calls answer ENOTCONN from now on, also those under way. On a kernel thread, before host_stop. */
void attach_stop(void);

/* Each attached process, for those who show them. On a kernel thread; may suspend. */
void attach_visit(void (*visit)(const struct attached *attached, void *context), void *context);
uint32_t attach_count(void);

/* --- for the other files of the Linux body ------------------------------------------------------------ */

/* The connection's work is to be done, or it is to end. Any context. */
void attach_poke(struct attached *attached);
void attach_end_soon(struct attached *attached);
void attach_unref(struct attached *attached);
/* References to all that run; at most `limit`. */
uint32_t attach_all(struct attached **list, uint32_t limit);

/* attach_life.c */
/* A doorbell named a slot that is no thread's: a thread has arrived, if something stands there. In a watch. */
void attach_slot_rung(struct client *client, uint32_t index);
/* A doorbell named a slot: its call may be to be given up. In a watch. */
void attach_look_for_cancel(struct client *client, uint32_t index);
/* A doorbell named a slot: its thread may say that it stands still. In a watch. */
void attach_look_for_stop(struct client *client, uint32_t index);
/* body_user_entry: the parts of an entry that only attached threads have. */
void attach_decode(struct user_thread *user, struct user_entry *entry);
/* The thread's user side ends; its slot may be taken again. */
void attach_send_away(struct user_thread *user);
/* A copy to the client that can travel with the answer. False: it cannot. */
bool attach_copy_out(struct user_thread *user, uaddr_t to, const void *from, size_t size);
/* Everything that the end means for the client. On a kernel thread; once. */
void attach_end_client(struct attached *attached);
/* Looks for threads that are gone without a word. On a kernel thread. */
void attach_sweep(void);

/* attach_s2c.c */
/* Instead of the plain wait in commands_run: bounded. 0, -ESRCH, or -ETIMEDOUT: nothing was done. */
int attach_command_wait(struct user_thread *user);

#endif
