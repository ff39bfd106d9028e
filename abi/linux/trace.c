/*
 * The tracer: one line per call, signal and end, as strace(1) writes them.
 *
 *     3 openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3
 *     4 read(0,  <unfinished ...>
 *     3 close(3) = 0
 *     4 <... read resumed>"x\n", 4096) = 2
 *
 * A line starts with the process id, and ".TID" for a thread that is not its first. What a call was given is written
 * before it is served, so that a call that never returns is seen; what it answers follows. `open_line` remembers whose
 * half line is last in the output: anybody else's text first ends it with "<unfinished ...>".
 *
 * Locks: trace_lock (rank TRACE) guards open_line and orders the output. The options are constant after trace_start.
 */
#include "abi/linux/trace.h"

#include "abi/linux/process.h"
#include "abi/linux/trace_names.h"
#include "abi/linux/trace_text.h"
#include "kernel/alloc.h"
#include "kernel/string.h"
#include "kernel/user.h"

#define PROCESSES_MAX 32

static struct mutex trace_lock;
static int32_t open_line; /* a thread id, or 0; under trace_lock */

static void (*output)(const char *text, size_t length);
static uint32_t string_limit;
static uint8_t *call_hidden; /* by row */
static bool unknown_hidden;  /* calls without a row */
static int32_t filter[PROCESSES_MAX]; /* process ids */
static uint32_t filter_count; /* 0: all */

/* --- options ----------------------------------------------------------------------------------------- */

static bool word_next(const char **list, char word[64])
{
    size_t length = 0;
    if (!**list)
        return false;
    for (; **list && **list != ','; ++*list) {
        if (length < 63)
            word[length++] = **list;
    }
    if (**list)
        ++*list;
    word[length] = 0;
    return true;
}

static int row_find(const char *name)
{
    for (uint32_t row = 0; row < call_row_count; row++) {
        if (!strcmp(call_rows[row].name, name))
            return (int)row;
    }
    return -1;
}

static int parse_calls(const char *list, char what[64])
{
    call_hidden = kzalloc(call_row_count);
    if (!call_hidden)
        return -ENOMEM;
    if (!list || !*list)
        return 0;
    bool negated = *list == '!';
    list += negated;
    unknown_hidden = !negated;
    memset(call_hidden, !negated, call_row_count);
    while (word_next(&list, what)) {
        int row = row_find(what);
        if (row < 0)
            return -EINVAL;
        call_hidden[row] = negated;
    }
    return 0;
}

static int parse_processes(const char *list, char what[64])
{
    while (list && word_next(&list, what)) {
        int32_t value = 0;
        for (const char *digit = what; *digit; digit++) {
            if (*digit < '0' || *digit > '9' || value > INT32_MAX / 10 - 1)
                return -EINVAL;
            value = value * 10 + (*digit - '0');
        }
        if (!value || filter_count == PROCESSES_MAX)
            return -EINVAL;
        filter[filter_count++] = value;
    }
    return 0;
}

int trace_start(const struct trace_options *options, char what[64])
{
    mutex_init(&trace_lock, RANK_TRACE);
    output = options->output;
    string_limit = options->string_limit ? options->string_limit : 32;
    int error = parse_calls(options->calls, what);
    if (!error)
        error = parse_processes(options->processes, what);
    if (!error) {
        atomic32_or(&call_hooks, CALL_HOOK_TRACE);
        user_calls_watch();
    }
    return error;
}

/* --- lines ------------------------------------------------------------------------------------------- */

static bool enabled(void) { return atomic32_load_relaxed(&call_hooks) & CALL_HOOK_TRACE; }

static bool process_shown(void)
{
    if (!enabled() || !current_thread())
        return false;
    for (uint32_t i = 0; i < filter_count; i++) {
        if (filter[i] == current_process()->pid)
            return true;
    }
    return filter_count == 0;
}

static void add_prefix(struct trace_text *text)
{
    int32_t pid = current_process()->pid, tid = current_thread()->tid;
    if (pid == tid)
        text_add(text, "%d ", pid);
    else
        text_add(text, "%d.%d ", pid, tid);
}

/* Ends another's half line. trace_lock held. */
static void end_open_line_locked(void)
{
    static const char unfinished[] = " <unfinished ...>\n";
    if (open_line)
        output(unfinished, sizeof unfinished - 1);
    open_line = 0;
}

/* Writes a whole line (opens == 0) or a half one that belongs to thread `opens`. */
static void write_text(const struct trace_text *text, int32_t opens)
{
    mutex_lock(&trace_lock);
    end_open_line_locked();
    output(text->text, text->length);
    open_line = opens;
    mutex_unlock(&trace_lock);
}

static bool shown(uint32_t row)
{
    return process_shown() && !(row == CALL_ROW_NONE ? unknown_hidden : call_hidden[row]);
}

/* Arguments from *index on, up to the first that only the call's answer fills in when before_call. */
static uint32_t add_arguments(struct trace_text *text, const struct trace_call *call, uint32_t index, bool before_call, int64_t result)
{
    const struct call_row *row = &call_rows[call->row];
    for (; index < row->argument_count; index++) {
        if (before_call && argument_after_call(&row->arguments[index]))
            break;
        text_add(text, "%s", index ? ", " : "");
        text_add_argument(text, &row->arguments[index], index, call->arguments, result, string_limit);
    }
    return index;
}

void trace_call_begin(struct trace_call *call, uint64_t number, uint32_t row, const uint64_t arguments[6])
{
    *call = (struct trace_call){.shown = shown(row), .row = row, .number = number, .arguments = arguments};
    if (!call->shown)
        return;
    struct trace_text text = {0};
    add_prefix(&text);
    if (row == CALL_ROW_NONE && abi_calls_of(number)) {
        text.length += abi_calls_of(number)->show(number, arguments, false, text.text + text.length, sizeof text.text - text.length);
    } else if (row == CALL_ROW_NONE) {
        text_add(&text, "syscall_%lld(%#llx, %#llx, %#llx", (long long)number, (unsigned long long)arguments[0],
                 (unsigned long long)arguments[1], (unsigned long long)arguments[2]);
    } else {
        text_add(&text, "%s(", call_rows[row].name);
        call->resume_at = add_arguments(&text, call, 0, true, 0);
        if (call_rows[row].flags & CALL_NO_RETURN) {
            text_add(&text, ") = ?\n");
            write_text(&text, 0);
            return;
        }
    }
    write_text(&text, current_thread()->tid);
}

void trace_call_end(struct trace_call *call, int64_t result)
{
    if (!call->shown)
        return;
    struct trace_text rest = {0};
    bool known = call->row != CALL_ROW_NONE;
    if (known)
        add_arguments(&rest, call, call->resume_at, false, result);
    else if (abi_calls_of(call->number) && result >= 0)
        rest.length = abi_calls_of(call->number)->show(call->number, call->arguments, true, rest.text, sizeof rest.text);
    text_add(&rest, ")");
    text_add_result(&rest, result, known && (call_rows[call->row].flags & CALL_RESULT_ADDRESS));
    text_add(&rest, "\n");

    struct trace_text start = {0};
    add_prefix(&start);
    text_add(&start, "<... %s resumed>", known ? call_rows[call->row].name : "syscall");
    mutex_lock(&trace_lock);
    if (open_line != current_thread()->tid) {
        end_open_line_locked();
        output(start.text, start.length);
    }
    output(rest.text, rest.length);
    open_line = 0;
    mutex_unlock(&trace_lock);
}

/* --- signals and ends -------------------------------------------------------------------------------- */

void trace_signal(int signal, const struct linux_siginfo *info)
{
    if (!process_shown())
        return;
    char name[16];
    struct trace_text text = {0};
    add_prefix(&text);
    text_add(&text, "--- %s {si_signo=%d, si_code=%d", signal_name(signal, name), signal, info ? info->code : 0);
    if (info && info->code > 0 && info->code != LINUX_SI_KERNEL && signal != LINUX_SIGCHLD)
        text_add(&text, ", si_addr=%#llx", (unsigned long long)info->fault.address);
    else if (info)
        text_add(&text, ", si_pid=%d", info->rt.pid);
    text_add(&text, "} ---\n");
    write_text(&text, 0);
}

void trace_process_end(int32_t wait_status)
{
    if (!process_shown())
        return;
    char name[16];
    struct trace_text text = {0};
    add_prefix(&text);
    if (wait_status & 0x7f)
        text_add(&text, "+++ killed by %s +++\n", signal_name(wait_status & 0x7f, name));
    else
        text_add(&text, "+++ exited with %d +++\n", (wait_status >> 8) & 0xff);
    write_text(&text, 0);
}

void trace_thread_end(void)
{
    if (!process_shown())
        return;
    struct trace_text text = {0};
    add_prefix(&text);
    text_add(&text, "+++ thread ended +++\n");
    write_text(&text, 0);
}
