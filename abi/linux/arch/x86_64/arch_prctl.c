/*
 * arch_prctl: the bases of %fs and %gs, and whether CPUID may be used (arch_prctl(2)).
 */
#include "abi/linux/calls.h"
#include "abi/linux/process.h"

#include <arch/linux.h>

enum { ARCH_SET_GS = 0x1001, ARCH_SET_FS = 0x1002, ARCH_GET_FS = 0x1003, ARCH_GET_GS = 0x1004, ARCH_GET_CPUID = 0x1011,
       ARCH_SET_CPUID = 0x1012 };

static int64_t set_base(bool fs, uint64_t base)
{
    struct lthread *self = current_thread();
    struct user_regs regs;

    if (base >= ARCH_USER_TOP)
        return -EPERM;
    body_user_get_regs(self->thread, &regs);
    if (fs)
        regs.fs_base = base;
    else
        regs.gs_base = base;
    arch_regs_set_result(&regs, 0);
    body_user_set_regs(self->thread, &regs);
    self->regs_changed = true;
    return 0;
}

static int64_t get_base(bool fs, uaddr_t address)
{
    struct user_regs regs;

    body_user_get_regs(current_thread()->thread, &regs);
    uint64_t base = fs ? regs.fs_base : regs.gs_base;
    return user_write(address, &base, sizeof base);
}

int64_t sys_arch_prctl(int32_t option, uint64_t argument)
{
    switch (option) {
    case ARCH_SET_FS:
    case ARCH_SET_GS:
        return set_base(option == ARCH_SET_FS, argument);
    case ARCH_GET_FS:
    case ARCH_GET_GS:
        return get_base(option == ARCH_GET_FS, argument);
    case ARCH_GET_CPUID:
        return 1;
    case ARCH_SET_CPUID: /* as on a processor that cannot fault on it */
        return -ENODEV;
    default:
        return -EINVAL;
    }
}
