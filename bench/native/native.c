/*
 * Benchmarks of native calls, and what the host has instead. Two processes where there are two.
 *
 *     bench_native NAME [SECONDS]     prints nanoseconds per operation: the best of several rounds
 *
 *     null_call      a native call that does nothing
 *     call_reply     a call of 8 words through a port and its reply, to another process
 *     seqpacket      64 bytes over a SEQPACKET socket pair to another process and back (bare Linux)
 *     memobj_write   64 bytes into a memobj
 *     call_64k       a call that brings 64 KiB, and an empty reply
 *     copy_64k       memcpy of 64 KiB, twice (bare Linux)
 *     handle_64k     a call with a handle to a memobj of 64 KiB, which the server closes
 *     handle_16m     the same with 16 MiB
 */
#include <hyla/hyla.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 5
#define LARGE 65536u

static char large[2][LARGE], received[LARGE];
static hyla_handle_t send_right, memobj;
static int sockets[2];
static pid_t partner;

static void check(int64_t result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "bench_native: %s: %s\n", what, hyla_error_text(result));
        exit(1);
    }
}

/* --- operations -------------------------------------------------------------------------------------- */

static void null_calls(uint64_t count)
{
    while (count--)
        check(hyla_probe(), "probe");
}

static void writes(uint64_t count)
{
    static const char bytes[64];
    while (count--)
        check(hyla_memobj_write(memobj, 0, bytes, sizeof bytes), "memobj_write");
}

static void calls(uint64_t count)
{
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = send_right, .words = {1, 2, 3, 4, 5, 6, 7, 8}};
    while (count--)
        check(hyla_msg(&msg), "call");
}

static void large_calls(uint64_t count)
{
    while (count--) {
        struct hyla_msg msg = {.flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = send_right, .send_data = (uintptr_t)large[0], .send_size = LARGE};
        check(hyla_msg(&msg), "call with 64 KiB");
    }
}

static void copies(uint64_t count)
{
    while (count--) {
        memcpy(large[1], large[0], LARGE);
        __asm__ volatile("" ::: "memory");
        memcpy(received, large[1], LARGE);
        __asm__ volatile("" ::: "memory");
    }
}

static void handle_calls(uint64_t count)
{
    struct hyla_msg_handle handle = {.handle = memobj, .rights = HYLA_RIGHT_READ};
    while (count--) {
        struct hyla_msg msg = {.flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = send_right, .send_handles = (uintptr_t)&handle, .send_handle_count = 1};
        check(hyla_msg(&msg), "call with a handle");
    }
}

static void packets(uint64_t count)
{
    char bytes[64] = {0};
    while (count--)
        if (write(sockets[0], bytes, sizeof bytes) != sizeof bytes || read(sockets[0], bytes, sizeof bytes) != sizeof bytes)
            check(-5, "socket");
}

/* --- partners ---------------------------------------------------------------------------------------- */

static void serve(void)
{
    hyla_handle_t port = (hyla_handle_t)hyla_port_create(0);
    hyla_handle_t right = (hyla_handle_t)hyla_port_make_send(port, 1, HYLA_RIGHT_COPY);
    check(hyla_name_publish("bench.echo", right), "publish");
    check(write(sockets[1], "", 1) == 1 ? 0 : -5, "ready");
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = port};
    for (;;) {
        check(hyla_msg(&msg), "reply and wait");
        msg.flags = HYLA_MSG_SEND | HYLA_MSG_RECEIVE;
        msg.to = msg.reply;
    }
}

/* Bytes and handles are taken, and handles closed. */
static void serve_large(void)
{
    hyla_handle_t port = (hyla_handle_t)hyla_port_create(0);
    hyla_handle_t right = (hyla_handle_t)hyla_port_make_send(port, 1, HYLA_RIGHT_COPY);
    check(hyla_name_publish("bench.echo", right), "publish");
    check(write(sockets[1], "", 1) == 1 ? 0 : -5, "ready");
    struct hyla_msg_handle handle;
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = port};
    for (;;) {
        msg.receive_data = (uintptr_t)received, msg.receive_size = LARGE;
        msg.receive_handles = (uintptr_t)&handle, msg.receive_handle_count = 1;
        check(hyla_msg(&msg), "reply and wait");
        if (msg.receive_handle_count)
            check(hyla_handle_close(handle.handle), "close");
        msg.flags = HYLA_MSG_SEND | HYLA_MSG_RECEIVE;
        msg.to = msg.reply;
    }
}

static void echo(void)
{
    char bytes[64];
    while (read(sockets[1], bytes, sizeof bytes) == sizeof bytes)
        if (write(sockets[1], bytes, sizeof bytes) != sizeof bytes)
            break;
}

static void start_partner(void (*function)(void), int awaited)
{
    char byte;
    check(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets), "socketpair");
    partner = fork();
    if (partner == 0) {
        close(sockets[0]);
        function();
        _exit(0);
    }
    close(sockets[1]);
    if (awaited)
        check(read(sockets[0], &byte, 1) == 1 ? 0 : -5, "partner");
}

static void prepare_null(void) { check(hyla_start(), "no kernel"); }

static void prepare_writes(void)
{
    prepare_null();
    memobj = (hyla_handle_t)hyla_memobj_create(4096);
}

static void prepare_server(void (*function)(void))
{
    prepare_null();
    start_partner(function, 1);
    int64_t found = hyla_name_find("bench.echo");
    check(found, "find");
    send_right = (hyla_handle_t)found;
}

static void prepare_calls(void) { prepare_server(serve); }
static void prepare_large(void) { prepare_server(serve_large); }
static void prepare_copies(void) { memset(large, 1, sizeof large); }

/* A memobj that is full of something. */
static void prepare_memobj(uint64_t size)
{
    prepare_large();
    memset(large, 1, sizeof large);
    int64_t made = hyla_memobj_create(size);
    check(made, "memobj_create");
    memobj = (hyla_handle_t)made;
    for (uint64_t at = 0; at < size; at += LARGE)
        check(hyla_memobj_write(memobj, at, large[0], LARGE), "memobj_write");
}

static void prepare_handle_64k(void) { prepare_memobj(LARGE); }
static void prepare_handle_16m(void) { prepare_memobj(16 << 20); }
static void prepare_packets(void) { start_partner(echo, 0); }

static const struct bench {
    const char *name;
    void (*prepare)(void);
    void (*many)(uint64_t count);
} benches[] = {
    {"null_call", prepare_null, null_calls},
    {"memobj_write", prepare_writes, writes},
    {"call_reply", prepare_calls, calls},
    {"seqpacket", prepare_packets, packets},
    {"call_64k", prepare_large, large_calls},
    {"copy_64k", prepare_copies, copies},
    {"handle_64k", prepare_handle_64k, handle_calls},
    {"handle_16m", prepare_handle_16m, handle_calls},
};

static double round_ns(const struct bench *bench, uint64_t count)
{
    uint64_t start = hyla_now();
    bench->many(count);
    return (double)(hyla_now() - start);
}

static double measure(const struct bench *bench, double seconds)
{
    uint64_t count = 16;
    double best = 1e18;
    while (round_ns(bench, count) < seconds * 1e9 / ROUNDS)
        count *= 2;
    for (int i = 0; i < ROUNDS; i++) {
        double each = round_ns(bench, count) / (double)count;
        best = each < best ? each : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof benches / sizeof benches[0]; i++) {
        if (strcmp(benches[i].name, argv[1]))
            continue;
        benches[i].prepare();
        printf("%.1f\n", measure(&benches[i], argc > 2 ? atof(argv[2]) : 0.5));
        if (partner > 0) {
            kill(partner, SIGKILL);
            waitpid(partner, NULL, 0);
        }
        return 0;
    }
    fprintf(stderr, "Usage: bench_native NAME [SECONDS]; the names are at the head of native.c\n");
    return 1;
}
