/*
 * The vDSO: a small shared object that every program finds mapped, with the code that a signal handler returns to.
 */
#ifndef RISCV64_VDSO_H
#define RISCV64_VDSO_H

struct aspace;

void vdso_init(void);
/* At the top of a fresh address space, whose ceiling moves below. -ENOMEM. */
int vdso_map(struct aspace *aspace);

#endif
