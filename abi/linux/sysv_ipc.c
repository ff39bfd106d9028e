/*
 * The tables of System V IPC: numbers, keys, permissions. sysv_ipc.h says how they are used.
 *
 * A number is sequence * 32768 + place, so that the number of a removed object is not soon another's.
 */
#include "abi/linux/sysv_ipc.h"
#include "abi/linux/fs/vfs.h"
#include "kernel/alloc.h"
#include "kernel/errno.h"
#include "kernel/string.h"

struct mutex sysv_lock;

void sysv_system_init(void) { mutex_init(&sysv_lock, RANK_SYSV_IPC); }

int64_t sysv_now(void) { return wall_time().seconds; }

void sysv_object_init(struct sysv_object *object, const struct object_type *type, uint32_t flags)
{
    const struct cred *cred = current_cred();

    object_init(&object->object, type);
    object->uid = object->cuid = cred->euid;
    object->gid = object->cgid = cred->egid;
    object->mode = flags & 0777;
}

/* --- permissions ------------------------------------------------------------------------------------- */

int sysv_permitted_locked(const struct sysv_object *object, uint32_t wanted)
{
    const struct cred *cred = current_cred();
    uint32_t granted = object->mode, bits = (wanted >> 6 | wanted >> 3 | wanted) & 7;

    if (cred->euid == object->cuid || cred->euid == object->uid)
        granted >>= 6;
    else if (cred_in_group(cred, object->cgid) || cred_in_group(cred, object->gid))
        granted >>= 3;
    return (bits & ~granted) && !capable(LINUX_CAP_IPC_OWNER) ? -EACCES : 0;
}

int sysv_owned_locked(const struct sysv_object *object)
{
    uint32_t euid = current_cred()->euid;

    return euid == object->cuid || euid == object->uid || capable(LINUX_CAP_SYS_ADMIN) ? 0 : -EPERM;
}

void sysv_show_locked(const struct sysv_object *object, struct linux_ipc_perm *perm)
{
    *perm = (struct linux_ipc_perm){
        .key = object->key,
        .uid = object->uid,
        .gid = object->gid,
        .cuid = object->cuid,
        .cgid = object->cgid,
        .mode = object->mode,
        .sequence = (uint16_t)((uint32_t)object->id / SYSV_SLOTS_MAX),
    };
}

void sysv_set_locked(struct sysv_object *object, const struct linux_ipc_perm *perm)
{
    object->uid = perm->uid;
    object->gid = perm->gid;
    object->mode = (object->mode & ~0777u) | (perm->mode & 0777);
}

/* --- the table --------------------------------------------------------------------------------------- */

int sysv_find_index_locked(struct sysv_table *table, int32_t index, struct sysv_object **object)
{
    if (index < 0 || (uint32_t)index >= table->capacity || !table->slots[index])
        return -EINVAL;
    *object = table->slots[index];
    return 0;
}

int sysv_find_locked(struct sysv_table *table, int32_t id, struct sysv_object **object)
{
    int error = id < 0 ? -EINVAL : sysv_find_index_locked(table, id % (int32_t)SYSV_SLOTS_MAX, object);

    return error ? error : (*object)->id == id ? 0 : -EIDRM;
}

int sysv_find_shown_locked(struct sysv_table *table, int32_t id, enum sysv_shown how, struct sysv_object **object)
{
    int error = how == SYSV_SHOWN_BY_ID ? sysv_find_locked(table, id, object) : sysv_find_index_locked(table, id, object);

    return error || how == SYSV_SHOWN_TO_ANYBODY ? error : sysv_permitted_locked(*object, SYSV_READ);
}

struct sysv_object *sysv_next_locked(const struct sysv_table *table, uint32_t *place)
{
    while (*place < table->capacity)
        if (table->slots[(*place)++])
            return table->slots[*place - 1];
    return NULL;
}

int32_t sysv_last_index_locked(const struct sysv_table *table)
{
    for (uint32_t i = table->capacity; i > 0; i--) {
        if (table->slots[i - 1])
            return (int32_t)i - 1;
    }
    return 0;
}

static struct sysv_object *find_key_locked(const struct sysv_table *table, int32_t key)
{
    for (uint32_t i = 0; i < table->capacity; i++) {
        if (table->slots[i] && table->slots[i]->key == key && key != SYSV_IPC_PRIVATE)
            return table->slots[i];
    }
    return NULL;
}

/* A free place, or -ENOSPC, -ENOMEM. */
static int free_place_locked(struct sysv_table *table)
{
    if (table->used >= table->limit)
        return -ENOSPC;
    for (uint32_t i = 0; i < table->capacity; i++) {
        if (!table->slots[i])
            return (int)i;
    }
    uint32_t capacity = table->capacity ? table->capacity * 2 : 16;
    struct sysv_object **slots = krealloc(table->slots, capacity * sizeof(struct sysv_object *));
    if (!slots)
        return -ENOMEM;
    memset(slots + table->capacity, 0, (capacity - table->capacity) * sizeof(struct sysv_object *));
    table->slots = slots;
    int place = (int)table->capacity;
    table->capacity = capacity;
    return place;
}

static int64_t add_locked(struct sysv_table *table, struct sysv_object *fresh, int32_t key)
{
    int place = fresh ? free_place_locked(table) : -ENOMEM;

    if (place < 0)
        return place;
    fresh->key = key;
    fresh->id = (int32_t)(table->sequence++ % (INT32_MAX / SYSV_SLOTS_MAX) * SYSV_SLOTS_MAX + (uint32_t)place);
    table->slots[place] = object_ref(fresh);
    table->used++;
    return fresh->id;
}

static int64_t use_locked(const struct sysv_object *object, const struct sysv_get *get)
{
    if ((get->flags & SYSV_IPC_CREAT) && (get->flags & SYSV_IPC_EXCL))
        return -EEXIST;
    int error = get->fits(object, get->size);
    if (!error)
        error = sysv_permitted_locked(object, get->flags & 0777);
    return error ? error : object->id;
}

int64_t sysv_get(struct sysv_table *table, const struct sysv_get *get)
{
    bool create = get->key == SYSV_IPC_PRIVATE || (get->flags & SYSV_IPC_CREAT);
    struct sysv_object *fresh = create ? get->make(get) : NULL; /* made ahead: there may be one already */

    mutex_lock(&sysv_lock);
    struct sysv_object *object = find_key_locked(table, get->key);
    int64_t result = object ? use_locked(object, get) : create ? add_locked(table, fresh, get->key) : -ENOENT;
    mutex_unlock(&sysv_lock);
    object_unref(fresh);
    return result;
}

void sysv_remove_locked(struct sysv_table *table, struct sysv_object *object)
{
    table->slots[(uint32_t)object->id % SYSV_SLOTS_MAX] = NULL;
    table->used--;
    object->removed = true;
}
