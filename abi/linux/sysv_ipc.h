/*
 * What the three kinds of System V IPC share (sysvipc(7)): a table of objects by number and key, permissions, and the
 * structure that the *ctl calls show and set.
 *
 * One lock guards all tables and all objects in them, waiting included; user memory is never touched under it. A table holds
 * a reference on each object until it is removed; who works on one longer than the lock takes another.
 */
#ifndef ABI_LINUX_SYSV_IPC_H
#define ABI_LINUX_SYSV_IPC_H

#include "abi/linux/process.h"
#include "kernel/lock.h"
#include "kernel/object.h"

enum { SYSV_IPC_PRIVATE = 0, SYSV_IPC_CREAT = 01000, SYSV_IPC_EXCL = 02000, SYSV_IPC_NOWAIT = 04000 };
enum { SYSV_IPC_RMID = 0, SYSV_IPC_SET = 1, SYSV_IPC_STAT = 2, SYSV_IPC_INFO = 3 };
enum { SYSV_READ = 0444, SYSV_WRITE = 0222 };

struct linux_ipc_perm {
    int32_t key;
    uint32_t uid, gid, cuid, cgid, mode;
    uint16_t sequence, padding;
    uint64_t unused[2];
};
_Static_assert(sizeof(struct linux_ipc_perm) == 48, "ipc64_perm");

struct sysv_object {
    struct object object;
    /* under sysv_lock */
    int32_t key, id;
    uint32_t uid, gid, cuid, cgid, mode;
    bool removed; /* from its table; whoever waits for it gets EIDRM */
};

#define SYSV_SLOTS_MAX 32768u

struct sysv_table {
    const uint32_t limit; /* of objects, at most SYSV_SLOTS_MAX */
    /* under sysv_lock */
    struct sysv_object **slots;
    uint32_t capacity, used, sequence;
};

extern struct mutex sysv_lock; /* rank SYSV_IPC */
/* Once, before anything else. */
void sysv_system_init(void);

void sysv_object_init(struct sysv_object *object, const struct object_type *type, uint32_t flags);
/*
 * The *get calls: the number of the object with this key, which `fits` must accept (0 or an error), or of a new one that `make`
 * gives (NULL: no memory). -EACCES, -EEXIST, -ENOENT, -ENOSPC, -ENOMEM.
 */
struct sysv_get {
    int32_t key;
    uint32_t flags;
    uint64_t size;
    int (*fits)(const struct sysv_object *object, uint64_t size);
    struct sysv_object *(*make)(const struct sysv_get *get);
};
int64_t sysv_get(struct sysv_table *table, const struct sysv_get *get);
/* sysv_lock held. By number: 0, -EINVAL, -EIDRM. By place in the table, as *_STAT commands count: 0, -EINVAL. */
int sysv_find_locked(struct sysv_table *table, int32_t id, struct sysv_object **object);
int sysv_find_index_locked(struct sysv_table *table, int32_t index, struct sysv_object **object);
/* For the commands that show one: IPC_STAT by number, *_STAT by place, *_STAT_ANY by place whoever asks. 0, -EINVAL, -EIDRM, -EACCES. */
enum sysv_shown { SYSV_SHOWN_BY_ID, SYSV_SHOWN_BY_PLACE, SYSV_SHOWN_TO_ANYBODY };
int sysv_find_shown_locked(struct sysv_table *table, int32_t id, enum sysv_shown how, struct sysv_object **object);
/* The next object at *place or behind it, *place then behind that one; NULL: no more. For /proc/sysvipc. sysv_lock held. */
struct sysv_object *sysv_next_locked(const struct sysv_table *table, uint32_t *place);
/* The caller may do what SYSV_READ and SYSV_WRITE bits say; may change and remove it. sysv_lock held. 0, -EACCES; -EPERM. */
int sysv_permitted_locked(const struct sysv_object *object, uint32_t wanted);
int sysv_owned_locked(const struct sysv_object *object);
/* The highest place in use, as *_INFO commands return it. */
int32_t sysv_last_index_locked(const struct sysv_table *table);
/* Out of the table: the caller drops the table's reference after the lock. */
void sysv_remove_locked(struct sysv_table *table, struct sysv_object *object);
void sysv_show_locked(const struct sysv_object *object, struct linux_ipc_perm *perm);
/* IPC_SET. */
void sysv_set_locked(struct sysv_object *object, const struct linux_ipc_perm *perm);
int64_t sysv_now(void); /* wall-clock seconds */

/*
 * Lines of /proc/sysvipc/msg, shm and sem: that of the next object from *place on, with its newline. False: no more. Everybody
 * sees all, as on Linux.
 */
#define SYSV_LINE 256u
bool sysv_msg_line(uint32_t *place, char line[SYSV_LINE]);
bool sysv_shm_line(uint32_t *place, char line[SYSV_LINE]);
bool sysv_sem_line(uint32_t *place, char line[SYSV_LINE]);

/* sysv_sem.c: the process gives back what its SEM_UNDO operations took. */
void sysv_sem_exit(struct process *process);

#endif
