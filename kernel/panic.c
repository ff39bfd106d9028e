/*
 * The kernel's last words, and its log. Both format into a buffer on the stack and hand the text to the
 * body; neither allocates nor takes a lock of the kernel, so they work anywhere.
 */
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/string.h"

#define LINE_MAX_BYTES 512

void panic(const char *text, ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, text);
    format_va(line, sizeof(line), text, args);
    va_end(args);
    body_panic(line);
}

void log_line(const char *text, ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, text);
    int length = format_va(line, sizeof(line), text, args);
    va_end(args);
    size_t shown = (size_t)length < sizeof(line) ? (size_t)length : sizeof(line) - 1;
    body_log(line, shown);
}
