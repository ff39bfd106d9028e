/*
 * What `hyla run` shows of the kernel's work: the trace while it runs, the statistics at its end.
 */
#include "cmd/command.h"
#include "cmd/run.h"

#include "abi/linux/trace.h"
#include "body/linux/host.h"
#include "kernel/object.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int run_report_start(const struct run_options *options)
{
    return options->trace ? trace_sink_open(options->trace_file) : 0;
}

int run_report_enable(const struct run_options *options)
{
    char what[64] = "";
    struct trace_options trace = {.output = trace_sink_write, .calls = options->trace_calls,
                                  .processes = options->trace_processes, .string_limit = options->trace_string};
    int error = options->trace ? trace_start(&trace, what) : 0;
    if (error == -EINVAL) {
        complain("--trace: '%s' is no system call that Hyla knows, or no process id", what);
        return EXIT_HYLA;
    }
    if (!error && options->statistics)
        error = call_statistics_start();
    if (error)
        complain("tracing: %s", error_text(error));
    return error ? EXIT_HYLA : 0;
}

/* --- statistics -------------------------------------------------------------------------------------- */

struct line {
    uint32_t row;
    uint64_t count, errors, nanoseconds;
};

static int by_time(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    return x->nanoseconds < y->nanoseconds ? 1 : x->nanoseconds > y->nanoseconds ? -1 : (int)x->row - (int)y->row;
}

static size_t collect(struct line *lines)
{
    size_t used = 0;
    for (uint32_t row = 0; row < call_row_count; row++) {
        const struct call_statistics *from = call_statistics_of(row);
        uint64_t count = from ? atomic64_load_relaxed(&from->count) : 0;
        if (count)
            lines[used++] = (struct line){row, count, atomic64_load_relaxed(&from->errors), atomic64_load_relaxed(&from->nanoseconds)};
    }
    qsort(lines, used, sizeof *lines, by_time);
    return used;
}

static void print_host(void)
{
    struct host_statistics host = {0};
    host_statistics_read(&host);
    fprintf(stderr,
            "\ncalls served by the kernel  %12llu\n  found by polling          %12llu\n  woken by a doorbell       %12llu\n"
            "sites that trapped          %12llu\nsites rewritten             %12llu\nserver-to-client rounds     %12llu\n"
            "kicks                       %12llu\nmoved to the caller's CPU    %12llu\npipes lent to programs      %12llu\nblocking host calls         %12llu\n",
            (unsigned long long)host.calls_served, (unsigned long long)host.calls_by_page_poll, (unsigned long long)host.doorbells,
            (unsigned long long)host.traps, (unsigned long long)host.sites_rewritten, (unsigned long long)host.s2c_rounds,
            (unsigned long long)host.kicks, (unsigned long long)host.pulls, (unsigned long long)host.rings,
            (unsigned long long)host.host_calls_pooled);
}

void run_report_finish(const struct run_options *options)
{
    trace_sink_close();
    if (options->verbose)
        complain("%llu objects of the kernel live at the end", (unsigned long long)object_live_count());
    struct line *lines = options->statistics ? calloc(call_row_count, sizeof *lines) : NULL;
    if (!lines)
        return;
    size_t used = collect(lines);
    fprintf(stderr, "%-24s %10s %8s %14s %12s\n", "call", "count", "errors", "time (us)", "mean (us)");
    for (size_t i = 0; i < used; i++) {
        const struct line *line = &lines[i];
        fprintf(stderr, "%-24s %10llu %8llu %14.1f %12.2f\n", call_rows[line->row].name, (unsigned long long)line->count,
                (unsigned long long)line->errors, (double)line->nanoseconds / 1e3,
                (double)line->nanoseconds / 1e3 / (double)line->count);
    }
    print_host();
    free(lines);
}
