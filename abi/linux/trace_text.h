/*
 * The tracer's text: a bounded buffer and the decoders that show call arguments in it. See trace_text.c.
 */
#ifndef ABI_LINUX_TRACE_TEXT_H
#define ABI_LINUX_TRACE_TEXT_H

#include "abi/linux/call.h"

#define TRACE_TEXT_SIZE 1536

/* Silently ends at its limit: a trace line is for people. */
struct trace_text {
    size_t length;
    char text[TRACE_TEXT_SIZE];
};

void text_add(struct trace_text *text, const char *string, ...) PRINTF_LIKE(2, 3);
/* True for arguments that the call fills in: they are shown after it. */
bool argument_after_call(const struct call_argument *argument);
/* One argument. `result` is the call's (0 before it). May suspend: reads user memory. */
void text_add_argument(struct trace_text *text, const struct call_argument *argument, uint32_t index,
                       const uint64_t arguments[6], int64_t result, uint32_t string_limit);
/* " = 3", " = -1 ENOENT", " = ? ERESTARTSYS". */
void text_add_result(struct trace_text *text, int64_t result, bool address);

#endif
