/*
 * Pseudo-terminals: /dev/ptmx, the master's file, and the directory /dev/pts. See pty(7), ioctl_tty(2).
 *
 * There is one struct tty per pair, the slave's. The master reads what the terminal's output queue holds and
 * writes into its line discipline. When the master closes, the terminal is hung up for good and its name goes;
 * the number is free again when the last file of the slave is gone too. When the last slave file closes, the master
 * reads what is left and then gets EIO until a slave is opened again.
 */
#include "abi/linux/fs/fs.h"
#include "abi/linux/fs/memfs.h"
#include "abi/linux/process.h"
#include "abi/linux/tty.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#define PTY_MAX 1024
#define PTS_MAJOR 136u
#define TTY_GROUP 5u /* as Debian mounts devpts: gid=5,mode=620 */
#define CHUNK 1024u
#define FIRST_INODE 3u

enum { TIOCPKT = 0x5420, FIONREAD = 0x541b, TIOCOUTQ = 0x5411, TIOCGPTPEER = 0x5441 };
enum { TIOCGPTN = 0x80045430, TIOCSPTLCK = 0x40045431, TIOCSIG = 0x40045436, TIOCGPKT = 0x80045438, TIOCGPTLCK = 0x80045439 };

struct pty {
    struct tty *tty; /* not referenced: it owns us */
    int index;

    /* under tty->mutex */
    bool locked, packet, slave_closed;
    uint8_t packet_status;
    uint32_t uid, gid, mode;
    struct file_time changed;

    struct waitq readers, writers; /* of the master */
    struct knote_list knotes;      /* the master's */

    /* under table_lock */
    struct node *node; /* not referenced */
    bool named;        /* the master is open */
};

static struct spinlock table_lock = SPINLOCK_INIT(RANK_NODE_TABLE);
static struct pty *table[PTY_MAX];

static struct pty *pty_of(struct tty *tty) { return tty->data; }

static void wake_master_locked(struct pty *pty, uint32_t events)
{
    if (events & (EVENT_READ | EVENT_HANGUP))
        waitq_wake_all(&pty->readers);
    if (events & EVENT_WRITE)
        waitq_wake_all(&pty->writers);
    events |= (events & EVENT_READ ? EVENT_READ_NORMAL : 0) | (events & EVENT_WRITE ? EVENT_WRITE_NORMAL : 0);
    knote_notify(&pty->knotes, events);
}

/* --- the other end of the terminal ------------------------------------------------------------------- */

static void pty_output_ready(struct tty *tty) { wake_master_locked(pty_of(tty), EVENT_READ); }
static void pty_input_room(struct tty *tty) { wake_master_locked(pty_of(tty), EVENT_WRITE); }

static void pty_packet_event(struct tty *tty, uint8_t bits)
{
    struct pty *pty = pty_of(tty);
    if (!pty->packet)
        return;
    if (bits & (TTY_PKT_STOP | TTY_PKT_START))
        pty->packet_status &= (uint8_t)~(TTY_PKT_STOP | TTY_PKT_START);
    if (bits & (TTY_PKT_NOSTOP | TTY_PKT_DOSTOP))
        pty->packet_status &= (uint8_t)~(TTY_PKT_NOSTOP | TTY_PKT_DOSTOP);
    pty->packet_status |= bits;
    wake_master_locked(pty, EVENT_READ | EVENT_PRIORITY);
}

static void pty_opened(struct tty *tty, bool open)
{
    struct pty *pty = pty_of(tty);
    pty->slave_closed = !open;
    if (!open)
        wake_master_locked(pty, EVENT_READ | EVENT_HANGUP);
}

static void pty_release(struct tty *tty)
{
    struct pty *pty = pty_of(tty);
    knote_list_close(&pty->knotes);
    spin_lock(&table_lock);
    table[pty->index] = NULL;
    spin_unlock(&table_lock);
    kfree(pty);
}

static const struct tty_ops pty_ops = {
    .output_ready = pty_output_ready,
    .input_room = pty_input_room,
    .packet_event = pty_packet_event,
    .opened = pty_opened,
    .release = pty_release,
};

/* --- the master's file ------------------------------------------------------------------------------- */

static struct pty *master_of(struct file *file) { return file->data; }

/* One packet or what is there of the stream: bytes, 0 when there is nothing. tty->mutex held. */
static size_t master_take(struct pty *pty, uint8_t *chunk, size_t size)
{
    if (!pty->packet)
        return tty_output_take_locked(pty->tty, chunk, size, true);
    if (pty->packet_status) {
        chunk[0] = pty->packet_status;
        pty->packet_status = 0;
        return 1;
    }
    size_t got = tty_output_take_locked(pty->tty, chunk + 1, size - 1, true);
    chunk[0] = 0;
    return got ? got + 1 : 0;
}

static int master_wait_readable(struct pty *pty, struct file *file, struct io *io)
{
    if (pty->slave_closed)
        return -EIO;
    if (file_nonblocking(file) || io->flags & IO_NONBLOCK)
        return -EAGAIN;
    return waitq_sleep(&pty->readers, &pty->tty->mutex, DEADLINE_NEVER, WAIT_INTERRUPTIBLE) ? -ERESTARTSYS : 0;
}

static int64_t master_read(struct file *file, struct io *io, int64_t *position)
{
    struct pty *pty = master_of(file);
    uint8_t chunk[CHUNK];
    int64_t done = 0;
    int error = 0;
    (void)position;
    while (io_left(io) && !error && !(pty->packet && done)) {
        mutex_lock(&pty->tty->mutex);
        size_t got;
        while (!(got = master_take(pty, chunk, io_left(io) < CHUNK ? io_left(io) : CHUNK)) && !done && !error)
            error = master_wait_readable(pty, file, io);
        mutex_unlock(&pty->tty->mutex);
        if (!got)
            break;
        size_t put = io_put(io, chunk, got);
        done += (int64_t)put;
        if (put < got)
            error = -EFAULT;
    }
    return done ? done : error;
}

static int master_wait_writable(struct pty *pty, struct file *file, struct io *io)
{
    int error = 0;
    if (file_nonblocking(file) || io->flags & IO_NONBLOCK)
        return -EAGAIN;
    mutex_lock(&pty->tty->mutex);
    while (pty->tty->input_full && !error)
        error = waitq_sleep(&pty->writers, &pty->tty->mutex, DEADLINE_NEVER, WAIT_INTERRUPTIBLE);
    mutex_unlock(&pty->tty->mutex);
    return error ? -ERESTARTSYS : 0;
}

static int64_t master_write(struct file *file, struct io *io, int64_t *position)
{
    struct pty *pty = master_of(file);
    uint8_t chunk[CHUNK];
    int64_t done = 0;
    int error = 0;
    (void)position;
    while (io_left(io) && !error) {
        size_t got = io_get(io, chunk, io_left(io) < CHUNK ? io_left(io) : CHUNK), at = 0;
        if (!got)
            error = -EFAULT;
        while (at < got && !error) {
            size_t moved = tty_receive(pty->tty, chunk + at, got - at);
            at += moved;
            done += (int64_t)moved;
            if (at < got)
                error = master_wait_writable(pty, file, io);
        }
    }
    return done ? done : error;
}

static uint32_t master_poll(struct file *file)
{
    struct pty *pty = master_of(file);
    uint32_t events = 0;
    mutex_lock(&pty->tty->mutex);
    if (tty_output_used(pty->tty) || pty->packet_status)
        events |= EVENT_READ | EVENT_READ_NORMAL;
    if (pty->packet_status)
        events |= EVENT_PRIORITY;
    if (!pty->tty->input_full)
        events |= EVENT_WRITE | EVENT_WRITE_NORMAL;
    if (pty->slave_closed)
        events |= EVENT_HANGUP;
    mutex_unlock(&pty->tty->mutex);
    return events;
}

static struct knote_list *master_knotes(struct file *file) { return &master_of(file)->knotes; }

static int64_t set_flag(struct pty *pty, bool *flag, uaddr_t argument)
{
    int32_t value;
    if (user_read(&value, argument, sizeof value))
        return -EFAULT;
    mutex_lock(&pty->tty->mutex);
    *flag = value;
    if (flag == &pty->packet)
        pty->packet_status = 0;
    mutex_unlock(&pty->tty->mutex);
    return 0;
}

static int64_t put_number(uaddr_t argument, uint32_t number) { return user_write(argument, &number, sizeof number); }

static int64_t open_peer(struct pty *pty, uint32_t flags)
{
    struct file *file;
    int64_t result = tty_open(pty->tty, flags, &file);
    if (result)
        return result;
    result = fd_install(file, flags);
    if (result < 0)
        file_unref(file);
    return result;
}

static int64_t send_signal(struct pty *pty, uaddr_t signal)
{
    if (signal != LINUX_SIGINT && signal != LINUX_SIGQUIT && signal != LINUX_SIGTSTP)
        return -EINVAL;
    int32_t foreground = pty->tty->foreground;
    if (foreground > 0)
        signal_send_group(foreground, (int)signal, NULL);
    return 0;
}

static int64_t master_ioctl(struct file *file, uint32_t command, uaddr_t argument)
{
    struct pty *pty = master_of(file);
    switch (command) {
    case TIOCGPTN:
        return put_number(argument, (uint32_t)pty->index);
    case TIOCSPTLCK:
        return set_flag(pty, &pty->locked, argument);
    case TIOCGPTLCK:
        return put_number(argument, pty->locked);
    case TIOCPKT:
        return set_flag(pty, &pty->packet, argument);
    case TIOCGPKT:
        return put_number(argument, pty->packet);
    case TIOCGPTPEER:
        return open_peer(pty, (uint32_t)argument);
    case TIOCSIG:
        return send_signal(pty, argument);
    case FIONREAD:
        return put_number(argument, tty_output_used(pty->tty));
    case TIOCOUTQ:
        return put_number(argument, 0);
    default:
        return tty_ioctl(pty->tty, file, true, command, argument);
    }
}

static void master_release(struct file *file)
{
    struct pty *pty = master_of(file);
    struct tty *tty = pty->tty;
    spin_lock(&table_lock);
    pty->named = false;
    spin_unlock(&table_lock);
    tty_hangup(tty, true);
    object_unref(tty);
}

static const struct file_ops master_ops = {
    .kind = "ptmx",
    .async = true,
    .read = master_read,
    .write = master_write,
    .poll = master_poll,
    .knotes = master_knotes,
    .ioctl = master_ioctl,
    .release = master_release,
};

/* --- making a pair ----------------------------------------------------------------------------------- */

static int reserve_index(struct pty *pty)
{
    spin_lock(&table_lock);
    pty->index = 0;
    while (pty->index < PTY_MAX && table[pty->index])
        pty->index++;
    if (pty->index < PTY_MAX)
        table[pty->index] = pty;
    spin_unlock(&table_lock);
    return pty->index < PTY_MAX ? 0 : -ENOSPC;
}

static void free_index(struct pty *pty)
{
    spin_lock(&table_lock);
    table[pty->index] = NULL;
    spin_unlock(&table_lock);
}

/* minor numbers below 1024 in the user's encoding of device numbers */
static uint64_t slave_number(int index) { return PTS_MAJOR << 8 | ((uint64_t)index & 0xff) | ((uint64_t)index & ~(uint64_t)0xff) << 12; }

static int pty_create(struct pty **result)
{
    struct pty *pty = kzalloc(sizeof *pty);
    char name[16];
    if (!pty)
        return -ENOMEM;
    waitq_init(&pty->readers);
    waitq_init(&pty->writers);
    knote_list_init(&pty->knotes);
    pty->locked = true;
    pty->uid = current_cred()->fsuid;
    pty->gid = TTY_GROUP;
    pty->mode = LINUX_S_IFCHR | 0620;
    pty->changed = wall_time();
    int error = reserve_index(pty);
    if (error) {
        kfree(pty);
        return error;
    }
    format(name, sizeof name, "/dev/pts/%d", pty->index);
    pty->tty = tty_create(&pty_ops, pty, slave_number(pty->index), name);
    if (!pty->tty) {
        free_index(pty);
        kfree(pty);
        return -ENOMEM;
    }
    *result = pty;
    return 0;
}

int pty_open_master(uint32_t flags, struct file **file)
{
    struct pty *pty;
    int error = pty_create(&pty);
    if (error)
        return error;
    *file = file_create(&master_ops, flags, pty);
    if (!*file) {
        object_unref(pty->tty);
        return -ENOMEM;
    }
    spin_lock(&table_lock);
    pty->named = true;
    spin_unlock(&table_lock);
    return 0;
}

/* --- /dev/pts ---------------------------------------------------------------------------------------- */

static struct pty *pty_of_node(struct node *node) { return pty_of(node->data); }

static int slave_get_attr(struct node *node, struct linux_stat_data *stat)
{
    struct pty *pty = pty_of_node(node);
    mutex_lock(&pty->tty->mutex);
    *stat = (struct linux_stat_data){
        .device = node->fs->device | 0x8000,
        .inode = node->inode,
        .link_count = 1,
        .rdev = pty->tty->rdev,
        .mode = pty->mode,
        .uid = pty->uid,
        .gid = pty->gid,
        .block_size = 1024,
        .access = pty->changed,
        .modify = pty->changed,
        .change = pty->changed,
    };
    mutex_unlock(&pty->tty->mutex);
    return 0;
}

static int slave_set_attr(struct node *node, const struct node_attr *attr)
{
    struct pty *pty = pty_of_node(node);
    mutex_lock(&pty->tty->mutex);
    if (attr->valid & ATTR_MODE)
        pty->mode = LINUX_S_IFCHR | (attr->mode & 07777);
    if (attr->valid & ATTR_UID)
        pty->uid = attr->uid;
    if (attr->valid & ATTR_GID)
        pty->gid = attr->gid;
    pty->changed = wall_time();
    mutex_unlock(&pty->tty->mutex);
    return 0;
}

static int slave_open(struct node *node, uint32_t flags, struct file **file)
{
    struct pty *pty = pty_of_node(node);
    if (pty->locked)
        return -EIO;
    return tty_open(pty->tty, flags, file);
}

static void slave_release_node(struct node *node)
{
    struct pty *pty = pty_of_node(node);
    spin_lock(&table_lock);
    if (pty->node == node)
        pty->node = NULL;
    spin_unlock(&table_lock);
    object_unref(pty->tty);
}

static const struct node_ops slave_ops = {
    .get_attr = slave_get_attr,
    .set_attr = slave_set_attr,
    .open = slave_open,
    .release = slave_release_node,
};

/* A reference to the terminal, and to its node if there is one. */
static struct pty *find_slave(int index, struct node **node)
{
    *node = NULL;
    spin_lock(&table_lock);
    struct pty *pty = index >= 0 && index < PTY_MAX ? table[index] : NULL;
    if (pty && (!pty->named || !object_try_ref(pty->tty)))
        pty = NULL;
    if (pty && pty->node && object_try_ref(pty->node))
        *node = pty->node;
    spin_unlock(&table_lock);
    return pty;
}

static int slave_node(struct fs *fs, int index, struct node **child)
{
    struct pty *pty = find_slave(index, child);
    if (!pty)
        return -ENOENT;
    if (*child) {
        object_unref(pty->tty);
        return 0;
    }
    *child = node_create(fs, &slave_ops, LINUX_S_IFCHR | 0620, (uint64_t)index + FIRST_INODE, pty->tty);
    if (!*child) {
        object_unref(pty->tty);
        return -ENOMEM;
    }
    spin_lock(&table_lock);
    pty->node = *child;
    spin_unlock(&table_lock);
    return 0;
}

static int parse_index(const char *name, size_t length)
{
    int index = 0;
    if (!length || length > 4 || (name[0] == '0' && length > 1))
        return -1;
    for (size_t i = 0; i < length; i++) {
        if (name[i] < '0' || name[i] > '9')
            return -1;
        index = index * 10 + (name[i] - '0');
    }
    return index;
}

static int pts_lookup(struct node *dir, const char *name, size_t length, struct node **child)
{
    return slave_node(dir->fs, parse_index(name, length), child);
}

static int pts_get_attr(struct node *dir, struct linux_stat_data *stat)
{
    *stat = (struct linux_stat_data){
        .device = dir->fs->device | 0x8000,
        .inode = 1,
        .link_count = 2,
        .mode = LINUX_S_IFDIR | 0755,
        .block_size = 1024,
        .access = wall_time(),
        .modify = wall_time(),
        .change = wall_time(),
    };
    return 0;
}

static int pts_set_attr(struct node *dir, const struct node_attr *attr)
{
    (void)dir, (void)attr;
    return -EPERM;
}

static bool is_named(int index)
{
    spin_lock(&table_lock);
    bool named = table[index] && table[index]->named;
    spin_unlock(&table_lock);
    return named;
}

static int pts_read_directory(struct node *dir, int64_t *cookie, directory_emit *emit, void *context)
{
    while (*cookie < 2) {
        if (!emit(context, "..", (size_t)*cookie + 1, dir->inode, LINUX_S_IFDIR >> 12, *cookie + 1))
            return 0;
        ++*cookie;
    }
    for (; *cookie < PTY_MAX + 2; ++*cookie) {
        int index = (int)*cookie - 2;
        char name[8];
        if (!is_named(index))
            continue;
        int length = format(name, sizeof name, "%d", index);
        if (!emit(context, name, (size_t)length, (uint64_t)index + FIRST_INODE, LINUX_S_IFCHR >> 12, *cookie + 1))
            return 0;
    }
    return 0;
}

static const struct node_ops pts_ops = {
    .get_attr = pts_get_attr,
    .set_attr = pts_set_attr,
    .lookup = pts_lookup,
    .read_directory = pts_read_directory,
};

struct node *pty_directory_create(struct fs *fs, uint64_t inode)
{
    struct node *node = node_create(fs, &pts_ops, LINUX_S_IFDIR | 0755, inode, NULL);
    if (node)
        node->flags |= NODE_NO_CACHE;
    return node;
}

int pty_open_slave(uint64_t rdev, uint32_t flags, struct file **file)
{
    struct node *node;
    int index = (int)((rdev & 0xff) | (rdev >> 12 & ~(uint64_t)0xff));
    struct pty *pty = (rdev >> 8 & 0xfff) == PTS_MAJOR ? find_slave(index, &node) : NULL;
    if (!pty)
        return -ENXIO;
    object_unref(node);
    int error = pty->locked ? -EIO : tty_open(pty->tty, flags, file);
    object_unref(pty->tty);
    return error;
}

int pty_slave_stat(struct fs *fs, uint64_t rdev, struct linux_stat_data *stat)
{
    struct node *node;
    int index = (int)((rdev & 0xff) | (rdev >> 12 & ~(uint64_t)0xff));
    int error = slave_node(fs, index, &node);
    if (error)
        return error;
    error = slave_get_attr(node, stat);
    object_unref(node);
    return error;
}
