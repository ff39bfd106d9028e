/*
 * What `hyla ps` and `hyla ports` show of a server, as text. On a kernel thread; may suspend.
 */
#ifndef ABI_NATIVE_REPORT_H
#define ABI_NATIVE_REPORT_H

#include "kernel/types.h"

struct task;

typedef void report_put(void *context, const char *text, size_t length);
/* The host's process id of an attached task, for people: 0 when not known. */
typedef int32_t report_host_id(const struct task *task);

void report_tasks(report_put *put, void *context, report_host_id *host_id);
void report_ports(report_put *put, void *context);

#endif
