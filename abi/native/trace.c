/*
 * See trace.h. `open_line` remembers whose half line is last in the output: anybody else's text first ends it with
 * "<unfinished ...>", and its end begins a line of its own. The lock (rank TRACE) guards that, and orders the output.
 */
#include "abi/native/trace.h"

#include "abi/native/call.h"
#include "kernel/lock.h"
#include "kernel/string.h"

#define LINE 1024u

bool native_traced;
static void (*output)(const char *text, size_t length);
static struct mutex lock;
static int32_t open_line; /* a thread's id, or 0 */

void native_trace_start(void (*to)(const char *text, size_t length))
{
    mutex_init(&lock, RANK_TRACE);
    output = to;
    native_traced = true;
}

static void end_open_line_locked(void)
{
    static const char unfinished[] = " <unfinished ...>\n";
    if (open_line)
        output(unfinished, sizeof unfinished - 1);
    open_line = 0;
}

void native_trace_begin(int32_t task, int32_t thread, uint64_t number, const uint64_t arguments[6])
{
    char text[LINE];
    size_t length = (size_t)format(text, sizeof text, "%d.%d ", task, thread);
    if (abi_calls_of(number))
        length += native_show(number, arguments, false, text + length, sizeof text - length);
    else
        length += (size_t)format(text + length, sizeof text - length, "call_%llu(", (unsigned long long)number);
    mutex_lock(&lock);
    end_open_line_locked();
    output(text, length);
    open_line = thread;
    mutex_unlock(&lock);
}

void native_trace_end(int32_t task, int32_t thread, uint64_t number, const uint64_t arguments[6], int64_t result)
{
    char start[64], text[LINE];
    const struct native_row *row = number >= NATIVE_FIRST && number < NATIVE_LIMIT ? &native_rows[number - NATIVE_FIRST] : NULL;
    size_t opening = (size_t)format(start, sizeof start, "%d.%d <... %s resumed>", task, thread, row && row->name ? row->name : "call");
    size_t length = result >= 0 && row ? native_show(number, arguments, true, text, sizeof text) : 0;
    length += (size_t)format(text + length, sizeof text - length, result > 4096 ? ") = %#llx\n" : ") = %lld\n", (unsigned long long)result);
    mutex_lock(&lock);
    if (open_line != thread) {
        end_open_line_locked();
        output(start, opening);
    }
    output(text, length < sizeof text ? length : sizeof text - 1);
    open_line = 0;
    mutex_unlock(&lock);
}
