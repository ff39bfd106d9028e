/*
 * A server that answers one message of one kind wrongly, in every way that could matter. Whoever asked gets an error that the chapter
 * promises, and everything goes on as if nothing had happened.
 */
#include "tests/files/check.h"

struct reply {
    uint64_t words[8];
    uint32_t size;
    struct hyla_msg_handle handle; /* .handle 0: none */
    _Alignas(8) char bytes[65536 + 64];
};

static hyla_handle_t port;
/* The next question of this number is answered through this function. */
static _Atomic uint64_t lie_at;
static void (*lie)(struct reply *reply);
static _Atomic bool keep, twice, endless;
static _Atomic uint32_t kept_count;
static hyla_handle_t kept[64];

/* --- the good answers -------------------------------------------------------------------------------- */

static void put_attributes(struct reply *reply, uint64_t node)
{
    struct hyla_file_attributes attributes = attributes_of(node);
    memcpy(reply->bytes + reply->size, &attributes, sizeof attributes);
    reply->size += sizeof attributes;
}

static void answer_listing(struct reply *reply, int64_t cookie, uint32_t room)
{
    static const char *const names[] = {".", "..", "file"};
    int64_t used = 0, after;
    char name[32];
    for (int64_t i = cookie; endless ? i < cookie + 50 : i < 3; i++) {
        snprintf(name, sizeof name, "n%lld", (long long)i);
        after = hyla_fs_entry(reply->bytes, room, used, endless ? name : names[i], 2, 0100000, i + 1);
        if (after < 0)
            break;
        used = after;
    }
    reply->size = (uint32_t)used;
    reply->words[0] = (uint64_t)used;
}

static void answer_value(struct reply *reply, const char *value, uint64_t room)
{
    uint32_t length = (uint32_t)strlen(value) + 1;
    reply->words[1] = length;
    if (length > room)
        return;
    memcpy(reply->bytes, value, length);
    reply->size = length;
    reply->words[0] = length;
}

static void answer_well(const uint64_t q[8], const char *bytes, struct reply *reply)
{
    uint64_t node;
    switch (q[0]) {
    case HYLA_FILE_ATTACH:
        put_attributes(reply, ROOT);
        memcpy(reply->bytes + reply->size, "bad", 3);
        reply->size += 3;
        reply->words[1] = 3;
        break;
    case HYLA_FILE_LOOKUP:
        node = q[1] == DIR_NODE ? DIR_NODE : named(q[1], bytes, q[2]); /* "dir" holds itself, under every name */
        if (!node && bytes[0] == 'f' && q[2] > 1)
            node = 100 + strtoul(bytes + 1, NULL, 10); /* "f1", "f2", … */
        if (node)
            put_attributes(reply, node);
        else
            reply->words[0] = (uint64_t)-ENOENT;
        break;
    case HYLA_FILE_GET_ATTRIBUTES: case HYLA_FILE_SET_ATTRIBUTES: case HYLA_FILE_ALLOCATE: put_attributes(reply, q[1]); break;
    case HYLA_FILE_CREATE: put_attributes(reply, 77); break;
    case HYLA_FILE_LINK: put_attributes(reply, q[3]); break;
    case HYLA_FILE_READ_LINK: memcpy(reply->bytes, "file", 4); reply->size = 4; reply->words[0] = 4; break;
    case HYLA_FILE_READ_DIRECTORY: answer_listing(reply, (int64_t)q[2], (uint32_t)q[3]); break;
    case HYLA_FILE_READ: memcpy(reply->bytes, file_text, 10); reply->words[0] = reply->size = q[2] ? 0 : q[3] < 10 ? (uint32_t)q[3] : 10; break;
    case HYLA_FILE_WRITE: put_attributes(reply, q[1]); reply->words[1] = 4; break;
    case HYLA_FILE_GET_XATTR: answer_value(reply, "value", q[3]); break;
    case HYLA_FILE_LIST_XATTR: answer_value(reply, "user.one", q[2]); break;
    case HYLA_FILE_GET_SPACE: memset(reply->bytes, 0, sizeof(struct hyla_file_space)); reply->size = sizeof(struct hyla_file_space); break;
    default: break;
    }
}

static void send_reply(hyla_handle_t to, struct reply *reply)
{
    struct hyla_msg msg = {
        .flags = HYLA_MSG_SEND, .to = to, .send_data = (uintptr_t)reply->bytes, .send_size = reply->size,
        .send_handles = (uintptr_t)&reply->handle, .send_handle_count = reply->handle.handle != 0,
    };
    memcpy(msg.words, reply->words, sizeof msg.words);
    hyla_msg(&msg);
}

static void *serve(void *argument)
{
    static __thread char bytes[65536 + 1];
    struct hyla_msg_handle brought;
    struct reply *reply = malloc(sizeof *reply);
    (void)argument;
    for (;;) {
        struct hyla_msg msg = {
            .flags = HYLA_MSG_RECEIVE, .from = port, .receive_data = (uintptr_t)bytes, .receive_size = 65536,
            .receive_handles = (uintptr_t)&brought, .receive_handle_count = 1,
        };
        if (hyla_msg(&msg))
            return NULL;
        if (!msg.reply)
            continue;
        bool now = atomic_load(&lie_at) == msg.words[0];
        if (now && keep) {
            kept[kept_count++] = msg.reply;
            continue;
        }
        bytes[msg.receive_size] = 0;
        memset(reply, 0, offsetof(struct reply, bytes));
        answer_well(msg.words, bytes, reply);
        if (now && lie) {
            atomic_store(&lie_at, 0);
            lie(reply);
        }
        send_reply(msg.reply, reply);
        if (twice)
            send_reply(msg.reply, reply);
    }
}

/* --- lies -------------------------------------------------------------------------------------------- */

static struct hyla_file_attributes *attributes_in(struct reply *r) { return (struct hyla_file_attributes *)r->bytes; }
static struct hyla_file_entry *entry_in(struct reply *r) { return (struct hyla_file_entry *)r->bytes; }
static void shorter(struct reply *r) { r->size--; }
static void longer(struct reply *r) { r->size++; }
static void nothing(struct reply *r) { r->size = 0; }
static void everything(struct reply *r) { r->size = 65536; }
static void result_positive(struct reply *r) { r->words[0] += 1; }
static void result_huge(struct reply *r) { r->words[0] = UINT64_MAX >> 1; }
static void result_internal(struct reply *r) { r->words[0] = (uint64_t)-512; r->size = 0; }
static void result_far(struct reply *r) { r->words[0] = (uint64_t)INT64_MIN; r->size = 0; }
static void error_with_bytes(struct reply *r) { r->words[0] = (uint64_t)-ENOENT; }
static void number_zero(struct reply *r) { attributes_in(r)->node = 0; }
static void number_root(struct reply *r) { attributes_in(r)->node = ROOT; }
static void number_other(struct reply *r) { attributes_in(r)->node = 99; }
static void no_type(struct reply *r) { attributes_in(r)->mode = 0777; }
static void other_type(struct reply *r) { attributes_in(r)->mode = 0010666; }
static void mode_beyond(struct reply *r) { attributes_in(r)->mode |= 1u << 20; }
static void size_beyond(struct reply *r) { attributes_in(r)->size = (uint64_t)INT64_MAX + 1; }
static void nanoseconds_beyond(struct reply *r) { attributes_in(r)->modify_nanoseconds = 1000000000; }
static void a_handle(struct reply *r) { r->handle = (struct hyla_msg_handle){.handle = (hyla_handle_t)hyla_port_create(0), .rights = HYLA_RIGHT_ALL, .move = 1}; }
static void name_slash(struct reply *r) { memcpy(entry_in(r) + 1, "/", 1); }
static void name_nul(struct reply *r) { memset(entry_in(r) + 1, 0, 1); }
static void name_empty(struct reply *r) { entry_in(r)->length = 0; }
static void name_beyond(struct reply *r) { entry_in(r)->length = 256; }
static void name_past_end(struct reply *r) { entry_in(r)->length = 250; }
static void cookie_zero(struct reply *r) { entry_in(r)->next = 0; }
static void target_nul(struct reply *r) { r->bytes[1] = 0; }
static void target_empty(struct reply *r) { r->size = 0; r->words[0] = 0; }
static void written_beyond(struct reply *r) { r->words[1] = 1000; }
static void length_beyond(struct reply *r) { r->words[1] += 3; }
static void list_open_end(struct reply *r) { r->bytes[r->size - 1] = 'x'; }
static void label_blank(struct reply *r) { r->bytes[r->size - 1] = ' '; }
static void label_length(struct reply *r) { r->words[1] = UINT64_MAX; }

/* --- what a program does ----------------------------------------------------------------------------- */

static int result_of(int64_t result) { return result < 0 ? errno : 0; }
static int do_mount(void)
{
    char data[32];
    hyla_handle_t right = (hyla_handle_t)hyla_port_make_send(port, 1, HYLA_RIGHT_COPY | HYLA_RIGHT_TRANSFER);
    snprintf(data, sizeof data, "port=%u", right);
    int result = result_of(mount("bad", PLACE, "server", 0, data));
    hyla_handle_close(right);
    return result;
}
static int do_stat(void) { struct stat stat_; return result_of(stat(PLACE "/file", &stat_)); }
static int open_fresh(int flags)
{
    static int number;
    char name[64];
    snprintf(name, sizeof name, PLACE "/f%d", ++number); /* one that nobody has opened */
    return open(name, flags);
}
static int do_open(void) { int fd = open_fresh(O_RDONLY); int error = result_of(fd); close(fd); return error; }
static int do_read(void)
{
    char bytes[64];
    int fd = open(PLACE "/file", O_RDONLY);
    int error = fd < 0 ? errno : result_of(read(fd, bytes, sizeof bytes));
    close(fd);
    return error;
}
static int do_write(void)
{
    int fd = open(PLACE "/file", O_WRONLY);
    int error = fd < 0 ? errno : result_of(write(fd, "four", 4));
    close(fd);
    return error;
}
static int do_list(void)
{
    DIR *dir = opendir(PLACE);
    errno = 0;
    while (dir && readdir(dir))
        ;
    int error = errno;
    if (dir)
        closedir(dir);
    return error;
}
static int do_readlink(void) { char to[64]; return result_of(readlink(PLACE "/link", to, sizeof to)); }
static int do_create(void) { int fd = open(PLACE "/new", O_CREAT | O_EXCL | O_WRONLY, 0666); int error = result_of(fd); close(fd); return error; }
static int do_link(void) { return result_of(link(PLACE "/file", PLACE "/other")); }
static int do_remove(void) { return result_of(unlink(PLACE "/file")); }
static int do_rename(void) { return result_of(rename(PLACE "/file", PLACE "/moved")); }
static int do_chmod(void) { return result_of(chmod(PLACE "/file", 0600)); }
static int do_getxattr(void) { char v[64]; return result_of(getxattr(PLACE "/file", "user.one", v, sizeof v)); }
static int do_listxattr(void) { char v[64]; return result_of(listxattr(PLACE "/file", v, sizeof v)); }
static int do_statfs(void) { struct statfs s; return result_of(statfs(PLACE, &s)); }

static const struct test {
    uint64_t at;
    int (*act)(void);
    void (*lies[24])(struct reply *reply);
} tests[] = {
    {HYLA_FILE_LOOKUP, do_stat, {shorter, longer, nothing, everything, result_positive, result_huge, result_internal, result_far, error_with_bytes,
     number_zero, number_root, no_type, mode_beyond, size_beyond, nanoseconds_beyond, a_handle}},
    {HYLA_FILE_GET_ATTRIBUTES, do_stat, {shorter, longer, nothing, result_positive, number_zero, number_other, other_type, size_beyond, a_handle}},
    {HYLA_FILE_SET_ATTRIBUTES, do_chmod, {shorter, longer, number_other, other_type, error_with_bytes, a_handle}},
    {HYLA_FILE_OPEN, do_open, {longer, a_handle, result_positive, result_internal}},
    {HYLA_FILE_READ, do_read, {shorter, longer, result_positive, result_huge, everything, a_handle}},
    {HYLA_FILE_WRITE, do_write, {shorter, longer, written_beyond, number_other, a_handle}},
    {HYLA_FILE_READ_DIRECTORY, do_list, {shorter, longer, result_positive, result_huge, name_slash, name_nul, name_empty, name_beyond, name_past_end, cookie_zero}},
    {HYLA_FILE_READ_LINK, do_readlink, {shorter, longer, target_nul, target_empty, result_huge}},
    {HYLA_FILE_CREATE, do_create, {shorter, longer, number_zero, number_root, other_type, a_handle}},
    {HYLA_FILE_LINK, do_link, {shorter, number_other, number_zero, other_type}},
    {HYLA_FILE_REMOVE, do_remove, {longer, result_positive, result_internal, a_handle}},
    {HYLA_FILE_RENAME, do_rename, {longer, result_positive, result_internal, a_handle}},
    {HYLA_FILE_GET_XATTR, do_getxattr, {shorter, longer, length_beyond, result_huge}},
    {HYLA_FILE_LIST_XATTR, do_listxattr, {shorter, longer, length_beyond, list_open_end}},
    {HYLA_FILE_GET_SPACE, do_statfs, {shorter, longer, nothing, result_positive}},
};

static void tell_lies(void)
{
    char where[64];
    check_where = where;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        for (size_t j = 0; tests[i].lies[j]; j++) {
            snprintf(where, sizeof where, "message %u, lie %zu", (unsigned)tests[i].at, j);
            lie = tests[i].lies[j];
            atomic_store(&lie_at, tests[i].at);
            int error = tests[i].act();
            CHECK(atomic_load(&lie_at) == 0);
            CHECK(error == EIO);
            CHECK(do_stat() == 0); /* nothing remembers it */
        }
    }
    lie = NULL;
    check_where = "";
}

static void refuse_to_attach(void)
{
    void (*const lies[])(struct reply *) = {shorter, longer, nothing, number_zero, number_other, no_type, label_blank, label_length, a_handle};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        lie = lies[i];
        atomic_store(&lie_at, HYLA_FILE_ATTACH);
        CHECK(do_mount() == EIO);
    }
    lie = NULL;
}

/* --- silence ----------------------------------------------------------------------------------------- */

static void on_alarm(int signal) { (void)signal; }

static pid_t child_that(int (*act)(void))
{
    pid_t child = fork();
    if (child == 0)
        _exit(act());
    CHECK(child > 0);
    return child;
}

/* Elsewhere all goes on, whatever is locked for the silent one. */
static void work_elsewhere(void)
{
    char name[64], other[64];
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "/tmp-test/a/%d", i);
        snprintf(other, sizeof other, "/tmp-test/b/%d", i);
        int fd = open(name, O_CREAT | O_WRONLY | O_APPEND, 0666);
        CHECK(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
        CHECK(rename(name, other) == 0 && unlink(other) == 0);
    }
}

static void say_nothing(uint64_t at, int (*act)(void))
{
    uint32_t before = kept_count;
    int status;
    keep = true;
    atomic_store(&lie_at, at);
    pid_t first = child_that(act), second = child_that(act);
    while (kept_count == before)
        sched_yield();
    work_elsewhere();
    kill(second, SIGKILL); /* waits behind the first one's lock, or for the server as well */
    CHECK(waitpid(second, &status, 0) == second && WIFSIGNALED(status));
    kill(first, SIGKILL);
    CHECK(waitpid(first, &status, 0) == first && WIFSIGNALED(status));
    atomic_store(&lie_at, 0);
    keep = false;
    struct reply late = {.words = {0}};
    for (uint32_t i = before; i < kept_count; i++)
        send_reply(kept[i], &late); /* to nobody */
    CHECK(do_stat() == 0);
}

/* A question that changes nothing is ended by a signal. */
static int be_interrupted(void)
{
    struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval soon = {.it_value = {0, 20000}, .it_interval = {0, 20000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    return do_stat() == EINTR ? 0 : 1;
}

static void interrupt_silence(void)
{
    int status;
    keep = true;
    atomic_store(&lie_at, HYLA_FILE_LOOKUP);
    pid_t child = child_that(be_interrupted);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    atomic_store(&lie_at, 0);
    keep = false;
}

static void refuse_loops(void)
{
    char path[4000] = PLACE, deep[4096];
    while (strlen(path) < sizeof path - 8)
        strcat(path, "/dir");
    struct stat stat_;
    CHECK(stat(path, &stat_) == 0 && stat_.st_ino == DIR_NODE); /* a very deep tree, no more */
    snprintf(deep, sizeof deep, "%s/x/dir", path);
    CHECK(rename(PLACE "/dir", PLACE "/dir/dir/dir") == -1 && errno == EINVAL);
}

static void list_without_end(void)
{
    DIR *dir = opendir(PLACE);
    CHECK(dir);
    endless = true;
    for (int i = 0; i < 20000; i++)
        CHECK(readdir(dir));
    endless = false;
    closedir(dir);
}

int main(void)
{
    pthread_t threads[3];
    CHECK(mkdir(PLACE, 0777) == 0 && mkdir("/tmp-test", 0777) == 0 && mkdir("/tmp-test/a", 0777) == 0 && mkdir("/tmp-test/b", 0777) == 0);
    CHECK(hyla_start() == 0);
    port = (hyla_handle_t)hyla_port_create(0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, serve, NULL) == 0);
    refuse_to_attach();
    CHECK(do_mount() == 0);
    CHECK(do_stat() == 0 && do_list() == 0 && do_read() == 0 && do_write() == 0 && do_readlink() == 0 && do_statfs() == 0);
    tell_lies();
    twice = true;
    CHECK(do_stat() == 0 && do_list() == 0 && do_read() == 0);
    twice = false;
    say_nothing(HYLA_FILE_LOOKUP, do_stat);
    say_nothing(HYLA_FILE_OPEN, do_open);
    say_nothing(HYLA_FILE_READ, do_read);
    say_nothing(HYLA_FILE_WRITE, do_write);
    say_nothing(HYLA_FILE_CREATE, do_create);
    say_nothing(HYLA_FILE_RENAME, do_rename);
    interrupt_silence();
    refuse_loops();
    list_without_end();
    CHECK(umount2(PLACE, MNT_DETACH) == 0);
    return 0;
}
