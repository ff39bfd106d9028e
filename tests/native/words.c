/*
 * Calls of words: what they carry, their errors, their neighbours (msg on the other side), deaths, interruptions, and a crowd of random
 * exchanges whose every answer is known. What is printed depends on the seed alone, so that two ways of the kernel can be compared.
 *
 *     native_words [SEED [CALLS]]
 */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { PLAIN, FORGET, BY_MSG, QUIT, COMMANDS };
#define SERVERS 3
#define CLIENTS 6

static uint64_t draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static uint64_t mix(uint64_t word, uint64_t badge, uint32_t place) { return (word ^ badge * 0x9e3779b97f4a7c15ull) + place; }

static void answer(struct hyla_words *message)
{
    for (uint32_t i = 1; i < 8; i++)
        message->word[i] = mix(message->word[i], message->badge, i);
}

/* Serves until a QUIT comes; word 0 says what to do with the call. */
static void serve(hyla_handle_t port)
{
    struct hyla_words message = {.word = {0}};
    int64_t reply = hyla_word_reply_wait(port, 0, &message);
    for (;;) {
        CHECK(reply > 0);
        uint64_t command = message.word[0];
        answer(&message);
        if (command == FORGET) {
            CHECK_IS(hyla_handle_close((hyla_handle_t)reply), 0);
            reply = 0;
        } else if (command == BY_MSG) {
            struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = (hyla_handle_t)reply};
            memcpy(msg.words, message.word, sizeof msg.words);
            CHECK_IS(hyla_msg(&msg), 0);
            reply = 0;
        } else if (command == QUIT) {
            struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = (hyla_handle_t)reply};
            CHECK_IS(hyla_msg(&msg), 0);
            return;
        }
        reply = hyla_word_reply_wait(port, (hyla_handle_t)reply, &message);
    }
}

static void *serve_thread(void *port)
{
    serve((hyla_handle_t)(uintptr_t)port);
    return NULL;
}

/* --- one at a time ------------------------------------------------------------------------------------- */

static void quit(hyla_handle_t port, pthread_t thread)
{
    hyla_handle_t send = HANDLE(hyla_port_make_send(port, 0, HYLA_RIGHT_COPY));
    struct hyla_words message = {.word = {QUIT}};
    CHECK_IS(hyla_word_call(send, &message), 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_IS(hyla_handle_close(send), 0);
}

static void words_and_badge_arrive(void)
{
    hyla_handle_t port = HANDLE(hyla_port_create(0)), send = HANDLE(hyla_port_make_send(port, 0xabcdef0123456789, HYLA_RIGHT_COPY));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, serve_thread, (void *)(uintptr_t)port) == 0);
    for (uint64_t round = 0; round < 1000; round++) {
        struct hyla_words message = {.word = {PLAIN, round, 1, UINT64_MAX, 1ull << 63, round << 32, 0, ~round}}, sent = message;
        CHECK_IS(hyla_word_call(send, &message), 0);
        CHECK(message.badge == 0 && message.word[0] == PLAIN);
        for (uint32_t i = 1; i < 8; i++)
            CHECK(message.word[i] == mix(sent.word[i], 0xabcdef0123456789, i));
    }
    quit(port, thread);
    CHECK_IS(hyla_handle_close(port), 0);
    struct hyla_words message = {.word = {0}};
    CHECK_IS(hyla_word_call(send, &message), -EPIPE);
    CHECK_IS(hyla_word_call(port, &message), -EBADF);
    CHECK_IS(hyla_handle_close(send), 0);
}

static void errors_are_those_of_msg(void)
{
    hyla_handle_t port = HANDLE(hyla_port_create(1)), send = HANDLE(hyla_port_make_send(port, 7, HYLA_RIGHT_COPY));
    struct hyla_words message = {.word = {0}};
    CHECK_IS(hyla_word_call(0, &message), -EBADF);
    CHECK_IS(hyla_word_call(port, &message), -EACCES);
    CHECK_IS(hyla_word_reply_wait(send, 0, &message), -EACCES);
    CHECK_IS(hyla_word_reply_wait(port, send ^ 0x10000, &message), -EBADF);
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = send, .send_data = (uintptr_t)"text", .send_size = 4};
    CHECK_IS(hyla_msg(&msg), 0);
    CHECK_IS(hyla_word_reply_wait(port, 0, &message), -EMSGSIZE);
    char text[8];
    msg = (struct hyla_msg){.flags = HYLA_MSG_RECEIVE, .from = port, .receive_data = (uintptr_t)text, .receive_size = sizeof text};
    CHECK_IS(hyla_msg(&msg), 0);
    msg = (struct hyla_msg){.flags = HYLA_MSG_SEND, .to = send, .words = {1, 2, 3, 4, 5, 6, 7, 8}};
    CHECK_IS(hyla_msg(&msg), 0);
    CHECK_IS(hyla_word_reply_wait(port, 0, &message), 0); /* nobody waits for a reply */
    CHECK(message.badge == 7 && message.word[0] == 1 && message.word[7] == 8);
    CHECK_IS(hyla_port_revoke(port, 7), 1);
    CHECK_IS(hyla_word_call(send, &message), -EKEYREVOKED);
    CHECK_IS(hyla_handle_close(send), 0);
    CHECK_IS(hyla_handle_close(port), 0);
}

/* --- deaths -------------------------------------------------------------------------------------------- */

static void serving_process_dies(void)
{
    for (int how = 0; how < 2; how++) {
        hyla_handle_t mailbox = HANDLE(hyla_port_create(1)), to_mailbox = HANDLE(hyla_port_make_send(mailbox, 0, HYLA_RIGHT_COPY));
        pid_t server = fork();
        if (server == 0) { /* a port of its own, whose send right it mails */
            hyla_handle_t port = HANDLE(hyla_port_create(0));
            struct hyla_msg_handle right = {.handle = HANDLE(hyla_port_make_send(port, 1, HYLA_RIGHT_COPY | HYLA_RIGHT_TRANSFER)), .rights = HYLA_RIGHT_ALL, .move = 1};
            struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = to_mailbox, .send_handles = (uintptr_t)&right, .send_handle_count = 1};
            struct hyla_words message = {.word = {0}};
            CHECK_IS(hyla_msg(&msg), 0);
            int64_t reply = hyla_word_reply_wait(port, 0, &message);
            CHECK(reply > 0);
            if (how == 0)
                reply = hyla_word_reply_wait(port, (hyla_handle_t)reply, &message);
            _exit(9);
        }
        struct hyla_msg_handle right = {0};
        struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = mailbox, .receive_handles = (uintptr_t)&right, .receive_handle_count = 1};
        struct hyla_words message = {.word = {0}};
        CHECK_IS(hyla_msg(&msg), 0);
        if (how == 0)
            CHECK_IS(hyla_word_call(right.handle, &message), 0);
        CHECK_IS(hyla_word_call(right.handle, &message), -ECONNRESET);
        int status;
        CHECK(waitpid(server, &status, 0) == server && WEXITSTATUS(status) == 9);
        CHECK_IS(hyla_word_call(right.handle, &message), -EPIPE);
        CHECK_IS(hyla_handle_close(right.handle), 0);
        CHECK_IS(hyla_handle_close(to_mailbox), 0);
        CHECK_IS(hyla_handle_close(mailbox), 0);
    }
}

/* A caller is killed while its call is served: the reply goes nowhere, and the server goes on. */
static void calling_process_dies(void)
{
    hyla_handle_t port = HANDLE(hyla_port_create(0)), send = HANDLE(hyla_port_make_send(port, 3, HYLA_RIGHT_COPY));
    struct hyla_words message = {.word = {0}};
    int64_t reply = 0;
    for (int round = 0; round < 20; round++) {
        pid_t client = fork();
        if (client == 0) {
            struct hyla_words mine = {.word = {PLAIN, 5}};
            hyla_word_call(send, &mine);
            _exit(1);
        }
        reply = hyla_word_reply_wait(port, (hyla_handle_t)reply, &message);
        CHECK(reply > 0 && message.word[1] == 5 && message.badge == 3);
        CHECK(kill(client, SIGKILL) == 0);
        int status;
        CHECK(waitpid(client, &status, 0) == client && WTERMSIG(status) == SIGKILL);
    }
    CHECK_IS(hyla_handle_close((hyla_handle_t)reply), 0);
    CHECK_IS(hyla_handle_close(send), 0);
    CHECK_IS(hyla_handle_close(port), 0);
}

/* --- a crowd ------------------------------------------------------------------------------------------- */

struct client {
    pthread_t thread;
    uint64_t state, calls, digest, interrupted;
    hyla_handle_t send;
    uint64_t badge;
};

static void *client_thread(void *argument)
{
    struct client *client = argument;
    for (uint64_t i = 0; i < client->calls; i++) {
        struct hyla_words message, sent;
        uint64_t kind = draw(&client->state) % 32;
        message.word[0] = kind < 2 ? kind + 1 : PLAIN;
        for (uint32_t k = 1; k < 8; k++)
            message.word[k] = draw(&client->state);
        sent = message;
        int64_t result;
        while ((result = hyla_word_call(client->send, &message)) == -EINTR) { /* the call was taken, its answer is lost */
            message = sent;
            client->interrupted++;
        }
        CHECK_IS(result, sent.word[0] == FORGET ? -ECONNRESET : 0);
        for (uint32_t k = 1; k < 8 && result == 0; k++) {
            CHECK(message.word[k] == mix(sent.word[k], client->badge, k));
            client->digest = client->digest * 31 + message.word[k];
        }
        client->digest = client->digest * 31 + (uint64_t)result;
    }
    return NULL;
}

static void on_alarm(int signal) { (void)signal; }

/* Signals come to whoever runs: servers wait on, calls may be lost and are made again. */
static void alarms(bool on)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval often = {.it_interval = {0, on ? 3000 : 0}, .it_value = {0, on ? 3000 : 0}};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
}

static uint64_t crowd(uint64_t seed, uint64_t calls, bool processes)
{
    hyla_handle_t port = HANDLE(hyla_port_create(0));
    static struct client clients[CLIENTS];
    pthread_t servers[SERVERS];
    pid_t child = 0;
    uint64_t digest = 0;
    int ends[2];
    for (uint64_t i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.state = seed * CLIENTS + i + 1, .calls = calls, .badge = seed << 8 | i};
        clients[i].send = HANDLE(hyla_port_make_send(port, clients[i].badge, HYLA_RIGHT_COPY));
    }
    if (processes) { /* the clients are another process's threads */
        CHECK(pipe(ends) == 0);
        child = fork();
    }
    if (processes && child) {
        close(ends[1]);
        for (int i = 0; i < SERVERS; i++)
            CHECK(pthread_create(&servers[i], NULL, serve_thread, (void *)(uintptr_t)port) == 0);
        CHECK(read(ends[0], &digest, sizeof digest) == sizeof digest);
        close(ends[0]);
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    } else {
        for (int i = 0; i < SERVERS && !processes; i++)
            CHECK(pthread_create(&servers[i], NULL, serve_thread, (void *)(uintptr_t)port) == 0);
        alarms(true);
        for (int i = 0; i < CLIENTS; i++)
            CHECK(pthread_create(&clients[i].thread, NULL, client_thread, &clients[i]) == 0);
        for (int i = 0; i < CLIENTS; i++) {
            CHECK(pthread_join(clients[i].thread, NULL) == 0);
            digest = digest * 131 + clients[i].digest;
        }
        alarms(false);
        if (processes) {
            CHECK(write(ends[1], &digest, sizeof digest) == sizeof digest);
            _exit(0);
        }
    }
    for (int i = 0; i < SERVERS; i++) {
        struct hyla_words message = {.word = {QUIT}};
        CHECK_IS(hyla_word_call(clients[0].send, &message), 0);
    }
    for (int i = 0; i < SERVERS; i++)
        CHECK(pthread_join(servers[i], NULL) == 0);
    for (int i = 0; i < CLIENTS; i++)
        CHECK_IS(hyla_handle_close(clients[i].send), 0);
    CHECK_IS(hyla_handle_close(port), 0);
    return digest;
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1, calls = argc > 2 ? strtoull(argv[2], NULL, 0) : 300;
    start_or_fail();
    words_and_badge_arrive();
    errors_are_those_of_msg();
    if (hyla_world() == HYLA_WORLD_MANAGED) { /* rights cross a fork by themselves */
        serving_process_dies();
        calling_process_dies();
        printf("processes %016llx\n", (unsigned long long)crowd(seed, calls, true));
    }
    printf("threads %016llx\n", (unsigned long long)crowd(seed + 1, calls, false));
    return 0;
}
