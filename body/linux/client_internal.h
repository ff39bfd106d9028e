/*
 * What the files of a client share (client.c, client_process.c, client_hello.c) and nobody else needs.
 */
#ifndef BODY_LINUX_CLIENT_INTERNAL_H
#define BODY_LINUX_CLIENT_INTERNAL_H

#include "body/linux/attach.h"

/* client.c: references, or NULL: of a thread that is being made there may be a user side only. */
struct user_thread *client_thread_of_slot(struct client *client, uint32_t index, struct thread **thread);

/* client_process.c */
/* Told apart by a pidfd, on no list yet. NULL: no memory, or it died already. */
struct host_process *host_process_make(struct client *client, int32_t pid);
void host_process_unmake(struct host_process *process);
/* On the list of all that are believed: before its end can be noticed. */
void host_process_known(struct host_process *process);
/* The threads in that host process, or all, are lost. */
void client_mark_lost(struct client *client, const struct host_process *process);
void client_grace_over(struct timer *timer);

/* client_hello.c */
void client_socket_ready(struct host_watch *watch, uint32_t events);
void client_hello_overdue(struct timer *timer);

#endif
