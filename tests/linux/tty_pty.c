/* Pseudo-terminals: names, canonical and raw input, echo, output processing, settings, closing ends. */
#include "tty_check.h"

static void names(void)
{
    struct stat by_fd, by_name;
    char expected[32];
    unsigned number = 77;
    int locked = 0;
    master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    CHECK(master >= 0);
    CHECK(ioctl(master, TIOCGPTN, &number) == 0);
    snprintf(expected, sizeof expected, "/dev/pts/%u", number);
    CHECK(!strcmp(ptsname(master), expected));
    CHECK_ERROR(open(expected, O_RDWR | O_NOCTTY), EIO); /* locked */
    CHECK(ioctl(master, TIOCSPTLCK, &locked) == 0);
    slave = open(expected, O_RDWR | O_NOCTTY);
    CHECK(slave >= 0);
    CHECK(isatty(slave) && isatty(master));
    CHECK(fstat(slave, &by_fd) == 0 && stat(expected, &by_name) == 0);
    CHECK(S_ISCHR(by_fd.st_mode) && by_fd.st_rdev == by_name.st_rdev && by_fd.st_ino == by_name.st_ino);
    CHECK(!strcmp(ttyname(slave), expected));
    pair_close();
    CHECK_ERROR(stat(expected, &by_name), ENOENT);
}

static void defaults(void)
{
    pair_open();
    struct termios termios = settings();
    CHECK(termios.c_lflag == (ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN));
    CHECK(termios.c_iflag == (ICRNL | IXON));
    CHECK(termios.c_oflag == (OPOST | ONLCR));
    CHECK(termios.c_cc[VINTR] == 3 && termios.c_cc[VERASE] == 127 && termios.c_cc[VEOF] == 4 && termios.c_cc[VMIN] == 1);
    CHECK(cfgetospeed(&termios) == B38400);
    struct winsize size = {1, 2, 3, 4};
    CHECK(ioctl(slave, TIOCGWINSZ, &size) == 0 && size.ws_row == 0 && size.ws_col == 0);
    size = (struct winsize){24, 80, 0, 0};
    CHECK(ioctl(master, TIOCSWINSZ, &size) == 0);
    memset(&size, 0, sizeof size);
    CHECK(ioctl(slave, TIOCGWINSZ, &size) == 0 && size.ws_row == 24 && size.ws_col == 80);
    CHECK_ERROR(ioctl(slave, TIOCGWINSZ, (void *)8), EFAULT);
    CHECK_ERROR(ioctl(slave, 0x54ff, 0), ENOTTY);
    pair_close();
}

static void canonical(void)
{
    char buffer[64];
    pair_open();
    put(master, "one\rtw");
    expect(master, "one\r\ntw");
    EVENTUALLY(queued(slave) == 4);
    CHECK(read(slave, buffer, sizeof buffer) == 4 && !memcmp(buffer, "one\n", 4));
    CHECK(!(ready(slave) & POLLIN)); /* "tw" is not a line yet */
    put(master, "o\nthree\n");
    EVENTUALLY(queued(slave) == 10);
    CHECK(read(slave, buffer, 2) == 2 && !memcmp(buffer, "tw", 2));
    CHECK(read(slave, buffer, sizeof buffer) == 2 && !memcmp(buffer, "o\n", 2));
    CHECK(read(slave, buffer, sizeof buffer) == 6);
    expect(master, "o\r\nthree\r\n");
    pair_close();
}

static void editing(void)
{
    char buffer[64];
    pair_open();
    put(master, "abX\177c\n");
    CHECK(read(slave, buffer, sizeof buffer) == 4 && !memcmp(buffer, "abc\n", 4));
    expect(master, "abX\b \bc\r\n");
    put(master, "rubbish\025good\n"); /* ^U */
    CHECK(read(slave, buffer, sizeof buffer) == 5 && !memcmp(buffer, "good\n", 5));
    expect(master, "rubbish\b \b\b \b\b \b\b \b\b \b\b \b\b \bgood\r\n");
    put(master, "two words\027x\n"); /* ^W */
    CHECK(read(slave, buffer, sizeof buffer) == 6 && !memcmp(buffer, "two x\n", 6));
    expect(master, "two words\b \b\b \b\b \b\b \b\b \bx\r\n");
    put(master, "\001\177\026\003\n"); /* ^A erased takes two columns; ^V^C is literal */
    CHECK(read(slave, buffer, sizeof buffer) == 2 && !memcmp(buffer, "\003\n", 2));
    expect(master, "^A\b \b\b \b^\b^C\r\n");
    pair_close();
}

static void end_of_file(void)
{
    char buffer[64];
    pair_open();
    set_flags(ECHO, 0);
    put(master, "part\004");
    EVENTUALLY(ready(slave) & POLLIN);
    CHECK(read(slave, buffer, sizeof buffer) == 4);
    put(master, "\004");
    EVENTUALLY(ready(slave) & POLLIN);
    CHECK(read(slave, buffer, sizeof buffer) == 0);
    put(master, "ab\004cd\n");
    CHECK(read(slave, buffer, 2) == 2); /* the mark that follows goes with it */
    CHECK(read(slave, buffer, sizeof buffer) == 3 && !memcmp(buffer, "cd\n", 3));
    pair_close();
}

static void raw(void)
{
    char buffer[64];
    pair_open();
    set_raw(1, 0);
    put(master, "a\003\r");
    EVENTUALLY(queued(slave) == 3);
    CHECK(read(slave, buffer, sizeof buffer) == 3 && !memcmp(buffer, "a\003\r", 3));
    put(slave, "x\n");
    expect(master, "x\n");
    CHECK(queued(master) == 0); /* no echo */
    set_raw(0, 0);
    CHECK(read(slave, buffer, sizeof buffer) == 0);
    set_raw(0, 1);
    CHECK(read(slave, buffer, sizeof buffer) == 0);
    set_raw(3, 0);
    put(master, "ab");
    EVENTUALLY(queued(slave) == 2);
    CHECK(!(ready(slave) & POLLIN));
    put(master, "cd");
    EVENTUALLY(queued(slave) == 4);
    CHECK(ready(slave) & POLLIN);
    CHECK(read(slave, buffer, sizeof buffer) == 4);
    set_raw(5, 1); /* the timer runs between bytes */
    put(master, "xy");
    EVENTUALLY(queued(slave) == 2);
    CHECK(read(slave, buffer, sizeof buffer) == 2);
    CHECK(fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK) == 0);
    set_raw(1, 0);
    CHECK_ERROR(read(slave, buffer, sizeof buffer), EAGAIN);
    pair_close();
}

static void output(void)
{
    pair_open();
    put(slave, "a\nb\tc\n");
    expect(master, "a\r\nb\tc\r\n");
    struct termios termios = settings();
    termios.c_oflag |= XTABS;
    CHECK(tcsetattr(slave, TCSADRAIN, &termios) == 0);
    put(slave, "b\tc\n");
    expect(master, "b       c\r\n");
    set_flags(0, OPOST);
    put(slave, "a\nb");
    expect(master, "a\nb");
    pair_close();
}

static void flow(void)
{
    pair_open();
    set_flags(ECHO, 0);
    CHECK(fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK) == 0);
    put(master, "\023"); /* ^S */
    EVENTUALLY(!(ready(slave) & POLLOUT));
    CHECK_ERROR(write(slave, "x", 1), EAGAIN);
    put(master, "\021"); /* ^Q */
    EVENTUALLY(ready(slave) & POLLOUT);
    CHECK(write(slave, "y", 1) == 1);
    expect(master, "y");
    CHECK(ioctl(slave, TCXONC, TCOOFF) == 0);
    CHECK_ERROR(write(slave, "x", 1), EAGAIN);
    CHECK(tcflow(slave, TCOON) == 0);
    CHECK(write(slave, "z", 1) == 1);
    expect(master, "z");
    pair_close();
}

static void flushing(void)
{
    pair_open();
    set_flags(ECHO, 0);
    put(master, "line\n");
    EVENTUALLY(queued(slave) == 5);
    CHECK(tcflush(slave, TCIFLUSH) == 0);
    CHECK(queued(slave) == 0);
    put(master, "line\n");
    EVENTUALLY(queued(slave) == 5);
    struct termios termios = settings();
    CHECK(tcsetattr(slave, TCSAFLUSH, &termios) == 0);
    CHECK(queued(slave) == 0);
    CHECK_ERROR(tcflush(slave, 9), EINVAL);
    pair_close();
}

static void mode_change(void)
{
    char buffer[64];
    pair_open();
    set_flags(ECHO, 0);
    put(master, "half");
    CHECK(!(ready(slave) & POLLIN));
    set_raw(1, 0);
    EVENTUALLY(queued(slave) == 4);
    CHECK(ready(slave) & POLLIN);
    CHECK(read(slave, buffer, sizeof buffer) == 4);
    pair_close();
}

static void slave_closes(void)
{
    char buffer[8];
    pair_open();
    put(slave, "bye");
    close(slave);
    CHECK(ready(master) & POLLHUP);
    expect(master, "bye");
    CHECK_ERROR(read(master, buffer, 1), EIO);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    CHECK(slave >= 0);
    CHECK(!(ready(master) & POLLHUP));
    put(slave, "again");
    expect(master, "again");
    pair_close();
}

static void master_closes(void)
{
    char buffer[8];
    struct termios termios;
    pair_open();
    close(master);
    CHECK(read(slave, buffer, sizeof buffer) == 0);
    CHECK_ERROR(write(slave, "x", 1), EIO);
    CHECK_ERROR(tcgetattr(slave, &termios), EIO);
    CHECK((ready(slave) & (POLLIN | POLLHUP)) == (POLLIN | POLLHUP));
    close(slave);
}

static void packet_mode(void)
{
    char buffer[16];
    int on = 1;
    pair_open();
    CHECK(ioctl(master, TIOCPKT, &on) == 0);
    put(slave, "hi");
    CHECK(read(master, buffer, sizeof buffer) == 3 && !memcmp(buffer, "\0hi", 3));
    CHECK(tcflush(slave, TCIFLUSH) == 0);
    CHECK(ready(master) & POLLPRI);
    CHECK(read(master, buffer, sizeof buffer) == 1 && buffer[0] == TIOCPKT_FLUSHREAD);
    CHECK(ioctl(slave, TCXONC, TCOOFF) == 0);
    CHECK(read(master, buffer, sizeof buffer) == 1 && buffer[0] == TIOCPKT_STOP);
    pair_close();
}

static void old_interface(void)
{
    pair_open();
    unsigned char termio[18];
    CHECK(ioctl(slave, TCGETA, termio) == 0);
    CHECK(ioctl(slave, TCSETA, termio) == 0);
    struct termios termios = settings();
    CHECK(termios.c_lflag & ICANON);
    int discipline = 7;
    CHECK(ioctl(slave, TIOCGETD, &discipline) == 0 && discipline == 0);
    pair_close();
}

int main(void)
{
    void (*const tests[])(void) = {names, defaults, canonical, editing, end_of_file, raw, output, flow, flushing, mode_change, slave_closes,
                                   master_closes, packet_mode, old_interface};
    alarm(30);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        in_child(tests[i]);
    return 0;
}
