/*
 * capget and capset (capabilities(7)): a thread reads anyone's sets, and may lower its own.
 *
 * The user structure comes in versions: one 32-bit word per set, or two.
 */
#include "abi/linux/calls.h"
#include "abi/linux/process_life.h"
#include "abi/linux/uapi.h"

#define VERSION_1 0x19980330u
#define VERSION_2 0x20071026u
#define VERSION_3 0x20080522u

/* How many words a set has. -EINVAL, with the version we want written back. */
static int read_header(uaddr_t address, struct linux_capability_header *header)
{
    uint32_t wanted = VERSION_3;

    if (user_read(header, address, sizeof *header))
        return -EFAULT;
    if (header->version == VERSION_1)
        return 1;
    if (header->version == VERSION_2 || header->version == VERSION_3)
        return 2;
    return user_write(address, &wanted, sizeof wanted) ? -EFAULT : -EINVAL;
}

/* A reference to the credentials of a thread; 0: the caller. */
static struct cred *cred_of(int32_t tid)
{
    struct lthread *thread = tid ? thread_find(tid) : object_ref(current_thread());

    if (!thread)
        return NULL;
    mutex_lock(&thread->process->mutex);
    struct cred *cred = object_ref(thread->cred);
    mutex_unlock(&thread->process->mutex);
    object_unref(thread);
    return cred;
}

int64_t sys_capget(uaddr_t header_address, uaddr_t data_address)
{
    struct linux_capability_header header;
    int words = read_header(header_address, &header);

    if (words < 0)
        return words == -EINVAL && !data_address ? 0 : words;
    if (header.pid < 0)
        return -EINVAL;
    struct cred *cred = cred_of(header.pid);
    if (!cred)
        return -ESRCH;
    struct linux_capability_data data[2] = {
        {(uint32_t)cred->cap_effective, (uint32_t)cred->cap_permitted, (uint32_t)cred->cap_inheritable},
        {cred->cap_effective >> 32, cred->cap_permitted >> 32, cred->cap_inheritable >> 32},
    };
    object_unref(cred);
    if (!data_address)
        return 0;
    return user_write(data_address, data, words * sizeof data[0]);
}

static bool within(uint64_t set, uint64_t limit) { return !(set & ~limit); }

int64_t sys_capset(uaddr_t header_address, uaddr_t data_address)
{
    struct linux_capability_header header;
    struct linux_capability_data data[2] = {{0, 0, 0}, {0, 0, 0}};
    const struct cred *old = current_cred();
    int words = read_header(header_address, &header);

    if (words < 0)
        return words;
    if (header.pid && header.pid != current_thread()->tid)
        return -EPERM;
    if (user_read(data, data_address, words * sizeof data[0]))
        return -EFAULT;
    uint64_t effective = (data[0].effective | (uint64_t)data[1].effective << 32) & CAPABILITIES_ALL;
    uint64_t permitted = (data[0].permitted | (uint64_t)data[1].permitted << 32) & CAPABILITIES_ALL;
    uint64_t inheritable = (data[0].inheritable | (uint64_t)data[1].inheritable << 32) & CAPABILITIES_ALL;
    uint64_t inheritable_limit = old->cap_inheritable | (cred_has(old, LINUX_CAP_SETPCAP) ? UINT64_MAX : old->cap_permitted);
    if (!within(inheritable, inheritable_limit) || !within(inheritable, old->cap_inheritable | old->cap_bounding))
        return -EPERM;
    if (!within(permitted, old->cap_permitted) || !within(effective, permitted))
        return -EPERM;
    struct cred *cred = cred_copy(old);
    if (!cred)
        return -ENOMEM;
    cred->cap_effective = effective;
    cred->cap_permitted = permitted;
    cred->cap_inheritable = inheritable;
    cred->cap_ambient &= permitted & inheritable;
    cred_commit(cred);
    return 0;
}
