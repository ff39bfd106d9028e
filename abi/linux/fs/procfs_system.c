/*
 * The files at the top of /proc that speak of the whole machine: processors, memory, load, time. See proc(5).
 */
#include "abi/linux/calls.h"
#include "abi/linux/fs/procfs.h"
#include "abi/linux/uapi.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#include <arch/cpuinfo.h>

#define TICK_NS 10000000u
#define CPU_TEXT_SIZE 1024u

static int show_cpuinfo(const struct proc_node *node, struct proc_text *text)
{
    char *cpu = kalloc(CPU_TEXT_SIZE);
    (void)node;
    if (!cpu)
        return -ENOMEM;
    arch_cpu_show(cpu, CPU_TEXT_SIZE);
    for (uint32_t i = 0; i < body_cpu_count(); i++)
        proc_add(text, "processor\t: %u\n%sphysical id\t: 0\nsiblings\t: %u\ncore id\t\t: %u\ncpu cores\t: %u\n\n", i, cpu, body_cpu_count(), i,
                 body_cpu_count());
    kfree(cpu);
    return 0;
}

static void size_line(struct proc_text *text, const char *name, uint64_t bytes)
{
    proc_add(text, "%s:%*s%llu kB\n", name, (int)(16 - strlen(name) > 0 ? 16 - strlen(name) : 1), "", (unsigned long long)(bytes / 1024));
}

static int show_meminfo(const struct proc_node *node, struct proc_text *text)
{
    static const char *const zeros[] = {"Buffers", "Cached", "SwapCached", "Active", "Inactive", "SwapTotal", "SwapFree", "Dirty",
                                        "Writeback", "AnonPages", "Mapped", "Shmem", "Slab", "SReclaimable"};
    uint64_t total, available;
    (void)node;
    system_memory(&total, &available);
    size_line(text, "MemTotal", total);
    size_line(text, "MemFree", available);
    size_line(text, "MemAvailable", available);
    for (size_t i = 0; i < ARRAY_SIZE(zeros); i++)
        size_line(text, zeros[i], 0);
    size_line(text, "CommitLimit", total);
    size_line(text, "Committed_AS", total - available);
    proc_add(text, "HugePages_Total:       0\nHugePages_Free:        0\n");
    size_line(text, "Hugepagesize", (uint64_t)2 << 20);
    return 0;
}

/* The CPU time of every process there is. */
static void total_time(uint64_t *user_ns, uint64_t *system_ns, uint32_t *processes, uint32_t *running)
{
    *user_ns = *system_ns = 0;
    *processes = *running = 0;
    for (int32_t pid = 0; (pid = process_next_pid(pid));) {
        struct process *process = process_find(pid);
        uint64_t user, system;
        if (!process)
            continue;
        process_cpu_time(process, &user, &system);
        *user_ns += user + atomic64_load_relaxed(&process->children_user_ns);
        *system_ns += system + atomic64_load_relaxed(&process->children_system_ns);
        ++*processes;
        struct lthread *thread = process_any_thread(process);
        *running += thread && thread->thread && thread->thread->state != THREAD_BLOCKED && process->state == PROCESS_ALIVE;
        object_unref(thread);
        object_unref(process);
    }
}

static int show_stat(const struct proc_node *node, struct proc_text *text)
{
    uint64_t user, system, up = body_now();
    uint32_t processes, running, cpus = body_cpu_count();
    (void)node;
    total_time(&user, &system, &processes, &running);
    uint64_t idle = up * cpus > user + system ? up * cpus - user - system : 0;
    proc_add(text, "cpu  %llu 0 %llu %llu 0 0 0 0 0 0\n", (unsigned long long)(user / TICK_NS), (unsigned long long)(system / TICK_NS),
             (unsigned long long)(idle / TICK_NS));
    for (uint32_t i = 0; i < cpus; i++) /* who ran where is not kept: each has its share */
        proc_add(text, "cpu%u %llu 0 %llu %llu 0 0 0 0 0 0\n", i, (unsigned long long)(user / TICK_NS / cpus),
                 (unsigned long long)(system / TICK_NS / cpus), (unsigned long long)(idle / TICK_NS / cpus));
    proc_add(text, "intr 0\nctxt 0\nbtime %lld\nprocesses %u\nprocs_running %u\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
             (long long)(body_wall_offset() / 1000000000), processes, running);
    return 0;
}

static int show_uptime(const struct proc_node *node, struct proc_text *text)
{
    uint64_t user, system, up = body_now();
    uint32_t processes, running;
    (void)node;
    total_time(&user, &system, &processes, &running);
    uint64_t idle = up * body_cpu_count() > user + system ? up * body_cpu_count() - user - system : 0;
    proc_add(text, "%llu.%02u %llu.%02u\n", (unsigned long long)(up / 1000000000), (unsigned)(up / TICK_NS % 100),
             (unsigned long long)(idle / 1000000000), (unsigned)(idle / TICK_NS % 100));
    return 0;
}

/* Load averages are not kept. */
static int show_loadavg(const struct proc_node *node, struct proc_text *text)
{
    uint64_t user, system;
    uint32_t processes, running;
    (void)node;
    total_time(&user, &system, &processes, &running);
    proc_add(text, "0.00 0.00 0.00 %u/%u %d\n", running, processes, current_process() ? current_process()->pid : 1);
    return 0;
}

static int show_version(const struct proc_node *node, struct proc_text *text)
{
    struct linux_utsname name;
    (void)node;
    sys_uname(&name);
    proc_add(text, "%s version %s (hyla) %s\n", name.system, name.release, name.version);
    return 0;
}

static int show_filesystems(const struct proc_node *node, struct proc_text *text)
{
    (void)node;
    proc_add(text, "nodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\toverlay\nnodev\thostfs\n");
    return 0;
}

static int show_devices(const struct proc_node *node, struct proc_text *text)
{
    (void)node;
    proc_add(text, "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n136 pts\n\nBlock devices:\n");
    return 0;
}

static int show_cmdline(const struct proc_node *node, struct proc_text *text)
{
    (void)node;
    proc_add(text, "\n");
    return 0;
}

static int show_swaps(const struct proc_node *node, struct proc_text *text)
{
    (void)node;
    proc_add(text, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
    return 0;
}

static int64_t put_link(char *target, size_t size, const char *text)
{
    size_t length = min_u64(strlen(text), size);
    memcpy(target, text, length);
    return (int64_t)length;
}

static int64_t link_self(const struct proc_node *node, char *target, size_t size)
{
    char name[16];
    (void)node;
    if (!current_process())
        return -ENOENT;
    format(name, sizeof name, "%d", current_process()->pid);
    return put_link(target, size, name);
}

static int64_t link_thread_self(const struct proc_node *node, char *target, size_t size)
{
    char name[40];
    (void)node;
    if (!current_process())
        return -ENOENT;
    format(name, sizeof name, "%d/task/%d", current_process()->pid, current_thread()->tid);
    return put_link(target, size, name);
}

static int64_t link_mounts(const struct proc_node *node, char *target, size_t size)
{
    (void)node;
    return put_link(target, size, "self/mounts");
}

const struct proc_entry proc_system_entries[] = {
    {.name = "self", .mode = LINUX_S_IFLNK | 0777, .link = link_self},
    {.name = "thread-self", .mode = LINUX_S_IFLNK | 0777, .link = link_thread_self},
    {.name = "mounts", .mode = LINUX_S_IFLNK | 0777, .link = link_mounts},
    PROC_FILE("cpuinfo", 0444, show_cpuinfo),
    PROC_FILE("meminfo", 0444, show_meminfo),
    PROC_FILE("stat", 0444, show_stat),
    PROC_FILE("uptime", 0444, show_uptime),
    PROC_FILE("loadavg", 0444, show_loadavg),
    PROC_FILE("version", 0444, show_version),
    PROC_FILE("filesystems", 0444, show_filesystems),
    PROC_FILE("devices", 0444, show_devices),
    PROC_FILE("cmdline", 0444, show_cmdline),
    PROC_FILE("swaps", 0444, show_swaps),
    {.name = "sys", .mode = LINUX_S_IFDIR | 0555, .children = proc_sys_entries, .child_count = PROC_SYS_COUNT},
    {.name = "sysvipc", .mode = LINUX_S_IFDIR | 0555, .children = proc_sysvipc_entries, .child_count = PROC_SYSVIPC_COUNT},
};
const size_t proc_system_count = ARRAY_SIZE(proc_system_entries);
