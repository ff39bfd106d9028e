/*
 * Native calls about memobjs and mappings. Mapping into another task goes through the same code as into the own: the body
 * knows whether it can have the other do it.
 */
#include "abi/native/native_calls.h"
#include "kernel/alloc.h"
#include "kernel/aspace.h"

#define TRANSFER_MAX (16ull << 20)
#define CHUNK (64u << 10)
#define MEMOBJ_RIGHTS (RIGHT_READ | RIGHT_WRITE | RIGHT_MAP | RIGHT_RESIZE | RIGHT_COPY | RIGHT_TRANSFER)

#define SAME(inside, outside) ((uint32_t)(inside) == (uint32_t)(outside))
static_assert(SAME(PROT_READ_BIT, HYLA_PROT_READ) && SAME(PROT_WRITE_BIT, HYLA_PROT_WRITE) && SAME(PROT_EXEC_BIT, HYLA_PROT_EXEC), "protections");
static_assert(SAME(SEAL_SHRINK, HYLA_SEAL_SHRINK) && SAME(SEAL_GROW, HYLA_SEAL_GROW) && SAME(SEAL_WRITE, HYLA_SEAL_WRITE) &&
                  SAME(SEAL_SEAL, HYLA_SEAL_SEAL),
              "seals");

int64_t native_memobj_create(uint64_t size)
{
    if (size > MEMOBJ_SIZE_MAX)
        return -EFBIG;
    return native_handle_new((struct object *)memobj_create(size), MEMOBJ_RIGHTS);
}

/* --- bytes ------------------------------------------------------------------------------------------- */

/* Through a buffer, a chunk at a time: `done` bytes that were moved count, an error only when there are none. */
static int64_t move_bytes(struct memobj *memobj, uint64_t offset, uaddr_t data, uint64_t size, bool write)
{
    char small[512], *buffer = small;
    uint64_t done = 0, room = sizeof small;
    int64_t got = 0;

    if (size > TRANSFER_MAX || offset + size < offset)
        return -EINVAL;
    if (size > room) {
        room = min_u64(size, CHUNK);
        buffer = kalloc(room);
    }
    if (!buffer)
        return -ENOMEM;
    while (done < size) {
        uint64_t part = min_u64(size - done, room);
        if (write)
            got = user_read(buffer, data + done, part) ? -EFAULT : memobj_write(memobj, buffer, offset + done, part);
        else
            got = memobj_read(memobj, buffer, offset + done, part);
        if (got > 0 && !write && user_write(data + done, buffer, (size_t)got))
            got = -EFAULT;
        if (got <= 0)
            break;
        done += (uint64_t)got;
        if ((uint64_t)got < part)
            break;
    }
    if (buffer != small)
        kfree(buffer);
    return done ? (int64_t)done : got;
}

int64_t native_memobj_read(struct memobj *memobj, uint64_t offset, uaddr_t data, uint64_t size)
{
    return move_bytes(memobj, offset, data, size, false);
}

int64_t native_memobj_write(struct memobj *memobj, uint64_t offset, uaddr_t data, uint64_t size)
{
    return move_bytes(memobj, offset, data, size, true);
}

int64_t native_memobj_resize(struct memobj *memobj, uint64_t size) { return memobj_resize(memobj, size); }
int64_t native_memobj_punch(struct memobj *memobj, uint64_t offset, uint64_t size) { return memobj_punch(memobj, offset, size); }
int64_t native_memobj_seal(struct memobj *memobj, uint32_t seals) { return memobj_seal(memobj, seals); }

int64_t native_memobj_sync(struct memobj *memobj, uint64_t offset, uint64_t size) { return memobj_sync(memobj, offset, size); }

int64_t native_memobj_info(struct memobj *memobj, struct hyla_memobj_info *info)
{
    info->resident = memobj_resident(memobj);
    mutex_lock(&memobj->mutex);
    info->size = memobj->size;
    info->seals = memobj->seals;
    mutex_unlock(&memobj->mutex);
    return 0;
}

/* --- mapping ----------------------------------------------------------------------------------------- */

static int64_t check_map(const struct hyla_map *map, uint32_t rights)
{
    bool writes = (map->flags & HYLA_MAP_SHARED) && (map->protection & PROT_WRITE_BIT);

    if ((map->flags & ~(uint32_t)(HYLA_MAP_SHARED | HYLA_MAP_FIXED)) || (map->protection & ~7u) || map->offset % PAGE_SIZE)
        return -EINVAL;
    if (!map->size || map->size > MEMOBJ_SIZE_MAX || map->offset > MEMOBJ_SIZE_MAX - map->size || map->address % PAGE_SIZE)
        return -EINVAL;
    return (rights & RIGHT_READ) && (!writes || (rights & RIGHT_WRITE)) ? 0 : -EACCES;
}

static int64_t map_into(struct task *task, const struct handle_value *memobj, struct hyla_map *map)
{
    struct aspace *aspace = task_aspace(task);
    uaddr_t address = 0;
    int64_t error = check_map(map, memobj->rights);

    if (!error && !aspace)
        error = -ESRCH;
    if (!error) {
        bool may_write = (map->flags & HYLA_MAP_SHARED) == 0 || (memobj->rights & RIGHT_WRITE);
        struct aspace_map_request request = {
            .address = map->address, .size = round_up(map->size, PAGE_SIZE), .prot = map->protection,
            .memobj = (struct memobj *)memobj->object, .offset = map->offset, .name = "[memobj]",
            .flags = (map->flags & HYLA_MAP_SHARED ? REGION_SHARED : 0) | (map->flags & HYLA_MAP_FIXED ? ASPACE_FIXED : 0) |
                     (may_write ? REGION_MAY_WRITE : 0),
        };
        error = aspace_map(aspace, &request, &address);
    }
    if (!error)
        map->address = address;
    object_unref(aspace);
    return error;
}

int64_t native_memobj_map(const struct handle_value *memobj, struct hyla_map *map) { return map_into(native_task_current(), memobj, map); }

int64_t native_task_map(struct task *task, const struct handle_value *memobj, struct hyla_map *map)
{
    return user_may_change(task) ? map_into(task, memobj, map) : -EOPNOTSUPP;
}

static int64_t unmap_from(struct task *task, uaddr_t address, uint64_t size)
{
    struct aspace *aspace = task_aspace(task);
    if (!aspace)
        return -ESRCH;
    int error = aspace_unmap(aspace, address, round_up(size, PAGE_SIZE));
    object_unref(aspace);
    return error;
}

static int64_t protect_in(struct task *task, uaddr_t address, uint64_t size, uint32_t protection)
{
    struct aspace *aspace = task_aspace(task);
    if (!aspace || (protection & ~7u)) {
        object_unref(aspace);
        return aspace ? -EINVAL : -ESRCH;
    }
    int error = aspace_protect(aspace, address, round_up(size, PAGE_SIZE), protection);
    object_unref(aspace);
    return error;
}

int64_t native_memory_unmap(uaddr_t address, uint64_t size) { return unmap_from(native_task_current(), address, size); }

int64_t native_memory_protect(uaddr_t address, uint64_t size, uint32_t protection)
{
    return protect_in(native_task_current(), address, size, protection);
}

int64_t native_task_unmap(struct task *task, uaddr_t address, uint64_t size)
{
    return user_may_change(task) ? unmap_from(task, address, size) : -EOPNOTSUPP;
}

int64_t native_task_protect(struct task *task, uaddr_t address, uint64_t size, uint32_t protection)
{
    return user_may_change(task) ? protect_in(task, address, size, protection) : -EOPNOTSUPP;
}
