/*
 * For the FUSE tests: a file system of a few files whose server is a child of the test, speaking /dev/fuse by itself, and lying
 * as it is told to (shared->lie). Skips where we may not mount.
 *
 *   /file (2): "hello"    /dir (3): holds "inner" (4)    /link (5) -> file
 */
#ifndef TESTS_LINUX_FUSE_CHECK_H
#define TESTS_LINUX_FUSE_CHECK_H

#include "file_check.h"

#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/utsname.h>

enum lie {
    LIE_NONE, LIE_SILENT, LIE_SHORT, LIE_LONG, LIE_TWICE, LIE_OTHER_NUMBER, LIE_HEADER, LIE_ERROR, LIE_NO_TYPE, LIE_HUGE, LIE_ROOT,
    LIE_LOOP, LIE_SLASH, LIE_NAMELESS, LIE_WROTE_MORE, LIE_TYPE_CHANGES, LIE_ABSENT, LIE_UNSUPPORTED, LIE_DIE
};

struct shared {
    enum lie lie;
    uint32_t lie_about;     /* the operation it concerns; 0: all */
    int results[4];         /* of the server's odd writes: 0 or errno */
    int result_count;
    uint32_t seen[64];      /* by operation */
    uint64_t held;          /* the number of a request that is not answered */
    uint64_t interrupted;   /* what FUSE_INTERRUPT spoke of */
    uint64_t forgotten[16]; /* by node id: lookups */
    uint64_t looked_up[16];
    bool answer_interrupts; /* with EINTR */
    uint64_t other_file;    /* what "file" is instead of 2 */
    uint32_t open_flags;
    uint32_t notify;        /* withdraw the names "dir" and "file" of the root after a lookup */
    uint32_t valid;         /* seconds that answers are good for */
    char written[64];
};

static volatile struct shared *shared;
static int fuse_fd = -1;
static pid_t server;
static const char hello[] = "hello";

static inline bool under_hyla(void)
{
    struct utsname name;
    CHECK(uname(&name) == 0);
    return !strcmp(name.nodename, "hyla");
}

/* --- the server -------------------------------------------------------------------------------------- */

static inline int reply_as(uint64_t unique, int error, const void *data, size_t size, uint32_t length)
{
    char buffer[65536];
    struct fuse_out_header header = {.len = length, .error = error, .unique = unique};
    memcpy(buffer, &header, sizeof(header));
    if (size)
        memcpy(buffer + sizeof(header), data, size);
    return write(fuse_fd, buffer, sizeof(header) + size) < 0 ? errno : 0;
}

static inline int reply(uint64_t unique, int error, const void *data, size_t size)
{
    return reply_as(unique, error, data, size, (uint32_t)(sizeof(struct fuse_out_header) + size));
}

static inline void note_result(int result)
{
    if (shared->result_count < 4)
        shared->results[shared->result_count++] = result;
}

static inline struct fuse_attr attr_of(uint64_t nodeid)
{
    static const uint32_t modes[] = {0, S_IFDIR | 0755, S_IFREG | 0644, S_IFDIR | 0755, S_IFREG | 0644, S_IFLNK | 0777, S_IFREG | 0644};
    struct fuse_attr attr = {.ino = nodeid, .mode = modes[nodeid], .nlink = 1, .size = S_ISREG(modes[nodeid]) ? 5 : 4, .blksize = 4096};
    if (shared->lie == LIE_NO_TYPE)
        attr.mode = 0644;
    if (shared->lie == LIE_HUGE)
        attr.size = UINT64_MAX;
    if (shared->lie == LIE_TYPE_CHANGES)
        attr.mode = S_ISREG(attr.mode) ? S_IFDIR | 0755 : S_IFREG | 0644;
    return attr;
}

static inline uint64_t node_of(uint64_t parent, const char *name)
{
    if (parent == 1)
        return !strcmp(name, "file") ? shared->other_file ? shared->other_file : 2 : !strcmp(name, "dir") ? 3 : !strcmp(name, "link") ? 5 : 0;
    if (parent == 3 && !strcmp(name, "inner"))
        return 4;
    return parent == 3 && shared->lie == LIE_LOOP && !strcmp(name, "dir") ? 3 : 0;
}

/* The reply's own part for a request: its size, or a negative error. */
static inline int answer(const struct fuse_in_header *in, const void *body, void *out)
{
    struct fuse_entry_out *entry = out;
    struct fuse_attr_out *attr = out;
    switch (in->opcode) {
    case FUSE_INIT:
        *(struct fuse_init_out *)out = (struct fuse_init_out){.major = 7, .minor = 31, .max_write = 65536, .max_background = 8};
        return sizeof(struct fuse_init_out);
    case FUSE_LOOKUP:
        *entry = (struct fuse_entry_out){.nodeid = node_of(in->nodeid, body), .entry_valid = shared->valid, .attr_valid = shared->valid};
        if (!entry->nodeid || shared->lie == LIE_ABSENT)
            return -ENOENT;
        entry->attr = attr_of(entry->nodeid);
        if (shared->lie == LIE_ROOT)
            entry->nodeid = 1;
        shared->looked_up[entry->nodeid]++;
        return sizeof(*entry);
    case FUSE_GETATTR:
        *attr = (struct fuse_attr_out){.attr_valid = shared->valid, .attr = attr_of(in->nodeid)};
        return sizeof(*attr);
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        *(struct fuse_open_out *)out = (struct fuse_open_out){.fh = 77, .open_flags = shared->open_flags};
        return sizeof(struct fuse_open_out);
    case FUSE_READ: {
        const struct fuse_read_in *read_in = body;
        if (read_in->offset >= 5)
            return 0;
        memcpy(out, hello + read_in->offset, 5 - read_in->offset);
        return (int)(5 - read_in->offset);
    }
    case FUSE_WRITE: {
        const struct fuse_write_in *write_in = body;
        if (write_in->size < sizeof(shared->written))
            memcpy((void *)(uintptr_t)shared->written, write_in + 1, write_in->size);
        *(struct fuse_write_out *)out = (struct fuse_write_out){.size = write_in->size + (shared->lie == LIE_WROTE_MORE)};
        return sizeof(struct fuse_write_out);
    }
    case FUSE_READLINK:
        memcpy(out, "file", 4);
        return 4;
    case FUSE_STATFS:
        memset(out, 0, sizeof(struct fuse_statfs_out));
        return sizeof(struct fuse_statfs_out);
    case FUSE_READDIR: {
        const struct fuse_read_in *read_in = body;
        struct fuse_dirent *dirent = out;
        if (read_in->offset)
            return 0;
        *dirent = (struct fuse_dirent){.ino = 2, .off = 1, .namelen = shared->lie == LIE_NAMELESS ? 0 : 4, .type = DT_REG};
        memcpy(dirent->name, shared->lie == LIE_SLASH ? "a/b\0" : "file", 4);
        return (int)FUSE_DIRENT_SIZE(dirent);
    }
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_FLUSH:
        return 0;
    default:
        return -ENOSYS;
    }
}

static inline void withdraw(const char *name)
{
    struct {
        struct fuse_notify_inval_entry_out head;
        char name[16];
    } notice = {.head = {.parent = 1, .namelen = (uint32_t)strlen(name)}};
    size_t size = sizeof(notice.head) + strlen(name) + 1;
    char buffer[128];
    struct fuse_out_header header = {.len = (uint32_t)(sizeof(header) + size), .error = FUSE_NOTIFY_INVAL_ENTRY};
    strcpy(notice.name, name);
    memcpy(buffer, &header, sizeof(header));
    memcpy(buffer + sizeof(header), &notice, size);
    if (write(fuse_fd, buffer, sizeof(header) + size) < 0)
        note_result(errno);
}

/* An answer that is wrong in its form. True: it was given. */
static inline bool lie(const struct fuse_in_header *in, const void *data, int size)
{
    if (shared->lie_about && in->opcode != shared->lie_about)
        return false;
    switch (shared->lie) {
    case LIE_SILENT:
        shared->held = in->unique;
        return true;
    case LIE_DIE:
        _exit(0);
    case LIE_SHORT:
        note_result(reply(in->unique, 0, data, (size_t)size - 1));
        return true;
    case LIE_LONG:
        note_result(reply(in->unique, 0, data, (size_t)size + 1));
        return true;
    case LIE_TWICE:
        note_result(reply(in->unique, 0, data, (size_t)size));
        note_result(reply(in->unique, 0, data, (size_t)size));
        return true;
    case LIE_OTHER_NUMBER:
        note_result(reply(in->unique + 1000, 0, data, (size_t)size));
        return false;
    case LIE_HEADER:
        note_result(reply_as(in->unique, 0, data, (size_t)size, 4711));
        return false;
    case LIE_ERROR:
        note_result(reply(in->unique, 7, NULL, 0));
        note_result(reply(in->unique, -4095, NULL, 0));
        return false;
    case LIE_UNSUPPORTED:
        reply(in->unique, -ENOSYS, NULL, 0);
        return true;
    default:
        return false;
    }
}

static inline void note_forgets(const struct fuse_in_header *in, const void *body)
{
    if (in->opcode == FUSE_FORGET && in->nodeid < 16)
        shared->forgotten[in->nodeid] += ((const struct fuse_forget_in *)body)->nlookup;
    if (in->opcode != FUSE_BATCH_FORGET)
        return;
    const struct fuse_batch_forget_in *batch = body;
    const struct fuse_forget_one *one = (const void *)(batch + 1);
    for (uint32_t i = 0; i < batch->count; i++)
        if (one[i].nodeid < 16)
            shared->forgotten[one[i].nodeid] += one[i].nlookup;
}

/* One request. False: no more will come. */
static inline bool serve_one(void)
{
    static char buffer[1 << 20];
    char out[65536] = {0};
    ssize_t got = read(fuse_fd, buffer, sizeof(buffer));
    if (got < 0)
        return errno == EINTR || errno == EAGAIN || errno == ENOENT;
    const struct fuse_in_header *in = (const void *)buffer;
    const void *body = in + 1;
    CHECK((size_t)got >= sizeof(*in) && in->len == got);
    if (in->opcode < 64)
        shared->seen[in->opcode]++;
    note_forgets(in, body);
    if (in->opcode == FUSE_FORGET || in->opcode == FUSE_BATCH_FORGET)
        return true;
    if (in->opcode == FUSE_INTERRUPT) {
        shared->interrupted = ((const struct fuse_interrupt_in *)body)->unique;
        if (shared->answer_interrupts)
            reply(shared->interrupted, -EINTR, NULL, 0);
        return true;
    }
    int size = answer(in, body, out);
    if (size < 0)
        reply(in->unique, size, NULL, 0);
    else if (!lie(in, out, size))
        reply(in->unique, 0, out, (size_t)size);
    if (shared->notify && in->opcode == FUSE_LOOKUP) { /* not behind an answer that nobody waits for: a lookup would hold the directory */
        withdraw("dir");
        withdraw("file");
        shared->notify = 0;
    }
    return true;
}

/* --- the test's side --------------------------------------------------------------------------------- */

static inline int mount_device(const char *place)
{
    char options[128];
    snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%d,group_id=%d", fuse_fd, getuid(), getgid());
    return mount("test", place, "fuse", 0, options);
}

/* Mounts on ./m without a server. 77 where that is not allowed. */
static inline void mount_only(void)
{
    fuse_fd = open("/dev/fuse", O_RDWR);
    if (fuse_fd < 0 || (mkdir("m", 0755) < 0 && errno != EEXIST) || mount_device("m") < 0) {
        printf("may not mount: %s\n", strerror(errno));
        exit(77);
    }
}

static inline void server_begin(void)
{
    server = fork();
    CHECK(server >= 0);
    if (!server) {
        while (serve_one())
            ;
        _exit(0);
    }
    close(fuse_fd);
    fuse_fd = -1;
}

static inline void fuse_start(void)
{
    if (!shared)
        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    memset((void *)(uintptr_t)shared, 0, sizeof(*shared));
    mount_only();
    server_begin();
}

static inline void server_wait(void)
{
    int status;
    CHECK(waitpid(server, &status, 0) == server);
}

/* Unmounts; the server then ends by itself. */
static inline void fuse_stop(void)
{
    CHECK(umount2("m", 0) == 0);
    server_wait();
}

static inline void server_kill(void)
{
    CHECK(kill(server, SIGKILL) == 0);
    server_wait();
}

/* Waits until something that another process brings about is true. */
#define AWAIT(condition)                                                                                               \
    do {                                                                                                               \
        for (int tries_ = 0; !(condition); tries_++) {                                                                 \
            CHECK(tries_ < 20000);                                                                                     \
            usleep(500);                                                                                               \
        }                                                                                                              \
    } while (0)

#endif
