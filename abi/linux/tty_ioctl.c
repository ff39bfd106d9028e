/*
 * Terminal settings and queues by ioctl: see ioctl_tty(2). What concerns sessions is in tty_session.c.
 *
 * A change from the background stops the job that tries (SIGTTOU), as tcsetattr(3) has it.
 */
#include "abi/linux/process.h"
#include "abi/linux/tty.h"
#include "kernel/string.h"

enum { TCGETS = 0x5401, TCSETS, TCSETSW, TCSETSF, TCGETA, TCSETA, TCSETAW, TCSETAF, TCSBRK, TCXONC, TCFLSH, TIOCEXCL, TIOCNXCL,
       TIOCOUTQ = 0x5411, TIOCSTI = 0x5412, TIOCGWINSZ = 0x5413, TIOCSWINSZ = 0x5414, TIOCMGET = 0x5415, TIOCGSOFTCAR = 0x5419,
       TIOCSSOFTCAR = 0x541a, TIOCINQ = 0x541b, TIOCCONS = 0x541d, TIOCSETD = 0x5423, TIOCGETD = 0x5424, TCSBRKP = 0x5425,
       TIOCSBRK = 0x5427, TIOCCBRK = 0x5428, TIOCVHANGUP = 0x5437 };
enum { TCGETS2 = 0x802c542a, TCSETS2 = 0x402c542b, TCSETSW2 = 0x402c542c, TCSETSF2 = 0x402c542d, TIOCGEXCL = 0x80045440 };
enum { TCOOFF, TCOON, TCIOFF, TCION };
enum { TCIFLUSH, TCOFLUSH, TCIOFLUSH };
enum set_when { SET_NOW, SET_DRAIN, SET_FLUSH };

/* As TCGETA shows it. */
struct termio {
    uint16_t iflag, oflag, cflag, lflag;
    uint8_t line, cc[8], pad;
};

/* --- settings ---------------------------------------------------------------------------------------- */

/* Waits until what was written has gone out, where that is known. */
static int64_t drain(struct tty *tty)
{
    int error = 0;
    mutex_lock(&tty->mutex);
    while (tty->ops->drains && tty_output_used(tty) && !tty->hung_up && !error)
        error = waitq_sleep(&tty->writers, &tty->mutex, DEADLINE_NEVER, WAIT_INTERRUPTIBLE);
    mutex_unlock(&tty->mutex);
    return error ? -ERESTARTSYS : 0;
}

static void report_flow_mode(struct tty *tty, const struct linux_termios2 *old)
{
    bool was = (old->iflag & TTY_IXON) && old->cc[TTY_VSTOP] == 19 && old->cc[TTY_VSTART] == 17;
    bool is = tty_i(tty, TTY_IXON) && tty->termios.cc[TTY_VSTOP] == 19 && tty->termios.cc[TTY_VSTART] == 17;
    if (tty->ops->packet_event && was != is)
        tty->ops->packet_event(tty, is ? TTY_PKT_DOSTOP : TTY_PKT_NOSTOP);
    if (tty->ops->packet_event && ((old->lflag | tty->termios.lflag) & TTY_EXTPROC))
        tty->ops->packet_event(tty, TTY_PKT_IOCTL);
}

static void apply(struct tty *tty, const struct linux_termios2 *termios, enum set_when when)
{
    mutex_lock(&tty->mutex);
    struct linux_termios2 old = tty->termios;
    if (when == SET_FLUSH)
        tty_flush_input_locked(tty);
    tty->termios = *termios;
    tty_mode_changed_locked(tty, &old);
    report_flow_mode(tty, &old);
    mutex_unlock(&tty->mutex);
}

static int64_t set(struct tty *tty, const struct linux_termios2 *termios, enum set_when when)
{
    int64_t error = tty_job_control(tty, LINUX_SIGTTOU);
    if (!error && when != SET_NOW)
        error = drain(tty);
    if (!error)
        apply(tty, termios, when);
    return error;
}

static void snapshot(struct tty *tty, struct linux_termios2 *termios)
{
    mutex_lock(&tty->mutex);
    *termios = tty->termios;
    mutex_unlock(&tty->mutex);
}

static int64_t get_termios(struct tty *tty, uaddr_t argument, size_t size)
{
    struct linux_termios2 termios;
    snapshot(tty, &termios);
    return user_write(argument, &termios, size);
}

/* The speed that a B* code of c_cflag stands for. */
static uint32_t speed_of(uint32_t cflag)
{
    static const uint32_t low[16] = {0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400};
    static const uint32_t high[16] = {0, 57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000,
                                      2500000, 3000000, 3500000, 4000000};
    return (cflag & 010000 ? high : low)[cflag & 017];
}

static int64_t set_termios(struct tty *tty, uaddr_t argument, size_t size, enum set_when when)
{
    struct linux_termios2 termios;
    snapshot(tty, &termios);
    if (user_read(&termios, argument, size))
        return -EFAULT;
    if (size < sizeof termios)
        termios.ispeed = termios.ospeed = speed_of(termios.cflag);
    return set(tty, &termios, when);
}

static int64_t get_termio(struct tty *tty, uaddr_t argument)
{
    struct linux_termios2 termios;
    snapshot(tty, &termios);
    struct termio old = {(uint16_t)termios.iflag, (uint16_t)termios.oflag, (uint16_t)termios.cflag, (uint16_t)termios.lflag, termios.line,
                         {0}, 0};
    memcpy(old.cc, termios.cc, sizeof old.cc);
    return user_write(argument, &old, sizeof old);
}

static uint32_t merge(uint32_t flags, uint16_t low) { return (flags & 0xffff0000u) | low; }

static int64_t set_termio(struct tty *tty, uaddr_t argument, enum set_when when)
{
    struct linux_termios2 termios;
    struct termio old;
    if (user_read(&old, argument, sizeof old))
        return -EFAULT;
    snapshot(tty, &termios);
    termios.iflag = merge(termios.iflag, old.iflag);
    termios.oflag = merge(termios.oflag, old.oflag);
    termios.cflag = merge(termios.cflag, old.cflag);
    termios.lflag = merge(termios.lflag, old.lflag);
    termios.line = old.line;
    memcpy(termios.cc, old.cc, sizeof old.cc);
    return set(tty, &termios, when);
}

/* --- size -------------------------------------------------------------------------------------------- */

static int64_t get_winsize(struct tty *tty, uaddr_t argument)
{
    mutex_lock(&tty->mutex);
    struct linux_winsize size = tty->winsize;
    mutex_unlock(&tty->mutex);
    return user_write(argument, &size, sizeof size);
}

void tty_resize(struct tty *tty, const struct linux_winsize *size)
{
    mutex_lock(&tty->mutex);
    bool changed = memcmp(&tty->winsize, size, sizeof *size) != 0;
    tty->winsize = *size;
    int32_t foreground = tty->foreground;
    mutex_unlock(&tty->mutex);
    if (changed && foreground <= 0)
        foreground = tty == tty_console() ? tty_first_group(tty) : 0;
    if (changed && foreground > 0)
        signal_send_group(foreground, LINUX_SIGWINCH, NULL);
}

static int64_t set_winsize(struct tty *tty, uaddr_t argument)
{
    struct linux_winsize size;
    if (user_read(&size, argument, sizeof size))
        return -EFAULT;
    tty_resize(tty, &size);
    return 0;
}

/* --- queues ------------------------------------------------------------------------------------------ */

static int64_t flow(struct tty *tty, struct file *file, uaddr_t what)
{
    int64_t error = tty_job_control(tty, LINUX_SIGTTOU);
    (void)file;
    if (error || what > TCION)
        return error ? error : -EINVAL;
    mutex_lock(&tty->mutex);
    if (what == TCOOFF || what == TCOON)
        tty_set_stopped(tty, what == TCOOFF);
    else {
        tty_put_raw(tty, tty->termios.cc[what == TCIOFF ? TTY_VSTOP : TTY_VSTART]);
        tty->ops->output_ready(tty);
    }
    mutex_unlock(&tty->mutex);
    return 0;
}

static int64_t flush(struct tty *tty, uaddr_t what)
{
    int64_t error = tty_job_control(tty, LINUX_SIGTTOU);
    if (error || what > TCIOFLUSH)
        return error ? error : -EINVAL;
    mutex_lock(&tty->mutex);
    if (what != TCOFLUSH)
        tty_flush_input_locked(tty);
    if (what != TCIFLUSH)
        tty_flush_output_locked(tty);
    mutex_unlock(&tty->mutex);
    return 0;
}

static int64_t send_break(struct tty *tty, bool wait_only)
{
    int64_t error = tty_job_control(tty, LINUX_SIGTTOU);
    (void)wait_only; /* no line to hold at zero: only the waiting is left */
    return error ? error : drain(tty);
}

static int64_t put_count(uaddr_t argument, uint32_t count) { return user_write(argument, &count, sizeof count); }

static int64_t count_input(struct tty *tty, uaddr_t argument)
{
    mutex_lock(&tty->mutex);
    uint32_t count = tty_input_count(tty);
    mutex_unlock(&tty->mutex);
    return put_count(argument, count);
}

static int64_t count_output(struct tty *tty, uaddr_t argument)
{
    mutex_lock(&tty->mutex);
    uint32_t count = tty->ops->drains ? tty_output_used(tty) : 0;
    mutex_unlock(&tty->mutex);
    return put_count(argument, count);
}

/* Input as if it were typed: only on one's own terminal. */
static int64_t push_input(struct tty *tty, uaddr_t argument)
{
    uint8_t byte;
    mutex_lock(&process_tree_lock);
    bool mine = current_process()->tty == tty;
    mutex_unlock(&process_tree_lock);
    if (!mine && !capable(LINUX_CAP_SYS_ADMIN))
        return -EPERM;
    if (user_read(&byte, argument, 1))
        return -EFAULT;
    tty_receive(tty, &byte, 1);
    return 0;
}

static int64_t set_exclusive(struct tty *tty, bool exclusive)
{
    mutex_lock(&tty->mutex);
    tty->exclusive = exclusive;
    mutex_unlock(&tty->mutex);
    return 0;
}

static int64_t discipline(uint32_t command, uaddr_t argument)
{
    uint32_t number = 0;
    if (command == TIOCGETD)
        return put_count(argument, 0);
    if (user_read(&number, argument, sizeof number))
        return -EFAULT;
    return number ? -EINVAL : 0;
}

static int64_t hang_up(struct tty *tty)
{
    if (!capable(LINUX_CAP_SYS_ADMIN))
        return -EPERM;
    tty_hangup(tty, false);
    return 0;
}

/* --- dispatch ---------------------------------------------------------------------------------------- */

static int64_t ioctl_settings(struct tty *tty, uint32_t command, uaddr_t argument)
{
    switch (command) {
    case TCGETS:
        return get_termios(tty, argument, LINUX_TERMIOS_SIZE);
    case TCGETS2:
        return get_termios(tty, argument, sizeof(struct linux_termios2));
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
        return set_termios(tty, argument, LINUX_TERMIOS_SIZE, (enum set_when)(command - TCSETS));
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
        return set_termios(tty, argument, sizeof(struct linux_termios2), (enum set_when)(command - TCSETS2));
    case TCGETA:
        return get_termio(tty, argument);
    case TCSETA:
    case TCSETAW:
    case TCSETAF:
        return set_termio(tty, argument, (enum set_when)(command - TCSETA));
    case TIOCGWINSZ:
        return get_winsize(tty, argument);
    case TIOCSWINSZ:
        return set_winsize(tty, argument);
    case TIOCGETD:
    case TIOCSETD:
        return discipline(command, argument);
    default:
        return -ENOTTY;
    }
}

static int64_t ioctl_queues(struct tty *tty, struct file *file, uint32_t command, uaddr_t argument)
{
    switch (command) {
    case TCSBRK:
    case TCSBRKP:
        return send_break(tty, argument != 0);
    case TIOCSBRK:
    case TIOCCBRK:
        return 0;
    case TCXONC:
        return flow(tty, file, argument);
    case TCFLSH:
        return flush(tty, argument);
    case TIOCINQ:
        return count_input(tty, argument);
    case TIOCOUTQ:
        return count_output(tty, argument);
    case TIOCSTI:
        return push_input(tty, argument);
    case TIOCEXCL:
    case TIOCNXCL:
        return set_exclusive(tty, command == TIOCEXCL);
    case TIOCGEXCL:
        return put_count(argument, tty->exclusive);
    case TIOCVHANGUP:
        return hang_up(tty);
    default:
        return -ENOTTY;
    }
}

int64_t tty_ioctl(struct tty *tty, struct file *file, bool is_master, uint32_t command, uaddr_t argument)
{
    mutex_lock(&tty->mutex);
    bool alive = tty_file_alive(tty, file);
    mutex_unlock(&tty->mutex);
    if (!alive)
        return -EIO;
    int64_t result = ioctl_settings(tty, command, argument);
    if (result == -ENOTTY)
        result = ioctl_queues(tty, file, command, argument);
    return result == -ENOTTY ? tty_ioctl_session(tty, file, is_master, command, argument) : result;
}
