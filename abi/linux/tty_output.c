/*
 * Output processing of terminals: what OPOST does to bytes on their way out, and echo. See termios(3).
 *
 * The column is followed for tabs, and so that erasing an echoed tab or control character takes back what it
 * printed. Echo that finds the output queue full is lost, as a program's output would wait for it otherwise.
 */
#include "abi/linux/tty.h"
#include "kernel/string.h"

bool tty_put_raw(struct tty *tty, uint8_t byte)
{
    if (!tty_output_room(tty))
        return false;
    tty->output[tty->output_head++ & (TTY_OUTPUT_SIZE - 1)] = byte;
    return true;
}

static bool put_newline(struct tty *tty)
{
    if (tty_o(tty, TTY_ONLCR)) {
        if (tty_output_room(tty) < 2)
            return false;
        tty_put_raw(tty, '\r');
        tty->column = 0;
    } else if (tty_o(tty, TTY_ONLRET))
        tty->column = 0;
    return tty_put_raw(tty, '\n');
}

static bool put_return(struct tty *tty)
{
    if (tty_o(tty, TTY_ONOCR) && !tty->column)
        return true;
    if (tty_o(tty, TTY_OCRNL)) {
        if (tty_o(tty, TTY_ONLRET))
            tty->column = 0;
        return tty_put_raw(tty, '\n');
    }
    tty->column = 0;
    return tty_put_raw(tty, '\r');
}

static bool put_tab(struct tty *tty)
{
    uint32_t spaces = 8 - (tty->column & 7);
    if ((tty->termios.oflag & TTY_TABDLY) == TTY_TAB3) {
        if (tty_output_room(tty) < spaces)
            return false;
        for (uint32_t i = 0; i < spaces; i++)
            tty_put_raw(tty, ' ');
    } else if (!tty_put_raw(tty, '\t'))
        return false;
    tty->column += spaces;
    return true;
}

static bool continues_utf8(const struct tty *tty, uint8_t byte) { return tty_i(tty, TTY_IUTF8) && (byte & 0xc0) == 0x80; }

bool tty_put_processed(struct tty *tty, uint8_t byte)
{
    if (!tty_o(tty, TTY_OPOST))
        return tty_put_raw(tty, byte);
    switch (byte) {
    case '\n':
        return put_newline(tty);
    case '\r':
        return put_return(tty);
    case '\t':
        return put_tab(tty);
    case '\b':
        if (!tty_put_raw(tty, byte))
            return false;
        tty->column -= tty->column > 0;
        return true;
    default:
        if (tty_o(tty, TTY_OLCUC) && byte >= 'a' && byte <= 'z')
            byte = (uint8_t)(byte - 'a' + 'A');
        if (!tty_put_raw(tty, byte))
            return false;
        tty->column += byte >= ' ' && byte != 0x7f && !continues_utf8(tty, byte);
        return true;
    }
}

static bool is_control(uint8_t byte) { return byte < ' ' || byte == 0x7f; }

void tty_echo(struct tty *tty, uint8_t byte)
{
    if (tty_l(tty, TTY_ECHOCTL) && is_control(byte) && byte != '\t' && byte != '\n') {
        tty_put_processed(tty, '^');
        tty_put_processed(tty, byte ^ 0x40);
    } else
        tty_put_processed(tty, byte);
}

void tty_echo_erase(struct tty *tty, uint32_t width)
{
    for (uint32_t i = 0; i < width; i++) {
        tty_put_processed(tty, '\b');
        tty_put_processed(tty, ' ');
        tty_put_processed(tty, '\b');
    }
}

void tty_set_stopped(struct tty *tty, bool stopped)
{
    if (tty->stopped == stopped)
        return;
    tty->stopped = stopped;
    if (tty->ops->packet_event)
        tty->ops->packet_event(tty, stopped ? TTY_PKT_STOP : TTY_PKT_START);
    if (!stopped) {
        tty->ops->output_ready(tty);
        tty_wake_locked(tty, EVENT_WRITE);
    }
}

size_t tty_output_peek_locked(struct tty *tty, const uint8_t **bytes)
{
    uint32_t place = tty->output_tail & (TTY_OUTPUT_SIZE - 1);
    *bytes = tty->output + place;
    return min_u64(tty_output_used(tty), TTY_OUTPUT_SIZE - place);
}

void tty_output_skip_locked(struct tty *tty, size_t size)
{
    tty->output_tail += (uint32_t)size;
    if (size)
        tty_wake_locked(tty, EVENT_WRITE);
}

size_t tty_output_take_locked(struct tty *tty, uint8_t *bytes, size_t size, bool force)
{
    size_t done = 0;
    if (tty->stopped && !force)
        return 0;
    while (done < size) {
        const uint8_t *from;
        size_t run = min_u64(tty_output_peek_locked(tty, &from), size - done);
        if (!run)
            break;
        memcpy(bytes + done, from, run);
        tty->output_tail += (uint32_t)run;
        done += run;
    }
    if (done)
        tty_wake_locked(tty, EVENT_WRITE);
    return done;
}

void tty_flush_output_locked(struct tty *tty)
{
    tty->output_tail = tty->output_head;
    if (tty->ops->packet_event)
        tty->ops->packet_event(tty, TTY_PKT_FLUSHWRITE);
    tty_wake_locked(tty, EVENT_WRITE);
}
