/* Ports: calls, one-way messages, bytes, handles, names, and what becomes of those who wait when the other side dies. */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define SEND_RIGHTS (HYLA_RIGHT_COPY | HYLA_RIGHT_TRANSFER)

static void *echo_server(void *argument)
{
    hyla_handle_t receive = (hyla_handle_t)(uintptr_t)argument;
    char bytes[256];
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = receive, .receive_data = (uintptr_t)bytes, .receive_size = sizeof bytes};
    int64_t result = hyla_msg(&msg);
    while (result == 0 && msg.words[0] != 0) {
        msg.words[0]++;
        msg.words[1] = msg.badge;
        msg.flags = HYLA_MSG_SEND | HYLA_MSG_RECEIVE;
        msg.to = msg.reply;
        msg.send_data = (uintptr_t)bytes;
        msg.send_size = msg.receive_size;
        msg.receive_size = sizeof bytes;
        result = hyla_msg(&msg);
    }
    CHECK_IS(result, 0);
    msg.flags = HYLA_MSG_SEND;
    msg.to = msg.reply;
    msg.send_size = 0;
    CHECK_IS(hyla_msg(&msg), 0);
    return NULL;
}

static int64_t call_words(hyla_handle_t send, uint64_t first, uint64_t answer[8])
{
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = send, .words = {first, 2, 3, 4, 5, 6, 7, 8}};
    int64_t result = hyla_msg(&msg);
    memcpy(answer, msg.words, sizeof msg.words);
    return result;
}

static void calls_are_answered(void)
{
    pthread_t thread;
    uint64_t words[8];
    char out[100], in[100];
    hyla_handle_t receive = HANDLE(hyla_port_create(0)), send = HANDLE(hyla_port_make_send(receive, 77, SEND_RIGHTS));
    CHECK(pthread_create(&thread, NULL, echo_server, (void *)(uintptr_t)receive) == 0);
    for (uint64_t i = 1; i < 500; i++) {
        CHECK_IS(call_words(send, i, words), 0);
        CHECK(words[0] == i + 1 && words[1] == 77 && words[7] == 8);
    }
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (char)i;
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = send, .words = {5}, .send_data = (uintptr_t)out, .send_size = sizeof out,
                           .receive_data = (uintptr_t)in, .receive_size = sizeof in};
    CHECK_IS(hyla_msg(&msg), 0);
    CHECK(msg.receive_size == sizeof in && memcmp(in, out, sizeof in) == 0 && msg.done == (HYLA_MSG_SENT | HYLA_MSG_RECEIVED));
    CHECK_IS(call_words(send, 0, words), 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_IS(hyla_handle_close(receive), 0);
    CHECK_IS(call_words(send, 1, words), -EPIPE);
    CHECK_IS(hyla_handle_close(send), 0);
}

static void queued_messages_carry_handles(void)
{
    hyla_handle_t receive = HANDLE(hyla_port_create(4)), send = HANDLE(hyla_port_make_send(receive, 1, 0));
    hyla_handle_t memobj = HANDLE(hyla_memobj_create(4096));
    struct hyla_msg_handle given = {.handle = memobj, .rights = HYLA_RIGHT_READ | HYLA_RIGHT_TRANSFER, .move = 1}, got;
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = send, .send_handles = (uintptr_t)&given, .send_handle_count = 1};
    struct hyla_port_info info;
    char byte;
    CHECK_IS(hyla_memobj_write(memobj, 0, "m", 1), 1);
    CHECK_IS(hyla_msg(&msg), 0);
    CHECK_IS(hyla_memobj_write(memobj, 0, "m", 1), -EBADF);
    CHECK_IS(hyla_port_info(receive, &info), 0);
    CHECK(info.messages == 1 && info.send_rights == 1);
    msg = (struct hyla_msg){.flags = HYLA_MSG_RECEIVE, .from = receive};
    CHECK_IS(hyla_msg(&msg), -EMSGSIZE);
    CHECK(msg.receive_handle_count == 1);
    msg = (struct hyla_msg){.flags = HYLA_MSG_RECEIVE, .from = receive, .receive_handles = (uintptr_t)&got, .receive_handle_count = 1};
    CHECK_IS(hyla_msg(&msg), 0);
    CHECK(msg.receive_handle_count == 1 && (got.rights & HYLA_RIGHT_READ) && !(got.rights & HYLA_RIGHT_WRITE));
    CHECK_IS(hyla_memobj_read(got.handle, 0, &byte, 1), 1);
    CHECK(byte == 'm');
    CHECK_IS(hyla_memobj_write(got.handle, 0, "m", 1), -EACCES);
    msg = (struct hyla_msg){.flags = HYLA_MSG_RECEIVE | HYLA_MSG_RECEIVE_NONBLOCK, .from = receive};
    CHECK_IS(hyla_msg(&msg), -EAGAIN);
    msg = (struct hyla_msg){.flags = HYLA_MSG_SEND, .to = receive};
    CHECK_IS(hyla_msg(&msg), -EACCES);
    msg = (struct hyla_msg){.flags = 1u << 20};
    CHECK_IS(hyla_msg(&msg), -EINVAL);
    hyla_handle_close(receive);
    hyla_handle_close(send);
    hyla_handle_close(got.handle);
}

/* --- another process --------------------------------------------------------------------------------- */

static void finish(pid_t child, int expected)
{
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(expected < 0 ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == expected);
}

static void a_child_has_what_may_be_copied(void)
{
    struct hyla_ids mine, theirs;
    uint64_t words[8];
    pthread_t thread;
    hyla_handle_t receive = HANDLE(hyla_port_create(0)), send = HANDLE(hyla_port_make_send(receive, 5, SEND_RIGHTS));
    CHECK_IS(hyla_ids_get(&mine), 0);
    CHECK(pthread_create(&thread, NULL, echo_server, (void *)(uintptr_t)receive) == 0);
    pid_t child = fork();
    if (child == 0) {
        CHECK_IS(hyla_ids_get(&theirs), 0);
        CHECK(theirs.task != mine.task && theirs.parent == mine.task);
        CHECK_IS(call_words(send, 10, words), 0);
        CHECK(words[0] == 11 && words[1] == 5);
        CHECK_IS(hyla_handle_close(receive), -EBADF);
        _exit(9);
    }
    finish(child, 9);
    CHECK_IS(call_words(send, 0, words), 0);
    CHECK(pthread_join(thread, NULL) == 0);
    hyla_handle_close(receive);
    hyla_handle_close(send);
}

/* The child publishes, takes the call and dies without an answer; or dies while nobody has called. */
static void killed_server_fails_its_callers(void)
{
    uint64_t words[8];
    int pipe_fds[2];
    char byte;
    for (int taken = 0; taken < 2; taken++) {
        CHECK(pipe(pipe_fds) == 0);
        pid_t child = fork();
        if (child == 0) {
            hyla_handle_t receive = HANDLE(hyla_port_create(0)), send = HANDLE(hyla_port_make_send(receive, 5, SEND_RIGHTS));
            CHECK_IS(hyla_name_publish("test.killed", send), 0);
            CHECK_IS(hyla_name_publish("test.killed", send), -EEXIST);
            CHECK(write(pipe_fds[1], "", 1) == 1);
            struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = receive};
            if (taken)
                CHECK_IS(hyla_msg(&msg), 0);
            else
                while (hyla_port_info(receive, &(struct hyla_port_info){0}) == 0) {
                    struct hyla_port_info info;
                    CHECK_IS(hyla_port_info(receive, &info), 0);
                    if (info.messages)
                        break;
                }
            raise(SIGKILL);
        }
        CHECK(read(pipe_fds[0], &byte, 1) == 1);
        hyla_handle_t send = HANDLE(hyla_name_find("test.killed"));
        CHECK_IS(call_words(send, 1, words), taken ? -ECONNRESET : -EPIPE);
        finish(child, -1);
        CHECK_IS(call_words(send, 1, words), -EPIPE);
        CHECK_IS(hyla_name_find("test.killed"), -ENOENT);
        hyla_handle_close(send);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
    }
}

static void killed_caller_leaves_a_stale_reply(void)
{
    hyla_handle_t receive = HANDLE(hyla_port_create(0)), send = HANDLE(hyla_port_make_send(receive, 5, SEND_RIGHTS));
    uint64_t words[8];
    pid_t child = fork();
    if (child == 0)
        _exit((int)call_words(send, 1, words));
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = receive};
    CHECK_IS(hyla_msg(&msg), 0);
    CHECK(msg.reply && kill(child, SIGKILL) == 0);
    finish(child, -1);
    msg.flags = HYLA_MSG_SEND;
    msg.to = msg.reply;
    CHECK_IS(hyla_msg(&msg), 0);
    CHECK_IS(hyla_port_notify(receive, HYLA_NOTICE_NO_SENDERS, 0, send, 42), 0);
    hyla_handle_t other = HANDLE(hyla_port_create(0)), to_other = HANDLE(hyla_port_make_send(other, 0, SEND_RIGHTS));
    CHECK_IS(hyla_port_notify_cancel(receive, HYLA_NOTICE_NO_SENDERS, 0, send, 42), 0);
    CHECK_IS(hyla_port_notify(receive, HYLA_NOTICE_NO_SENDERS, 0, to_other, 43), 0);
    hyla_handle_close(send);
    msg = (struct hyla_msg){.flags = HYLA_MSG_RECEIVE, .from = other};
    CHECK_IS(hyla_msg(&msg), 0);
    CHECK(msg.words[0] == HYLA_NOTICE_NO_SENDERS && msg.words[1] == 43);
    hyla_handle_close(receive);
    hyla_handle_close(other);
    hyla_handle_close(to_other);
}

static void sets(void)
{
    hyla_handle_t set = HANDLE(hyla_port_set_create()), receive[3], send[3];
    for (int i = 0; i < 3; i++) {
        receive[i] = HANDLE(hyla_port_create(2));
        send[i] = HANDLE(hyla_port_make_send(receive[i], (uint64_t)i, 0));
        CHECK_IS(hyla_port_set_add(set, receive[i]), 0);
    }
    CHECK_IS(hyla_port_set_add(set, receive[0]), -EBUSY);
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = send[1], .words = {11}};
    CHECK_IS(hyla_msg(&msg), 0);
    msg = (struct hyla_msg){.flags = HYLA_MSG_RECEIVE, .from = set};
    CHECK_IS(hyla_msg(&msg), 0);
    CHECK(msg.words[0] == 11 && msg.badge == 1 && !msg.reply);
    CHECK_IS(hyla_port_set_remove(set, receive[2]), 0);
    CHECK_IS(hyla_port_set_remove(set, receive[2]), -ENOENT);
    hyla_handle_close(set);
    for (int i = 0; i < 3; i++) {
        hyla_handle_close(receive[i]);
        hyla_handle_close(send[i]);
    }
}

int main(void)
{
    start_or_fail();
    calls_are_answered();
    queued_messages_carry_handles();
    a_child_has_what_may_be_copied();
    killed_server_fails_its_callers();
    killed_caller_leaves_a_stale_reply();
    sets();
    CHECK_IS(hyla_name_find("test.nobody"), -ENOENT);
    return 0;
}
