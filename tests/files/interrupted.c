/*
 * A signal with a handler, without SA_RESTART, meets a thread that reads a file and waits for a page: the handler runs, and read(2) of a
 * file never says EINTR; it goes on and gets the bytes.
 */
#include "tests/files/check.h"

static _Atomic bool held = true, entered, handled;

static int64_t get_attributes(struct hyla_fs *fs, uint64_t node, struct hyla_file_attributes *a)
{
    (void)fs;
    *a = attributes_of(node);
    return 0;
}

static int64_t lookup(struct hyla_fs *fs, uint64_t directory, const char *name, struct hyla_file_attributes *a)
{
    (void)fs;
    uint64_t node = named(directory, name, strlen(name));
    *a = attributes_of(node);
    return node ? 0 : -ENOENT;
}

static int64_t read_file(struct hyla_fs *fs, uint64_t node, uint64_t offset, void *bytes, uint32_t room)
{
    (void)fs, (void)node;
    entered = true;
    while (held)
        sched_yield();
    uint32_t size = offset < sizeof file_text - 1 ? (uint32_t)(sizeof file_text - 1 - offset) : 0;
    size = size < room ? size : room;
    memcpy(bytes, file_text + offset, size);
    return size;
}

static void handler(int number)
{
    (void)number;
    handled = true;
}

static void *reads(void *argument)
{
    char buffer[32];
    int fd = open(PLACE "/file", O_RDONLY);
    CHECK(fd >= 0);
    ssize_t got = read(fd, buffer, sizeof buffer);
    CHECK(got == (ssize_t)sizeof file_text - 1 && !memcmp(buffer, file_text, (size_t)got) && close(fd) == 0);
    return argument;
}

int main(void)
{
    static const struct hyla_file_ops ops = {.get_attributes = get_attributes, .lookup = lookup, .read = read_file};
    const struct hyla_fs_options options = {.ops = &ops, .label = "interrupted", .paged = 1};
    const struct sigaction action = {.sa_handler = handler};
    struct hyla_fs *fs;
    pthread_t thread;
    CHECK(mkdir(PLACE, 0777) == 0 && hyla_fs_create(&options, &fs) == 0 && hyla_fs_mount(fs, PLACE, MS_NODEV) == 0);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && pthread_create(&thread, NULL, reads, NULL) == 0);
    while (!entered)
        sched_yield();
    CHECK(pthread_kill(thread, SIGUSR1) == 0);
    while (!handled)
        sched_yield();
    held = false;
    CHECK(pthread_join(thread, NULL) == 0);
    hyla_fs_stop(fs);
    CHECK(hyla_fs_run(fs) == 0);
    return 0;
}
