/*
 * membarrier: barriers on the CPUs that run the caller's other threads. The body knows how (on Linux the
 * caller's own stub asks the host, whose barrier covers the same address space). The global commands would
 * have to reach every address space and are not offered: the query says so.
 */
#include "abi/linux/mm_internal.h"

enum {
    BARRIER_QUERY = 0,
    BARRIER_PRIVATE = 1 << 3,
    BARRIER_REGISTER_PRIVATE = 1 << 4,
    BARRIER_PRIVATE_SYNC_CORE = 1 << 5,
    BARRIER_REGISTER_PRIVATE_SYNC_CORE = 1 << 6,
    BARRIER_GET_REGISTRATIONS = 1 << 9,
};
#define BARRIERS_OFFERED                                                                                               \
    (BARRIER_PRIVATE | BARRIER_REGISTER_PRIVATE | BARRIER_PRIVATE_SYNC_CORE | BARRIER_REGISTER_PRIVATE_SYNC_CORE |     \
     BARRIER_GET_REGISTRATIONS)

static int64_t barrier_run(struct mm *mm, uint32_t needed, bool serialise)
{
    if (!(atomic32_load_relaxed(&mm->barriers) & needed))
        return -EPERM;
    return aspace_barrier(mm->aspace, serialise);
}

int64_t sys_membarrier(int32_t command, uint32_t flags, int32_t cpu)
{
    struct mm *mm = current_mm();

    (void)cpu;
    if (flags)
        return -EINVAL;
    switch (command) {
    case BARRIER_QUERY:
        return BARRIERS_OFFERED;
    case BARRIER_REGISTER_PRIVATE:
    case BARRIER_REGISTER_PRIVATE_SYNC_CORE:
        atomic32_or(&mm->barriers, command);
        return 0;
    case BARRIER_PRIVATE:
        return barrier_run(mm, BARRIER_REGISTER_PRIVATE, false);
    case BARRIER_PRIVATE_SYNC_CORE:
        return barrier_run(mm, BARRIER_REGISTER_PRIVATE_SYNC_CORE, true);
    case BARRIER_GET_REGISTRATIONS:
        return atomic32_load_relaxed(&mm->barriers);
    default:
        return -EINVAL;
    }
}
