/*
 * inotify: which events come of what, with which names and in which order; masks, one-shot watches, moves, equal events,
 * the queue's limit, the ends of watches, waiting for events, limits and errors.
 */
#include "file_check.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

static int watcher;
static char bytes[65536] __attribute__((aligned(8)));

/* Everything that waits, as "wd:mask:name " in turn, masks in hexadecimal; cookies are remembered. */
static uint32_t cookies[64];
static const char *seen(void)
{
    static char text[65536];
    size_t used = 0;
    int count = 0;
    ssize_t got;
    text[0] = 0;
    while ((got = read(watcher, bytes, sizeof bytes)) > 0) {
        for (ssize_t at = 0; at < got;) {
            const struct inotify_event *event = (void *)(bytes + at);
            CHECK(event->len % sizeof *event == 0 && (event->len == 0 || strlen(event->name) < event->len));
            cookies[count++ % 64] = event->cookie;
            used += snprintf(text + used, sizeof text - used, "%d:%x:%s ", event->wd, event->mask, event->len ? event->name : "");
            at += sizeof *event + event->len;
        }
    }
    CHECK(got == -1 && errno == EAGAIN);
    return text;
}

#define EXPECT(text)                                                                                                   \
    do {                                                                                                               \
        const char *is = seen();                                                                                       \
        if (strcmp(is, text)) {                                                                                        \
            dprintf(2, "%s:%d: \"%s\" instead of \"%s\"\n", __FILE__, __LINE__, is, text);                            \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static void begin(void)
{
    watcher = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    CHECK(watcher >= 0);
    scratch_enter();
}

static void end(void)
{
    close(watcher);
    scratch_leave();
}

static int watch(const char *name, uint32_t mask)
{
    int wd = inotify_add_watch(watcher, name, mask);
    CHECK(wd > 0);
    return wd;
}

/* --- what comes of what ---------------------------------------------------------------------------------- */

static void contents_of_a_directory(void)
{
    begin();
    CHECK(watch(".", IN_ALL_EVENTS) == 1);
    put("a", "text");
    EXPECT("1:100:a 1:20:a 1:2:a 1:8:a ");
    int fd = open("a", O_RDWR);
    CHECK(read(fd, bytes, 2) == 2 && pread(fd, bytes, 2, 0) == 2 && write(fd, "xy", 2) == 2);
    CHECK(ftruncate(fd, 1) == 0 && fchmod(fd, 0600) == 0 && close(fd) == 0);
    EXPECT("1:20:a 1:1:a 1:2:a 1:4:a 1:8:a "); /* equal ones that follow each other are one */
    CHECK(open("a", O_PATH) >= 0);
    CHECK(truncate("a", 100) == 0 && chmod("a", 0644) == 0 && utimensat(AT_FDCWD, "a", NULL, 0) == 0);
    EXPECT("1:2:a 1:4:a ");
    struct timespec one[2] = {{0, UTIME_OMIT}, {1, 0}};
    CHECK(utimensat(AT_FDCWD, "a", one, 0) == 0);
    EXPECT("1:2:a ");
    CHECK(mkdir("d", 0755) == 0 && symlink("a", "s") == 0 && mkfifo("f", 0644) == 0 && link("a", "b") == 0);
    EXPECT("1:40000100:d 1:100:s 1:100:f 1:100:b ");
    DIR *dir = opendir("d");
    while (readdir(dir))
        ;
    closedir(dir);
    EXPECT("1:40000020:d 1:40000001:d 1:40000010:d ");
    CHECK(open("b", O_RDONLY | O_EXCL) >= 0);
    CHECK(unlink("s") == 0 && rmdir("d") == 0 && unlink("f") == 0);
    EXPECT("1:20:b 1:200:s 1:40000200:d 1:200:f ");
    fd = open(".", O_TMPFILE | O_RDWR, 0600);
    CHECK(fd >= 0);
    close(fd);
    CHECK(strstr(seen(), ":100:") == NULL);
    end();
}

static void a_file_itself(void)
{
    begin();
    put("a", "text");
    CHECK(watch("a", IN_ALL_EVENTS) == 1);
    int fd = open("a", O_RDONLY);
    CHECK(read(fd, bytes, 1) == 1 && close(fd) == 0);
    EXPECT("1:20: 1:1: 1:10: ");
    CHECK(link("a", "b") == 0 && unlink("b") == 0);
    EXPECT("1:4: "); /* twice the same */
    CHECK(rename("a", "c") == 0);
    EXPECT("1:800: ");
    fd = open("c", O_RDONLY);
    CHECK(unlink("c") == 0);
    EXPECT("1:20: 1:4: "); /* in use still */
    CHECK(close(fd) == 0);
    EXPECT("1:10: 1:400: 1:8000: ");
    CHECK_ERROR(inotify_rm_watch(watcher, 1), EINVAL);
    mkdir("d", 0755);
    CHECK(watch("d", IN_ALL_EVENTS) == 2);
    CHECK(rmdir("d") == 0);
    EXPECT("2:400: 2:8000: ");
    put("x", "1"), put("y", "2");
    CHECK(watch("y", IN_ALL_EVENTS) == 3 && rename("x", "y") == 0);
    EXPECT("3:4: 3:400: 3:8000: ");
    end();
}

static void moves(void)
{
    begin();
    CHECK(mkdir("from", 0755) == 0 && mkdir("to", 0755) == 0);
    put("from/a", "1");
    CHECK(watch("from", IN_MOVE | IN_MOVE_SELF) == 1 && watch("to", IN_MOVE | IN_DELETE) == 2);
    CHECK(rename("from/a", "to/b") == 0);
    EXPECT("1:40:a 2:80:b ");
    CHECK(cookies[0] && cookies[0] == cookies[1]);
    uint32_t before = cookies[0];
    CHECK(mkdir("to/d", 0755) == 0 && rename("to/d", "from/d") == 0);
    EXPECT("2:40000040:d 1:40000080:d ");
    CHECK(cookies[0] == cookies[1] && cookies[0] != before);
    CHECK(rename("to/b", "to/a") == 0);
    EXPECT("2:40:b 2:80:a ");
    put("from/c", "2");
    CHECK(renameat2(AT_FDCWD, "from/c", AT_FDCWD, "to/a", RENAME_EXCHANGE) == 0);
    EXPECT("1:40:c 2:80:a 2:40:a 1:80:c ");
    CHECK(cookies[0] == cookies[1] && cookies[2] == cookies[3] && cookies[0] != cookies[2]);
    CHECK(rename("from", "elsewhere") == 0);
    EXPECT("1:800: ");
    CHECK(rename("to/a", "outside") == 0 && rename("outside", "to/a") == 0);
    EXPECT("2:40:a 2:80:a ");
    end();
}

static void who_is_told(void)
{
    begin();
    CHECK(mkdir("d", 0755) == 0);
    put("d/a", "1");
    int fd = open("d/a", O_RDWR), other = inotify_init1(IN_NONBLOCK);
    CHECK(watch("d", IN_MODIFY) == 1 && watch("d/a", IN_MODIFY | IN_OPEN) == 2 && watch(".", IN_ALL_EVENTS) == 3);
    CHECK(inotify_add_watch(other, "d", IN_MODIFY) == 1);
    CHECK(write(fd, "x", 1) == 1);
    EXPECT("1:2:a 2:2: "); /* not the directory above */
    CHECK(read(other, bytes, sizeof bytes) == 32 && ((struct inotify_event *)(void *)bytes)->mask == IN_MODIFY);
    close(other);
    CHECK(chmod("d", 0700) == 0);
    EXPECT("3:40000004:d ");
    CHECK(unlink("d/a") == 0 && write(fd, "x", 1) == 1);
    EXPECT("1:2:a 2:2: "); /* of a file without a name too */
    CHECK(watch("d", IN_MODIFY | IN_EXCL_UNLINK) == 1);
    CHECK(write(fd, "x", 1) == 1);
    EXPECT("2:2: ");
    close(fd);
    EXPECT("2:8000: ");
    end();
}

/* --- masks ----------------------------------------------------------------------------------------------- */

static void masks(void)
{
    begin();
    put("a", "1");
    CHECK(watch("a", IN_OPEN) == 1 && watch("a", IN_MODIFY) == 1); /* replaced */
    CHECK(truncate("a", 0) == 0 && close(open("a", O_RDONLY)) == 0);
    EXPECT("1:2: ");
    CHECK(watch("a", IN_OPEN | IN_MASK_ADD) == 1);
    CHECK(truncate("a", 1) == 0 && close(open("a", O_RDONLY)) == 0);
    EXPECT("1:2: 1:20: ");
    CHECK_ERROR(inotify_add_watch(watcher, "a", IN_OPEN | IN_MASK_CREATE), EEXIST);
    CHECK_ERROR(inotify_add_watch(watcher, "a", IN_OPEN | IN_MASK_CREATE | IN_MASK_ADD), EINVAL);
    CHECK_ERROR(inotify_add_watch(watcher, "a", 0), EINVAL);
    CHECK_ERROR(inotify_add_watch(watcher, "a", 0x00100000), EINVAL);
    CHECK_ERROR(inotify_add_watch(watcher, "a", IN_OPEN | IN_ONLYDIR), ENOTDIR);
    CHECK_ERROR(inotify_add_watch(watcher, "none", IN_OPEN), ENOENT);
    CHECK_ERROR(inotify_add_watch(watcher, (char *)8, IN_OPEN), EFAULT);
    CHECK_ERROR(inotify_add_watch(0, "a", IN_OPEN), EINVAL);
    CHECK_ERROR(inotify_add_watch(999, "a", IN_OPEN), EBADF);
    CHECK_ERROR(inotify_rm_watch(999, 1), EBADF);
    CHECK_ERROR(inotify_rm_watch(0, 1), EINVAL);
    CHECK_ERROR(inotify_rm_watch(watcher, 77), EINVAL);
    CHECK_ERROR(inotify_init1(1), EINVAL);
    CHECK(symlink("a", "s") == 0);
    CHECK(watch("s", IN_OPEN) == 1 && watch("s", IN_ATTRIB | IN_DONT_FOLLOW) == 2);
    CHECK(inotify_rm_watch(watcher, 2) == 0);
    EXPECT("2:8000: ");
    CHECK(watch("s", IN_ATTRIB | IN_DONT_FOLLOW | IN_MASK_CREATE) == 3); /* numbers are not used again */
    CHECK(watch("a", IN_OPEN | IN_ONESHOT) == 1);
    CHECK(close(open("a", O_RDONLY)) == 0 && close(open("a", O_RDONLY)) == 0);
    EXPECT("1:20: 1:8000: ");
    end();
}

static void unreadable(void)
{
    put("secret", "1");
    CHECK(chmod("secret", 0) == 0);
    if (geteuid() == 0)
        CHECK(setresuid(65534, 65534, 65534) == 0);
    CHECK_ERROR(inotify_add_watch(watcher, "secret", IN_OPEN), EACCES);
}

static void needs_permission(void)
{
    begin();
    CHECK(chmod(".", 0777) == 0);
    in_child(unreadable);
    end();
}

/* --- reading and waiting --------------------------------------------------------------------------------- */

static void reading(void)
{
    int size;
    begin();
    watch(".", IN_CREATE);
    CHECK_ERROR(read(watcher, bytes, sizeof bytes), EAGAIN);
    struct pollfd one = {.fd = watcher, .events = POLLIN};
    CHECK(poll(&one, 1, 0) == 0);
    mkdir("a", 0755), mkdir("sixteen-letters-", 0755);
    CHECK(poll(&one, 1, 0) == 1 && one.revents == POLLIN);
    CHECK(ioctl(watcher, FIONREAD, &size) == 0 && size == 32 + 48);
    CHECK_ERROR(read(watcher, bytes, 31), EINVAL);
    CHECK_ERROR(read(watcher, bytes, 0), EINVAL);
    CHECK(read(watcher, bytes, 79) == 32);
    CHECK_ERROR(read(watcher, bytes, 47), EINVAL);
    CHECK(read(watcher, bytes, 48) == 48);
    CHECK(ioctl(watcher, FIONREAD, &size) == 0 && size == 0);
    CHECK_ERROR(write(watcher, bytes, 16), EBADF);
    CHECK_ERROR(pread(watcher, bytes, 64, 0), ESPIPE);
    mkdir("b", 0755);
    CHECK_ERROR(syscall(SYS_read, watcher, (void *)8, 100), EFAULT);
    end();
}

static void *make_later(void *unused)
{
    (void)unused;
    for (;;) { /* until the other thread sleeps */
        char path[64], text[512] = "";
        snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
        int fd = open(path, O_RDONLY);
        CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
        close(fd);
        if (strrchr(text, ')')[2] == 'S')
            break;
    }
    CHECK(mkdir("late", 0755) == 0);
    return NULL;
}

static void waiting(void)
{
    pthread_t thread;
    struct epoll_event event = {.events = EPOLLIN};
    begin();
    watch(".", IN_CREATE);
    CHECK(fcntl(watcher, F_SETFL, 0) == 0);
    CHECK(pthread_create(&thread, NULL, make_later, NULL) == 0);
    CHECK(read(watcher, bytes, sizeof bytes) == 32);
    pthread_join(thread, NULL);
    int epoll = epoll_create1(0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, watcher, &event) == 0 && epoll_wait(epoll, &event, 1, 0) == 0);
    CHECK(rmdir("late") == 0 && pthread_create(&thread, NULL, make_later, NULL) == 0);
    CHECK(epoll_wait(epoll, &event, 1, -1) == 1 && event.events == EPOLLIN);
    pthread_join(thread, NULL);
    CHECK(read(watcher, bytes, sizeof bytes) == 32 && epoll_wait(epoll, &event, 1, 0) == 0);
    close(epoll);
    end();
}

static void handler(int signal) { (void)signal; }

static void interrupted(void)
{
    struct sigaction action = {.sa_handler = handler};
    struct itimerval every = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    begin();
    CHECK(fcntl(watcher, F_SETFL, 0) == 0);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &every, NULL) == 0);
    CHECK_ERROR(read(watcher, bytes, sizeof bytes), EINTR);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    end();
}

/* --- limits ---------------------------------------------------------------------------------------------- */

static unsigned limit_of(const char *name)
{
    char path[64], text[32] = "";
    snprintf(path, sizeof path, "/proc/sys/fs/inotify/%s", name);
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return strtoul(text, NULL, 10);
}

static void overflowing(void)
{
    unsigned limit = limit_of("max_queued_events"), read_events = 0;
    int overflows = 0, size, fds[2];
    ssize_t got;
    begin();
    put("a", "1"), put("b", "1");
    watch("a", IN_MODIFY), watch("b", IN_MODIFY);
    fds[0] = open("a", O_WRONLY), fds[1] = open("b", O_WRONLY);
    for (unsigned i = 0; i < limit + 100; i++)
        CHECK(pwrite(fds[i % 2], "x", 1, 0) == 1);
    CHECK(ioctl(watcher, FIONREAD, &size) == 0 && size == (int)(limit + 1) * 16);
    while ((got = read(watcher, bytes, sizeof bytes)) > 0)
        for (ssize_t at = 0; at < got; at += 16) {
            const struct inotify_event *event = (void *)(bytes + at);
            read_events += event->mask == IN_MODIFY;
            overflows += event->mask == IN_Q_OVERFLOW && event->wd == -1;
        }
    CHECK(read_events == limit && overflows == 1);
    CHECK(pwrite(fds[0], "x", 1, 0) == 1);
    EXPECT("1:2: ");
    close(fds[0]), close(fds[1]);
    end();
}

static void many_instances(void)
{
    unsigned limit = limit_of("max_user_instances"), made = 0;
    int fd;
    if (limit > 100000)
        return;
    struct rlimit files = {limit + 100, limit + 100};
    if (setrlimit(RLIMIT_NOFILE, &files))
        return;
    while ((fd = inotify_init()) >= 0)
        made++;
    CHECK(errno == EMFILE && made <= limit);
    close(fd = (int)made + 2);
    CHECK(inotify_init() == fd);
}

static void shown(void)
{
    char path[64], text[1024] = "", line[128];
    struct stat stat_;
    begin();
    put("a", "1");
    watch("a", IN_MODIFY | IN_OPEN);
    CHECK(stat("a", &stat_) == 0);
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", watcher);
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    snprintf(line, sizeof line, "inotify wd:1 ino:%lx sdev:", (unsigned long)stat_.st_ino);
    CHECK(strstr(text, line) && strstr(text, " mask:22 ignored_mask:0"));
    snprintf(path, sizeof path, "/proc/self/fd/%d", watcher);
    CHECK(readlink(path, text, sizeof text) == 18 && !memcmp(text, "anon_inode:inotify", 18));
    end();
}

/* --- several at once -------------------------------------------------------------------------------------- */

static void *make_and_remove(void *name)
{
    for (int i = 0; i < 300; i++) {
        CHECK(mkdir(name, 0755) == 0);
        int wd = inotify_add_watch(watcher, name, IN_ALL_EVENTS);
        CHECK(wd > 0 || errno == ENOENT);
        CHECK(rmdir(name) == 0);
        inotify_rm_watch(watcher, wd);
    }
    return NULL;
}

/* Watches that begin and end while their files come and go; the directory's events stay whole and in order. */
static void together(void)
{
    static char names[3][2] = {"a", "b", "c"};
    pthread_t threads[3];
    begin();
    watch(".", IN_CREATE | IN_DELETE);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, make_and_remove, names[i]) == 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    int creates = 0, deletes = 0;
    for (const char *at = seen(); (at = strstr(at, "1:40000")); at++) {
        creates += !strncmp(at, "1:40000100:", 11);
        deletes += !strncmp(at, "1:40000200:", 11);
    }
    CHECK(creates >= 900 && deletes >= 900);
    end();
}

int main(void)
{
    contents_of_a_directory();
    a_file_itself();
    moves();
    who_is_told();
    masks();
    needs_permission();
    reading();
    waiting();
    interrupted();
    overflowing();
    shown();
    together();
    in_child(many_instances);
    return 0;
}
