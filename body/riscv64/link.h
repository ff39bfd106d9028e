/*
 * The link to `hyla boot`: several channels over one line, a virtio console or the serial line (line.h).
 *
 * The byte LINK_MARK and a channel's letter say whose the bytes are that follow; a LINK_MARK among them is sent twice.
 * cmd/boot_link.c is the other side. From the kernel:
 *
 *   l  lines of the kernel's (what comes before any mark, the firmware's too)
 *   c  the terminal      o, e  standard output and error, where they are no terminal
 *   r  room: "cN\n" or "iN\n", N more bytes may be sent on that channel
 *   x  "N\n", the first process's wait status: the last thing said
 *
 * To the kernel:  c  the terminal's input   i  standard input   q  its end   s  "ROWS COLUMNS\n"   k  "SIGNAL\n"
 *
 * Input is bounded by credit: it begins when the kernel has given room for LINK_WINDOW bytes per channel, and goes on as it
 * says what it has used.
 */
#ifndef RISCV64_LINK_H
#define RISCV64_LINK_H

#include "kernel/types.h"

#define LINK_MARK 0x10
#define LINK_WINDOW 16384u /* a power of two */

struct process_start;

/* Whether the boot arguments ask for it (hyla.link=…): then everything goes through it from now on. */
bool link_begin(void);
bool link_active(void);
/* As many bytes as there is room for: `room` of link_open is called when there is more. Any context. */
size_t link_send(char channel, const void *bytes, size_t size);
/* Waits on the line itself until all is sent. Any context. */
void link_send_now(char channel, const void *bytes, size_t size);
/*
 * The streams of the first process that are no terminal, and the terminal's input to `received` (which says how much it
 * took; link_received goes on). On a thread. -ENOMEM.
 */
int link_open(struct process_start *start, size_t (*received)(const uint8_t *bytes, size_t size), void (*room)(void));
void link_received(void);
/* Whether a stream (0 to 2) of the first process is the terminal. */
bool link_is_terminal(int stream);
/* All that programs wrote has been sent, then the status. On a thread. */
void link_end(int32_t wait_status);

#endif
