/*
 * What the workers tell context.c.
 */
#ifndef BODY_LINUX_CONTEXT_H
#define BODY_LINUX_CONTEXT_H

/* Once on each worker, before it enters the scheduler: its own stack's bounds, for sanitizers. */
void context_note_worker(void);

#endif
