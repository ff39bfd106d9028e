/*
 * See guardian.c.
 */
#ifndef BODY_LINUX_GUARDIAN_H
#define BODY_LINUX_GUARDIAN_H

#include <sys/types.h>

/*
 * Makes the guardian and, below it, a process that runs become_zygote(argument). Returns that process's id, or -1. *life is
 * to be kept open as long as the sandbox is to live. Before the server has threads.
 */
pid_t guardian_start(void (*become_zygote)(void *argument), void *argument, int *life);

#endif
