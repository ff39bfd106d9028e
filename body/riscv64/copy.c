/*
 * User memory: through the address space's tables, a page at a time.
 *
 * The kernel never uses a program's addresses, so one program's memory is reached as any other's, and access to user pages
 * from the kernel (SUM) is never enabled. Where a page is not there, the program's fault is taken for it.
 */
#include "body/riscv64/space.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/paging/paging.h"
#include "kernel/task.h"
#include "kernel/thread.h"

static size_t copy(struct aspace *aspace, void *kernel, uaddr_t user, size_t size, bool write)
{
    size_t done = 0;
    if (!aspace->body)
        return 0;
    while (done < size) {
        uaddr_t at = user + done;
        size_t piece = min_u64(size - done, PAGE_SIZE - (at & (PAGE_SIZE - 1)));
        if (at < user)
            break;
        if (space_copy(aspace->body, (char *)kernel + done, at, piece, write))
            done += piece;
        else if (paging_fault(aspace, at, write ? PROT_WRITE_BIT : PROT_READ_BIT, WAIT_KILLABLE))
            break;
    }
    return done;
}

size_t body_copy_in(struct aspace *aspace, void *to, uaddr_t from, size_t size) { return copy(aspace, to, from, size, false); }

size_t body_copy_out(struct aspace *aspace, uaddr_t to, const void *from, size_t size)
{
    return copy(aspace, (void *)(uintptr_t)from, to, size, true);
}

int body_peek32(struct aspace *aspace, uaddr_t address, uint32_t *value)
{
    if ((address & 3) || !aspace->body)
        return -EFAULT;
    return space_copy(aspace->body, value, address, sizeof *value, false) ? 0 : -EFAULT;
}

int body_cas32(uaddr_t address, uint32_t expected, uint32_t desired, uint32_t *previous)
{
    struct thread *thread = thread_current();
    struct aspace *aspace = thread && thread->task ? thread->task->aspace : NULL;
    if (!aspace || !aspace->body || (address & 3))
        return -EFAULT;
    while (!space_cas32(aspace->body, address, expected, desired, previous))
        if (paging_fault(aspace, address, PROT_WRITE_BIT, WAIT_KILLABLE))
            return -EFAULT;
    return 0;
}
