/*
 * The lock order. A thread may only take a lock whose rank is greater than every rank it holds
 * (equal ranks: only through the *_pair functions, which order by address). Checked at run time in debug
 * and simulation builds. Indented locks are taken inside the ones above them.
 *
 *   sleeping locks (struct mutex)
 *     process tree > process > signal state > exec
 *       descriptor table > file > directories (rename, then parent, then child) > node > locks
 *         address space > memobj
 *           sockets (listener, pair), pipe, terminal, epoll, timers of the ABI
 *             knote list
 *   spinning locks (struct spinlock): never held across anything that may suspend
 *     port > port set > a thread's record in it > receive rights in flight
 *     futex bucket > wait queue > timer queue > thread > run queue > body
 *
 * Gaps are left for locks to come; a new lock names its place here first.
 */
#ifndef KERNEL_RANK_H
#define KERNEL_RANK_H

enum lock_rank {
    RANK_NONE = 0, /* unchecked: only for locks in tests */

    /* sleeping */
    RANK_PROCESS_TREE = 10, /* parents, children, groups, sessions, the pid table */
    RANK_PROCESS = 20,      /* one process: threads, credentials, limits */
    RANK_MM = 24,           /* one Linux process's memory map: serialises mmap, brk, fork, exec */
    RANK_FS_CONTEXT = 28,   /* cwd, root, umask */
    RANK_FDTABLE = 30,
    RANK_FILE = 34,         /* one open file: position, flags */
    RANK_EPOLL_TREE = 36,   /* one at a time: nesting of epoll objects */
    RANK_KQUEUE = 37,       /* one queue: changing and collecting */
    RANK_EPOLL = 38,
    RANK_RENAME = 40,
    RANK_NAMES = 42,        /* names in one directory (abi/linux/fs/names.c); two through mutex_lock_pair under RANK_RENAME */
    RANK_NODE_WRITE = 43,   /* one appending write at a time */
    RANK_DIRECTORY = 44,    /* parent before child; two through mutex_lock_pair under RANK_RENAME */
    RANK_NODE = 48,
    RANK_FILE_LOCKS = 52,
    RANK_MOUNT = 54,
    RANK_SOCKET_FLIGHT = 57, /* descriptors in flight, and the search for unreachable sockets */
    RANK_SOCKET_NAMES = 58,
    RANK_SOCKET_LISTENER = 60,
    RANK_SOCKET = 62,
    RANK_PIPE = 66,
    RANK_TTY = 70,
    RANK_FUTEX_PI = 72,     /* PI futexes of one table or hash: user words are read and changed inside */
    RANK_ASPACE = 74,
    RANK_ASPACE_MAP = 76,   /* the region map itself, for looking: never held across the body's work */
    RANK_S2C = 77,          /* what an attached client is asked for outside its own calls: one at a time */
    RANK_MEMOBJ = 78,
    RANK_SYSV_IPC = 80,     /* the tables of System V IPC and all that is in them */
    RANK_ABI_TIMER = 82,
    RANK_EVENT_FILE = 84,   /* eventfd, timerfd, signalfd */
    RANK_NOTIFY = 85,       /* who watches which files, and the events that wait for them: one for all */
    RANK_SIGNAL = 86,       /* pending sets and dispositions of one process */
    RANK_NATIVE_FORK = 88,  /* copies of tasks that wait for a forked child */
    RANK_NATIVE_NAMES = 89,
    RANK_HANDLES = 90,
    RANK_PI = 92,           /* priority-inheritance state */
    RANK_BODY_SLEEPING = 96,
    RANK_TRACE = 98,        /* the tracer's output: taken inside anything that may sleep */
    RANK_SLEEPING_MAX = 99,

    /* spinning */
    RANK_PAGER = 103,        /* a port pager's news */
    RANK_PORT = 104,         /* one port: items, receivers, rights; never two at once */
    RANK_PORT_SET = 105,     /* receivers of a set, which of its ports have messages */
    RANK_PORT_THREAD = 106,  /* a waiting thread's record; never two at once */
    RANK_PORT_FLIGHT = 107,  /* which queue a receive right travels in: one for all */
    RANK_FILE_LINK = 103,    /* what a file server is to be told by and by; threads are made and killed inside */
    RANK_ARRIVALS = 102,     /* threads of one attached process */
    RANK_NATIVE_TASKS = 108, /* all attached tasks */
    RANK_FUSE = 109,         /* one FUSE connection's queues */
    RANK_NATIVE_THREADS = 109, /* all their threads */
    RANK_FUTEX_BUCKET = 110, /* two through spin_lock_pair */
    RANK_KNOTE_OWNER = 112, /* event.c: which list a knote is on */
    RANK_FUTEX_GRAPH = 112,  /* who waits for whom among PI futexes */
    RANK_KNOTE = 114,        /* one knote list */
    RANK_KNOTE_NESTED = 115, /* the knote list of an event queue that can itself be waited for */
    RANK_EVENT_QUEUE = 116,  /* an event queue's ready list, inside the knote list that activates */
    RANK_NAME_CACHE = 117,   /* the path cache, cwd and root */
    RANK_FD_SLOTS = 118,     /* one descriptor table's slots */
    RANK_WAITQ = 120,        /* two through spin_lock_pair */
    RANK_TIMER_QUEUE = 130,
    RANK_THREAD = 140,
    RANK_RUN_QUEUE = 150,
    RANK_POOL = 154,         /* stacks, async work */
    RANK_NODE_TABLE = 156,   /* a file system's table of live nodes: reference attempts inside, nothing else */
    RANK_BODY = 160,
    RANK_LOG = 170,
};

#endif
