/*
 * Terminals as files: reading with VMIN and VTIME, writing, readiness; and the life of struct tty.
 *
 * A file remembers the generation of hangups it was opened in. After the next hangup it is dead: reads are at the
 * end, everything else fails with EIO, for ever.
 */
#include "abi/linux/tty.h"

#include "abi/linux/fs/memfs.h"
#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/body.h"
#include "kernel/string.h"

#define CHUNK 1024u
#define DECISECOND ((nanoseconds_t)100000000)

static const struct file_ops tty_file_ops;
static struct tty *console;

/* --- the object -------------------------------------------------------------------------------------- */

static void tty_destroy(struct object *object)
{
    struct tty *tty = CONTAINER_OF(object, struct tty, object);
    knote_list_close(&tty->knotes);
    if (tty->ops->release)
        tty->ops->release(tty);
    kfree(tty->input);
    kfree(tty->delimiters);
    kfree(tty->output);
    kfree(tty);
}

static const struct object_type tty_type = {.name = "tty", .destroy = tty_destroy};

/* What a fresh Linux terminal has: termios(3), stty sane. */
static const struct linux_termios2 termios_default = {
    .iflag = TTY_ICRNL | TTY_IXON,
    .oflag = TTY_OPOST | TTY_ONLCR,
    .cflag = TTY_B38400 | TTY_CS8 | TTY_CREAD,
    .lflag = TTY_ISIG | TTY_ICANON | TTY_ECHO | TTY_ECHOE | TTY_ECHOK | TTY_ECHOCTL | TTY_ECHOKE | TTY_IEXTEN,
    .cc = {[TTY_VINTR] = 3, [TTY_VQUIT] = 28, [TTY_VERASE] = 127, [TTY_VKILL] = 21, [TTY_VEOF] = 4, [TTY_VMIN] = 1, [TTY_VSTART] = 17,
           [TTY_VSTOP] = 19, [TTY_VSUSP] = 26, [TTY_VREPRINT] = 18, [TTY_VDISCARD] = 15, [TTY_VWERASE] = 23, [TTY_VLNEXT] = 22},
    .ispeed = 38400,
    .ospeed = 38400,
};

struct tty *tty_create(const struct tty_ops *ops, void *data, uint64_t rdev, const char *name)
{
    struct tty *tty = kzalloc(sizeof *tty);
    if (!tty)
        return NULL;
    tty->input = kzalloc(TTY_INPUT_SIZE);
    tty->delimiters = kzalloc(TTY_INPUT_SIZE);
    tty->output = kzalloc(TTY_OUTPUT_SIZE);
    if (!tty->input || !tty->delimiters || !tty->output) {
        kfree(tty->input);
        kfree(tty->delimiters);
        kfree(tty->output);
        kfree(tty);
        return NULL;
    }
    object_init(&tty->object, &tty_type);
    tty->ops = ops;
    tty->data = data;
    tty->rdev = rdev;
    tty->termios = termios_default;
    format(tty->name, sizeof tty->name, "%s", name);
    mutex_init(&tty->mutex, RANK_TTY);
    waitq_init(&tty->readers);
    waitq_init(&tty->writers);
    knote_list_init(&tty->knotes);
    return tty;
}

void tty_set_console(struct tty *tty) { console = object_ref(tty); }
struct tty *tty_console(void) { return console; }

void tty_wake_locked(struct tty *tty, uint32_t events)
{
    if (events & (EVENT_READ | EVENT_HANGUP))
        waitq_wake_all(&tty->readers);
    if (events & (EVENT_WRITE | EVENT_HANGUP))
        waitq_wake_all(&tty->writers);
    events |= (events & EVENT_READ ? EVENT_READ_NORMAL : 0) | (events & EVENT_WRITE ? EVENT_WRITE_NORMAL : 0);
    knote_notify(&tty->knotes, events);
}

/* --- opening ----------------------------------------------------------------------------------------- */

struct tty_file {
    struct tty *tty; /* referenced */
    uint32_t generation;
};

static struct tty *tty_of(struct file *file) { return ((struct tty_file *)file->data)->tty; }

bool tty_file_alive(struct tty *tty, struct file *file)
{
    return file->ops != &tty_file_ops || ((struct tty_file *)file->data)->generation == tty->generation;
}

struct tty *tty_of_file(struct file *file) { return file->ops == &tty_file_ops ? tty_of(file) : NULL; }

static int open_locked(struct tty *tty, struct tty_file *data)
{
    if (tty->hung_up)
        return -EIO;
    if (tty->exclusive && tty->open_count && !capable(LINUX_CAP_SYS_ADMIN))
        return -EBUSY;
    data->generation = tty->generation;
    if (!tty->open_count++ && tty->ops->opened)
        tty->ops->opened(tty, true);
    return 0;
}

int tty_open(struct tty *tty, uint32_t flags, struct file **file)
{
    struct tty_file *data = kzalloc(sizeof *data);
    if (!data)
        return -ENOMEM;
    mutex_lock(&tty->mutex);
    int error = open_locked(tty, data);
    mutex_unlock(&tty->mutex);
    if (error) {
        kfree(data);
        return error;
    }
    data->tty = object_ref(tty);
    *file = file_create(&tty_file_ops, flags, data);
    if (!*file) {
        mutex_lock(&tty->mutex);
        tty->open_count--;
        mutex_unlock(&tty->mutex);
        object_unref(tty);
        kfree(data);
        return -ENOMEM;
    }
    if (!(flags & LINUX_O_NOCTTY) && current_process())
        tty_acquire(tty);
    return 0;
}

int tty_open_controlling(uint32_t flags, struct file **file)
{
    mutex_lock(&process_tree_lock);
    struct tty *tty = current_process()->tty;
    if (tty)
        object_ref(tty);
    mutex_unlock(&process_tree_lock);
    if (!tty)
        return -ENXIO;
    int error = tty_open(tty, flags | LINUX_O_NOCTTY, file);
    object_unref(tty);
    return error == -EIO ? -ENXIO : error;
}

static void tty_file_release(struct file *file)
{
    struct tty *tty = tty_of(file);
    mutex_lock(&tty->mutex);
    if (tty_file_alive(tty, file) && !--tty->open_count) {
        tty->exclusive = false;
        if (tty->ops->opened)
            tty->ops->opened(tty, false);
    }
    mutex_unlock(&tty->mutex);
    object_unref(tty);
    kfree(file->data);
}

/* --- reading ----------------------------------------------------------------------------------------- */

/* One read(2) that is being served. */
struct reading {
    struct tty *tty;
    struct file *file;
    struct io *io;
    size_t done, minimum;
    nanoseconds_t deadline;
    nanoseconds_t byte_timeout; /* between bytes; 0: none */
};

static void reading_begin(struct reading *reading)
{
    const struct linux_termios2 *termios = &reading->tty->termios;
    nanoseconds_t time = termios->cc[TTY_VTIME] * DECISECOND;
    reading->deadline = DEADLINE_NEVER;
    reading->minimum = 1;
    if (termios->lflag & TTY_ICANON)
        return;
    reading->minimum = termios->cc[TTY_VMIN];
    if (reading->minimum)
        reading->byte_timeout = time;
    else
        reading->deadline = time ? body_now() + time : 0;
    if (reading->minimum > io_left(reading->io))
        reading->minimum = io_left(reading->io);
}

/* Moves what is there. 1: done, 0: more is wanted, negative: a fault. */
static int reading_step(struct reading *reading)
{
    uint8_t chunk[CHUNK];
    struct tty *tty = reading->tty;
    bool line_end = false;
    while (tty_readable_locked(tty) && !line_end && io_left(reading->io)) {
        size_t want = io_left(reading->io) < CHUNK ? io_left(reading->io) : CHUNK;
        size_t got = tty_take_input_locked(tty, chunk, want, &line_end);
        mutex_unlock(&tty->mutex);
        size_t put = io_put(reading->io, chunk, got);
        mutex_lock(&tty->mutex);
        reading->done += put;
        if (put < got)
            return reading->done ? 1 : -EFAULT;
        if (reading->byte_timeout && got)
            reading->deadline = body_now() + reading->byte_timeout;
    }
    if (line_end || !io_left(reading->io))
        return 1;
    if (tty_l(tty, TTY_ICANON))
        return reading->done > 0;
    return reading->done && reading->done >= reading->minimum;
}

static int reading_wait(struct reading *reading)
{
    struct tty *tty = reading->tty;
    if (!tty_file_alive(tty, reading->file))
        return 1;
    if (reading->file->flags.raw & LINUX_O_NONBLOCK || reading->io->flags & IO_NONBLOCK)
        return !tty_l(tty, TTY_ICANON) && !reading->minimum ? 1 : -EAGAIN;
    if (!reading->deadline) /* MIN 0, TIME 0 */
        return 1;
    int error = waitq_sleep(&tty->readers, &tty->mutex, reading->deadline, WAIT_INTERRUPTIBLE);
    return error == -ETIMEDOUT ? 1 : error == -EINTR ? -ERESTARTSYS : error;
}

static int64_t tty_read(struct file *file, struct io *io, int64_t *position)
{
    struct reading reading = {.tty = tty_of(file), .file = file, .io = io};
    (void)position;
    if (!io_left(io))
        return 0;
    mutex_lock(&reading.tty->mutex);
    bool alive = tty_file_alive(reading.tty, file);
    mutex_unlock(&reading.tty->mutex);
    if (!alive)
        return 0;
    int state = tty_job_control(reading.tty, LINUX_SIGTTIN);
    if (state)
        return state;
    mutex_lock(&reading.tty->mutex);
    reading_begin(&reading);
    while (!(state = reading_step(&reading)) && !(state = reading_wait(&reading))) {
        mutex_unlock(&reading.tty->mutex);
        state = tty_job_control(reading.tty, LINUX_SIGTTIN);
        mutex_lock(&reading.tty->mutex);
        if (state)
            break;
    }
    mutex_unlock(&reading.tty->mutex);
    return reading.done || state > 0 ? (int64_t)reading.done : state;
}

/* --- writing ----------------------------------------------------------------------------------------- */

/* As many bytes as there is room for. */
static size_t process_chunk(struct tty *tty, const uint8_t *bytes, size_t size)
{
    size_t done = 0;
    while (done < size && !tty->stopped && tty_put_processed(tty, bytes[done]))
        done++;
    if (done)
        tty->ops->output_ready(tty);
    return done;
}

static int write_wait(struct tty *tty, struct file *file, struct io *io)
{
    if (file_nonblocking(file) || io->flags & IO_NONBLOCK)
        return -EAGAIN;
    return waitq_sleep(&tty->writers, &tty->mutex, DEADLINE_NEVER, WAIT_INTERRUPTIBLE) ? -ERESTARTSYS : 0;
}

/* tty->mutex held. Bytes written before the error in *done. */
static int write_chunk(struct tty *tty, struct file *file, struct io *io, const uint8_t *bytes, size_t size, int64_t *done)
{
    size_t at = 0;
    int error = 0;
    while (at < size && !error) {
        if (!tty_file_alive(tty, file) || tty->hung_up)
            return -EIO;
        size_t moved = process_chunk(tty, bytes + at, size - at);
        at += moved;
        *done += (int64_t)moved;
        if (at < size)
            error = write_wait(tty, file, io);
    }
    return error;
}

static int64_t tty_write(struct file *file, struct io *io, int64_t *position)
{
    struct tty *tty = tty_of(file);
    uint8_t chunk[CHUNK];
    int64_t done = 0;
    (void)position;
    int error = tty_l(tty, TTY_TOSTOP) ? tty_job_control(tty, LINUX_SIGTTOU) : 0;
    while (!error && io_left(io)) {
        size_t got = io_get(io, chunk, io_left(io) < CHUNK ? io_left(io) : CHUNK);
        if (!got) {
            error = -EFAULT;
            break;
        }
        mutex_lock(&tty->mutex);
        error = write_chunk(tty, file, io, chunk, got, &done);
        mutex_unlock(&tty->mutex);
    }
    return done ? done : error;
}

/* --- readiness and the rest -------------------------------------------------------------------------- */

static bool poll_readable(struct tty *tty)
{
    uint8_t minimum = tty->termios.cc[TTY_VMIN];
    if (!tty_l(tty, TTY_ICANON) && !tty->termios.cc[TTY_VTIME] && minimum > 1)
        return tty->input_canon - tty->input_tail >= minimum;
    return tty_readable_locked(tty);
}

static uint32_t tty_poll(struct file *file)
{
    struct tty *tty = tty_of(file);
    uint32_t events = 0;
    mutex_lock(&tty->mutex);
    if (poll_readable(tty))
        events |= EVENT_READ | EVENT_READ_NORMAL;
    if (!tty->stopped && tty_output_room(tty) > TTY_OUTPUT_SIZE / 4)
        events |= EVENT_WRITE | EVENT_WRITE_NORMAL;
    if (!tty_file_alive(tty, file))
        events |= EVENT_READ | EVENT_READ_NORMAL | EVENT_WRITE | EVENT_WRITE_NORMAL | EVENT_ERROR | EVENT_HANGUP;
    mutex_unlock(&tty->mutex);
    return events;
}

static struct knote_list *tty_knotes(struct file *file) { return &tty_of(file)->knotes; }

static int64_t tty_file_ioctl(struct file *file, uint32_t command, uaddr_t argument)
{
    return tty_ioctl(tty_of(file), file, false, command, argument);
}

/* Only for files that were not opened by name: the console as a standard stream. */
static int tty_stat(struct file *file, struct linux_stat_data *stat)
{
    return device_stat(tty_of(file)->rdev, stat);
}

static const struct file_ops tty_file_ops = {
    .kind = "tty",
    .async = true,
    .read = tty_read,
    .write = tty_write,
    .poll = tty_poll,
    .knotes = tty_knotes,
    .ioctl = tty_file_ioctl,
    .stat = tty_stat,
    .release = tty_file_release,
};
