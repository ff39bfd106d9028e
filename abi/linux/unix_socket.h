/*
 * UNIX-domain sockets, shared by the unix_*.c and socket_*.c files.
 *
 *   struct unix_socket    one end: what it has received, its peer, who waits
 *   struct unix_message   bytes on their way, with credentials and descriptors
 *   struct unix_address   a name, in the file system or abstract
 *   struct unix_rights    descriptors in flight
 *
 * A message waits in the *receiver*, under the receiver's mutex: sending and receiving take that one mutex.
 * The peer of a stream or seqpacket socket is set once and lives as long as the socket's file, so it is read
 * without a lock; a datagram socket's may change and is taken under the socket's own mutex, with a reference.
 * Two sockets' mutexes are held together only through mutex_lock_pair.
 *
 * Locks: unix_flight_mutex > unix_names_mutex > unix_socket.mutex > knote lists.
 */
#ifndef ABI_LINUX_UNIX_SOCKET_H
#define ABI_LINUX_UNIX_SOCKET_H

#include "abi/linux/fs/fs.h"
#include "kernel/waitq.h"

enum { LINUX_AF_UNSPEC = 0, LINUX_AF_UNIX = 1 };
enum { LINUX_SOCK_STREAM = 1, LINUX_SOCK_DGRAM = 2, LINUX_SOCK_RAW = 3, LINUX_SOCK_SEQPACKET = 5, LINUX_SOCK_TYPE_MASK = 15 };
enum { SHUT_RECEIVE = 1, SHUT_SEND = 2, SHUT_BOTH = 3 };
enum socket_message_flags {
    MSG_OOB = 0x1, MSG_PEEK = 0x2, MSG_CTRUNC = 0x8, MSG_TRUNC = 0x20, MSG_DONTWAIT = 0x40, MSG_WAITALL = 0x100, MSG_ERRQUEUE = 0x2000,
    MSG_NOSIGNAL = 0x4000, MSG_WAITFORONE = 0x10000, MSG_CMSG_CLOEXEC = 0x40000000,
};

#define UNIX_PATH_MAX 108u
#define UNIX_BUFFER_DEFAULT 212992u /* net.core.wmem_default, and _max */
#define UNIX_BUFFER_SEND_MIN 4608u
#define UNIX_BUFFER_RECEIVE_MIN 2304u
#define UNIX_DATAGRAMS_MAX 10u /* net.unix.max_dgram_qlen */
#define UNIX_BACKLOG_MAX 4096u /* net.core.somaxconn */
#define UNIX_CHUNK_MAX 32768u  /* bytes of a stream in one message */
#define UNIX_MESSAGE_OVERHEAD 640u
#define UNIX_RIGHTS_MAX 253u /* SCM_MAX_FD */

struct linux_sockaddr_un {
    uint16_t family;
    char path[UNIX_PATH_MAX];
};

struct unix_credentials { /* struct ucred */
    int32_t pid;
    uint32_t uid, gid;
};
/* What a receiver with SO_PASSCRED sees when the sender said nothing. */
#define UNIX_CREDENTIALS_NONE ((struct unix_credentials){0, 65534, 65534})

struct unix_address {
    struct object object;
    uint32_t length;   /* bytes of path that count; for a name in the file system with its terminator */
    uint16_t type;     /* abstract names are apart for each type of socket */
    struct node *node; /* a file-system name's: referenced; NULL: abstract */
    /* under unix_names_mutex */
    struct unix_socket *owner;
    struct list link;
    char path[UNIX_PATH_MAX + 1];
};

struct unix_rights {
    struct list link; /* while it is dropped: unix_rights.c */
    uint32_t count;
    uint32_t uid;  /* whose limit they count against */
    bool flying;
    struct file *files[UNIX_RIGHTS_MAX]; /* referenced; only `count` are allocated */
};

struct unix_message {
    struct list link;
    struct unix_address *from; /* referenced, or NULL */
    struct unix_credentials credentials;
    struct unix_rights *rights; /* or NULL */
    uint32_t size, offset; /* bytes there were, bytes read */
    uint32_t charge;
    uint8_t data[];
};

enum unix_state { UNIX_UNCONNECTED, UNIX_LISTENING, UNIX_CONNECTED };

struct unix_socket {
    struct object object;

    /* constant */
    uint16_t type;
    uint64_t inode;
    uint32_t uid, gid;
    struct file_time created;
    struct file *file; /* its open file, not referenced; NULL before accept */

    struct mutex mutex; /* rank SOCKET; guards the next group */
    enum unix_state state;
    bool dead, binding;
    uint8_t shutdown; /* SHUT_* */
    int32_t error;    /* pending, positive: SO_ERROR */
    struct atomic_ptr peer; /* referenced; see above */
    struct unix_address *address; /* referenced; set once */
    struct unix_credentials own_credentials, peer_credentials; /* for SO_PEERCRED */
    struct list messages;
    uint32_t message_count;
    uint64_t queued_bytes, queued_charge;
    struct list embryos; /* struct unix_socket.embryo_link: connected, not accepted; each holds a reference */
    struct list embryo_link;
    uint32_t embryo_count, backlog;
    struct list senders; /* struct unix_socket.sender_link: datagram sockets connected to this one */
    struct waitq readers; /* also accept */
    struct waitq room;    /* senders to, and connectors to, this one */
    struct knote_list knotes;

    struct list sender_link; /* under the peer's mutex */

    /* options: single words, whoever comes last wins */
    struct atomic32 pass_credentials;
    struct atomic32 send_buffer, receive_buffer, receive_low;
    struct atomic64 receive_timeout, send_timeout; /* ns; 0: none */
    struct atomic32 flags; /* options that are only remembered: bit = SO_* number */

    /* under unix_flight_mutex: unix_gc.c */
    uint32_t in_flight; /* messages that carry its file */
    struct list flight_link;
    struct list gc_link;
    uint32_t gc_count;
    bool gc_candidate, gc_live;
};

static inline bool unix_is_datagram(const struct unix_socket *socket) { return socket->type == LINUX_SOCK_DGRAM; }
static inline bool unix_is_stream(const struct unix_socket *socket) { return socket->type == LINUX_SOCK_STREAM; }
static inline struct unix_socket *unix_peer(struct unix_socket *socket) { return atomic_ptr_load_acquire(&socket->peer); }

/* --- objects: unix_socket.c -------------------------------------------------------------------------- */

/* NULL: no memory. Without a file. */
struct unix_socket *unix_create(uint16_t type);
/* Gives the socket a file, which takes over the caller's reference; NULL: no memory. */
struct file *unix_file_create(struct unix_socket *socket, uint32_t flags);
/* Both at once; the file holds the socket. flags: LINUX_O_NONBLOCK. -ENOMEM. */
int unix_make(uint16_t type, uint32_t flags, struct file **file, struct unix_socket **made);
/* The socket behind a file, or NULL. */
struct unix_socket *unix_of(struct file *file);
/* What its file's death does; also for embryos (rejected). The caller's reference is dropped. */
void unix_close(struct unix_socket *socket, bool embryo);
/* The credentials of the current thread (on a kernel thread: process 0, user 0), as SO_PEERCRED and SCM_CREDENTIALS tell them. */
struct unix_credentials unix_credentials_current(void);
/* A reference to the peer, or NULL; any type of socket. */
struct unix_socket *unix_peer_get(struct unix_socket *socket);
/* Tells pollers; the socket's mutex is held. */
void unix_announce_locked(struct unix_socket *socket, uint32_t events);

/* --- names: unix_address.c --------------------------------------------------------------------------- */

extern struct mutex unix_names_mutex;
/* Checks a user's address of `length` bytes: the path's length, 0 for an empty one (autobind), or -EINVAL. */
int unix_address_length(const struct linux_sockaddr_un *name, uint32_t length);
int unix_bind(struct unix_socket *socket, const struct linux_sockaddr_un *name, uint32_t length);
int unix_autobind(struct unix_socket *socket);
/* A reference to the socket bound to a name. -ECONNREFUSED, -EPROTOTYPE, errors of the path walk. */
int unix_lookup(const struct linux_sockaddr_un *name, uint32_t length, uint16_t type, struct unix_socket **found);
/* The name is free for others (a node in the file system stays, as on Linux). */
void unix_unbind(struct unix_socket *socket);
/* As a sockaddr_un: bytes. address may be NULL: only the family. */
uint32_t unix_address_fill(const struct unix_address *address, struct linux_sockaddr_un *name);

/* --- connections: unix_connect.c --------------------------------------------------------------------- */

int unix_listen(struct unix_socket *socket, int backlog);
int unix_connect(struct unix_socket *socket, const struct linux_sockaddr_un *name, uint32_t length, bool nonblock);
/* The next connection's socket; the reference is the caller's. */
int unix_accept(struct unix_socket *socket, bool nonblock, struct unix_socket **accepted);
/* The peer of a connected datagram socket has died: the connection is over. Nothing when it is no longer the peer. */
void unix_peer_forget(struct unix_socket *socket, struct unix_socket *dead);
int unix_shutdown(struct unix_socket *socket, int how);
/* Both are fresh. */
void unix_pair(struct unix_socket *a, struct unix_socket *b);
/* Two fresh ones that are each other's peer. -ENOMEM. */
int unix_pair_make(uint16_t type, uint32_t flags, struct file *files[2]);
/* Waits on a queue of `socket`, whose mutex is held: 0, -EAGAIN (timeout), -ERESTARTSYS or -EINTR as a timeout asks. */
int unix_sleep(struct waitq *queue, struct unix_socket *socket, nanoseconds_t deadline);
nanoseconds_t unix_deadline(const struct atomic64 *timeout);

/* --- messages: unix_message.c, unix_stream.c, unix_datagram.c ---------------------------------------- */

struct unix_sending {
    const struct linux_sockaddr_un *name; /* NULL: none */
    uint32_t name_length;
    bool has_credentials; /* given by the caller */
    struct unix_credentials credentials;
    struct unix_rights *rights; /* moves into the first message; what is left, or was not sent, is the caller's */
};

struct unix_receiving {
    uint32_t flags; /* out: MSG_TRUNC, MSG_CTRUNC */
    bool has_message;
    struct unix_credentials credentials;
    struct unix_rights *rights; /* the caller's: landed */
    struct unix_address *from;  /* referenced, or NULL */
};

/* A message of `size` bytes taken from io. NULL with *error: -ENOMEM, -EFAULT. */
struct unix_message *unix_message_create(struct io *io, uint32_t size, int *error);
void unix_message_free(struct unix_message *message);
/* Fills in who sends and what is carried; -ETOOMANYREFS. The rights are in flight afterwards. */
int unix_message_address(struct unix_message *message, struct unix_socket *from, struct unix_socket *to, struct unix_sending *sending);
/* Appends to the receiver, wakes a reader. Its mutex is held. */
void unix_message_push_locked(struct unix_socket *to, struct unix_message *message);
/* Takes the message out; senders are told (unix_room_made_locked). Mutex held. */
void unix_message_remove_locked(struct unix_socket *socket, struct unix_message *message);
/* True when `from` has to wait before it sends to `to`. to->mutex held. */
bool unix_full_locked(struct unix_socket *to, struct unix_socket *from);
/* True when poll says that `from` can send to `to`. to->mutex held. */
bool unix_writable_locked(struct unix_socket *to, struct unix_socket *from);
/* The message's name, credentials and rights to the receiver: moved, or copied when peeking. `socket` unlocked. */
int unix_message_deliver(struct unix_message *message, struct unix_receiving *receiving, bool peek);

int64_t unix_send(struct unix_socket *socket, struct io *io, uint32_t flags, struct unix_sending *sending);
int64_t unix_receive(struct unix_socket *socket, struct io *io, uint32_t flags, struct unix_receiving *receiving);
int64_t unix_stream_send(struct unix_socket *socket, struct io *io, uint32_t flags, struct unix_sending *sending);
int64_t unix_stream_receive(struct unix_socket *socket, struct io *io, uint32_t flags, struct unix_receiving *receiving);
int64_t unix_datagram_send(struct unix_socket *socket, struct io *io, uint32_t flags, struct unix_sending *sending);
int64_t unix_datagram_receive(struct unix_socket *socket, struct io *io, uint32_t flags, struct unix_receiving *receiving);

/* --- descriptors in flight: unix_rights.c, unix_gc.c ------------------------------------------------- */

extern struct mutex unix_flight_mutex;
/* Room for `count` more files in *rights (made when NULL). -EINVAL (too many), -ENOMEM. */
int unix_rights_extend(struct unix_rights **rights, uint32_t count);
/* Counts them as being in flight. -ETOOMANYREFS. */
int unix_rights_fly(struct unix_rights *rights);
/* They arrive: no longer in flight. No socket mutex held. */
void unix_rights_land(struct unix_rights *rights);
/* A copy for MSG_PEEK, not in flight. NULL: no memory. Any mutex. */
struct unix_rights *unix_rights_copy(const struct unix_rights *rights);
/* Lets go of the files, here and now unless this thread is doing so already. No lock held. NULL is fine. */
void unix_rights_drop(struct unix_rights *rights);
/* After a peek: what was copied is not installed before a search that may not have seen it is over. */
void unix_flight_barrier(void);
/* Looks for sockets that only sockets in flight can reach, soon. Any context. */
void unix_gc_request(void);

#endif
