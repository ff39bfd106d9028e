/*
 * A server with four threads on one port, and three clients in processes of their own. A client sends two numbers and gets their sum,
 * and its own badge. See ../README.md.
 */
#include "examples/example.h"

#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
#define CLIENTS 3
#define CALLS 1000
#define NAME "example.sum"

static hyla_handle_t port;

static void *serve(void *argument)
{
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = port};
    (void)argument;
    while (hyla_msg(&msg) == 0) { /* ends when the port does */
        msg.words[0] += msg.words[1];
        msg.words[1] = msg.badge;
        msg.flags = HYLA_MSG_SEND | HYLA_MSG_RECEIVE; /* answer, then wait for the next */
        msg.to = msg.reply;
    }
    return NULL;
}

static int client(hyla_handle_t server, uint64_t badge)
{
    for (uint64_t i = 0; i < CALLS; i++) {
        struct hyla_msg msg = {.flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = server, .words = {i, badge}};
        must(hyla_msg(&msg), "call");
        if (msg.words[0] != i + badge || msg.words[1] != badge)
            return 1;
    }
    return 0;
}

int main(void)
{
    pthread_t threads[THREADS];
    int failed = 0, status;
    must(hyla_start(), "no kernel of Hyla's");
    port = (hyla_handle_t)must(hyla_port_create(0), "port_create");
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, serve, NULL);
    for (uint64_t badge = 1; badge <= CLIENTS; badge++) {
        /* A right that says whose it is; the child inherits it, since it may be copied. */
        hyla_handle_t right = (hyla_handle_t)must(hyla_port_make_send(port, badge, HYLA_RIGHT_COPY), "port_make_send");
        if (fork() == 0)
            _exit(client(right, badge));
        hyla_handle_close(right);
    }
    for (int i = 0; i < CLIENTS; i++)
        failed |= wait(&status) < 0 || status != 0;
    /* Whoever comes by the name shares one badge. */
    hyla_handle_t shared = (hyla_handle_t)must(hyla_port_make_send(port, 99, HYLA_RIGHT_COPY), "port_make_send");
    must(hyla_name_publish(NAME, shared), "name_publish");
    hyla_handle_t found = (hyla_handle_t)must(hyla_name_find(NAME), "name_find");
    failed |= client(found, 99);
    hyla_handle_close(port); /* the threads end, and a call now fails instead of waiting */
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    struct hyla_msg late = {.flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = found};
    printf("%d clients, %d calls each; a late call: %s\n", CLIENTS, CALLS, hyla_error_text(hyla_msg(&late)));
    return failed;
}
