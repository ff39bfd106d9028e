/*
 * A look inside: a line per attached task, a line per handle to a port.
 *
 * Tables are looked at under their own mutex, one handle at a time, so that nobody waits for a slow reader.
 */
#include "abi/native/report.h"

#include "abi/native/native_calls.h"
#include "abi/native/task.h"
#include "kernel/object.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "kernel/thread_control.h"

struct report {
    report_put *put;
    void *context;
    report_host_id *host_id;
};

static void line(const struct report *report, const char *text, ...) PRINTF_LIKE(2, 3);
static void line(const struct report *report, const char *text, ...)
{
    char buffer[160];
    va_list arguments;
    va_start(arguments, text);
    int length = format_va(buffer, sizeof buffer, text, arguments);
    va_end(arguments);
    report->put(report->context, buffer, min_u64((uint64_t)(length < 0 ? 0 : length), sizeof buffer - 1));
}

/* A thread of the task: its id, whether it stands still, the call that it is in. */
static void show_thread(struct thread *thread, int32_t id, uint64_t call, void *argument)
{
    const struct report *report = argument;
    struct thread_control_state state = {0};
    uint32_t cpu;
    thread_control_peek(thread, &state);
    const char *name = call >= NATIVE_FIRST && call < NATIVE_LIMIT ? native_rows[call - NATIVE_FIRST].name : NULL;
    line(report, "%6s %6d %s%s%s\n", "", id, state.stopped ? "stands still" : state.suspensions ? "suspended" : !call ? "runs" : thread_waits(thread, &cpu) ? "waits" : "calls",
         name ? " in " : "", name ? name : "");
}

static void show_task(struct task *task, struct native_ids ids, void *argument)
{
    const struct report *report = argument;
    struct hyla_task_info info = {0};
    native_task_info(task, &info);
    line(report, "%6d %6d %8d %7u %7llu %10llu\n", ids.task, ids.parent, report->host_id(task), info.threads,
         (unsigned long long)info.handles, (unsigned long long)(info.mapped >> 10));
    native_threads_visit(task, show_thread, argument);
}

void report_tasks(report_put *put, void *context, report_host_id *host_id)
{
    struct report report = {put, context, host_id};
    line(&report, "%6s %6s %8s %7s %7s %10s\n", "TASK", "PARENT", "HOST-PID", "THREADS", "HANDLES", "MAPPED-KB");
    native_tasks_visit(show_task, &report);
    line(&report, "%llu objects\n", (unsigned long long)object_live_count());
}

/* --- ports ------------------------------------------------------------------------------------------- */

struct shown_handle {
    handle_t handle;
    uint32_t rights;
    uint64_t badge;
    const char *type;
};

/* The handle in slot *index or after it. False: there is none. */
static bool next_handle(struct task *task, uint32_t *index, struct shown_handle *shown)
{
    struct handle_table *table = &task->handles;
    bool found = false;
    mutex_lock(&table->mutex);
    for (; *index < table->size && !found; ++*index) {
        const struct handle_slot *slot = &table->slots[*index];
        if (!slot->object)
            continue;
        *shown = (struct shown_handle){(uint32_t)slot->generation << 16 | *index, slot->rights, slot->badge, slot->object->type->name};
        found = true;
    }
    mutex_unlock(&table->mutex);
    return found;
}

static const char *right_text(uint32_t rights)
{
    return rights & RIGHT_RECEIVE ? "receive" : rights & RIGHT_SEND_ONCE ? "send-once" : "send";
}

static void show_ports(struct task *task, struct native_ids ids, void *argument)
{
    const struct report *report = argument;
    struct shown_handle shown;
    for (uint32_t index = 0; next_handle(task, &index, &shown);)
        if (shown.rights & (RIGHT_SEND | RIGHT_SEND_ONCE | RIGHT_RECEIVE))
            line(report, "%6d %10x %-10s %-9s %#18llx\n", ids.task, shown.handle, shown.type, right_text(shown.rights),
                 (unsigned long long)shown.badge);
}

void report_ports(report_put *put, void *context)
{
    struct report report = {put, context, NULL};
    line(&report, "%6s %10s %-10s %-9s %18s\n", "TASK", "HANDLE", "OBJECT", "RIGHT", "BADGE");
    native_tasks_visit(show_ports, &report);
}
