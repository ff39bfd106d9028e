/*
 * The tracer of attached programs: one line per call, as `hyla run --trace` writes native calls.
 *
 *     3.7 port_create(0) = 0x10003
 *     3.7 msg({flags=0x5, …}) = <unfinished ...>
 *
 * A line starts with the ids of task and thread. What a call was given is written before it is served, so that one that waits is seen.
 */
#ifndef ABI_NATIVE_TRACE_H
#define ABI_NATIVE_TRACE_H

#include "kernel/types.h"

/* Before the first program comes. `output` may wait, and writes whole pieces. */
void native_trace_start(void (*output)(const char *text, size_t length));
extern bool native_traced; /* constant after that */

/* A call of the calling thread, which has these ids; around it. May suspend. */
void native_trace_begin(int32_t task, int32_t thread, uint64_t number, const uint64_t arguments[6]);
void native_trace_end(int32_t task, int32_t thread, uint64_t number, const uint64_t arguments[6], int64_t result);

#endif
