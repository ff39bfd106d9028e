/*
 * /proc/PID/stat, statm, status, limits, io, schedstat: numbers about a process, from its own records. See proc(5).
 *
 * What this kernel does not count (faults, resident pages of private memory) is 0, or what is committed.
 */
#include "abi/linux/fs/procfs.h"
#include "abi/linux/fs/vfs.h"
#include "abi/linux/tty.h"
#include "kernel/body.h"
#include "kernel/string.h"

#define TICK_NS 10000000u /* USER_HZ is 100 */

/* What the tree lock guards, in one look. */
struct place {
    int32_t parent, group, session, tty_number, foreground, exit_signal, exit_status;
    enum process_state state;
};

static void read_place(struct process *process, struct place *place)
{
    mutex_lock(&process_tree_lock);
    place->parent = process->parent ? process->parent->pid : 0;
    place->group = process->pgid;
    place->session = process->sid;
    place->state = process->state;
    place->exit_signal = process->exit_signal;
    place->exit_status = process->exit_status;
    tty_numbers_locked(process, &place->tty_number, &place->foreground);
    mutex_unlock(&process_tree_lock);
}

static char thread_letter(const struct lthread *thread)
{
    uint32_t cpu;
    if (!thread || !thread->thread)
        return 'R';
    return thread_waits(thread->thread, &cpu) || body_user_asleep(thread->thread) ? 'S' : 'R';
}

static uint32_t last_cpu(const struct lthread *thread)
{
    uint32_t cpu = 0;
    if (thread && thread->thread)
        thread_waits(thread->thread, &cpu);
    return cpu;
}

static char state_letter(const struct place *place, const struct lthread *thread)
{
    switch (place->state) {
    case PROCESS_STOPPED:
        return 'T';
    case PROCESS_ZOMBIE:
        return 'Z';
    case PROCESS_DEAD:
        return 'X';
    default:
        return thread_letter(thread);
    }
}

static const char *state_word(char letter)
{
    switch (letter) {
    case 'S':
        return "S (sleeping)";
    case 'T':
        return "T (stopped)";
    case 'Z':
        return "Z (zombie)";
    case 'X':
        return "X (dead)";
    default:
        return "R (running)";
    }
}

/* Everything a report needs, with references. */
struct subject {
    struct process *process;
    struct lthread *thread; /* may be NULL: a zombie */
    struct mm *mm;          /* may be NULL */
    struct cred *cred;      /* may be NULL */
    struct place place;
    struct mm_usage usage;
    struct signal_summary signals;
    uint64_t user_ns, system_ns;
    uint32_t threads;
};

static int subject_init(struct subject *s, const struct proc_node *node)
{
    memset(s, 0, sizeof *s);
    s->process = proc_process(node);
    if (!s->process)
        return -ESRCH;
    s->thread = proc_thread(node);
    s->mm = process_mm(s->process);
    s->cred = process_cred(s->process);
    read_place(s->process, &s->place);
    s->threads = s->process->thread_count;
    if (s->mm)
        mm_usage(s->mm, &s->usage);
    if (s->thread)
        signal_summary_read(s->thread, &s->signals);
    if (node->tid && s->thread)
        lthread_cpu_time(s->thread, &s->user_ns, &s->system_ns);
    else
        process_cpu_time(s->process, &s->user_ns, &s->system_ns);
    return 0;
}

static void subject_done(struct subject *s)
{
    object_unref(s->cred);
    object_unref(s->mm);
    object_unref(s->thread);
    object_unref(s->process);
}

static uint64_t resident(const struct subject *s) { return s->usage.data + s->usage.stack + s->usage.executable; }
static unsigned long long ticks(uint64_t ns) { return ns / TICK_NS; }

/* --- stat -------------------------------------------------------------------------------------------- */

static void stat_times(const struct subject *s, struct proc_text *text)
{
    struct process *process = s->process;
    int nice = s->thread ? s->thread->nice : 0;
    proc_add(text, " %llu %llu %llu %llu %d %d %u 0 %llu", ticks(s->user_ns), ticks(s->system_ns),
             ticks(atomic64_load_relaxed(&process->children_user_ns)), ticks(atomic64_load_relaxed(&process->children_system_ns)), 20 + nice,
             nice, s->threads, ticks(process->start_time));
}

static void stat_memory(const struct subject *s, struct proc_text *text)
{
    uint64_t stack = s->mm ? s->mm->stack_top : 0;
    proc_add(text, " %llu %llu %llu 1 1 %llu 0 0", (unsigned long long)s->usage.mapped, (unsigned long long)(resident(s) / PAGE_SIZE),
             (unsigned long long)(s->mm ? s->process->limits[LINUX_RLIMIT_RSS].current : 0), (unsigned long long)stack);
}

static void stat_tail(const struct subject *s, struct proc_text *text)
{
    const struct mm *mm = s->mm;
    proc_add(text, " %llu %llu %llu %llu 0 0 0 %d %u %d %d 0 0 0", (unsigned long long)(uint32_t)(s->signals.thread_pending),
             (unsigned long long)(s->signals.blocked & 0x7fffffff), (unsigned long long)(s->signals.ignored & 0x7fffffff),
             (unsigned long long)(s->signals.caught & 0x7fffffff), s->place.exit_signal,
             last_cpu(s->thread), s->thread ? s->thread->priority : 0, s->thread ? s->thread->policy : 0);
    proc_add(text, " 0 0 %llu %llu %llu %llu %llu %d\n", (unsigned long long)(mm ? mm->brk_start : 0), (unsigned long long)(mm ? mm->arg_start : 0),
             (unsigned long long)(mm ? mm->arg_end : 0), (unsigned long long)(mm ? mm->env_start : 0),
             (unsigned long long)(mm ? mm->env_end : 0), s->place.state == PROCESS_ZOMBIE ? s->place.exit_status : 0);
}

static int32_t shown_id(const struct proc_node *node) { return node->tid ? node->tid : node->pid; }

int proc_show_stat(const struct proc_node *node, struct proc_text *text)
{
    struct subject s;
    int error = subject_init(&s, node);
    if (error)
        return error;
    proc_add(text, "%d (%.15s) %c %d %d %d %d %d 4194304 0 0 0 0", shown_id(node), s.thread ? s.thread->name : "", state_letter(&s.place, s.thread),
             s.place.parent, s.place.group, s.place.session, s.place.tty_number, s.place.foreground);
    stat_times(&s, text);
    stat_memory(&s, text);
    stat_tail(&s, text);
    subject_done(&s);
    return 0;
}

int proc_show_statm(const struct proc_node *node, struct proc_text *text)
{
    struct subject s;
    int error = subject_init(&s, node);
    if (error)
        return error;
    proc_add(text, "%llu %llu %llu %llu 0 %llu 0\n", (unsigned long long)(s.usage.mapped / PAGE_SIZE), (unsigned long long)(resident(&s) / PAGE_SIZE),
             (unsigned long long)(s.usage.shared / PAGE_SIZE), (unsigned long long)(s.usage.executable / PAGE_SIZE),
             (unsigned long long)((s.usage.data + s.usage.stack) / PAGE_SIZE));
    subject_done(&s);
    return 0;
}

/* --- status ------------------------------------------------------------------------------------------ */

static void status_ids(const struct subject *s, const struct proc_node *node, struct proc_text *text)
{
    const struct cred *cred = s->cred;
    proc_add(text, "Tgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n", node->pid, shown_id(node), s->place.parent);
    if (!cred)
        return;
    proc_add(text, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", cred->uid, cred->euid, cred->suid, cred->fsuid, cred->gid, cred->egid,
             cred->sgid, cred->fsgid);
    proc_add(text, "FDSize:\t64\nGroups:\t");
    for (uint32_t i = 0; i < cred->group_count; i++)
        proc_add(text, "%u ", cred->groups[i]);
    proc_add(text, "\nNStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\n", node->pid, shown_id(node), s->place.group, s->place.session);
}

static void status_size(struct proc_text *text, const char *name, uint64_t bytes)
{
    proc_add(text, "%s:\t%8llu kB\n", name, (unsigned long long)(bytes / 1024));
}

static void status_memory(const struct subject *s, struct proc_text *text)
{
    if (!s->mm)
        return;
    status_size(text, "VmPeak", s->usage.mapped);
    status_size(text, "VmSize", s->usage.mapped);
    status_size(text, "VmLck", s->usage.locked);
    status_size(text, "VmPin", 0);
    status_size(text, "VmHWM", resident(s));
    status_size(text, "VmRSS", resident(s));
    status_size(text, "RssAnon", s->usage.data + s->usage.stack);
    status_size(text, "RssFile", s->usage.executable);
    status_size(text, "RssShmem", 0);
    status_size(text, "VmData", s->usage.data);
    status_size(text, "VmStk", s->usage.stack);
    status_size(text, "VmExe", s->usage.executable);
    status_size(text, "VmLib", 0);
    status_size(text, "VmPTE", 0);
    status_size(text, "VmSwap", 0);
}

static void status_signals(const struct subject *s, struct proc_text *text)
{
    const struct signal_summary *signals = &s->signals;
    proc_add(text, "Threads:\t%u\nSigQ:\t%llu/%llu\n", s->threads, (unsigned long long)signals->queued, (unsigned long long)signals->queue_limit);
    proc_add(text, "SigPnd:\t%016llx\nShdPnd:\t%016llx\nSigBlk:\t%016llx\nSigIgn:\t%016llx\nSigCgt:\t%016llx\n",
             (unsigned long long)signals->thread_pending, (unsigned long long)signals->process_pending, (unsigned long long)signals->blocked,
             (unsigned long long)signals->ignored, (unsigned long long)signals->caught);
}

static void status_capabilities(const struct subject *s, struct proc_text *text)
{
    const struct cred *cred = s->cred;
    if (!cred)
        return;
    proc_add(text, "CapInh:\t%016llx\nCapPrm:\t%016llx\nCapEff:\t%016llx\nCapBnd:\t%016llx\nCapAmb:\t%016llx\n",
             (unsigned long long)cred->cap_inheritable, (unsigned long long)cred->cap_permitted, (unsigned long long)cred->cap_effective,
             (unsigned long long)cred->cap_bounding, (unsigned long long)cred->cap_ambient);
    proc_add(text, "NoNewPrivs:\t%d\nSeccomp:\t0\nSeccomp_filters:\t0\n", s->thread && s->thread->no_new_privs);
}

static void status_cpus(const struct subject *s, struct proc_text *text)
{
    uint64_t all = body_cpu_count() < 64 ? ((uint64_t)1 << body_cpu_count()) - 1 : UINT64_MAX;
    uint64_t allowed = s->thread && s->thread->affinity[0] ? s->thread->affinity[0] & all : all;
    uint64_t switches = s->thread ? atomic64_load_relaxed(&s->thread->voluntary_switches) : 0;
    proc_add(text, "Cpus_allowed:\t%llx\nCpus_allowed_list:\t", (unsigned long long)allowed);
    const char *separator = "";
    for (int cpu = 0; cpu < 64; cpu++) {
        if (!(allowed >> cpu & 1))
            continue;
        int last = cpu;
        while (last < 63 && (allowed >> (last + 1) & 1))
            last++;
        proc_add(text, last > cpu ? "%s%d-%d" : "%s%d", separator, cpu, last);
        separator = ",";
        cpu = last;
    }
    proc_add(text, "\nMems_allowed:\t1\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t%llu\nnonvoluntary_ctxt_switches:\t0\n",
             (unsigned long long)switches);
}

static uint32_t umask_of(struct process *process)
{
    mutex_lock(&process->mutex);
    uint32_t umask = process->fs ? atomic32_load_relaxed(&process->fs->umask) : 0;
    mutex_unlock(&process->mutex);
    return umask;
}

int proc_show_status(const struct proc_node *node, struct proc_text *text)
{
    struct subject s;
    int error = subject_init(&s, node);
    if (error)
        return error;
    proc_add(text, "Name:\t%.15s\n", s.thread ? s.thread->name : "");
    if (s.mm)
        proc_add(text, "Umask:\t%04o\n", umask_of(s.process));
    proc_add(text, "State:\t%s\n", state_word(state_letter(&s.place, s.thread)));
    status_ids(&s, node, text);
    status_memory(&s, text);
    status_signals(&s, text);
    status_capabilities(&s, text);
    status_cpus(&s, text);
    subject_done(&s);
    return 0;
}

/* --- limits, io, schedstat --------------------------------------------------------------------------- */

struct limit_name {
    const char *name, *unit;
};

static const struct limit_name limit_names[LINUX_RLIMITS] = {
    [LINUX_RLIMIT_CPU] = {"Max cpu time", "seconds"},
    [LINUX_RLIMIT_FSIZE] = {"Max file size", "bytes"},
    [LINUX_RLIMIT_DATA] = {"Max data size", "bytes"},
    [LINUX_RLIMIT_STACK] = {"Max stack size", "bytes"},
    [LINUX_RLIMIT_CORE] = {"Max core file size", "bytes"},
    [LINUX_RLIMIT_RSS] = {"Max resident set", "bytes"},
    [LINUX_RLIMIT_NPROC] = {"Max processes", "processes"},
    [LINUX_RLIMIT_NOFILE] = {"Max open files", "files"},
    [LINUX_RLIMIT_MEMLOCK] = {"Max locked memory", "bytes"},
    [LINUX_RLIMIT_AS] = {"Max address space", "bytes"},
    [LINUX_RLIMIT_LOCKS] = {"Max file locks", "locks"},
    [LINUX_RLIMIT_SIGPENDING] = {"Max pending signals", "signals"},
    [LINUX_RLIMIT_MSGQUEUE] = {"Max msgqueue size", "bytes"},
    [LINUX_RLIMIT_NICE] = {"Max nice priority", ""},
    [LINUX_RLIMIT_RTPRIO] = {"Max realtime priority", ""},
    [LINUX_RLIMIT_RTTIME] = {"Max realtime timeout", "us"},
};

static void show_limit(struct proc_text *text, uint64_t limit)
{
    if (limit == UINT64_MAX)
        proc_add(text, "%-20s ", "unlimited");
    else
        proc_add(text, "%-20llu ", (unsigned long long)limit);
}

int proc_show_limits(const struct proc_node *node, struct proc_text *text)
{
    struct process *process = proc_process(node);
    if (!process)
        return -ESRCH;
    proc_add(text, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (int i = 0; i < LINUX_RLIMITS; i++) {
        proc_add(text, "%-25s ", limit_names[i].name);
        show_limit(text, process->limits[i].current);
        show_limit(text, process->limits[i].maximum);
        proc_add(text, "%-10s\n", limit_names[i].unit);
    }
    object_unref(process);
    return 0;
}

/* Transfers are not counted. */
int proc_show_io(const struct proc_node *node, struct proc_text *text)
{
    struct process *process;
    int error = proc_process_checked(node, &process);
    if (error)
        return error;
    proc_add(text, "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n");
    object_unref(process);
    return 0;
}

int proc_show_schedstat(const struct proc_node *node, struct proc_text *text)
{
    struct subject s;
    int error = subject_init(&s, node);
    if (error)
        return error;
    proc_add(text, "%llu 0 0\n", (unsigned long long)(s.user_ns + s.system_ns));
    subject_done(&s);
    return 0;
}
