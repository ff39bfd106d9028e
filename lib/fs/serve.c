/*
 * A file server's threads: each receives a question on the port, has the generated function take it apart and the program answer it,
 * and sends the reply while it receives the next.
 *
 * The port ends in one of two ways: the last send right is gone (a notice says so), or hyla_fs_stop closes it; either way every thread
 * finds it dead. What the kernel is told goes through the rights that attach brought, one for each mount.
 */
#pragma GCC visibility push(default)
#include <hyla/fs.h>
#pragma GCC visibility pop
#include "lib/fs/server.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>

#define BADGE_CLIENT 1u
#define BADGE_NOTICE UINT64_MAX

void *hyla_fs_data(const struct hyla_fs *fs) { return fs->data; }

/* --- notices ------------------------------------------------------------------------------------------ */

/* A notice to our own port, which no right of ours keeps alive meanwhile. */
static int64_t ask_notice(struct hyla_fs *fs, hyla_handle_t about, uint32_t kind)
{
    int64_t right = hyla_port_make_send(fs->port, BADGE_NOTICE, HYLA_RIGHT_COPY);
    if (right < 0)
        return right;
    int64_t error = hyla_port_notify(about, kind, 0, (hyla_handle_t)right, about);
    hyla_handle_close((hyla_handle_t)right);
    return error;
}

static void drop_mount(struct hyla_fs *fs, hyla_handle_t gone)
{
    bool mine = false;
    pthread_mutex_lock(&fs->mutex);
    for (unsigned i = 0; i < MOUNTS_MAX && !mine; i++) {
        mine = fs->mounts[i] == gone;
        if (mine)
            fs->mounts[i] = 0;
    }
    pthread_mutex_unlock(&fs->mutex);
    if (mine)
        hyla_handle_close(gone);
}

static void heed_notice(struct hyla_fs *fs, const struct hyla_msg *msg)
{
    if (msg->words[0] == HYLA_NOTICE_DEAD_NAME)
        drop_mount(fs, (hyla_handle_t)msg->words[1]);
    else if (msg->words[0] == HYLA_NOTICE_NO_SENDERS)
        hyla_fs_stop(fs);
}

/* --- what every server answers alike ----------------------------------------------------------------- */

static int64_t keep_mount(struct hyla_fs *fs, hyla_handle_t notify)
{
    int64_t result = -ENOSPC;
    pthread_mutex_lock(&fs->mutex);
    for (unsigned i = 0; i < MOUNTS_MAX; i++) {
        if (fs->mounts[i])
            continue;
        fs->mounts[i] = notify;
        result = 0;
        break;
    }
    pthread_mutex_unlock(&fs->mutex);
    if (result == 0)
        ask_notice(fs, notify, HYLA_NOTICE_DEAD_NAME); /* at once, if it is so already */
    return result;
}

static int64_t own_attach(struct hyla_fs *fs, uint32_t version, hyla_handle_t notify, struct hyla_file_attributes *root, char label[32])
{
    if (version != HYLA_FILE_VERSION)
        return -EPROTO;
    int64_t result = fs->ops.get_attributes(fs, HYLA_FILE_ROOT, root);
    memcpy(label, fs->label, sizeof fs->label);
    return result < 0 ? result : keep_mount(fs, notify);
}

static int64_t own_forget(struct hyla_fs *fs, uint64_t node, uint64_t count)
{
    (void)fs, (void)node, (void)count;
    return 0;
}

static int64_t own_open(struct hyla_fs *fs, uint64_t node, uint32_t flags, struct hyla_msg_handle *contents)
{
    (void)node, (void)contents;
    return (flags & HYLA_FILE_OPEN_WRITE) && !fs->ops.write ? -EROFS : 0;
}

static int64_t own_get_space(struct hyla_fs *fs, struct hyla_file_space *space)
{
    (void)fs;
    space->block_size = 4096;
    return 0;
}

/* --- the loop ---------------------------------------------------------------------------------------- */

struct server_thread {
    struct hyla_fs *fs;
    struct hyla_msg msg;
    struct hyla_msg_handle in, out;
    char *question, *reply;
};

/* Fills in the reply to what was received. */
static void answer(struct server_thread *self)
{
    struct hyla_fs *fs = self->fs;
    struct hyla_msg *msg = &self->msg;
    uint64_t words[8], number = msg->words[0];
    memcpy(words, msg->words, sizeof words);
    struct file_message message = {
        .words = words, .bytes = self->question, .size = msg->receive_size, .handle = msg->receive_handle_count ? self->in.handle : 0,
        .reply_words = msg->words, .reply_bytes = self->reply,
    };
    memset(msg->words, 0, sizeof msg->words);
    int64_t result = number < FILE_MESSAGES && file_serve_functions[number] ? file_serve_functions[number](&fs->ops, fs, &message) : -ENOSYS;
    if (message.handle && (number != HYLA_FILE_ATTACH || result < 0))
        hyla_handle_close(message.handle);
    if (result < 0) { /* an error comes alone */
        memset(msg->words, 0, sizeof msg->words);
        message.reply_size = 0;
        if (message.reply_handle.handle && message.reply_handle.move)
            hyla_handle_close(message.reply_handle.handle);
        message.reply_handle.handle = 0;
    }
    msg->words[0] = (uint64_t)result;
    self->out = message.reply_handle;
    msg->send_size = message.reply_size;
    msg->send_handle_count = message.reply_handle.handle != 0;
}

/* Ready to receive; and, with `send`, to send the reply before. */
static void prepare(struct server_thread *self, bool send)
{
    struct hyla_msg *msg = &self->msg;
    msg->flags = HYLA_MSG_RECEIVE | (send ? HYLA_MSG_SEND : 0);
    msg->from = self->fs->port;
    msg->to = send ? msg->reply : 0;
    msg->send_data = (uintptr_t)self->reply;
    msg->send_handles = (uintptr_t)&self->out;
    msg->receive_data = (uintptr_t)self->question;
    msg->receive_handles = (uintptr_t)&self->in;
    msg->receive_size = FILE_BYTES_MAX;
    msg->receive_handle_count = 1;
}

/* False: the port is dead. A reply that could not be sent is dropped, and its caller told so. */
static bool next(struct server_thread *self, bool send)
{
    for (;;) {
        prepare(self, send);
        int64_t error = hyla_msg(&self->msg);
        if (error == 0)
            return true;
        if (send && !(self->msg.done & HYLA_MSG_SENT))
            hyla_handle_close(self->msg.to);
        send = false;
        if (error == -EPIPE || error == -EBADF || error == -ECANCELED || error == -ENOTCONN)
            return false;
    }
}

static void *serve(void *argument)
{
    struct server_thread *self = argument;
    bool send = false;
    while (next(self, send)) {
        if (self->msg.badge == BADGE_NOTICE) {
            heed_notice(self->fs, &self->msg);
            send = false;
            continue;
        }
        answer(self);
        send = self->msg.reply != 0;
    }
    free(self->question);
    free(self->reply);
    free(self);
    return NULL;
}

static int start_thread(struct hyla_fs *fs)
{
    struct server_thread *self = calloc(1, sizeof *self);
    int error = ENOMEM;
    if (self) {
        self->fs = fs;
        self->question = malloc(FILE_BYTES_MAX);
        self->reply = malloc(FILE_BYTES_MAX);
        if (self->question && self->reply)
            error = pthread_create(&fs->threads[fs->thread_count], NULL, serve, self);
        if (!error) {
            fs->thread_count++;
            return 0;
        }
        free(self->question);
        free(self->reply);
        free(self);
    }
    return -error;
}

/* --- birth and death --------------------------------------------------------------------------------- */

static void set_ops(struct hyla_fs *fs, const struct hyla_fs_options *options)
{
    fs->ops = *options->ops;
    fs->pages.own_open = fs->ops.open != NULL;
    if (!fs->ops.attach)
        fs->ops.attach = own_attach;
    if (!fs->ops.forget)
        fs->ops.forget = own_forget;
    if (!fs->ops.open)
        fs->ops.open = own_open;
    if (!fs->ops.get_space)
        fs->ops.get_space = own_get_space;
}

static void destroy(struct hyla_fs *fs)
{
    hyla_fs_stop(fs);
    for (unsigned i = 0; i < fs->thread_count; i++)
        pthread_join(fs->threads[i], NULL);
    for (unsigned i = 0; i < MOUNTS_MAX; i++)
        if (fs->mounts[i])
            hyla_handle_close(fs->mounts[i]);
    pages_end(fs);
    pthread_mutex_destroy(&fs->mutex);
    free(fs);
}

int hyla_fs_create(const struct hyla_fs_options *options, struct hyla_fs **result)
{
    unsigned threads = options->threads ? options->threads : THREADS_DEFAULT;
    if (!options->ops || !options->ops->get_attributes || threads > THREADS_MAX || (options->label && strlen(options->label) > 31))
        return -EINVAL;
    struct hyla_fs *fs = calloc(1, sizeof *fs);
    if (!fs)
        return -ENOMEM;
    pthread_mutex_init(&fs->mutex, NULL);
    pthread_mutex_init(&fs->pages.mutex, NULL);
    set_ops(fs, options);
    fs->data = options->data;
    snprintf(fs->label, sizeof fs->label, "%s", options->label ? options->label : "server");
    int64_t port = options->port ? (int64_t)options->port : hyla_port_create(0);
    int error = port < 0 ? (int)port : 0;
    if (!error) {
        fs->port = (hyla_handle_t)port;
        fs->watched = options->port != 0;
        error = fs->watched ? (int)ask_notice(fs, fs->port, HYLA_NOTICE_NO_SENDERS) : 0;
    } else {
        fs->stopped = true;
    }
    if (!error && options->paged)
        error = pages_start(fs);
    while (!error && fs->thread_count < threads)
        error = start_thread(fs);
    if (error)
        destroy(fs);
    else
        *result = fs;
    return error;
}

int64_t hyla_fs_right(struct hyla_fs *fs)
{
    int64_t right = hyla_port_make_send(fs->port, BADGE_CLIENT, HYLA_RIGHT_COPY | HYLA_RIGHT_TRANSFER);
    pthread_mutex_lock(&fs->mutex);
    bool watch = right >= 0 && !fs->watched;
    fs->watched |= watch;
    pthread_mutex_unlock(&fs->mutex);
    if (watch)
        ask_notice(fs, fs->port, HYLA_NOTICE_NO_SENDERS); /* the end of the last right stops the server */
    return right;
}

int hyla_fs_mount(struct hyla_fs *fs, const char *directory, unsigned long flags)
{
    char data[32];
    int64_t right = hyla_fs_right(fs);
    if (right < 0)
        return (int)right;
    snprintf(data, sizeof data, "port=%u", (unsigned)right);
    int error = mount(fs->label, directory, "server", flags, data) ? -errno : 0;
    hyla_handle_close((hyla_handle_t)right);
    return error;
}

int hyla_fs_run(struct hyla_fs *fs)
{
    for (unsigned i = 0; i < fs->thread_count; i++)
        pthread_join(fs->threads[i], NULL);
    fs->thread_count = 0;
    destroy(fs);
    return 0;
}

void hyla_fs_stop(struct hyla_fs *fs)
{
    pthread_mutex_lock(&fs->mutex);
    bool first = !fs->stopped;
    fs->stopped = true;
    pthread_mutex_unlock(&fs->mutex);
    if (!first)
        return;
    hyla_handle_close(fs->port);
    pages_stop(fs);
}

/* --- recalls ----------------------------------------------------------------------------------------- */

static int tell_mounts(struct hyla_fs *fs, const uint64_t words[3], const char *bytes, uint32_t size)
{
    int error = 0;
    for (unsigned i = 0; i < MOUNTS_MAX; i++) {
        pthread_mutex_lock(&fs->mutex);
        hyla_handle_t to = fs->mounts[i];
        pthread_mutex_unlock(&fs->mutex);
        if (!to)
            continue;
        struct hyla_msg msg = {
            .flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = to, .words = {words[0], words[1], words[2]}, .send_data = (uintptr_t)bytes, .send_size = size,
        };
        int64_t result = hyla_msg(&msg);
        if (result == -EPIPE || result == -EBADF)
            drop_mount(fs, to);
        else if (result < 0)
            error = (int)result;
    }
    return error;
}

int hyla_fs_invalidate(struct hyla_fs *fs, uint64_t node, uint32_t what)
{
    const uint64_t words[3] = {HYLA_FILE_INVALIDATE, node, what};
    return tell_mounts(fs, words, "", 0);
}

int hyla_fs_invalidate_name(struct hyla_fs *fs, uint64_t directory, const char *name)
{
    size_t length = strlen(name);
    const uint64_t words[3] = {HYLA_FILE_INVALIDATE_NAME, directory, length};
    return length && length <= HYLA_FILE_NAME_MAX ? tell_mounts(fs, words, name, (uint32_t)length) : -EINVAL;
}

/* --- listings ---------------------------------------------------------------------------------------- */

int64_t hyla_fs_entry(void *entries, uint32_t room, int64_t used, const char *name, uint64_t inode, uint32_t mode, int64_t next_cookie)
{
    size_t length = strlen(name), padded = (length + 7) & ~(size_t)7;
    struct hyla_file_entry entry = {.next = next_cookie, .inode = inode, .type = mode >> 12 & 15, .length = (uint32_t)length};
    char *to = (char *)entries + used;
    if (used < 0 || !length || length > HYLA_FILE_NAME_MAX)
        return -EINVAL;
    if ((uint64_t)used + sizeof entry + padded > room)
        return -ENOSPC;
    memcpy(to, &entry, sizeof entry);
    memset(to + sizeof entry, 0, padded);
    memcpy(to + sizeof entry, name, length);
    return used + (int64_t)(sizeof entry + padded);
}
