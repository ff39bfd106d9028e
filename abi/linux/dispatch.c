/*
 * The door of the Linux ABI: one indexed call through the generated table, with hooks for tracing and counting.
 *
 * With the hooks off a call costs a bound check, a load of call_hooks (read-mostly, set before the first program runs)
 * and the indirect call.
 */
#include "abi/linux/call.h"
#include "abi/linux/process.h"
#include "abi/linux/trace.h"
#include "kernel/alloc.h"
#include "kernel/user.h"

struct atomic32 call_hooks;
static struct call_statistics *statistics;

int call_statistics_start(void)
{
    statistics = kcalloc(call_row_count, sizeof *statistics);
    if (!statistics)
        return -ENOMEM;
    atomic32_or(&call_hooks, CALL_HOOK_STATISTICS);
    user_calls_watch();
    return 0;
}

const struct call_statistics *call_statistics_of(uint32_t row)
{
    return statistics && row < call_row_count ? &statistics[row] : NULL;
}

static void count(uint32_t row, int64_t result, nanoseconds_t spent)
{
    if (!statistics || row == CALL_ROW_NONE)
        return;
    atomic64_add_relaxed(&statistics[row].count, 1);
    atomic64_add_relaxed(&statistics[row].nanoseconds, spent);
    if (result < 0 && result >= -4095)
        atomic64_add_relaxed(&statistics[row].errors, 1);
}

/* Not one of Linux's: the native calls have numbers of their own. */
static NOINLINE int64_t beyond(uint64_t number, const uint64_t arguments[6])
{
    const struct abi_calls *calls = abi_calls_of(number);
    return calls ? calls->call(number, arguments) : -ENOSYS;
}

static NOINLINE int64_t dispatch_hooked(uint64_t number, const uint64_t arguments[6])
{
    bool known = number < call_number_limit;
    uint32_t row = known ? call_row_of_number[number] : CALL_ROW_NONE;
    call_function *function = known ? call_functions[number] : NULL;
    struct trace_call trace;
    trace_call_begin(&trace, number, row, arguments);
    nanoseconds_t start = body_now();
    if (row != CALL_ROW_NONE && (call_rows[row].flags & CALL_NO_RETURN))
        count(row, 0, 0);
    int64_t result = function ? function(arguments) : beyond(number, arguments);
    count(row, result, body_now() - start);
    trace_call_end(&trace, result);
    return result;
}

bool call_parks(void) { return !atomic32_load_relaxed(&call_hooks); }

int64_t call_dispatch(uint64_t number, const uint64_t arguments[6])
{
    if (UNLIKELY(atomic32_load_relaxed(&call_hooks)))
        return dispatch_hooked(number, arguments);
    if (UNLIKELY(number >= call_number_limit || !call_functions[number]))
        return beyond(number, arguments);
    return call_functions[number](arguments);
}
