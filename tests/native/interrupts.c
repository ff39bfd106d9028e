/*
 * Signals in the middle of calls: handlers that make calls of their own, nested ones, handlers that never return. Each answer goes
 * to the call it belongs to: every value below names its call.
 */
#include "check.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>

static hyla_handle_t receive, send_right, timer;
static _Atomic int handled, nested, stop;
static pthread_t main_thread;

static uint64_t echo(uint64_t value)
{
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = send_right, .words = {value, ~value}};
    int64_t result = hyla_msg(&msg);
    if (result == -EINTR && (msg.done & HYLA_MSG_SENT) && hyla_world() == HYLA_WORLD_MANAGED)
        return value; /* the reply is lost, and the call says so */
    CHECK_IS(result, 0);
    CHECK(msg.words[1] == ~value);
    return msg.words[0];
}

static void *serve(void *argument)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    (void)argument;
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = receive};
    CHECK_IS(hyla_msg(&msg), 0);
    while (msg.words[0] != UINT64_MAX) {
        if (msg.words[0] % 4 == 0) /* let the caller wait a while */
            hyla_sleep(hyla_now() + 50000);
        msg.flags = HYLA_MSG_SEND | HYLA_MSG_RECEIVE;
        msg.to = msg.reply;
        CHECK_IS(hyla_msg(&msg), 0);
    }
    msg.flags = HYLA_MSG_SEND;
    msg.to = msg.reply;
    hyla_msg(&msg);
    return NULL;
}

static void on_outer(int number)
{
    static _Atomic uint64_t serial = 1000000;
    uint64_t mine = atomic_fetch_add(&serial, 1);
    (void)number;
    CHECK(echo(mine) == mine);
    atomic_fetch_add(&handled, 1);
}

static void on_inner(int number)
{
    static _Atomic uint64_t serial = 2000000000;
    uint64_t mine = atomic_fetch_add(&serial, 1);
    (void)number;
    CHECK(echo(mine) == mine);
    atomic_fetch_add(&nested, 1);
}

static void *shoot(void *argument)
{
    uint64_t *between = argument;
    while (!atomic_load(&stop)) {
        pthread_kill(main_thread, SIGUSR1);
        hyla_sleep(hyla_now() + *between);
        pthread_kill(main_thread, SIGUSR2);
        hyla_sleep(hyla_now() + *between);
    }
    return NULL;
}

static void handle(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(number, &action, NULL) == 0);
}

static void handlers_make_calls(void)
{
    pthread_t shooter;
    uint64_t between = 150000;
    handle(SIGUSR1, on_outer, SA_RESTART);
    handle(SIGUSR2, on_inner, SA_RESTART);
    atomic_store(&stop, 0);
    CHECK(pthread_create(&shooter, NULL, shoot, &between) == 0);
    for (uint64_t i = 0; i < 3000; i++)
        CHECK(echo(i) == i);
    for (int i = 0; i < 20; i++) {
        uint64_t until = soon(2);
        CHECK_IS(hyla_sleep(until), 0);
        CHECK(hyla_now() >= until);
    }
    while (!atomic_load(&handled) || !atomic_load(&nested))
        CHECK(echo(7) == 7);
    atomic_store(&stop, 1);
    CHECK(pthread_join(shooter, NULL) == 0);
}

/* --- handlers that leave by siglongjmp ---------------------------------------------------------------- */

static sigjmp_buf out;
static volatile sig_atomic_t armed;

static void on_jump(int number)
{
    (void)number;
    if (!armed)
        return;
    armed = 0;
    if (atomic_fetch_add(&handled, 1) % 2)
        CHECK(echo(77) == 77);
    siglongjmp(out, 1);
}

static void *shoot_once(void *argument)
{
    hyla_sleep(hyla_now() + *(uint64_t *)argument);
    pthread_kill(main_thread, SIGUSR1);
    return NULL;
}

static void jumps_leave_nothing_behind(void)
{
    handle(SIGUSR1, on_jump, SA_RESTART);
    for (uint64_t i = 0; i < 60; i++) {
        pthread_t shooter;
        uint64_t delay = 20000 + i * 5000;
        if (sigsetjmp(out, 1) == 0) {
            armed = 1;
            CHECK(pthread_create(&shooter, NULL, shoot_once, &delay) == 0);
            if (i % 3 == 0)
                hyla_timer_wait(timer, HYLA_NEVER);
            else
                for (uint64_t n = 0;; n++)
                    CHECK(echo(n) == n);
            CHECK(!"a wait without an end has ended");
        }
        CHECK(echo(1000 + i) == 1000 + i);
        CHECK(pthread_join(shooter, NULL) == 0);
    }
}

/* --- asking for EINTR --------------------------------------------------------------------------------- */

static void on_nothing(int number) { (void)number; }

static void interruptible_waits_end(void)
{
    pthread_t shooter;
    uint64_t delay = 3000000;
    handle(SIGUSR1, on_nothing, 0);
    hyla_set_interruptible(1);
    CHECK(pthread_create(&shooter, NULL, shoot_once, &delay) == 0);
    CHECK_IS(hyla_timer_wait(timer, HYLA_NEVER), -EINTR);
    CHECK(pthread_join(shooter, NULL) == 0);
    CHECK_IS(hyla_timer_wait(timer, soon(2)), -ETIMEDOUT);
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = HANDLE(hyla_port_create(0))};
    CHECK(pthread_create(&shooter, NULL, shoot_once, &delay) == 0);
    CHECK_IS(hyla_msg(&msg), -EINTR);
    CHECK(pthread_join(shooter, NULL) == 0);
    hyla_set_interruptible(0);
    hyla_handle_close(msg.from);
}

int main(void)
{
    pthread_t server;
    start_or_fail();
    main_thread = pthread_self();
    receive = HANDLE(hyla_port_create(0));
    send_right = HANDLE(hyla_port_make_send(receive, 1, HYLA_RIGHT_COPY));
    timer = HANDLE(hyla_timer_create());
    CHECK(pthread_create(&server, NULL, serve, NULL) == 0);
    handlers_make_calls();
    interruptible_waits_end();
    jumps_leave_nothing_behind();
    handle(SIGUSR1, on_nothing, SA_RESTART);
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = send_right, .words = {UINT64_MAX}};
    CHECK_IS(hyla_msg(&msg), 0);
    CHECK(pthread_join(server, NULL) == 0);
    return 0;
}
