/*
 * Terminals.
 *
 *   struct tty        the terminal a program sees: settings, line discipline, session, two byte queues
 *   struct tty_ops    what is at the other end: a pty master (abi/linux/pty.c), or a terminal of the body's
 *
 * Bytes from the other end go through tty_receive (the line discipline) into the input queue, from which programs
 * read. What programs write goes through output processing into the output queue, which the other end drains
 * with tty_output_take and tells so with tty_output_drained.
 *
 * Locks: tty->mutex (rank TTY) guards everything without a note. Signals need process_tree_lock, which comes
 * before it, so signals that input raises are collected and sent after the mutex is released.
 */
#ifndef ABI_LINUX_TTY_H
#define ABI_LINUX_TTY_H

#include "abi/linux/file.h"
#include "kernel/waitq.h"

struct process;
struct tty;

enum { TTY_VINTR, TTY_VQUIT, TTY_VERASE, TTY_VKILL, TTY_VEOF, TTY_VTIME, TTY_VMIN, TTY_VSWTC, TTY_VSTART, TTY_VSTOP, TTY_VSUSP, TTY_VEOL,
       TTY_VREPRINT, TTY_VDISCARD, TTY_VWERASE, TTY_VLNEXT, TTY_VEOL2, TTY_CC_COUNT = 19 };
enum tty_iflag { TTY_IGNBRK = 01, TTY_BRKINT = 02, TTY_ISTRIP = 040, TTY_INLCR = 0100, TTY_IGNCR = 0200, TTY_ICRNL = 0400, TTY_IUCLC = 01000,
                 TTY_IXON = 02000, TTY_IXANY = 04000, TTY_IXOFF = 010000, TTY_IMAXBEL = 020000, TTY_IUTF8 = 040000 };
enum tty_oflag { TTY_OPOST = 01, TTY_OLCUC = 02, TTY_ONLCR = 04, TTY_OCRNL = 010, TTY_ONOCR = 020, TTY_ONLRET = 040, TTY_TABDLY = 014000,
                 TTY_TAB3 = 014000 };
enum tty_cflag { TTY_CS8 = 060, TTY_CREAD = 0200, TTY_HUPCL = 02000, TTY_B38400 = 017, TTY_CBAUD = 010017 };
enum tty_lflag { TTY_ISIG = 01, TTY_ICANON = 02, TTY_ECHO = 010, TTY_ECHOE = 020, TTY_ECHOK = 040, TTY_ECHONL = 0100, TTY_NOFLSH = 0200,
                 TTY_TOSTOP = 0400, TTY_ECHOCTL = 01000, TTY_ECHOPRT = 02000, TTY_ECHOKE = 04000, TTY_EXTPROC = 0200000, TTY_IEXTEN = 0100000 };

/* As TCGETS2 shows it; TCGETS without the speeds. */
struct linux_termios2 {
    uint32_t iflag, oflag, cflag, lflag;
    uint8_t line, cc[TTY_CC_COUNT];
    uint32_t ispeed, ospeed;
};
_Static_assert(sizeof(struct linux_termios2) == 44, "termios2");
#define LINUX_TERMIOS_SIZE 36u

struct linux_winsize {
    uint16_t rows, columns, x_pixels, y_pixels;
};

struct tty_ops {
    /* Bytes are in the output queue, or output was restarted. tty->mutex held: must not suspend. */
    void (*output_ready)(struct tty *tty);
    /* The input queue has room again after tty_receive took less than it was given. tty->mutex held. */
    void (*input_room)(struct tty *tty);
    /* TCSADRAIN waits until the output queue is empty (else output counts as sent once it is queued). */
    bool drains;
    /* Events for packet mode: enum tty_packet bits. tty->mutex held. NULL: nobody cares. */
    void (*packet_event)(struct tty *tty, uint8_t bits);
    /* The first program file was opened (true), the last one closed. tty->mutex held. */
    void (*opened)(struct tty *tty, bool open);
    /* The last reference is gone. */
    void (*release)(struct tty *tty);
};
enum tty_packet { TTY_PKT_FLUSHREAD = 1, TTY_PKT_FLUSHWRITE = 2, TTY_PKT_STOP = 4, TTY_PKT_START = 8, TTY_PKT_NOSTOP = 16, TTY_PKT_DOSTOP = 32,
                  TTY_PKT_IOCTL = 64 };

#define TTY_INPUT_SIZE 4096u   /* as Linux's N_TTY_BUF_SIZE: a power of two */
#define TTY_OUTPUT_SIZE 16384u /* a power of two */

struct tty {
    struct object object;
    /* constant */
    const struct tty_ops *ops;
    void *data;
    uint64_t rdev;
    char name[16]; /* "/dev/pts/0" */

    struct mutex mutex;
    struct linux_termios2 termios;
    struct linux_winsize winsize;
    int32_t session, foreground; /* 0: none; also under process_tree_lock to write */
    uint32_t open_count;
    uint32_t generation; /* counts hangups; files of an older one are dead */
    bool exclusive;
    bool hung_up;        /* the other end is gone: cannot be opened any more */

    /* input: positions count up, their remainder is the place */
    uint8_t *input;
    uint8_t *delimiters; /* one byte per place: it ends a line */
    uint32_t input_head; /* where the next byte goes */
    uint32_t input_canon; /* everything before ends with a delimiter or came in raw mode: readable */
    uint32_t input_tail;
    bool literal_next, input_full;
    uint32_t echo_column; /* where the line being edited began */

    /* output */
    uint8_t *output;
    uint32_t output_head, output_tail;
    uint32_t column;
    bool stopped; /* ^S or TCOOFF */

    struct waitq readers, writers; /* writers: room in the output queue, or drained */
    struct knote_list knotes;
};

/* A terminal with one reference and the usual settings. NULL: no memory. name: constant part of /proc/PID/fd links. */
struct tty *tty_create(const struct tty_ops *ops, void *data, uint64_t rdev, const char *name);

/* --- the other end ----------------------------------------------------------------------------------- */

/* Input from the other end: how many bytes were taken (fewer: full; input_room tells). No lock held. May suspend. */
size_t tty_receive(struct tty *tty, const uint8_t *bytes, size_t size);
/* Takes bytes out of the output queue; 0 when it is empty or output is stopped (`force` ignores that). tty->mutex held. */
size_t tty_output_take_locked(struct tty *tty, uint8_t *bytes, size_t size, bool force);
/* A look at the next run of bytes in place; tty_output_skip_locked takes them. */
size_t tty_output_peek_locked(struct tty *tty, const uint8_t **bytes);
void tty_output_skip_locked(struct tty *tty, size_t size);
/* Sets the size and sends SIGWINCH to the foreground group when it changed. No lock held. */
void tty_resize(struct tty *tty, const struct linux_winsize *size);
/* The other end is gone for good (or `for_good` false: vhangup): files die, the session gets SIGHUP and SIGCONT. No lock held. */
void tty_hangup(struct tty *tty, bool for_good);

/* --- programs' end ----------------------------------------------------------------------------------- */

/* An open file of the terminal. Takes a reference of its own. -EIO when hung up, -EBUSY (TIOCEXCL). */
int tty_open(struct tty *tty, uint32_t flags, struct file **file);
/* /dev/tty: the current process's. -ENXIO. */
int tty_open_controlling(uint32_t flags, struct file **file);
/* The console of this machine (/dev/console): set once by the body before the first process; takes a reference. */
void tty_set_console(struct tty *tty);
struct tty *tty_console(void); /* borrowed, or NULL */
/* The terminal behind an open file, borrowed; NULL when it is none. Masters answer with their slave. */
struct tty *tty_of_file(struct file *file);
int64_t tty_ioctl(struct tty *tty, struct file *file, bool is_master, uint32_t command, uaddr_t argument);

/* --- sessions (for process code) --------------------------------------------------------------------- */

/*
 * The current process, a session leader, is about to end: the foreground group of its controlling terminal gets SIGHUP,
 * and the session has no terminal from now on. Nothing for others. No lock held.
 */
void tty_session_leader_exit(struct process *process);
/* setsid: the process leaves its terminal alone, without signals. process_tree_lock held. */
void tty_leave_locked(struct process *process);
/* The terminal becomes the controlling one of the session leader `process` (first process, TIOCSCTTY). process_tree_lock held. */
void tty_take_locked(struct tty *tty, struct process *process);
/* tty_nr and tpgid of /proc/PID/stat: encoded device and group, 0 and -1 without terminal. process_tree_lock held. */
void tty_numbers_locked(struct process *process, int32_t *tty_number, int32_t *foreground);

/* --- inside: tty_*.c --------------------------------------------------------------------------------- */

static inline bool tty_l(const struct tty *tty, uint32_t flag) { return tty->termios.lflag & flag; }
static inline bool tty_i(const struct tty *tty, uint32_t flag) { return tty->termios.iflag & flag; }
static inline bool tty_o(const struct tty *tty, uint32_t flag) { return tty->termios.oflag & flag; }
static inline bool tty_cc_is(const struct tty *tty, int which, uint8_t byte) { return tty->termios.cc[which] && tty->termios.cc[which] == byte; }
static inline uint32_t tty_output_used(const struct tty *tty) { return tty->output_head - tty->output_tail; }
static inline uint32_t tty_output_room(const struct tty *tty) { return TTY_OUTPUT_SIZE - tty_output_used(tty); }

/* tty_output.c; tty->mutex held. One byte with output processing: false when there is no room. */
bool tty_put_processed(struct tty *tty, uint8_t byte);
bool tty_put_raw(struct tty *tty, uint8_t byte);
void tty_echo(struct tty *tty, uint8_t byte);
void tty_echo_erase(struct tty *tty, uint32_t width);
void tty_set_stopped(struct tty *tty, bool stopped);
/* tty_input.c; tty->mutex held */
bool tty_readable_locked(struct tty *tty);
size_t tty_take_input_locked(struct tty *tty, uint8_t *bytes, size_t size, bool *line_end);
uint32_t tty_input_count(struct tty *tty); /* FIONREAD */
void tty_flush_input_locked(struct tty *tty);
void tty_flush_output_locked(struct tty *tty);
/* Raw and canonical mode were exchanged. */
void tty_mode_changed_locked(struct tty *tty, const struct linux_termios2 *old);
/* tty_session.c: SIGTTIN or SIGTTOU when the current process is in the background of this, its terminal. No lock held. */
int tty_job_control(struct tty *tty, int signal);
/* An open by a session leader without terminal (not O_NOCTTY). No lock held. */
void tty_acquire(struct tty *tty);
/* The console's foreground group when nobody has said so yet: the first process's. No lock held. */
int32_t tty_first_group(struct tty *tty);
int64_t tty_ioctl_session(struct tty *tty, struct file *file, bool is_master, uint32_t command, uaddr_t argument);
/* tty.c: false when the file has died by a hangup. */
bool tty_file_alive(struct tty *tty, struct file *file);
void tty_wake_locked(struct tty *tty, uint32_t events);

/* --- pty.c ------------------------------------------------------------------------------------------- */

struct node;
struct fs;
/* /dev/ptmx: a new pair, its master end. */
int pty_open_master(uint32_t flags, struct file **file);
/* The directory /dev/pts, a node of `fs`. NULL: no memory. */
struct node *pty_directory_create(struct fs *fs, uint64_t inode);
/* By device number: -ENXIO. */
int pty_open_slave(uint64_t rdev, uint32_t flags, struct file **file);
int pty_slave_stat(struct fs *fs, uint64_t rdev, struct linux_stat_data *stat);

#endif
