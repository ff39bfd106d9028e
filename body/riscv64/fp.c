/*
 * Floating-point state: see fp.h. The unit is off in the kernel except around these moves.
 */
#include "body/riscv64/fp.h"

#include "body/riscv64/csr.h"
#include "body/riscv64/hart.h"
#include "body/riscv64/user.h"
#include "kernel/body.h"

_Static_assert(offsetof(struct fp_state, fcsr) == 256, "fp.S");

void fp_store(struct fp_state *state);
void fp_fetch(const struct fp_state *state);

static void store(struct hart *hart)
{
    csr_set("sstatus", SSTATUS_FS_CLEAN);
    fp_store(&hart->fp_live->fp);
    csr_clear("sstatus", SSTATUS_FS);
    hart->fp_live = NULL;
}

/* The registers may still be this thread's: then nothing is loaded. They count as unchanged until the hart says otherwise. */
void fp_enter_user(struct user_thread *user)
{
    struct hart *hart = hart_self();
    bool loaded = hart->fp_owner == user && user->fp_hart == hart->index;
    csr_set("sstatus", loaded && hart->fp_live == user ? SSTATUS_FS_DIRTY : SSTATUS_FS_CLEAN);
    if (loaded)
        return;
    fp_fetch(&user->fp);
    hart->fp_owner = user;
    user->fp_hart = hart->index;
    csr_clear("sstatus", SSTATUS_FS);
    csr_set("sstatus", SSTATUS_FS_CLEAN);
}

void fp_left_user(struct user_thread *user)
{
    if ((csr_read("sstatus") & SSTATUS_FS) == SSTATUS_FS_DIRTY)
        hart_self()->fp_live = user;
    csr_clear("sstatus", SSTATUS_FS);
}

void fp_leave(void)
{
    struct hart *hart = hart_self();
    if (hart->fp_live)
        store(hart);
}

void fp_flush(struct user_thread *user)
{
    struct hart *hart = hart_self();
    if (hart->fp_live == user)
        store(hart);
}

void fp_changed(struct user_thread *user)
{
    struct hart *hart = hart_self();
    if (hart->fp_live == user)
        hart->fp_live = NULL;
    user->fp_hart = UINT32_MAX;
}

void fp_forget(struct user_thread *user) { fp_changed(user); }
