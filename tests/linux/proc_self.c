/* /proc of oneself: links, descriptors, status, maps, command line, threads, limits. */
#include <dirent.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "tty_check.h"

static char text[1 << 16];

static const char *slurp(const char *name)
{
    int fd = open(name, O_RDONLY);
    ssize_t size = 0, got;
    CHECK(fd >= 0);
    while ((got = read(fd, text + size, 1000)) > 0)
        size += got;
    CHECK(got == 0);
    text[size] = 0;
    close(fd);
    return text;
}

static long field(const char *name)
{
    const char *at = strstr(slurp("/proc/self/status"), name);
    CHECK(at);
    return strtol(at + strlen(name) + 1, NULL, 0);
}

static void links(const char *program)
{
    char target[256], expected[256];
    ssize_t size = readlink("/proc/self", target, sizeof target);
    CHECK(size > 0 && size < (ssize_t)sizeof target);
    target[size] = 0; /* readlink does not */
    CHECK(atoi(target) == getpid());
    snprintf(expected, sizeof expected, "%d/task/%ld", getpid(), syscall(SYS_gettid));
    size = readlink("/proc/thread-self", target, sizeof target);
    CHECK(size == (ssize_t)strlen(expected) && !memcmp(target, expected, (size_t)size));
    CHECK(realpath("/proc/self/exe", target) && realpath(program, expected) && !strcmp(target, expected));
    CHECK(chdir("/") == 0);
    CHECK(readlink("/proc/self/cwd", target, sizeof target) == 1 && target[0] == '/');
    struct stat a, b;
    CHECK(stat("/proc/self/root", &a) == 0 && stat("/", &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    CHECK_ERROR(readlink("/proc/self/stat", target, sizeof target), EINVAL);
    CHECK_ERROR(stat("/proc/4194303", &a), ENOENT);
    CHECK_ERROR(open("/proc/self/nothing", O_RDONLY), ENOENT);
}

static void descriptors(void)
{
    char name[64], target[256];
    int fds[2], null = open("/dev/null", O_RDWR);
    CHECK(pipe(fds) == 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", null);
    CHECK(readlink(name, target, sizeof target) == 9 && !memcmp(target, "/dev/null", 9));
    snprintf(name, sizeof name, "/proc/self/fd/%d", fds[0]);
    CHECK(readlink(name, target, sizeof target) > 6 && !memcmp(target, "pipe:[", 6));
    struct stat by_link, by_fd;
    CHECK(stat(name, &by_link) == 0 && fstat(fds[0], &by_fd) == 0 && by_link.st_ino == by_fd.st_ino);
    CHECK(lstat(name, &by_link) == 0 && S_ISLNK(by_link.st_mode));
    int seen = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        seen += entry->d_name[0] != '.' && (atoi(entry->d_name) == null || atoi(entry->d_name) == fds[1]);
    CHECK(seen == 2);
    closedir(dir);
    close(fds[0]);
    CHECK_ERROR(readlink(name, target, sizeof target), ENOENT);
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", null);
    CHECK(strstr(slurp(name), "flags:\t0100002") || strstr(text, "flags:\t02"));
    close(fds[1]), close(null);
}

static void status(void)
{
    CHECK(field("Pid:") == getpid() && field("Tgid:") == getpid() && field("PPid:") == getppid());
    CHECK(field("Uid:") == getuid() && field("Gid:") == getgid() && field("Threads:") == 1);
    CHECK(prctl(PR_SET_NAME, "renamed") == 0);
    CHECK(strstr(slurp("/proc/self/status"), "Name:\trenamed\n"));
    CHECK(!strcmp(slurp("/proc/self/comm"), "renamed\n"));
    int fd = open("/proc/self/comm", O_WRONLY);
    CHECK(fd >= 0 && write(fd, "written", 7) == 7);
    close(fd);
    CHECK(!strcmp(slurp("/proc/self/comm"), "written\n"));
    for (int other = 1; other < 32; other++) /* who started this may have left some ignored */
        if (other != SIGKILL && other != SIGSTOP)
            signal(other, SIG_DFL);
    signal(SIGUSR1, SIG_IGN);
    const char *ignored = strstr(slurp("/proc/self/status"), "SigIgn:\t");
    CHECK(ignored && (strtoull(ignored + 8, NULL, 16) & 0x7fffffff) == 1u << (SIGUSR1 - 1)); /* the C library keeps 32 and 33 */
    int pid, parent, group, session;
    char letter;
    CHECK(sscanf(slurp("/proc/self/stat"), "%d (written) %c %d %d %d", &pid, &letter, &parent, &group, &session) == 5);
    CHECK(pid == getpid() && letter == 'R' && parent == getppid() && group == getpgrp() && session == getsid(0));
}

static void memory(void)
{
    char line[256];
    int local;
    FILE *maps = fopen("/proc/self/maps", "r");
    bool stack = false, code = false;
    CHECK(maps);
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        char prot[8];
        CHECK(sscanf(line, "%lx-%lx %4s", &start, &end, prot) == 3);
        if ((unsigned long)&local >= start && (unsigned long)&local < end)
            stack = !memcmp(prot, "rw-p", 4) && strstr(line, "[stack]");
        if ((unsigned long)memory >= start && (unsigned long)memory < end)
            code = !memcmp(prot, "r-xp", 4) && strstr(line, "test_proc_self");
    }
    fclose(maps);
    CHECK(stack && code);
    unsigned long pages = 0;
    CHECK(sscanf(slurp("/proc/self/statm"), "%lu", &pages) == 1 && pages > 0);
}

static void strings(char **argv)
{
    CHECK(!strcmp(slurp("/proc/self/cmdline"), argv[0]));
    unsigned long auxv[2];
    int fd = open("/proc/self/auxv", O_RDONLY);
    CHECK(fd >= 0 && read(fd, auxv, sizeof auxv) == sizeof auxv);
    close(fd);
    fd = open("/proc/self/environ", O_RDONLY);
    CHECK(fd >= 0);
    close(fd);
}

static pthread_barrier_t barrier;
static volatile long thread_id;

static void *stay(void *argument)
{
    thread_id = syscall(SYS_gettid);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return argument;
}

static void threads(void)
{
    pthread_t thread;
    char name[64];
    int count = 0;
    pthread_barrier_init(&barrier, NULL, 2);
    CHECK(pthread_create(&thread, NULL, stay, NULL) == 0);
    pthread_barrier_wait(&barrier);
    CHECK(field("Threads:") == 2);
    DIR *dir = opendir("/proc/self/task");
    CHECK(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    CHECK(count == 2);
    snprintf(name, sizeof name, "/proc/self/task/%ld/comm", thread_id);
    CHECK(!strcmp(slurp(name), "written\n"));
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
}

static void limits(void)
{
    struct rlimit limit = {100, 200};
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(strstr(slurp("/proc/self/limits"), "Max open files            100                  200                  files"));
}

static void others(void)
{
    char name[64];
    pid_t child = fork();
    if (!child)
        for (;;)
            pause();
    snprintf(name, sizeof name, "/proc/%d/stat", child);
    EVENTUALLY(strstr(slurp(name), ") S "));
    CHECK(kill(child, SIGKILL) == 0);
    EVENTUALLY(strstr(slurp(name), ") Z "));
    CHECK(waitpid(child, NULL, 0) == child);
    CHECK_ERROR(open(name, O_RDONLY), ENOENT);
}

static void system_wide(void)
{
    struct utsname names;
    CHECK(uname(&names) == 0);
    slurp("/proc/sys/kernel/osrelease");
    CHECK(!strncmp(text, names.release, strlen(names.release)));
    slurp("/proc/sys/kernel/hostname");
    CHECK(!strncmp(text, names.nodename, strlen(names.nodename)));
    CHECK(atoi(slurp("/proc/sys/kernel/pid_max")) >= 32768);
    CHECK(strlen(slurp("/proc/sys/kernel/random/uuid")) == 37);
    CHECK(strstr(slurp("/proc/meminfo"), "MemTotal:") == text);
    int processors = 0;
    slurp("/proc/cpuinfo");
    for (const char *at = text; (at = strstr(at, "processor\t:")); at++)
        processors++;
    CHECK(processors == sysconf(_SC_NPROCESSORS_CONF));
    CHECK(strstr(slurp("/proc/stat"), "cpu ") == text && strstr(text, "\nbtime "));
    double up, idle;
    CHECK(sscanf(slurp("/proc/uptime"), "%lf %lf", &up, &idle) == 2 && up > 0);
    CHECK(strstr(slurp("/proc/self/mounts"), " / "));
    CHECK(strstr(slurp("/proc/self/mountinfo"), " - "));
    CHECK(strstr(slurp("/proc/filesystems"), "proc\n"));
    CHECK_ERROR(open("/proc/sys/kernel/ostype/x", O_RDONLY), ENOTDIR);
    CHECK_ERROR(mkdir("/proc/made", 0700), ENOENT);
}

int main(int argc, char **argv)
{
    (void)argc;
    alarm(60);
    strings(argv);
    descriptors();
    links(argv[0]);
    status();
    memory();
    threads();
    limits();
    others();
    system_wide();
    return 0;
}
