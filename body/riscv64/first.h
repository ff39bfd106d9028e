/*
 * The first thread: it unpacks the root, mounts what belongs on it and starts the first program.
 */
#ifndef RISCV64_FIRST_H
#define RISCV64_FIRST_H

void first_thread(void *argument);

#endif
