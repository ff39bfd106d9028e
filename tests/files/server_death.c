/*
 * A server killed in each state: while nothing happens, while it has each kind of question, while files of it are open and mapped. All
 * that used it get EIO; another server in its place is used by whoever asks anew; the mount can be dropped.
 */
#include "tests/files/check.h"

/* Shared with the server's process. */
static struct shared {
    _Atomic uint32_t hold;    /* the question of this number is not answered */
    _Atomic uint32_t holding; /* it is there */
} *shared;

static void hold_here(uint32_t number)
{
    if (shared->hold != number)
        return;
    shared->holding = 1;
    for (;;)
        pause();
}

/* --- the server -------------------------------------------------------------------------------------- */

static hyla_handle_t contents;

static int64_t get_attributes(struct hyla_fs *fs, uint64_t node, struct hyla_file_attributes *a)
{
    (void)fs;
    hold_here(HYLA_FILE_GET_ATTRIBUTES);
    *a = attributes_of(node);
    return 0;
}

static int64_t set_attributes(struct hyla_fs *fs, uint64_t node, const struct hyla_file_changes *changes, struct hyla_file_attributes *a)
{
    (void)fs, (void)changes;
    hold_here(HYLA_FILE_SET_ATTRIBUTES);
    *a = attributes_of(node);
    return 0;
}

static int64_t lookup(struct hyla_fs *fs, uint64_t directory, const char *name, struct hyla_file_attributes *a)
{
    (void)fs;
    hold_here(HYLA_FILE_LOOKUP);
    uint64_t node = named(directory, name, strlen(name));
    *a = attributes_of(node);
    return node ? 0 : -ENOENT;
}

static int64_t create(struct hyla_fs *fs, uint64_t directory, const char *name, uint32_t mode, uint64_t rdev, uint32_t uid, uint32_t gid,
                      const char *target, struct hyla_file_attributes *a)
{
    (void)fs, (void)directory, (void)name, (void)mode, (void)rdev, (void)uid, (void)gid, (void)target;
    hold_here(HYLA_FILE_CREATE);
    *a = attributes_of(50);
    return 0;
}

static int64_t read_directory(struct hyla_fs *fs, uint64_t node, int64_t cookie, void *entries, uint32_t room)
{
    (void)fs;
    hold_here(HYLA_FILE_READ_DIRECTORY);
    return cookie ? 0 : hyla_fs_entry(entries, room, 0, "file", node, 0100000, 1);
}

static int64_t open_file(struct hyla_fs *fs, uint64_t node, uint32_t flags, struct hyla_msg_handle *handle)
{
    (void)fs, (void)flags;
    hold_here(HYLA_FILE_OPEN);
    if (node == FILE_NODE)
        *handle = (struct hyla_msg_handle){.handle = contents, .rights = HYLA_RIGHT_READ | HYLA_RIGHT_WRITE | HYLA_RIGHT_MAP | HYLA_RIGHT_TRANSFER};
    return 0;
}

static int64_t allocate(struct hyla_fs *fs, uint64_t node, uint32_t mode, uint64_t offset, uint64_t size, struct hyla_file_attributes *a)
{
    (void)fs, (void)mode, (void)offset, (void)size;
    hold_here(HYLA_FILE_ALLOCATE);
    *a = attributes_of(node);
    return 0;
}

static int64_t sync_file(struct hyla_fs *fs, uint64_t node, uint32_t flags)
{
    (void)fs, (void)node, (void)flags;
    hold_here(HYLA_FILE_SYNC);
    return 0;
}

static void serve(bool again, int ready)
{
    static const struct hyla_file_ops ops = {
        .get_attributes = get_attributes, .set_attributes = set_attributes, .lookup = lookup, .create = create, .read_directory = read_directory,
        .open = open_file, .allocate = allocate, .sync = sync_file,
    };
    const struct hyla_fs_options options = {.ops = &ops, .label = "mortal"};
    struct hyla_fs *fs;
    contents = (hyla_handle_t)hyla_memobj_create(0);
    CHECK(hyla_memobj_write(contents, 0, file_text, 10) == 10);
    CHECK(hyla_fs_create(&options, &fs) == 0);
    int error = hyla_fs_mount(fs, PLACE, again ? MS_REMOUNT : 0);
    CHECK(error == 0);
    CHECK(write(ready, "r", 1) == 1);
    _exit(hyla_fs_run(fs));
}

static pid_t start(bool again)
{
    int ready[2];
    char byte;
    shared->hold = shared->holding = 0;
    CHECK(pipe(ready) == 0);
    pid_t server = fork();
    if (server == 0) {
        close(ready[0]);
        serve(again, ready[1]);
    }
    close(ready[1]);
    CHECK(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    return server;
}

static void kill_server(pid_t server)
{
    int status;
    kill(server, SIGKILL);
    CHECK(waitpid(server, &status, 0) == server);
    CHECK(WIFSIGNALED(status));
}

/* --- what a program does ----------------------------------------------------------------------------- */

static int do_stat(void) { struct stat s; return stat(PLACE "/file", &s) ? errno : 0; }
static int do_open(void)
{
    int fd = open(PLACE "/file", O_RDONLY);
    return fd < 0 ? errno : close(fd);
}
static int do_create(void) { return open(PLACE "/new", O_CREAT | O_WRONLY, 0666) < 0 ? errno : 0; }
static int do_chmod(void) { return chmod(PLACE "/file", 0600) ? errno : 0; }
static int do_sync(void) { int fd = open(PLACE "/file", O_RDWR); return fsync(fd) ? errno : 0; }
static int do_grow(void) { int fd = open(PLACE "/file", O_RDWR); return pwrite(fd, "x", 1, 5000) != 1 ? errno : 0; }
static int do_list(void)
{
    DIR *dir = opendir(PLACE);
    if (!dir)
        return errno;
    int error = (errno = 0, readdir(dir)) ? 0 : errno;
    closedir(dir);
    return error;
}

static void die_while(uint32_t number, int (*act)(void))
{
    int status;
    check_where = "while a question waits";
    pid_t server = start(true), child;
    shared->hold = number;
    child = fork();
    if (child == 0)
        _exit(act());
    while (!shared->holding)
        sched_yield();
    kill_server(server);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EIO);
    CHECK(do_stat() == EIO);
}

static void die_with_open_files(pid_t server)
{
    char bytes[16];
    int fd = open(PLACE "/file", O_RDWR), dir = open(PLACE, O_RDONLY | O_DIRECTORY);
    CHECK(fd >= 0 && dir >= 0 && read(fd, bytes, 4) == 4 && !memcmp(bytes, "0123", 4));
    char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED && map[9] == '9');
    CHECK(fchdir(dir) == 0);
    kill_server(server);
    while (pread(fd, bytes, 4, 0) >= 0) /* the notice of its death may be on its way */
        sched_yield();
    CHECK(errno == EIO);
    CHECK(pwrite(fd, "x", 1, 0) == -1 && errno == EIO);
    struct stat stat_;
    CHECK(fstat(fd, &stat_) == -1 && errno == EIO);
    CHECK(do_stat() == EIO && do_list() == EIO);
    CHECK(map[9] == '9'); /* what is mapped is there until it is unmapped */
    server = start(true);
    CHECK(do_stat() == 0 && do_open() == 0 && do_list() == 0);
    int again = open("file", O_RDONLY); /* the root goes over to it */
    CHECK(again >= 0 && close(again) == 0);
    CHECK(pread(fd, bytes, 4, 0) == -1 && errno == EIO); /* the file does not */
    CHECK(chdir("/") == 0 && close(fd) == 0 && close(dir) == 0 && munmap(map, 4096) == 0);
    kill_server(server);
}

int main(void)
{
    int status;
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED && mkdir(PLACE, 0777) == 0);
    pid_t server = start(false);
    CHECK(do_stat() == 0);
    die_with_open_files(server);
    die_while(HYLA_FILE_LOOKUP, do_stat);
    die_while(HYLA_FILE_GET_ATTRIBUTES, do_stat);
    die_while(HYLA_FILE_OPEN, do_open);
    die_while(HYLA_FILE_CREATE, do_create);
    die_while(HYLA_FILE_SET_ATTRIBUTES, do_chmod);
    die_while(HYLA_FILE_READ_DIRECTORY, do_list);
    die_while(HYLA_FILE_ALLOCATE, do_grow);
    die_while(HYLA_FILE_SYNC, do_sync);
    check_where = "unmounting";
    CHECK(umount(PLACE) == 0 && do_stat() == ENOENT);
    server = start(false);
    CHECK(do_stat() == 0 && umount(PLACE) == 0);
    CHECK(waitpid(server, &status, 0) == server && status == 0); /* nobody can reach it any more */
    return 0;
}
