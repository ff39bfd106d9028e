/*
 * The source of body_random.
 */
#ifndef RISCV64_RANDOM_H
#define RISCV64_RANDOM_H

#include "kernel/types.h"

void random_init(void);
/* Adds entropy; any context. */
void random_mix(const void *bytes, size_t size);

#endif
