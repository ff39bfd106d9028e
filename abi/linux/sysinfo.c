/*
 * What the system says of itself: names, memory, how many processes; and random bytes.
 */
#include "abi/linux/calls.h"
#include "abi/linux/process_life.h"
#include "abi/linux/uapi.h"
#include "kernel/string.h"

#include <arch/linux.h>

#define HOST_NAME_SIZE 64
#define RELEASE "6.6.0-hyla"
#define VERSION "#1 SMP PREEMPT Hyla"

static struct spinlock names_lock = SPINLOCK_INIT(RANK_POOL);
static char hostname[HOST_NAME_SIZE + 1] = "hyla";
static char domainname[HOST_NAME_SIZE + 1] = "(none)";

static void read_name(const char *from, char to[65])
{
    spin_lock(&names_lock);
    memcpy(to, from, HOST_NAME_SIZE + 1);
    spin_unlock(&names_lock);
}

static void write_name(char *to, const char from[65])
{
    spin_lock(&names_lock);
    memcpy(to, from, HOST_NAME_SIZE + 1);
    spin_unlock(&names_lock);
}

void system_hostname(char name[65]) { read_name(hostname, name); }
void system_domainname(char name[65]) { read_name(domainname, name); }

void system_set_hostname(const char *name)
{
    char text[HOST_NAME_SIZE + 1] = {0};

    memcpy(text, name, strnlen(name, HOST_NAME_SIZE));
    write_name(hostname, text);
}

static int64_t set_name(char *which, uaddr_t address, int32_t length)
{
    char name[HOST_NAME_SIZE + 1] = {0};

    if (!capable(LINUX_CAP_SYS_ADMIN))
        return -EPERM;
    if (length < 0 || length > HOST_NAME_SIZE)
        return -EINVAL;
    if (user_read(name, address, length))
        return -EFAULT;
    write_name(which, name);
    return 0;
}

int64_t sys_sethostname(uaddr_t name, int32_t length) { return set_name(hostname, name, length); }
int64_t sys_setdomainname(uaddr_t name, int32_t length) { return set_name(domainname, name, length); }

int64_t sys_uname(struct linux_utsname *name)
{
    memset(name, 0, sizeof *name);
    memcpy(name->system, "Linux", sizeof "Linux");
    memcpy(name->release, RELEASE, sizeof RELEASE);
    memcpy(name->version, VERSION, sizeof VERSION);
    memcpy(name->machine, ARCH_PLATFORM, sizeof ARCH_PLATFORM);
    system_hostname(name->node);
    system_domainname(name->domain);
    return 0;
}

/* --- memory and load --------------------------------------------------------------------------------- */

void system_memory(uint64_t *total, uint64_t *available)
{
    uint64_t limit = system_memory_limit();
    uint64_t used = aspace_total_committed();

    *total = min_u64(body_memory_size(), limit ? limit : UINT64_MAX);
    *available = used < *total ? *total - used : 0;
}

int64_t sys_sysinfo(struct linux_sysinfo *info)
{
    memset(info, 0, sizeof *info);
    info->uptime = body_now() / 1000000000;
    system_memory(&info->total_ram, &info->free_ram);
    info->processes = (uint16_t)id_count();
    info->memory_unit = 1;
    return 0;
}

/* --- random bytes ------------------------------------------------------------------------------------ */

enum { GRND_NONBLOCK = 1, GRND_RANDOM = 2, GRND_INSECURE = 4 };
#define RANDOM_BLOCK 256u

int64_t sys_getrandom(uaddr_t buffer, uint64_t size, uint32_t flags)
{
    uint8_t block[RANDOM_BLOCK];
    uint64_t done = 0;

    if (flags & ~(uint32_t)(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE))
        return -EINVAL;
    if ((flags & GRND_RANDOM) && (flags & GRND_INSECURE))
        return -EINVAL;
    size = min_u64(size, 0x7ffff000);
    while (done < size) {
        uint64_t part = min_u64(size - done, sizeof block);
        body_random(block, part);
        if (user_write(buffer + done, block, part))
            return done ? (int64_t)done : -EFAULT;
        done += part;
        if (done % PAGE_SIZE == 0 && signal_pending())
            break;
    }
    return (int64_t)done;
}
