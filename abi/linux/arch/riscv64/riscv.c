/*
 * The calls that only RISC-V has.
 */
#include "abi/linux/calls.h"
#include "abi/linux/process.h"

enum { FLUSH_ICACHE_LOCAL = 1 };

/* Every hart that may run the program fetches instructions anew; the range is a hint that nobody takes. */
int64_t sys_riscv_flush_icache(uaddr_t start, uaddr_t end, uint64_t flags)
{
    (void)start, (void)end;
    if (flags & ~(uint64_t)FLUSH_ICACHE_LOCAL)
        return -EINVAL;
    return aspace_barrier(current_process()->mm->aspace, true);
}
