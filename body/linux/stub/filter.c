/*
 * The seccomp filter: what holds a managed client.
 *
 * Host calls whose instruction lies in the stub's text window and that are on the list below go through.
 * Registers, memory and the instruction pointer may all be made up, so each entry must be harmless with
 * any arguments: at worst the guest harms the memory and descriptors of its own process, which are its own.
 * Making processes asks the server (user notification). Everything else, from anywhere, becomes SIGSYS and
 * so a call of the guest to Hyla.
 *
 * Order: the architecture first (the numbers mean nothing before it), then the address, then the number.
 */
#include "body/linux/stub/stub.h"

struct filter_instruction {
    uint16_t code;
    uint8_t jump_true, jump_false;
    uint32_t k;
};

#define LOAD(offset) {0x20, 0, 0, (offset)}
#define RETURN(what) {0x06, 0, 0, (what)}
#define IF_EQUAL(value, yes, no) {0x15, (yes), (no), (value)}
#define IF_AT_LEAST(value, yes, no) {0x35, (yes), (no), (value)}
#define ALLOW 0x7fff0000u
#define TRAP 0x00030000u
#define ASK 0x7fc00000u
/* Skips one instruction unless the number is this. */
#define PERMIT(number) IF_EQUAL((number), 0, 1), RETURN(ALLOW)

#define DATA_NUMBER 0
#define DATA_ARCHITECTURE 4
#define DATA_ADDRESS_LOW 8
#define DATA_ADDRESS_HIGH 12
#define DATA_FIRST_ARGUMENT_LOW 16
#define DATA_FIRST_ARGUMENT_HIGH 20

_Static_assert((STUB_IMAGE_BASE & 0xffffffff) == 0, "the address check compares with zero");

const struct filter_instruction stub_filter[] = {
    LOAD(DATA_ARCHITECTURE),
    IF_EQUAL(0xc000003e, 1, 0),
    RETURN(TRAP),
    LOAD(DATA_ADDRESS_HIGH),
    IF_EQUAL(STUB_IMAGE_BASE >> 32, 1, 0),
    RETURN(TRAP),
    LOAD(DATA_ADDRESS_LOW),
    IF_AT_LEAST(STUB_TEXT_SIZE, 0, 1),
    RETURN(TRAP),
    LOAD(DATA_NUMBER),
    PERMIT(202), /* futex: waiting for answers */
    PERMIT(24),  /* sched_yield: leaving the CPU to the worker that answers */
    PERMIT(1),   /* write: the doorbell, hello */
    PERMIT(15),  /* rt_sigreturn */
    PERMIT(9),   /* mmap */
    PERMIT(11),  /* munmap */
    PERMIT(10),  /* mprotect */
    PERMIT(25),  /* mremap */
    PERMIT(28),  /* madvise */
    PERMIT(47),  /* recvmsg: descriptors to map */
    PERMIT(3),   /* close */
    PERMIT(33),  /* dup2: a forked child's own socket and doorbell */
    PERMIT(324), /* membarrier: rewriting with other threads about */
    PERMIT(60),  /* exit */
    PERMIT(231), /* exit_group */
    IF_EQUAL(56, 0, 1), /* clone */
    RETURN(ASK),
    IF_EQUAL(158, 0, 6), /* arch_prctl: ARCH_SET_GS, ARCH_SET_FS */
    LOAD(DATA_FIRST_ARGUMENT_HIGH),
    IF_EQUAL(0, 0, 4),
    LOAD(DATA_FIRST_ARGUMENT_LOW),
    IF_EQUAL(0x1001, 1, 0),
    IF_EQUAL(0x1002, 0, 1),
    RETURN(ALLOW),
    RETURN(TRAP),
};
const uint16_t stub_filter_length = sizeof stub_filter / sizeof stub_filter[0];
