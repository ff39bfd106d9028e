/*
 * Who holds rights when a process forks or execs, and waits for messages that signals and timers end: the reply that comes afterwards
 * goes nowhere, and the next call gets its own.
 */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <sys/wait.h>

static hyla_handle_t receive, send_right;
static char *self_path;

static int64_t call(uint64_t word, uint64_t *answer)
{
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = send_right, .words = {word}};
    int64_t result = hyla_msg(&msg);
    *answer = msg.words[0];
    return result;
}

static int end_of(pid_t pid)
{
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* --- fork ---------------------------------------------------------------------------------------------- */

/* The child has the send right, under its number, and not the receive right; the port does not die with the child. */
static void fork_of_a_holder(void)
{
    uint64_t answer;
    pid_t pid = fork();
    if (pid == 0) {
        struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = receive};
        CHECK_IS(hyla_msg(&msg), -EBADF);
        CHECK_IS(call(5, &answer), 0);
        CHECK(answer == 6);
        _exit(0);
    }
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = receive};
    CHECK_IS(hyla_msg(&msg), 0);
    msg.flags = HYLA_MSG_SEND;
    msg.to = msg.reply;
    msg.words[0]++;
    CHECK_IS(hyla_msg(&msg), 0);
    CHECK(end_of(pid) == 0);
}

/* --- exec ---------------------------------------------------------------------------------------------- */

/* The program after exec: a managed one still holds the receive right that it was told the number of. */
static int after_exec(const char *number)
{
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = (hyla_handle_t)strtoul(number, NULL, 0)};
    start_or_fail();
    if (hyla_world() == HYLA_WORLD_ATTACHED) {
        CHECK_IS(hyla_msg(&msg), -EBADF);
        return 0;
    }
    CHECK_IS(hyla_msg(&msg), 0);
    msg.flags = HYLA_MSG_SEND;
    msg.to = msg.reply;
    msg.words[0] *= 2;
    CHECK_IS(hyla_msg(&msg), 0);
    return 0;
}

/* The receive right of a port is given to a child, which execs while a call waits in it. */
static void exec_of_a_holder(void)
{
    hyla_handle_t own = HANDLE(hyla_port_create(1)), to_child = HANDLE(hyla_port_make_send(own, 0, HYLA_RIGHT_COPY));
    uint64_t answer;
    pid_t pid = fork();
    if (pid == 0) { /* makes a port, and gives its parent the send right */
        char number[16];
        hyla_handle_t port = HANDLE(hyla_port_create(0));
        struct hyla_msg_handle right = {.handle = HANDLE(hyla_port_make_send(port, 0, HYLA_RIGHT_COPY | HYLA_RIGHT_TRANSFER)), .rights = HYLA_RIGHT_ALL, .move = 1};
        struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = to_child, .send_handles = (uintptr_t)&right, .send_handle_count = 1};
        CHECK_IS(hyla_msg(&msg), 0);
        struct hyla_port_info info;
        do
            CHECK_IS(hyla_port_info(port, &info), 0);
        while (!info.messages);
        snprintf(number, sizeof number, "%u", port);
        execl(self_path, self_path, "after-exec", number, (char *)NULL);
        _exit(1);
    }
    struct hyla_msg_handle right;
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = own, .receive_handles = (uintptr_t)&right, .receive_handle_count = 1};
    CHECK_IS(hyla_msg(&msg), 0);
    hyla_handle_t before = send_right;
    send_right = right.handle;
    int64_t result = call(21, &answer);
    send_right = before;
    if (hyla_world() == HYLA_WORLD_ATTACHED) {
        CHECK_IS(result, -EPIPE); /* it had not been taken */
    } else {
        CHECK_IS(result, 0);
        CHECK(answer == 42);
    }
    CHECK(end_of(pid) == 0);
    hyla_handle_close(right.handle);
    hyla_handle_close(to_child);
    hyla_handle_close(own);
}

/* --- interruptions --------------------------------------------------------------------------------------- */

static void on_alarm(int number) { (void)number; }

/* Again and again, since one may come before the wait. */
static void alarms(uint32_t microseconds)
{
    struct itimerval often = {{0, (suseconds_t)microseconds}, {0, (suseconds_t)microseconds}};
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
}

static void a_timer_ends_a_wait(void)
{
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = receive};
    alarms(2000);
    CHECK_IS(hyla_msg(&msg), -EINTR);
    CHECK(!(msg.done & HYLA_MSG_RECEIVED));
    CHECK_IS(hyla_msg(&msg), -EINTR);
    alarms(0);
}

static _Atomic int64_t late;
static _Atomic uint32_t may_answer;

/* Answers the first call only when its caller has been interrupted, the others at once. */
static void *late_server(void *argument)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = receive};
    (void)argument;
    CHECK_IS(hyla_msg(&msg), 0);
    while (!atomic_load(&may_answer))
        hyla_futex_wait((void *)&may_answer, 0, 0, HYLA_NEVER);
    msg.flags = HYLA_MSG_SEND;
    msg.to = msg.reply;
    msg.words[0] = 666;
    atomic_store(&late, hyla_msg(&msg));
    for (int i = 0; i < 3; i++) {
        msg.flags = HYLA_MSG_RECEIVE;
        CHECK_IS(hyla_msg(&msg), 0);
        msg.flags = HYLA_MSG_SEND;
        msg.to = msg.reply;
        msg.words[0] += 100;
        CHECK_IS(hyla_msg(&msg), 0);
    }
    return NULL;
}

static void a_late_reply_goes_nowhere(void)
{
    pthread_t server;
    uint64_t answer;
    CHECK(pthread_create(&server, NULL, late_server, NULL) == 0);
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = send_right, .words = {1}};
    alarms(2000);
    while (hyla_msg(&msg) == -EINTR && !(msg.done & HYLA_MSG_SENT))
        ; /* not taken yet: what is left to do is made again */
    alarms(0);
    CHECK((msg.done & HYLA_MSG_SENT) && !(msg.done & HYLA_MSG_RECEIVED));
    atomic_store(&may_answer, 1);
    hyla_futex_wake((void *)&may_answer, 1, 0);
    for (uint64_t i = 0; i < 3; i++) {
        CHECK_IS(call(i, &answer), 0);
        CHECK(answer == i + 100);
    }
    CHECK(pthread_join(server, NULL) == 0);
    CHECK_IS(atomic_load(&late), 0); /* the server has done its part */
}

int main(int argc, char **argv)
{
    if (argc > 2)
        return after_exec(argv[2]);
    self_path = argv[0];
    start_or_fail();
    struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART */
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    receive = HANDLE(hyla_port_create(0));
    send_right = HANDLE(hyla_port_make_send(receive, 7, HYLA_RIGHT_COPY));
    fork_of_a_holder();
    exec_of_a_holder();
    hyla_set_interruptible(1);
    a_timer_ends_a_wait();
    a_late_reply_goes_nowhere();
    return 0;
}
