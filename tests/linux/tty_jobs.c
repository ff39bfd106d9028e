/* Terminals and job control: controlling terminals, groups in the foreground and background, signals, hangups. */
#include "tty_check.h"

/* Each test runs as the leader of a new session, with a pair and no controlling terminal yet. */
static void in_session(void (*test)(void))
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child) {
        CHECK(setsid() == getpid());
        pair_open();
        test();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        dprintf(2, "status %x\n", status);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void take(void) { CHECK(ioctl(slave, TIOCSCTTY, 0) == 0); }

static volatile sig_atomic_t caught[65];
static void note(int signal) { caught[signal]++; }

static void catch(int signal)
{
    struct sigaction action = {.sa_handler = note};
    CHECK(sigaction(signal, &action, NULL) == 0);
}

static void no_terminal(void)
{
    int group;
    CHECK_ERROR(open("/dev/tty", O_RDWR), ENXIO);
    CHECK_ERROR(ioctl(slave, TIOCGPGRP, &group), ENOTTY); /* O_NOCTTY kept it from becoming ours */
    CHECK_ERROR(ioctl(slave, TIOCNOTTY, 0), ENOTTY);
}

static void taking(void)
{
    int number;
    take();
    CHECK(ioctl(slave, TIOCSCTTY, 0) == 0); /* again is fine */
    CHECK(tcgetpgrp(slave) == getpid());
    CHECK(ioctl(slave, TIOCGSID, &number) == 0 && number == getpid());
    CHECK(tcgetsid(master) == getpid());
    int tty = open("/dev/tty", O_RDWR);
    CHECK(tty >= 0 && isatty(tty) && tcgetpgrp(tty) == getpid());
    CHECK_ERROR(tcsetpgrp(slave, 0x3ffffff), ESRCH);
    CHECK_ERROR(tcsetpgrp(slave, -1), EINVAL);
    CHECK_ERROR(tcsetpgrp(slave, getppid()), EPERM);
    signal(SIGHUP, SIG_IGN);
    CHECK(ioctl(slave, TIOCNOTTY, 0) == 0);
    CHECK_ERROR(open("/dev/tty", O_RDWR), ENXIO);
}

static void taken_by_opening(void)
{
    int tty = open(ptsname(master), O_RDWR);
    CHECK(tty >= 0);
    CHECK(tcgetpgrp(tty) == getpid());
    signal(SIGHUP, SIG_IGN);
}

static void not_a_leader(void)
{
    pid_t child = fork();
    int status;
    if (!child) {
        CHECK_ERROR(ioctl(slave, TIOCSCTTY, 0), EPERM);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void keys(void)
{
    char buffer[8];
    take();
    catch (SIGINT), catch (SIGQUIT), catch (SIGTSTP), catch (SIGWINCH);
    put(master, "junk\003");
    EVENTUALLY(caught[SIGINT] == 1);
    put(master, "\034");
    EVENTUALLY(caught[SIGQUIT] == 1);
    put(master, "\032");
    EVENTUALLY(caught[SIGTSTP] == 1);
    put(master, "x\n");
    CHECK(read(slave, buffer, sizeof buffer) == 2 && buffer[0] == 'x'); /* the signals threw "junk" away */
    struct winsize size = {10, 20, 0, 0};
    CHECK(ioctl(master, TIOCSWINSZ, &size) == 0);
    EVENTUALLY(caught[SIGWINCH] == 1);
    CHECK(ioctl(master, TIOCSWINSZ, &size) == 0); /* no change, no signal */
    CHECK(caught[SIGWINCH] == 1);
    set_flags(ISIG, 0);
    put(master, "\003\n");
    CHECK(read(slave, buffer, sizeof buffer) == 2 && buffer[0] == 3);
}

/* A child in a group of its own, in the background, that runs `work` when told through a pipe. */
static pid_t background(void (*work)(void))
{
    int go[2];
    char byte;
    CHECK(pipe(go) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child) {
        CHECK(read(go[0], &byte, 1) == 1);
        work();
        _exit(0);
    }
    CHECK(setpgid(child, child) == 0);
    CHECK(write(go[1], "", 1) == 1);
    close(go[0]), close(go[1]);
    return child;
}

static int wait_change(pid_t child)
{
    int status;
    CHECK(waitpid(child, &status, WUNTRACED) == child);
    return status;
}

static void read_one(void)
{
    char byte;
    CHECK(read(slave, &byte, 1) == 1 && byte == 'k');
}

static void background_read(void)
{
    take();
    pid_t child = background(read_one);
    int status = wait_change(child);
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN);
    CHECK(tcsetpgrp(slave, child) == 0);
    CHECK(kill(-child, SIGCONT) == 0);
    put(master, "k\n");
    CHECK(wait_change(child) == 0);
}

static void read_ignoring(void)
{
    char byte;
    signal(SIGTTIN, SIG_IGN);
    CHECK_ERROR(read(slave, &byte, 1), EIO);
}

static void write_one(void) { CHECK(write(slave, "w", 1) == 1); }

static void set_settings(void)
{
    struct termios termios = settings();
    CHECK(tcsetattr(slave, TCSANOW, &termios) == 0);
}

static void background_write(void)
{
    take();
    CHECK(wait_change(background(write_one)) == 0);
    struct termios termios = settings();
    termios.c_lflag |= TOSTOP;
    CHECK(tcsetattr(slave, TCSANOW, &termios) == 0);
    pid_t child = background(write_one);
    int status = wait_change(child);
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTOU);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(wait_change(child) == SIGKILL);
    child = background(set_settings);
    status = wait_change(child);
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTOU);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(wait_change(child) == SIGKILL);
    CHECK(wait_change(background(read_ignoring)) == 0);
}

static void to_the_front(void)
{
    signal(SIGTTOU, SIG_IGN);
    CHECK(tcsetpgrp(slave, getpid()) == 0);
    CHECK(tcgetpgrp(slave) == getpid());
}

static void background_takes_front(void)
{
    take();
    CHECK(wait_change(background(to_the_front)) == 0);
}

/* The stop key reaches the foreground group alone. */
static void wait_for_ever(void)
{
    for (;;)
        pause();
}

static void stop_key(void)
{
    take();
    signal(SIGTTOU, SIG_IGN);
    pid_t child = background(wait_for_ever);
    CHECK(tcsetpgrp(slave, child) == 0);
    put(master, "\032");
    int status = wait_change(child);
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTSTP);
    CHECK(tcsetpgrp(slave, getpid()) == 0);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(wait_change(child) == SIGKILL);
}

static void master_hangs_up(void)
{
    char byte;
    catch (SIGHUP), catch (SIGCONT);
    take();
    close(master);
    EVENTUALLY(caught[SIGHUP] >= 1 && caught[SIGCONT] >= 1);
    CHECK(read(slave, &byte, 1) == 0);
    CHECK_ERROR(open("/dev/tty", O_RDWR), ENXIO);
}

/* The leader's end: the foreground group gets SIGHUP, and nobody has the terminal any more. */
static void leader_exits(void)
{
    int report[2];
    char byte = 0;
    CHECK(pipe(report) == 0);
    pid_t leader = fork();
    if (!leader) {
        CHECK(setsid() == getpid());
        take();
        signal(SIGTTOU, SIG_IGN);
        pid_t child = fork();
        if (!child) {
            catch (SIGHUP);
            CHECK(setpgid(0, 0) == 0);
            CHECK(tcsetpgrp(slave, getpid()) == 0);
            CHECK(write(report[1], "r", 1) == 1);
            EVENTUALLY(caught[SIGHUP] >= 1);
            bool gone = open("/dev/tty", O_RDWR) == -1 && errno == ENXIO && write(slave, "x", 1) == 1;
            CHECK(write(report[1], gone ? "y" : "n", 1) == 1);
            _exit(0);
        }
        CHECK(read(report[0], &byte, 1) == 1 && byte == 'r');
        _exit(0);
    }
    CHECK(waitpid(leader, NULL, 0) == leader);
    CHECK(read(report[0], &byte, 1) == 1 && byte == 'y');
}

static void orphaned_read(void)
{
    /* Our parent is in another session: as a background group we would never be continued. */
    char byte;
    take();
    signal(SIGTTOU, SIG_IGN);
    pid_t other = background(wait_for_ever);
    CHECK(tcsetpgrp(slave, other) == 0);
    CHECK_ERROR(read(slave, &byte, 1), EIO);
    CHECK(kill(other, SIGKILL) == 0);
    wait_change(other);
}

static void interrupted_read(void)
{
    char byte;
    struct sigaction action = {.sa_handler = note};
    take();
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    ualarm(1000, 1000);
    CHECK_ERROR(read(slave, &byte, 1), EINTR);
    ualarm(0, 0);
}

int main(void)
{
    void (*const tests[])(void) = {no_terminal, taking, taken_by_opening, not_a_leader, keys, background_read, background_write,
                                   background_takes_front, stop_key, master_hangs_up, leader_exits, orphaned_read, interrupted_read};
    alarm(30);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        in_session(tests[i]);
    return 0;
}
