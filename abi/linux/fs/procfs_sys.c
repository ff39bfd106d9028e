/*
 * /proc/sys: the kernel's numbers and names that programs ask for. All can be read; what could be written natively by
 * root answers EPERM here, the host name excepted.
 */
#include "abi/linux/calls.h"
#include "abi/linux/fs/procfs.h"
#include "abi/linux/inotify.h"
#include "abi/linux/uapi.h"
#include "kernel/string.h"

#define VALUE_FILE(function, ...)                                                                                      \
    static int function(const struct proc_node *node, struct proc_text *text)                                               \
    {                                                                                                                  \
        (void)node;                                                                                                    \
        proc_add(text, __VA_ARGS__);                                                                                   \
        return 0;                                                                                                      \
    }

VALUE_FILE(show_ostype, "Linux\n")
VALUE_FILE(show_pid_max, "%d\n", LINUX_PID_MAX)
VALUE_FILE(show_threads_max, "%d\n", LINUX_PID_MAX / 2)
VALUE_FILE(show_cap_last, "%d\n", 40)
VALUE_FILE(show_ngroups, "%d\n", LINUX_NGROUPS_MAX)
VALUE_FILE(show_randomize, "2\n")
VALUE_FILE(show_core_pattern, "core\n")
VALUE_FILE(show_zero, "0\n")
VALUE_FILE(show_one, "1\n")
VALUE_FILE(show_shmmax, "18446744073692774399\n")
VALUE_FILE(show_entropy, "256\n")
VALUE_FILE(show_overcommit_ratio, "50\n")
VALUE_FILE(show_map_count, "%u\n", ASPACE_REGIONS_MAX)
VALUE_FILE(show_mmap_min, "65536\n")
VALUE_FILE(show_pipe_max, "1048576\n")
VALUE_FILE(show_file_max, "9223372036854775807\n")
VALUE_FILE(show_nr_open, "1048576\n")
VALUE_FILE(show_file_nr, "0\t0\t9223372036854775807\n")
VALUE_FILE(show_somaxconn, "4096\n")

VALUE_FILE(show_inotify_queue, "%u\n", INOTIFY_QUEUE_MAX)
VALUE_FILE(show_inotify_instances, "%u\n", INOTIFY_INSTANCES_MAX)
VALUE_FILE(show_inotify_watches, "%u\n", INOTIFY_WATCHES_MAX)

static int show_release(const struct proc_node *node, struct proc_text *text)
{
    struct linux_utsname name;
    (void)node;
    sys_uname(&name);
    proc_add(text, "%s\n", name.release);
    return 0;
}

static int show_version(const struct proc_node *node, struct proc_text *text)
{
    struct linux_utsname name;
    (void)node;
    sys_uname(&name);
    proc_add(text, "%s\n", name.version);
    return 0;
}

static int show_hostname(const struct proc_node *node, struct proc_text *text)
{
    char name[65];
    (void)node;
    system_hostname(name);
    proc_add(text, "%s\n", name);
    return 0;
}

static int show_domainname(const struct proc_node *node, struct proc_text *text)
{
    char name[65];
    (void)node;
    system_domainname(name);
    proc_add(text, "%s\n", name);
    return 0;
}

static int store_hostname(const struct proc_node *node, const char *text, size_t length)
{
    char name[65] = {0};
    (void)node;
    if (!capable(LINUX_CAP_SYS_ADMIN))
        return -EPERM;
    while (length && (text[length - 1] == '\n' || !text[length - 1]))
        length--;
    memcpy(name, text, length < 64 ? length : 64);
    system_set_hostname(name);
    return 0;
}

static void add_uuid(struct proc_text *text, const uint8_t bytes[16])
{
    for (int i = 0; i < 16; i++)
        proc_add(text, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", bytes[i]);
    proc_add(text, "\n");
}

static void make_uuid(uint8_t bytes[16])
{
    body_random(bytes, 16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
}

static int show_uuid(const struct proc_node *node, struct proc_text *text)
{
    uint8_t bytes[16];
    (void)node;
    make_uuid(bytes);
    add_uuid(text, bytes);
    return 0;
}

/* One for as long as this kernel lives. */
static int show_boot_id(const struct proc_node *node, struct proc_text *text)
{
    static struct spinlock lock = SPINLOCK_INIT(RANK_NODE_TABLE);
    static uint8_t id[16];
    static bool known;
    uint8_t fresh[16];
    (void)node;
    make_uuid(fresh);
    spin_lock(&lock);
    if (!known)
        memcpy(id, fresh, sizeof id);
    known = true;
    memcpy(fresh, id, sizeof id);
    spin_unlock(&lock);
    add_uuid(text, fresh);
    return 0;
}

#define VALUE(name_, show_) PROC_FILE(name_, 0444, show_)
#define FOLDER(name_, table) {.name = (name_), .mode = LINUX_S_IFDIR | 0555, .children = (table), .child_count = ARRAY_SIZE(table)}

static const struct proc_entry random_entries[] = {
    VALUE("boot_id", show_boot_id),
    VALUE("uuid", show_uuid),
    VALUE("entropy_avail", show_entropy),
    VALUE("poolsize", show_entropy),
};

static const struct proc_entry kernel_entries[] = {
    {.name = "hostname", .mode = LINUX_S_IFREG | 0644, .show = show_hostname, .store = store_hostname},
    VALUE("domainname", show_domainname),
    VALUE("ostype", show_ostype),
    VALUE("osrelease", show_release),
    VALUE("version", show_version),
    VALUE("pid_max", show_pid_max),
    VALUE("threads-max", show_threads_max),
    VALUE("cap_last_cap", show_cap_last),
    VALUE("ngroups_max", show_ngroups),
    VALUE("randomize_va_space", show_randomize),
    VALUE("core_pattern", show_core_pattern),
    VALUE("core_uses_pid", show_zero),
    VALUE("shmmax", show_shmmax),
    VALUE("sched_autogroup_enabled", show_zero),
    VALUE("tainted", show_zero),
    VALUE("dmesg_restrict", show_one),
    VALUE("kptr_restrict", show_one),
    FOLDER("random", random_entries),
};

static const struct proc_entry vm_entries[] = {
    VALUE("overcommit_memory", show_zero), VALUE("overcommit_ratio", show_overcommit_ratio),
    VALUE("max_map_count", show_map_count), VALUE("mmap_min_addr", show_mmap_min),
    VALUE("swappiness", show_zero),        VALUE("nr_hugepages", show_zero),
};

static const struct proc_entry inotify_entries[] = {
    VALUE("max_queued_events", show_inotify_queue),
    VALUE("max_user_instances", show_inotify_instances),
    VALUE("max_user_watches", show_inotify_watches),
};

static const struct proc_entry fs_entries[] = {
    VALUE("pipe-max-size", show_pipe_max), VALUE("file-max", show_file_max),          VALUE("nr_open", show_nr_open),
    VALUE("file-nr", show_file_nr),        VALUE("protected_symlinks", show_zero), VALUE("protected_hardlinks", show_zero),
    FOLDER("inotify", inotify_entries),
};

static const struct proc_entry core_entries[] = {
    VALUE("somaxconn", show_somaxconn),
};

static const struct proc_entry net_entries[] = {
    FOLDER("core", core_entries),
};

const struct proc_entry proc_sys_entries[PROC_SYS_COUNT] = {
    FOLDER("kernel", kernel_entries),
    FOLDER("vm", vm_entries),
    FOLDER("fs", fs_entries),
    FOLDER("net", net_entries),
};
