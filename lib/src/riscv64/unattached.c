/*
 * RISC-V has no server to attach to: a program is in a machine of Hyla's, or on some other kernel, where every call says so.
 */
#include "lib/src/call.h"

#include <errno.h>

static __thread int interruptible;

int attach(const char *path, uint64_t token)
{
    (void)path, (void)token;
    return -ENOSYS;
}

void detach(void) {}
void attach_drop_inherited(void) {}

int64_t post_call(const struct hyla_plan *plan, const uint64_t arguments[6])
{
    (void)plan, (void)arguments;
    return -ENOSYS;
}

/* Of attached calls; kept, as elsewhere, for who asks. */
int hyla_set_interruptible(int on)
{
    int before = interruptible;
    interruptible = on != 0;
    return before;
}
