/*
 * Structures that Linux programs and the kernel exchange, as Linux lays them out on 64-bit machines.
 */
#ifndef ABI_LINUX_UAPI_H
#define ABI_LINUX_UAPI_H

#include "kernel/types.h"

#include <arch/stat.h> /* struct linux_stat */

struct linux_timespec {
    int64_t seconds;
    int64_t nanoseconds;
};

struct linux_timeval {
    int64_t seconds;
    int64_t microseconds;
};

/* --- processes --------------------------------------------------------------------------------------- */

struct linux_clone_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
_Static_assert(sizeof(struct linux_clone_args) == 88, "clone_args");

struct linux_rusage {
    struct linux_timeval user_time, system_time;
    int64_t max_rss, shared_text, data, stack, minor_faults, major_faults, swaps, blocks_in, blocks_out, messages_sent,
        messages_received, signals, voluntary_switches, involuntary_switches;
};
_Static_assert(sizeof(struct linux_rusage) == 144, "rusage");

struct linux_tms {
    int64_t user, system, children_user, children_system;
};

struct linux_sysinfo {
    int64_t uptime;
    uint64_t loads[3], total_ram, free_ram, shared_ram, buffer_ram, total_swap, free_swap;
    uint16_t processes, pad;
    uint32_t pad2;
    uint64_t total_high, free_high;
    uint32_t memory_unit;
    uint32_t pad3;
};
_Static_assert(sizeof(struct linux_sysinfo) == 112, "sysinfo");

struct linux_utsname {
    char system[65], node[65], release[65], version[65], machine[65], domain[65];
};

struct linux_capability_header {
    uint32_t version;
    int32_t pid;
};
struct linux_capability_data {
    uint32_t effective, permitted, inheritable;
};

struct linux_sched_param {
    int32_t priority;
};
struct linux_sched_attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t util_min, util_max;
};
_Static_assert(sizeof(struct linux_sched_attr) == 56, "sched_attr");

struct linux_itimerspec {
    struct linux_timespec interval, value;
};

struct linux_itimerval {
    struct linux_timeval interval, value;
};

struct linux_timezone {
    int32_t minutes_west, dst_time;
};

struct linux_timex {
    uint32_t modes, pad0;
    int64_t offset, frequency, max_error, estimated_error;
    int32_t status, pad1;
    int64_t constant, precision, tolerance;
    struct linux_timeval time;
    int64_t tick, pps_frequency, jitter;
    int32_t shift, pad2;
    int64_t stability, jitter_count, calibration_count, error_count, stability_count;
    int32_t tai;
    int32_t pad3[11];
};
_Static_assert(sizeof(struct linux_timex) == 208, "struct timex");

/* --- files ------------------------------------------------------------------------------------------- */

struct linux_statx_timestamp {
    int64_t seconds;
    uint32_t nanoseconds;
    int32_t pad;
};
struct linux_statx {
    uint32_t mask, block_size;
    uint64_t attributes;
    uint32_t link_count, uid, gid;
    uint16_t mode, pad;
    uint64_t inode, size, blocks, attributes_mask;
    struct linux_statx_timestamp access, birth, change, modify;
    uint32_t rdev_major, rdev_minor, device_major, device_minor;
    uint64_t mount_id;
    uint32_t dio_memory_align, dio_offset_align;
    uint64_t spare[12];
};
_Static_assert(sizeof(struct linux_statx) == 256, "statx");

struct linux_statfs {
    int64_t type, block_size;
    uint64_t blocks, blocks_free, blocks_available, files, files_free;
    int32_t fsid[2];
    int64_t name_length, fragment_size, flags, spare[4];
};
_Static_assert(sizeof(struct linux_statfs) == 120, "statfs");

struct linux_flock {
    int16_t type, whence;
    int32_t pad;
    int64_t start, length;
    int32_t pid;
    int32_t pad2;
};
_Static_assert(sizeof(struct linux_flock) == 32, "flock");

struct linux_utimbuf {
    int64_t access, modify;
};

struct linux_open_how {
    uint64_t flags, mode, resolve;
};

struct linux_owner_ex {
    int32_t type, pid;
};

/* One word of futex_waitv(2). */
struct linux_futex_waitv {
    uint64_t value;
    uint64_t address;
    uint32_t flags;
    uint32_t reserved;
};

#endif
