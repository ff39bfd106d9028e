/* For the harness: waits in a call until its server is gone, and ends with 0 if it hears of it. helper_wait timer|port|futex|threads */
#include "check.h"

#include <pthread.h>

static void *wait_long(void *argument)
{
    (void)argument;
    hyla_timer_wait(HANDLE(hyla_timer_create()), HYLA_NEVER);
    return NULL;
}

static int64_t wait_for(const char *kind)
{
    static uint32_t word;
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE};
    if (!strcmp(kind, "timer"))
        return hyla_timer_wait(HANDLE(hyla_timer_create()), HYLA_NEVER);
    if (!strcmp(kind, "futex"))
        return hyla_futex_wait(&word, 0, 0, HYLA_NEVER);
    msg.from = HANDLE(hyla_port_create(0));
    HANDLE(hyla_port_make_send(msg.from, 1, 0));
    return hyla_msg(&msg);
}

int main(int argc, char **argv)
{
    const char *kind = argc > 1 ? argv[1] : "timer";
    pthread_t thread;
    start_or_fail();
    CHECK(hyla_probe() > 0);
    hyla_handle_t port = HANDLE(hyla_port_create(1));
    HANDLE(hyla_port_make_send(port, 9, 0));
    for (int i = 0; i < 8 && !strcmp(kind, "threads"); i++)
        CHECK(pthread_create(&thread, NULL, wait_long, NULL) == 0);
    puts("waiting");
    fflush(stdout);
    CHECK_IS(wait_for(kind), -ENOTCONN);
    CHECK_IS(hyla_probe(), -ENOTCONN);
    return 0;
}
