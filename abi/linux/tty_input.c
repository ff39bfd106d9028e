/*
 * The line discipline: bytes from the terminal's other end become input for programs.
 *
 * Three positions count up over one ring: tail <= canon <= head. In canonical mode canon moves to head when a line
 * is complete, and what lies between them is being edited; in raw mode canon follows head. A place whose byte
 * ends a line is marked in `delimiters`; the end-of-file character is such a place whose byte is never delivered.
 */
#include "abi/linux/process.h"
#include "abi/linux/tty.h"
#include "kernel/string.h"

#define PLACE(position) ((position) & (TTY_INPUT_SIZE - 1))
#define END_OF_FILE 0 /* stored in place of VEOF */

enum { DELIMITER_NONE, DELIMITER_LINE, DELIMITER_EOF };

/* What one tty_receive has to do once the mutex is free: bit n for signal n. */
struct aftermath {
    uint32_t signals;
};

static uint32_t used(const struct tty *tty) { return tty->input_head - tty->input_tail; }

/* One place stays free, so that a line can always be ended. */
static bool add(struct tty *tty, uint8_t byte, uint8_t delimiter)
{
    if (used(tty) >= TTY_INPUT_SIZE - (delimiter ? 0 : 1))
        return false;
    tty->input[PLACE(tty->input_head)] = byte;
    tty->delimiters[PLACE(tty->input_head)] = delimiter;
    tty->input_head++;
    return true;
}

static void begin_echo(struct tty *tty)
{
    if (tty->input_head == tty->input_canon)
        tty->echo_column = tty->column;
}

/* --- editing ----------------------------------------------------------------------------------------- */

static bool is_continuation(const struct tty *tty, uint8_t byte) { return tty_i(tty, TTY_IUTF8) && (byte & 0xc0) == 0x80; }

/* How many columns one echoed byte took. Tabs are found out by adding up the line. */
static uint32_t byte_width(const struct tty *tty, uint8_t byte)
{
    if (byte < ' ' || byte == 0x7f)
        return tty_l(tty, TTY_ECHOCTL) ? 2 : 0;
    return is_continuation(tty, byte) ? 0 : 1;
}

static uint32_t line_column(struct tty *tty)
{
    uint32_t column = tty->echo_column;
    for (uint32_t at = tty->input_canon; at != tty->input_head; at++) {
        uint8_t byte = tty->input[PLACE(at)];
        column += byte == '\t' ? 8 - (column & 7) : byte_width(tty, byte);
    }
    return column;
}

static void erase_echoed(struct tty *tty, uint8_t byte)
{
    if (!tty_l(tty, TTY_ECHO))
        return;
    if (!tty_l(tty, TTY_ECHOE)) {
        tty_echo(tty, tty->termios.cc[TTY_VERASE]);
        return;
    }
    if (byte != '\t') {
        tty_echo_erase(tty, byte_width(tty, byte));
        return;
    }
    uint32_t before = line_column(tty);
    for (uint32_t back = 8 - (before & 7); back && tty->column > before; back--)
        tty_put_processed(tty, '\b');
}

/* One character, which may be several bytes. False when the line is empty. */
static bool erase_one(struct tty *tty)
{
    if (tty->input_head == tty->input_canon)
        return false;
    uint8_t byte;
    do
        byte = tty->input[PLACE(--tty->input_head)];
    while (is_continuation(tty, byte) && tty->input_head != tty->input_canon);
    erase_echoed(tty, byte);
    return true;
}

static bool is_word(uint8_t byte) { return (byte | 0x20) >= 'a' ? (byte | 0x20) <= 'z' || byte >= 0x80 : (byte >= '0' && byte <= '9') || byte == '_'; }

static void erase_word(struct tty *tty)
{
    bool seen = false;
    while (tty->input_head != tty->input_canon) {
        uint8_t byte = tty->input[PLACE(tty->input_head - 1)];
        bool word = is_word(byte) || byte == '_';
        if (!word && seen)
            break;
        seen |= word;
        erase_one(tty);
    }
}

static void erase_line(struct tty *tty)
{
    if (tty_l(tty, TTY_ECHOK) && tty_l(tty, TTY_ECHOKE) && tty_l(tty, TTY_ECHOE)) {
        while (erase_one(tty)) {
        }
        return;
    }
    tty->input_head = tty->input_canon;
    if (tty_l(tty, TTY_ECHO)) {
        tty_echo(tty, tty->termios.cc[TTY_VKILL]);
        if (tty_l(tty, TTY_ECHOK))
            tty_put_processed(tty, '\n');
    }
}

static void reprint(struct tty *tty)
{
    tty_echo(tty, tty->termios.cc[TTY_VREPRINT]);
    tty_put_processed(tty, '\n');
    tty->echo_column = tty->column;
    for (uint32_t at = tty->input_canon; at != tty->input_head; at++)
        tty_echo(tty, tty->input[PLACE(at)]);
}

static bool edit(struct tty *tty, uint8_t byte)
{
    bool extended = tty_l(tty, TTY_IEXTEN);
    if (tty_cc_is(tty, TTY_VERASE, byte))
        erase_one(tty);
    else if (tty_cc_is(tty, TTY_VKILL, byte))
        erase_line(tty);
    else if (extended && tty_cc_is(tty, TTY_VWERASE, byte))
        erase_word(tty);
    else if (extended && tty_cc_is(tty, TTY_VREPRINT, byte) && tty_l(tty, TTY_ECHO))
        reprint(tty);
    else if (extended && tty_cc_is(tty, TTY_VLNEXT, byte)) {
        tty->literal_next = true;
        if (tty_l(tty, TTY_ECHO) && tty_l(tty, TTY_ECHOCTL)) {
            tty_put_processed(tty, '^');
            tty_put_processed(tty, '\b');
        }
    } else
        return false;
    return true;
}

/* --- one byte ---------------------------------------------------------------------------------------- */

static bool raise(struct tty *tty, uint8_t byte, int signal, struct aftermath *after)
{
    after->signals |= 1u << signal;
    if (!tty_l(tty, TTY_NOFLSH)) {
        tty_flush_input_locked(tty);
        tty_flush_output_locked(tty);
    }
    tty_set_stopped(tty, false);
    if (tty_l(tty, TTY_ECHO))
        tty_echo(tty, byte);
    return true;
}

static bool signal_byte(struct tty *tty, uint8_t byte, struct aftermath *after)
{
    if (!tty_l(tty, TTY_ISIG))
        return false;
    if (tty_cc_is(tty, TTY_VINTR, byte))
        return raise(tty, byte, LINUX_SIGINT, after);
    if (tty_cc_is(tty, TTY_VQUIT, byte))
        return raise(tty, byte, LINUX_SIGQUIT, after);
    if (tty_cc_is(tty, TTY_VSUSP, byte))
        return raise(tty, byte, LINUX_SIGTSTP, after);
    return false;
}

static bool flow_byte(struct tty *tty, uint8_t byte)
{
    if (!tty_i(tty, TTY_IXON))
        return false;
    if (tty_cc_is(tty, TTY_VSTART, byte)) {
        tty_set_stopped(tty, false);
        return true;
    }
    if (tty_cc_is(tty, TTY_VSTOP, byte)) {
        tty_set_stopped(tty, true);
        return true;
    }
    if (tty->stopped && tty_i(tty, TTY_IXANY))
        tty_set_stopped(tty, false);
    return false;
}

/* Input flags; false: the byte is dropped. */
static bool translate(struct tty *tty, uint8_t *byte)
{
    if (tty_i(tty, TTY_ISTRIP))
        *byte &= 0x7f;
    if (tty_i(tty, TTY_IUCLC) && tty_l(tty, TTY_IEXTEN) && *byte >= 'A' && *byte <= 'Z')
        *byte = (uint8_t)(*byte - 'A' + 'a');
    if (*byte == '\r') {
        if (tty_i(tty, TTY_IGNCR))
            return false;
        if (tty_i(tty, TTY_ICRNL))
            *byte = '\n';
    } else if (*byte == '\n' && tty_i(tty, TTY_INLCR))
        *byte = '\r';
    return true;
}

static void end_line(struct tty *tty, uint8_t byte, uint8_t delimiter)
{
    if (add(tty, byte, delimiter))
        tty->input_canon = tty->input_head;
}

/* Returns true when the byte ended the line. */
static bool line_byte(struct tty *tty, uint8_t byte)
{
    if (byte == '\n') {
        if (tty_l(tty, TTY_ECHO) || tty_l(tty, TTY_ECHONL))
            tty_put_processed(tty, '\n');
        end_line(tty, byte, DELIMITER_LINE);
        return true;
    }
    if (tty_cc_is(tty, TTY_VEOF, byte)) {
        end_line(tty, END_OF_FILE, DELIMITER_EOF);
        return true;
    }
    if (tty_cc_is(tty, TTY_VEOL, byte) || (tty_l(tty, TTY_IEXTEN) && tty_cc_is(tty, TTY_VEOL2, byte))) {
        if (tty_l(tty, TTY_ECHO))
            tty_echo(tty, byte);
        end_line(tty, byte, DELIMITER_LINE);
        return true;
    }
    return false;
}

static void plain_byte(struct tty *tty, uint8_t byte)
{
    begin_echo(tty);
    if (!add(tty, byte, DELIMITER_NONE)) {
        if (tty_i(tty, TTY_IMAXBEL))
            tty_put_raw(tty, '\a');
        return;
    }
    if (tty_l(tty, TTY_ECHO))
        tty_echo(tty, byte);
    if (!tty_l(tty, TTY_ICANON))
        tty->input_canon = tty->input_head;
}

static void receive_byte(struct tty *tty, uint8_t byte, struct aftermath *after)
{
    bool literal = tty->literal_next;
    tty->literal_next = false;
    if (tty_l(tty, TTY_EXTPROC)) {
        plain_byte(tty, byte);
        return;
    }
    if (!literal && (flow_byte(tty, byte) || signal_byte(tty, byte, after) || !translate(tty, &byte)))
        return;
    if (!literal && tty_l(tty, TTY_ICANON) && (edit(tty, byte) || line_byte(tty, byte)))
        return;
    plain_byte(tty, byte);
}

/* A full queue in raw mode, or one with lines to read: the other end must wait. A full line is cut instead. */
static bool must_wait(const struct tty *tty)
{
    if (used(tty) < TTY_INPUT_SIZE - 1)
        return false;
    return !tty_l(tty, TTY_ICANON) || tty->input_canon != tty->input_tail;
}

size_t tty_receive(struct tty *tty, const uint8_t *bytes, size_t size)
{
    struct aftermath after = {0};
    size_t done = 0;
    mutex_lock(&tty->mutex);
    uint32_t readable = tty->input_canon;
    while (done < size && !(tty->input_full = must_wait(tty)))
        receive_byte(tty, bytes[done++], &after);
    if (tty->input_canon != readable)
        tty_wake_locked(tty, EVENT_READ);
    if (tty_output_used(tty))
        tty->ops->output_ready(tty);
    int32_t foreground = tty->foreground;
    mutex_unlock(&tty->mutex);
    if (after.signals && foreground <= 0 && tty == tty_console())
        foreground = tty_first_group(tty);
    for (int signal = 1; after.signals >> signal; signal++)
        if ((after.signals >> signal & 1) && foreground > 0)
            signal_send_group(foreground, signal, NULL);
    return done;
}

/* --- reading ----------------------------------------------------------------------------------------- */

bool tty_readable_locked(struct tty *tty) { return tty->input_canon != tty->input_tail; }

static void made_room(struct tty *tty)
{
    if (!tty->input_full || must_wait(tty))
        return;
    tty->input_full = false;
    if (tty->ops->input_room)
        tty->ops->input_room(tty);
}

size_t tty_take_input_locked(struct tty *tty, uint8_t *bytes, size_t size, bool *line_end)
{
    size_t done = 0;
    bool canonical = tty_l(tty, TTY_ICANON);
    *line_end = false;
    while (tty_readable_locked(tty) && !*line_end) {
        uint32_t place = PLACE(tty->input_tail);
        bool end_of_file = tty->delimiters[place] == DELIMITER_EOF;
        /* A full buffer still takes the end-of-file mark that follows it, or the next read would see it. */
        if (done == size && !(canonical && end_of_file))
            break;
        tty->input_tail++;
        if (!(canonical && end_of_file))
            bytes[done++] = tty->input[place];
        *line_end = canonical && tty->delimiters[place];
    }
    made_room(tty);
    return done;
}

uint32_t tty_input_count(struct tty *tty)
{
    uint32_t count = 0;
    for (uint32_t at = tty->input_tail; at != tty->input_canon; at++)
        count += tty->delimiters[PLACE(at)] != DELIMITER_EOF;
    return count;
}

void tty_flush_input_locked(struct tty *tty)
{
    tty->input_tail = tty->input_canon = tty->input_head;
    tty->literal_next = false;
    if (tty->ops->packet_event)
        tty->ops->packet_event(tty, TTY_PKT_FLUSHREAD);
    made_room(tty);
}

void tty_mode_changed_locked(struct tty *tty, const struct linux_termios2 *old)
{
    bool was = old->lflag & TTY_ICANON, is = tty_l(tty, TTY_ICANON);
    bool held = old->iflag & TTY_IXON;
    if (was != is) {
        /* What was typed without being a line yet is readable now; what was readable raw counts as one line. */
        if (is && tty->input_head != tty->input_tail)
            tty->delimiters[PLACE(tty->input_head - 1)] = tty->delimiters[PLACE(tty->input_head - 1)] ?: DELIMITER_LINE;
        tty->input_canon = tty->input_head;
        tty->literal_next = false;
        tty_wake_locked(tty, EVENT_READ);
        made_room(tty);
    }
    if (held && !tty_i(tty, TTY_IXON))
        tty_set_stopped(tty, false);
}
