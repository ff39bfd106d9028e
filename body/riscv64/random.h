/*
 * The source of body_random.
 */
#ifndef RISCV64_RANDOM_H
#define RISCV64_RANDOM_H

#include "kernel/types.h"

void random_init(void);
/* Adds entropy; any context. */
void random_mix(const void *bytes, size_t size);
/* Asks the entropy device for more, if there is one (virtio/random.c). Any context. */
void random_want_entropy(void);
bool random_has_device(void);

#endif
