/*
 * The system-call table as C sees it: what tools/gen_calls.py makes of the tables in calls/, and the one door into it.
 *
 *   struct call_row    a call by name: how its arguments are copied and shown
 *   call_dispatch      number and six registers in, Linux's answer out
 *
 * Generated: calls.h (prototypes of the handlers), calls_rows.c (call_rows), calls_ARCH.c (wrappers and the two arrays
 * indexed by the architecture's numbers).
 */
#ifndef ABI_LINUX_CALL_H
#define ABI_LINUX_CALL_H

#include "kernel/atomic.h"
#include "kernel/types.h"

/* How the tracer shows an argument. */
enum call_argument_kind {
    CALL_ARG_INT,
    CALL_ARG_UINT,
    CALL_ARG_LONG,
    CALL_ARG_ULONG,
    CALL_ARG_HEX32,
    CALL_ARG_HEX64,
    CALL_ARG_OCTAL,
    CALL_ARG_FD,        /* AT_FDCWD by name */
    CALL_ARG_SIGNAL,
    CALL_ARG_ADDRESS,
    CALL_ARG_ADDRESS_IN, /* of something short that the call reads */
    CALL_ARG_STRING,    /* user address of a NUL-terminated string */
    CALL_ARG_STRINGS,   /* user address of a NULL-terminated array of such addresses: argv */
    CALL_ARG_BYTES_IN,  /* user buffer whose length is argument `other` */
    CALL_ARG_BYTES_OUT, /* user buffer that the call filled with as many bytes as its result says */
    CALL_ARG_BITS,      /* flags by name, `values` */
    CALL_ARG_ENUM,      /* one value by name, `values` */
    CALL_ARG_TIMESPEC_IN,
    CALL_ARG_TIMESPEC_OUT,
    CALL_ARG_TIMEVAL_IN,
    CALL_ARG_TIMEVAL_OUT,
    CALL_ARG_FD_PAIR_OUT, /* pipe, socketpair */
    CALL_ARG_INT_OUT,
    CALL_ARG_STATUS_OUT,  /* wait status */
    CALL_ARG_SIGSET_IN,
    CALL_ARG_SIGSET_OUT,
    CALL_ARG_STAT_OUT,
};

struct call_value {
    const char *name;
    uint64_t value;
};

/* A named set of values; terminated by a NULL name. For CALL_ARG_BITS an entry may cover several bits: longest first. */
struct call_argument {
    const char *name;
    uint8_t kind; /* enum call_argument_kind */
    uint8_t other;
    const struct call_value *values;
};

enum call_status { CALL_ABSENT, CALL_PARTIAL, CALL_FULL };
enum call_row_flags { CALL_NO_RETURN = 1, CALL_RESULT_ADDRESS = 2 };

struct call_row {
    const char *name;
    uint8_t status; /* enum call_status */
    uint8_t flags;  /* enum call_row_flags */
    uint8_t argument_count;
    struct call_argument arguments[6];
};

typedef int64_t call_function(const uint64_t arguments[6]);

/* In order of names. */
extern const struct call_row call_rows[];
extern const uint32_t call_row_count;

/* The architecture's: indexed by number. A NULL function is an absent call; the row index is CALL_ROW_NONE in a gap. */
extern call_function *const call_functions[];
extern const uint16_t call_row_of_number[];
extern const uint32_t call_number_limit;
#define CALL_ROW_NONE UINT16_MAX

/*
 * Serves one call of the current user thread. May suspend, may not return (exit). The result is what the handler gave:
 * restart codes (kernel/errno.h) are the caller's to resolve.
 */
int64_t call_dispatch(uint64_t number, const uint64_t arguments[6]);
/* Whether a call need not come back here: nobody traces or counts. */
bool call_parks(void);

/* Hooks of the dispatch: 0 in normal running. Set before the first call. */
enum call_hooks { CALL_HOOK_TRACE = 1, CALL_HOOK_STATISTICS = 2 };
extern struct atomic32 call_hooks;

/* What --stats counts, by row. */
struct call_statistics {
    struct atomic64 count, errors, nanoseconds;
};
/* Allocates the counters and turns CALL_HOOK_STATISTICS on. -ENOMEM. */
int call_statistics_start(void);
/* The counters of one row, or NULL when not started. */
const struct call_statistics *call_statistics_of(uint32_t row);

#endif
