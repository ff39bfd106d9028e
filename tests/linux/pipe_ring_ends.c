/* Pipes in use (see pipe_ring_check.h) whose ends close, die, get signals or stop. */
#include "pipe_ring_check.h"

static void closed_before_a_sleeper(void)
{
    begin();
    wait_asleep(partner);
    close(to[1]);
    CHECK(partner_status() == 0); /* its read returned 0 */
    CHECK(read(from[0], block, 1) == 0);
    close(from[0]);
    begin();
    order_done(FILL); /* asleep because it is full */
    close(from[0]);
    CHECK(partner_status() == 1000 + SIGPIPE);
    on_signal(SIGPIPE, SIG_IGN, 0);
    CHECK_ERROR(write(to[1], "x", 1), EPIPE);
    on_signal(SIGPIPE, SIG_DFL, 0);
    close(to[1]);
}

static void ignore_pipe(void) { on_signal(SIGPIPE, SIG_IGN, 0); }

static void killed(void)
{
    begin();
    order_done(60);
    kill(partner, SIGKILL);
    CHECK(partner_status() == 1000 + SIGKILL);
    CHECK(read(from[0], block, sizeof block) == 60 && read(from[0], block, 1) == 0);
    on_signal(SIGPIPE, SIG_IGN, 0);
    CHECK_ERROR(write(to[1], "x", 1), EPIPE);
    on_signal(SIGPIPE, SIG_DFL, 0);
    close(from[0]);
    close(to[1]);
    begin_with(ignore_pipe);
    order_done(FILL);
    close(from[0]);
    CHECK(partner_status() == EPIPE);
    close(to[1]);
}

/* What it has written by then stays, in order, and ends. */
static void killed_while_it_writes(void)
{
    for (int i = 0; i < 30; i++) {
        size_t all = 0;
        ssize_t got;
        begin();
        order(FILL);
        for (int n = 0; n < i * 3; n++) {
            CHECK((got = read(from[0], block, 1000)) > 0);
            all += got;
        }
        kill(partner, SIGKILL);
        CHECK(partner_status() == 1000 + SIGKILL);
        while ((got = read(from[0], block, sizeof block)) > 0)
            all += got;
        CHECK(got == 0 && all % 1000 == 0);
        close(from[0]);
        close(to[1]);
    }
}

static void take_signals(void) { on_signal(SIGUSR1, tick_count, 0); }
static void restart_signals(void) { on_signal(SIGUSR1, tick_count, SA_RESTART); }

static void signalled_reader(void)
{
    begin_with(take_signals);
    wait_asleep(partner);
    kill(partner, SIGUSR1);
    CHECK(partner_status() == 101);
    close(to[1]);
    close(from[0]);
    begin_with(restart_signals);
    for (int i = 0; i < 50; i++) {
        wait_asleep(partner);
        kill(partner, SIGUSR1);
        round_trip(10);
        if (i % 10 == 0)
            warm();
    }
    end();
}

static void signalled_writer(void)
{
    begin_with(take_signals);
    order_done(FILL);
    kill(partner, SIGUSR1);
    CHECK(partner_status() == 101);
    close(to[1]);
    close(from[0]);
    begin_with(restart_signals);
    order_done(FILL);
    for (int i = 0; i < 20; i++) {
        kill(partner, SIGUSR1);
        CHECK(read(from[0], block, 500) == 500 && read(from[0], block, 500) == 500);
        wait_asleep(partner);
    }
    close(from[0]);
    CHECK(partner_status() == 1000 + SIGPIPE);
    close(to[1]);
}

static void stopped(void)
{
    begin();
    for (int i = 0; i < 3; i++) {
        int status;
        kill(partner, SIGSTOP);
        CHECK(waitpid(partner, &status, WUNTRACED) == partner && WIFSTOPPED(status));
        order(40);
        kill(partner, SIGCONT);
        CHECK(read(from[0], block, sizeof block) == 40);
        warm();
    }
    end();
}

static void ticking(void)
{
    begin();
    tick_start(SA_RESTART);
    for (int i = 0; i < 100; i++)
        warm();
    tick_stop();
    end();
}

int main(void)
{
    closed_before_a_sleeper();
    killed();
    killed_while_it_writes();
    signalled_reader();
    signalled_writer();
    stopped();
    ticking();
    return 0;
}
