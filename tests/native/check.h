/*
 * What the tests of native calls share. Each program runs attached to a server and under `hyla run`; what it expects is the
 * same in both, but where it says otherwise.
 */
#ifndef NATIVE_CHECK_H
#define NATIVE_CHECK_H

#include <errno.h>
#include <hyla/hyla.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "%s:%d: %s (world %d)\n", __FILE__, __LINE__, #what, hyla_world()); \
            _exit(1); \
        } \
    } while (0)

/* A call that answers exactly this. */
#define CHECK_IS(call, expected) \
    do { \
        int64_t got_ = (call), expected_ = (expected); \
        if (got_ != expected_) { \
            fprintf(stderr, "%s:%d: %s is %lld (%s), not %lld (world %d)\n", __FILE__, __LINE__, #call, (long long)got_, \
                    hyla_error_text(got_), (long long)expected_, hyla_world()); \
            _exit(1); \
        } \
    } while (0)

static inline hyla_handle_t handle_of(int64_t result, const char *file, int line)
{
    if (result <= 0) {
        fprintf(stderr, "%s:%d: no handle: %lld (%s)\n", file, line, (long long)result, hyla_error_text(result));
        _exit(1);
    }
    return (hyla_handle_t)result;
}
#define HANDLE(call) handle_of((call), __FILE__, __LINE__)

/* Before anything else: there must be a kernel of Hyla's. */
static inline void start_or_fail(void)
{
    int error = hyla_start();
    if (error) {
        fprintf(stderr, "no server and not inside: %s\n", hyla_error_text(error));
        _exit(1);
    }
}

static inline uint64_t soon(uint64_t milliseconds) { return hyla_now() + milliseconds * 1000000; }

#endif
