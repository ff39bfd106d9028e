/*
 * User threads as the host's threads: interrupted by a signal, placed on a CPU, their CPU time. All of it needs the host's
 * id of the thread, which is looked up when first needed.
 */
#include "body/linux/client.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Does the host's thread `tid` of that process have this id inside? */
static bool is_inner(int32_t pid, int32_t tid, int32_t inner_tid)
{
    char name[64], line[256];
    bool same = false;
    snprintf(name, sizeof name, "/proc/%d/task/%d/status", pid, tid);
    FILE *status = fopen(name, "r");
    while (status && fgets(line, sizeof line, status)) {
        if (strncmp(line, "NSpid:", 6) == 0) {
            const char *last = strrchr(line, '\t');
            same = last && atoi(last) == inner_tid;
            break;
        }
    }
    if (status)
        fclose(status);
    return same;
}

/*
 * The thread id that the server sees: the host tells it only in /proc, so it is looked up when first needed. Both ids are
 * given out in order, so threads made one after the other are the same distance apart: the last one found is tried first,
 * or the end of a thousand threads would look at each of them a thousand times.
 */
static int32_t find_outer_tid(struct user_thread *user)
{
    static struct atomic32 distance;
    char name[64];
    struct host_process *process = __atomic_load_n(&user->process, __ATOMIC_ACQUIRE);
    int32_t pid = process ? process->pid : (int32_t)atomic32_load(&user->client->ready_pid), found = 0;
    if (user->index == 0 || !user->inner_tid)
        return pid;
    int32_t guess = user->inner_tid + (int32_t)atomic32_load_relaxed(&distance);
    if (is_inner(pid, guess, user->inner_tid))
        return guess;
    snprintf(name, sizeof name, "/proc/%d/task", pid);
    DIR *dir = opendir(name);
    for (struct dirent *entry; dir && !found && (entry = readdir(dir));) {
        int32_t tid = atoi(entry->d_name);
        if (tid > 0 && is_inner(pid, tid, user->inner_tid))
            found = tid;
    }
    if (dir)
        closedir(dir);
    if (found)
        atomic32_store_relaxed(&distance, (uint32_t)(found - user->inner_tid));
    return found;
}

static int32_t outer_tid(struct user_thread *user)
{
    int32_t tid = (int32_t)atomic32_load(&user->outer_tid);
    if (tid == 0) {
        tid = find_outer_tid(user);
        atomic32_store(&user->outer_tid, (uint32_t)tid);
    }
    return tid;
}

void user_kick(struct user_thread *user)
{
    int32_t tid = outer_tid(user);
    struct host_process *process = __atomic_load_n(&user->process, __ATOMIC_ACQUIRE);
    int32_t pid = process ? process->pid : (int32_t)atomic32_load(&user->client->ready_pid);
    if (tid > 0 && pid > 0) {
        STATISTIC(kicks, 1);
        syscall(SYS_tgkill, pid, tid, STUB_INTERRUPT_SIGNAL);
    }
}

bool user_place(struct user_thread *user, uint32_t cpu, cpu_set_t *before)
{
    cpu_set_t set;
    int32_t tid = outer_tid(user);
    if (tid <= 0 || cpu >= CPU_SETSIZE || sched_getaffinity(tid, sizeof *before, before) || !CPU_ISSET(cpu, before))
        return false;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(tid, sizeof set, &set) == 0;
}

void user_place_back(struct user_thread *user, const cpu_set_t *before) { sched_setaffinity(outer_tid(user), sizeof *before, before); }

void body_user_kick(struct thread *thread)
{
    struct user_thread *user = thread == thread_current() ? NULL : user_of(thread);
    atomic_fence();
    enum user_mode mode = user ? mode_of(atomic32_load(&user->mode)) : MODE_KERNEL;
    if (user && user->client->attached) { /* nothing can be wanted of it that waits for it */
        user_thread_unref(user);
        return;
    }
    if ((mode == MODE_USER || mode == MODE_ANSWERING) && !atomic32_load(&user->lost))
        user_kick(user);
    if (user && mode != MODE_KERNEL && thread_killed(thread))
        client_expect_end(user);
    if (user)
        user_thread_unref(user);
}

static uint64_t process_cpu_ns(int32_t pid)
{
    struct timespec used;
    /* Another process's CPU clock, as clock_getcpuclockid(3) encodes it: ~pid << 3 | SCHED. */
    if (clock_gettime((clockid_t)(((unsigned)~pid << 3) | 2), &used) < 0)
        return 0;
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* The host has a clock for a foreign process but none for one thread in it: /proc says it. */
static uint64_t thread_cpu_ns(int32_t pid, int32_t tid)
{
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/schedstat", pid, tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = 0;
    return strtoull(text, NULL, 10);
}

/* The host counts a program's and its stub's time as one: all of it is user time here. */
void body_user_cpu_time(struct thread *thread, uint64_t *user_ns, uint64_t *system_ns)
{
    struct user_thread *user = thread->user;
    *user_ns = *system_ns = 0;
    if (!user)
        return;
    struct host_process *process = __atomic_load_n(&user->process, __ATOMIC_ACQUIRE);
    int32_t pid = process ? process->pid : (int32_t)atomic32_load(&user->client->ready_pid);
    if (pid == 0)
        return;
    if (atomic32_load(&user->client->thread_count) <= 1) {
        *user_ns = process_cpu_ns(pid);
        return;
    }
    int32_t tid = outer_tid(user);
    *user_ns = tid > 0 ? thread_cpu_ns(pid, tid) : 0;
}
