/*
 * Address spaces as the kernel asks for them: birth, death, and batches of changes.
 *
 * Mapping needs nothing but that no old translation stays: pages come by faults. So most operations only take away, and
 * none of those can fail.
 */
#include "body/riscv64/csr.h"
#include "body/riscv64/hart.h"
#include "body/riscv64/space.h"
#include "body/riscv64/vdso.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/paging/paging.h"

int body_aspace_create(struct aspace *aspace)
{
    aspace->body = space_create();
    return aspace->body ? vdso_map(aspace) : -ENOMEM;
}

void body_aspace_destroy(struct aspace *aspace)
{
    struct space *space = aspace->body;
    space_unmap(space, 0, UINT64_MAX);
    memobj_detach_all(space);
    space_unref(space);
}

/* --- operations ---------------------------------------------------------------------------------------- */

static int move(struct space *space, const struct map_op *op)
{
    if (op->address == op->new_address)
        return 0;
    space_unmap(space, op->new_address, op->new_address + op->new_size);
    return space_move(space, op->address, op->new_address, min_u64(op->size, op->new_size));
}

static int advise(struct aspace *aspace, const struct map_op *op)
{
    switch ((enum aspace_advice)op->advice) {
    case ADVICE_DONT_NEED:
    case ADVICE_FREE:
        space_unmap(aspace->body, op->address, op->address + op->size);
        return 0;
    case ADVICE_POPULATE_READ:
    case ADVICE_POPULATE_WRITE:
        return paging_populate_locked(aspace, op->address, op->size, op->advice == ADVICE_POPULATE_WRITE);
    default: /* the region map's affair, or a hint that is not taken */
        return 0;
    }
}

static void barrier_here(void *serialise)
{
    atomic_fence();
    if (serialise)
        fence_instructions();
}

static int barrier(bool serialise)
{
    static char yes;
    void *argument = serialise ? &yes : NULL;
    barrier_here(argument);
    harts_call(~(uint64_t)0, barrier_here, argument);
    return 0;
}

static int apply_one(struct aspace *aspace, const struct map_op *op)
{
    struct space *space = aspace->body;
    switch (op->kind) {
    case MAP_OP_MAP:
    case MAP_OP_UNMAP: space_unmap(space, op->address, op->address + op->size); return 0;
    case MAP_OP_PROTECT: space_protect(space, op->address, op->address + op->size, op->prot); return 0;
    case MAP_OP_MOVE: return move(space, op);
    case MAP_OP_ADVISE: return advise(aspace, op);
    case MAP_OP_BARRIER: return barrier(op->flags & 1);
    }
    return -EINVAL;
}

int body_aspace_apply(struct aspace *aspace, const struct map_op *ops, size_t count, size_t *done)
{
    int error = aspace->body ? 0 : -EFAULT;
    for (*done = 0; *done < count && !error; *done += !error)
        error = apply_one(aspace, &ops[*done]);
    return error;
}
