/*
 * Job control: which session a terminal controls, which of its groups is in the foreground, and what happens to the
 * others (see credentials(7), termios(3), and the terminal's part of setpgid(2)).
 *
 * tty->session, tty->foreground and every process->tty are written with process_tree_lock and tty->mutex held, in
 * that order, so that either is enough to read the first two.
 */
#include "abi/linux/process.h"
#include "abi/linux/tty.h"

enum { TIOCSCTTY = 0x540e, TIOCGPGRP = 0x540f, TIOCSPGRP = 0x5410, TIOCNOTTY = 0x5422, TIOCGSID = 0x5429 };

static bool is_leader(const struct process *process) { return process->sid == process->pid; }

void tty_take_locked(struct tty *tty, struct process *process)
{
    struct tty *old = process->tty;
    process->tty = object_ref(tty);
    mutex_lock(&tty->mutex);
    tty->session = process->sid;
    tty->foreground = process->pgid;
    mutex_unlock(&tty->mutex);
    object_unref(old);
}

/* Every process of the session loses the terminal. */
static void detach_session_locked(struct tty *tty, int32_t session)
{
    LIST_FOR_EACH (link, &process_all) {
        struct process *process = LIST_ENTRY(link, struct process, all_link);
        if (process->sid != session || process->tty != tty)
            continue;
        process->tty = NULL;
        object_unref(tty); /* the caller has another reference */
    }
    mutex_lock(&tty->mutex);
    tty->session = tty->foreground = 0;
    mutex_unlock(&tty->mutex);
}

void tty_leave_locked(struct process *process)
{
    struct tty *tty = process->tty;
    process->tty = NULL;
    object_unref(tty);
}

void tty_numbers_locked(struct process *process, int32_t *tty_number, int32_t *foreground)
{
    struct tty *tty = process->tty;
    *tty_number = tty ? (int32_t)tty->rdev : 0;
    *foreground = tty ? tty->foreground : -1;
}

/* The first process is given its terminal when it starts; the terminal learns of it when it first matters. */
static void learn_session_locked(struct tty *tty, struct process *process)
{
    if (tty->session || process->tty != tty)
        return;
    mutex_lock(&tty->mutex);
    tty->session = process->sid;
    tty->foreground = process->pgid;
    mutex_unlock(&tty->mutex);
}

int32_t tty_first_group(struct tty *tty)
{
    struct process *first = process_find(1);
    if (!first)
        return 0;
    mutex_lock(&process_tree_lock);
    learn_session_locked(tty, first);
    int32_t group = tty->foreground;
    mutex_unlock(&process_tree_lock);
    object_unref(first);
    return group;
}

/* --- background jobs --------------------------------------------------------------------------------- */

static bool in_background(struct tty *tty, int32_t *group)
{
    struct process *process = current_process();
    mutex_lock(&process_tree_lock);
    learn_session_locked(tty, process);
    *group = process->pgid;
    bool background = process->tty == tty && tty->foreground && tty->foreground != process->pgid;
    mutex_unlock(&process_tree_lock);
    return background;
}

/*
 * The signal is sent while the group is still in the background, under the lock that tcsetpgrp takes: a shell that brings the
 * job to the foreground continues it afterwards, and that SIGCONT discards a stop that came before. False: it is in front now.
 */
static bool stop_background(const struct tty *tty, int32_t group, int signal)
{
    mutex_lock(&process_tree_lock);
    bool background = tty->foreground && tty->foreground != group;
    if (background)
        signal_send_group_locked(group, signal, NULL);
    mutex_unlock(&process_tree_lock);
    return background;
}

int tty_job_control(struct tty *tty, int signal)
{
    struct process *process = current_process();
    int32_t group;
    /* An unlocked look is enough to let the usual case pass: who is being moved meanwhile may see either. */
    if (!process || (tty->foreground && process->pgid == tty->foreground) || !in_background(tty, &group))
        return 0;
    bool ignored = signal_ignored_or_blocked(signal);
    if (ignored)
        return signal == LINUX_SIGTTIN ? -EIO : 0;
    if (process_group_orphaned(group))
        return -EIO;
    return stop_background(tty, group, signal) ? -ERESTARTSYS : 0;
}

/* --- taking and losing a terminal -------------------------------------------------------------------- */

void tty_acquire(struct tty *tty)
{
    struct process *process = current_process();
    mutex_lock(&process_tree_lock);
    if (is_leader(process) && !process->tty && !tty->session)
        tty_take_locked(tty, process);
    mutex_unlock(&process_tree_lock);
}

static int set_controlling(struct tty *tty, bool steal)
{
    struct process *process = current_process();
    int error = 0;
    mutex_lock(&process_tree_lock);
    if (is_leader(process) && process->tty == tty && tty->session == process->sid)
        error = 0;
    else if (!is_leader(process) || process->tty)
        error = -EPERM;
    else if (tty->session && !(steal && capable(LINUX_CAP_SYS_ADMIN)))
        error = -EPERM;
    else {
        if (tty->session)
            detach_session_locked(tty, tty->session);
        tty_take_locked(tty, process);
    }
    mutex_unlock(&process_tree_lock);
    return error;
}

static void hang_up_group(int32_t group)
{
    if (group <= 0)
        return;
    signal_send_group(group, LINUX_SIGHUP, NULL);
    signal_send_group(group, LINUX_SIGCONT, NULL);
}

static int give_up(struct tty *tty)
{
    struct process *process = current_process();
    int32_t foreground = 0;
    mutex_lock(&process_tree_lock);
    if (process->tty != tty) {
        mutex_unlock(&process_tree_lock);
        return -ENOTTY;
    }
    if (is_leader(process)) {
        foreground = tty->foreground;
        detach_session_locked(tty, process->sid);
    } else
        tty_leave_locked(process);
    mutex_unlock(&process_tree_lock);
    hang_up_group(foreground);
    return 0;
}

static void kill_files(struct tty *tty, bool for_good)
{
    mutex_lock(&tty->mutex);
    tty->generation++;
    tty->hung_up |= for_good;
    if (tty->open_count && tty->ops->opened)
        tty->ops->opened(tty, false);
    tty->open_count = 0;
    tty->exclusive = false;
    tty->stopped = false;
    tty_flush_input_locked(tty);
    tty_wake_locked(tty, EVENT_READ | EVENT_WRITE | EVENT_HANGUP | EVENT_ERROR);
    mutex_unlock(&tty->mutex);
}

static void signal_leader_locked(int32_t session)
{
    LIST_FOR_EACH (link, &process_all) {
        struct process *process = LIST_ENTRY(link, struct process, all_link);
        if (process->pid != session || process->sid != session)
            continue;
        signal_send_process(process, LINUX_SIGHUP, NULL);
        signal_send_process(process, LINUX_SIGCONT, NULL);
    }
}

void tty_hangup(struct tty *tty, bool for_good)
{
    object_ref(tty);
    kill_files(tty, for_good);
    mutex_lock(&process_tree_lock);
    int32_t session = tty->session, foreground = tty->foreground;
    if (session) {
        detach_session_locked(tty, session);
        signal_leader_locked(session);
    }
    mutex_unlock(&process_tree_lock);
    if (session)
        hang_up_group(foreground);
    object_unref(tty);
}

void tty_session_leader_exit(struct process *process)
{
    mutex_lock(&process_tree_lock);
    struct tty *tty = is_leader(process) && process->tty ? object_ref(process->tty) : NULL;
    int32_t foreground = tty ? tty->foreground : 0;
    if (tty)
        detach_session_locked(tty, process->sid);
    mutex_unlock(&process_tree_lock);
    /* Only SIGHUP, and files stay alive, as Linux has it for pseudo-terminals: the console stands for one, too. */
    if (foreground > 0)
        signal_send_group(foreground, LINUX_SIGHUP, NULL);
    object_unref(tty);
}

/* --- ioctls ------------------------------------------------------------------------------------------ */

static int64_t get_number(struct tty *tty, bool is_master, uint32_t command, uaddr_t argument)
{
    struct process *process = current_process();
    mutex_lock(&process_tree_lock);
    learn_session_locked(tty, process);
    bool mine = process->tty == tty;
    int32_t number = command == TIOCGSID ? tty->session : tty->foreground;
    mutex_unlock(&process_tree_lock);
    if (!mine && !is_master)
        return -ENOTTY;
    if (command == TIOCGSID && !number)
        return -ENOTTY;
    return user_write(argument, &number, sizeof number);
}

/* As Linux looks: a member of the group, else the process of that number, says which session it is. -ESRCH, -EPERM. */
static int check_group_locked(int32_t group, int32_t session)
{
    const struct process *found = NULL;
    LIST_FOR_EACH (link, &process_all) {
        const struct process *process = LIST_ENTRY(link, struct process, all_link);
        if (process->pgid == group || (!found && process->pid == group))
            found = process;
        if (process->pgid == group)
            break;
    }
    return !found ? -ESRCH : found->sid == session ? 0 : -EPERM;
}

static int64_t set_foreground(struct tty *tty, bool is_master, uaddr_t argument)
{
    struct process *process = current_process();
    int32_t group;
    int64_t error = tty_job_control(tty, LINUX_SIGTTOU);
    if (error)
        return error;
    if (user_read(&group, argument, sizeof group))
        return -EFAULT;
    mutex_lock(&process_tree_lock);
    learn_session_locked(tty, process);
    if (process->tty != tty || (!is_master && tty->session != process->sid))
        error = -ENOTTY;
    else if (group < 0)
        error = -EINVAL;
    else
        error = check_group_locked(group, process->sid);
    if (!error) {
        mutex_lock(&tty->mutex);
        tty->foreground = group;
        mutex_unlock(&tty->mutex);
    }
    mutex_unlock(&process_tree_lock);
    return error;
}

int64_t tty_ioctl_session(struct tty *tty, struct file *file, bool is_master, uint32_t command, uaddr_t argument)
{
    switch (command) {
    case TIOCSCTTY:
        if (!file_readable(file) && !capable(LINUX_CAP_SYS_ADMIN))
            return -EPERM;
        return set_controlling(tty, argument == 1);
    case TIOCNOTTY:
        return give_up(tty);
    case TIOCGPGRP:
    case TIOCGSID:
        return get_number(tty, is_master, command, argument);
    case TIOCSPGRP:
        return set_foreground(tty, is_master, argument);
    default:
        return -ENOTTY;
    }
}
