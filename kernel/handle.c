/*
 * Handle tables. A slot is free, used, or part of a reservation; free slots are a list through the
 * table. A handle is (generation << 16 | index): closing a slot advances its generation, so a stale
 * handle fails until the generation has come round.
 *
 * table->mutex guards everything in it. Objects are never destroyed, nor told of their last handle, with
 * it held.
 */
#include "kernel/handle.h"

#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/errno.h"
#include "kernel/string.h"

#define NO_SLOT UINT32_MAX
#define FIRST_SIZE 16u

static handle_t handle_make(const struct handle_table *table, uint32_t index)
{
    return (uint32_t)table->slots[index].generation << 16 | index;
}

void handle_table_init(struct handle_table *table, uint32_t limit)
{
    KASSERT(limit <= HANDLES_MAX);
    *table = (struct handle_table){.first_free = NO_SLOT, .limit = limit};
    mutex_init(&table->mutex, RANK_HANDLES);
}

void handle_dropped(const struct handle_value *value)
{
    struct object *object = value->object;
    if (object->type->right_dropped)
        object->type->right_dropped(object, value->rights, value->badge);
    uint32_t before = atomic32_sub(&object->handles, 1);
    KASSERT(before > 0);
    if (before == 1 && object->type->no_handles)
        object->type->no_handles(object);
}

void handle_value_close(const struct handle_value *value)
{
    handle_dropped(value);
    object_unref(value->object);
}

/* --- slots ------------------------------------------------------------------------------------------- */

static void slot_free_locked(struct handle_table *table, uint32_t index)
{
    struct handle_slot *slot = &table->slots[index];
    slot->object = NULL;
    slot->generation = slot->generation == UINT16_MAX ? 1 : slot->generation + 1;
    slot->next_free = table->first_free;
    table->first_free = index;
}

static int grow_locked(struct handle_table *table, uint32_t wanted)
{
    uint32_t size = (uint32_t)min_u64(max_u64(max_u64(wanted, 2 * (uint64_t)table->size), FIRST_SIZE), table->limit);
    struct handle_slot *slots = krealloc(table->slots, size * sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    table->slots = slots;
    memset(&slots[table->size], 0, (size - table->size) * sizeof(*slots));
    uint32_t first = table->size;
    table->size = size;
    while (size-- > first) /* the lowest comes first */
        slot_free_locked(table, size);
    return 0;
}

static int reserve_locked(struct handle_table *table, uint32_t count)
{
    uint64_t wanted = (uint64_t)table->used + table->reserved + count;
    if (wanted > table->limit)
        return -EMFILE;
    int error = wanted > table->size ? grow_locked(table, (uint32_t)wanted) : 0;
    if (!error)
        table->reserved += count;
    return error;
}

static void slot_fill_locked(struct handle_table *table, uint32_t index, const struct handle_value *value)
{
    struct handle_slot *slot = &table->slots[index];
    slot->object = value->object;
    slot->badge = value->badge;
    slot->rights = value->rights;
    atomic32_add(&value->object->handles, 1);
    table->used++;
    if (value->object->type->right_added)
        value->object->type->right_added(value->object, table, value->rights, value->badge);
}

/* Emptied for good while a thread was on its way here: neither reservations nor kept slots are there any more. */
static bool table_gone_locked(const struct handle_table *table) { return table->size == 0; }

static handle_t insert_reserved_locked(struct handle_table *table, const struct handle_value *value)
{
    KASSERT(table->reserved > 0 && table->first_free != NO_SLOT);
    uint32_t index = table->first_free;
    table->first_free = table->slots[index].next_free;
    table->reserved--;
    slot_fill_locked(table, index, value);
    return handle_make(table, index);
}

/* The slot a handle names, or NULL. */
static struct handle_slot *slot_find_locked(struct handle_table *table, handle_t handle)
{
    uint32_t index = handle & 0xffff;
    if (handle == HANDLE_NONE || index >= table->size)
        return NULL;
    struct handle_slot *slot = &table->slots[index];
    return slot->object && slot->generation == handle >> 16 ? slot : NULL;
}

static struct handle_value slot_value(const struct handle_slot *slot)
{
    return (struct handle_value){.object = slot->object, .badge = slot->badge, .rights = slot->rights};
}

/* --- operations -------------------------------------------------------------------------------------- */

int handle_reserve(struct handle_table *table, uint32_t count)
{
    mutex_lock(&table->mutex);
    int error = reserve_locked(table, count);
    mutex_unlock(&table->mutex);
    return error;
}

void handle_unreserve(struct handle_table *table, uint32_t count)
{
    mutex_lock(&table->mutex);
    KASSERT(table->reserved >= count);
    table->reserved -= count;
    mutex_unlock(&table->mutex);
}

/* A value that is in no table and was counted by none. */
static void value_close_uncounted(const struct handle_value *value)
{
    atomic32_add(&value->object->handles, 1);
    if (value->object->type->right_added)
        value->object->type->right_added(value->object, NULL, value->rights, value->badge);
    handle_value_close(value);
}

handle_t handle_insert_reserved(struct handle_table *table, const struct handle_value *value)
{
    mutex_lock(&table->mutex);
    bool gone = table_gone_locked(table);
    handle_t handle = gone ? HANDLE_NONE : insert_reserved_locked(table, value);
    mutex_unlock(&table->mutex);
    if (gone)
        value_close_uncounted(value);
    return handle;
}

int handle_insert(struct handle_table *table, const struct handle_value *value, handle_t *handle)
{
    mutex_lock(&table->mutex);
    int error = reserve_locked(table, 1);
    if (!error)
        *handle = insert_reserved_locked(table, value);
    mutex_unlock(&table->mutex);
    return error;
}

static int slot_check(const struct handle_slot *slot, const struct object_type *type, uint32_t rights)
{
    if (!slot)
        return -EBADF;
    if (type && slot->object->type != type)
        return -EINVAL;
    return (slot->rights & rights) == rights ? 0 : -EACCES;
}

int handle_get(struct handle_table *table, handle_t handle, const struct object_type *type, uint32_t rights,
               struct handle_value *value)
{
    mutex_lock(&table->mutex);
    struct handle_slot *slot = slot_find_locked(table, handle);
    int error = slot_check(slot, type, rights);
    if (!error) {
        *value = slot_value(slot);
        object_ref(value->object);
    }
    mutex_unlock(&table->mutex);
    return error;
}

int handle_take_if(struct handle_table *table, handle_t handle, const struct object_type *type, uint32_t rights,
                   struct handle_value *value)
{
    mutex_lock(&table->mutex);
    struct handle_slot *slot = slot_find_locked(table, handle);
    int error = slot_check(slot, type, rights);
    if (!error) {
        *value = slot_value(slot);
        slot_free_locked(table, handle & 0xffff);
        table->used--;
    }
    mutex_unlock(&table->mutex);
    return error;
}

int handle_take(struct handle_table *table, handle_t handle, struct handle_value *value)
{
    return handle_take_if(table, handle, NULL, 0, value);
}

int handle_close(struct handle_table *table, handle_t handle)
{
    struct handle_value value;
    int error = handle_take(table, handle, &value);
    if (!error)
        handle_value_close(&value);
    return error;
}

static int copy_locked(struct handle_table *table, handle_t handle, uint32_t rights, handle_t *copy)
{
    struct handle_slot *slot = slot_find_locked(table, handle);
    int error = slot_check(slot, NULL, RIGHT_COPY);
    if (error)
        return error;
    struct handle_value value = slot_value(slot); /* the slots may move when the table grows */
    error = reserve_locked(table, 1);
    if (error)
        return error;
    value.rights &= rights;
    object_ref(value.object);
    *copy = insert_reserved_locked(table, &value);
    return 0;
}

int handle_copy(struct handle_table *table, handle_t handle, uint32_t rights, handle_t *copy)
{
    mutex_lock(&table->mutex);
    int error = copy_locked(table, handle, rights, copy);
    mutex_unlock(&table->mutex);
    return error;
}

/* --- messages ---------------------------------------------------------------------------------------- */

#define RIGHT_ROLES (RIGHT_SEND | RIGHT_SEND_ONCE | RIGHT_RECEIVE)

/* The slot stays, empty and on no list of free ones: its next_free links it to the others that are kept. */
static void slot_keep_locked(struct handle_table *table, uint32_t index, uint32_t *kept)
{
    table->slots[index].object = NULL;
    table->slots[index].next_free = *kept;
    *kept = index;
}

static int detach_one_locked(struct handle_table *table, struct handle_transfer *transfer, uint32_t *kept)
{
    struct handle_slot *slot = slot_find_locked(table, transfer->handle);
    int error = slot_check(slot, NULL, transfer->move ? RIGHT_TRANSFER : RIGHT_TRANSFER | RIGHT_COPY);
    if (error)
        return error;
    transfer->value = slot_value(slot);
    if (transfer->move) {
        transfer->value.rights &= transfer->rights | RIGHT_ROLES;
        slot_keep_locked(table, transfer->handle & 0xffff, kept);
        return 0;
    }
    struct handle_value *value = &transfer->value;
    value->rights &= transfer->rights;
    object_ref(value->object);
    atomic32_add(&value->object->handles, 1);
    if (value->object->type->right_added)
        value->object->type->right_added(value->object, NULL, value->rights, value->badge);
    return 0;
}

/* What was moved keeps the rights that it was to travel with only in its slot: they are all still there. */
static void restore_locked(struct handle_table *table, struct handle_transfer *transfers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (transfers[i].move)
            table->slots[transfers[i].handle & 0xffff].object = transfers[i].value.object;
}

static void transfers_close(struct handle_transfer *transfers, uint32_t count, bool moved)
{
    for (uint32_t i = 0; i < count; i++)
        if (moved || !transfers[i].move)
            handle_value_close(&transfers[i].value);
}

int handle_detach(struct handle_table *table, struct handle_transfer *transfers, uint32_t count, uint32_t *kept)
{
    int error = 0;
    uint32_t done = 0;
    *kept = HANDLES_KEPT_NONE;
    mutex_lock(&table->mutex);
    while (done < count && (error = detach_one_locked(table, &transfers[done], kept)) == 0)
        done++;
    if (error)
        restore_locked(table, transfers, done);
    mutex_unlock(&table->mutex);
    if (error)
        transfers_close(transfers, done, false);
    return error;
}

void handle_detach_commit(struct handle_table *table, uint32_t kept)
{
    if (kept == HANDLES_KEPT_NONE)
        return;
    mutex_lock(&table->mutex);
    while (kept != HANDLES_KEPT_NONE && !table_gone_locked(table)) {
        uint32_t next = table->slots[kept].next_free;
        slot_free_locked(table, kept);
        table->used--;
        kept = next;
    }
    mutex_unlock(&table->mutex);
}

void handle_detach_abort(struct handle_table *table, struct handle_transfer *transfers, uint32_t count, uint32_t kept)
{
    bool gone = false;
    if (kept != HANDLES_KEPT_NONE) {
        mutex_lock(&table->mutex);
        gone = table_gone_locked(table);
        if (!gone)
            restore_locked(table, transfers, count);
        mutex_unlock(&table->mutex);
    }
    transfers_close(transfers, count, gone);
}

void handle_attach_reserved(struct handle_table *table, struct handle_transfer *transfers, uint32_t count)
{
    if (count == 0)
        return;
    mutex_lock(&table->mutex);
    bool gone = table_gone_locked(table);
    for (uint32_t i = 0; i < count; i++) {
        transfers[i].handle = gone ? HANDLE_NONE : insert_reserved_locked(table, &transfers[i].value);
        transfers[i].rights = transfers[i].value.rights;
    }
    mutex_unlock(&table->mutex);
    for (uint32_t i = 0; i < count && !gone; i++) /* what counted it on its way */
        handle_dropped(&transfers[i].value);
    if (gone)
        transfers_close(transfers, count, true);
}

/* --- whole tables ------------------------------------------------------------------------------------ */

void handle_table_destroy(struct handle_table *table)
{
    for (uint32_t index = 0; index < table->size; index++) {
        if (!table->slots[index].object)
            continue;
        struct handle_value value = slot_value(&table->slots[index]);
        table->slots[index].object = NULL;
        handle_value_close(&value);
    }
    kfree(table->slots);
    *table = (struct handle_table){.first_free = NO_SLOT};
}

void handle_table_clear(struct handle_table *table)
{
    mutex_lock(&table->mutex);
    struct handle_table old = {.slots = table->slots, .size = table->size};
    table->slots = NULL;
    table->size = table->used = table->limit = 0;
    table->first_free = NO_SLOT;
    mutex_unlock(&table->mutex);
    handle_table_destroy(&old);
}

static void clone_slots_locked(struct handle_table *to, struct handle_table *from)
{
    to->first_free = NO_SLOT;
    for (uint32_t index = to->size; index-- > 0;) {
        struct handle_slot *source = &from->slots[index];
        to->slots[index].generation = source->generation;
        if (source->object && source->rights & RIGHT_COPY) {
            struct handle_value value = slot_value(source);
            object_ref(value.object);
            slot_fill_locked(to, index, &value);
        } else {
            to->slots[index].next_free = to->first_free;
            to->first_free = index;
        }
    }
}

/* `to` is fresh and nobody else's, so one table's mutex is enough. */
int handle_table_clone(struct handle_table *to, struct handle_table *from)
{
    KASSERT(to->size == 0);
    mutex_lock(&from->mutex);
    to->slots = kcalloc(from->size, sizeof(*to->slots));
    bool made = to->slots || from->size == 0;
    if (made) {
        to->size = from->size;
        to->limit = from->limit;
        clone_slots_locked(to, from);
    }
    mutex_unlock(&from->mutex);
    return made ? 0 : -ENOMEM;
}
