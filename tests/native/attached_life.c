/*
 * Lives of attached processes and threads: exec that succeeds or fails, threads that end well or vanish, fork without exec, leaving and
 * coming back, kill -9 at any moment. What a process held is given back, and who waited for it hears.
 */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static hyla_handle_t receive, send_right;

static void give_task(void)
{
    struct hyla_msg_handle handle = {.handle = HANDLE(hyla_task_self()), .rights = HYLA_RIGHT_ALL, .move = 1};
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = send_right, .send_handles = (uintptr_t)&handle, .send_handle_count = 1};
    CHECK_IS(hyla_msg(&msg), 0);
}

static hyla_handle_t take_task(void)
{
    struct hyla_msg_handle handle;
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = receive, .receive_handles = (uintptr_t)&handle, .receive_handle_count = 1};
    CHECK_IS(hyla_msg(&msg), 0);
    return handle.handle;
}

static int wait_for(pid_t pid)
{
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

/* --- exec -------------------------------------------------------------------------------------------- */

static void exec_gives_everything_back(const char *self)
{
    int gate[2];
    CHECK(pipe(gate) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        give_task();
        execl("/nonexistent/program", "program", NULL);
        CHECK(hyla_handle_close(send_right) == 0); /* a failed exec changes nothing */
        dup2(gate[0], 0);
        execl(self, self, "after-exec", NULL);
        _exit(7);
    }
    hyla_handle_t task = take_task();
    CHECK_IS(hyla_task_wait(task, soon(10000)), 0); /* while the process lives on as another program */
    close(gate[0]);
    CHECK(write(gate[1], "x", 1) == 1);
    CHECK(wait_for(pid) == 0);
    close(gate[1]);
    hyla_handle_close(task);
}

/* The other program: it attaches by itself, knows nothing of what was before, and is another task. */
static int after_exec(void)
{
    char byte;
    struct hyla_ids ids;
    CHECK(read(0, &byte, 1) == 1);
    start_or_fail();
    CHECK_IS(hyla_ids_get(&ids), 0);
    CHECK(ids.parent == 0);
    struct hyla_task_info info;
    hyla_handle_t self = HANDLE(hyla_task_self());
    CHECK_IS(hyla_task_info(self, &info), 0);
    CHECK(info.handles == 1 && info.threads == 1);
    return 0;
}

/* --- threads ----------------------------------------------------------------------------------------- */

static uint32_t threads_of(hyla_handle_t task)
{
    struct hyla_task_info info;
    CHECK_IS(hyla_task_info(task, &info), 0);
    return info.threads;
}

static void until_threads(hyla_handle_t task, uint32_t count)
{
    uint64_t end = soon(15000);
    while (threads_of(task) != count) {
        CHECK(hyla_now() < end);
        hyla_sleep(soon(1));
    }
}

static void *one_call(void *argument)
{
    struct hyla_ids ids;
    CHECK_IS(hyla_ids_get(&ids), 0);
    *(int32_t *)argument = ids.thread;
    return NULL;
}

static void *vanish(void *argument)
{
    one_call(argument);
    syscall(SYS_exit, 0); /* no destructor runs */
    return NULL;
}

static void *vanish_in_call(void *argument)
{
    one_call(argument);
    hyla_timer_wait(HANDLE(hyla_timer_create()), HYLA_NEVER);
    return NULL;
}

static void on_leave(int number)
{
    (void)number;
    syscall(SYS_exit, 0);
}

static void threads_come_and_go(void)
{
    pthread_t thread;
    hyla_handle_t self = HANDLE(hyla_task_self());
    int32_t id = 0, last = 0;
    CHECK(threads_of(self) == 1);
    for (int i = 0; i < 300; i++) {
        CHECK(pthread_create(&thread, NULL, one_call, &id) == 0 && pthread_join(thread, NULL) == 0);
        CHECK(id > last);
        last = id;
    }
    until_threads(self, 1);
    CHECK(pthread_create(&thread, NULL, vanish, &id) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    until_threads(self, 1); /* found by the sweep */
    struct sigaction action = {.sa_handler = on_leave};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    id = 0;
    CHECK(pthread_create(&thread, NULL, vanish_in_call, &id) == 0);
    until_threads(self, 2);
    pthread_kill(thread, SIGUSR1);
    CHECK(pthread_join(thread, NULL) == 0);
    until_threads(self, 1);
    hyla_handle_close(self);
}

/* --- leaving, forking, dying -------------------------------------------------------------------------- */

static void leave_and_return(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        give_task();
        hyla_stop();
        CHECK_IS(hyla_probe(), -ENOTCONN);
        CHECK_IS(hyla_start(), 0);
        CHECK_IS(hyla_start_at(NULL), -EALREADY);
        CHECK_IS(hyla_handle_close(send_right), -EBADF);
        CHECK(hyla_probe() > 0);
        _exit(0);
    }
    hyla_handle_t task = take_task();
    CHECK(wait_for(pid) == 0);
    CHECK_IS(hyla_task_wait(task, soon(10000)), 0);
    hyla_handle_close(task);
}

static void grandchildren_are_children(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct hyla_ids mine, theirs;
        CHECK_IS(hyla_ids_get(&mine), 0);
        pid_t second = fork();
        if (second == 0) {
            CHECK_IS(hyla_ids_get(&theirs), 0);
            CHECK(theirs.parent == mine.task);
            give_task();
            _exit(0);
        }
        CHECK(wait_for(second) == 0);
        _exit(0);
    }
    hyla_handle_t task = take_task();
    CHECK(wait_for(pid) == 0);
    CHECK_IS(hyla_task_wait(task, soon(10000)), 0);
    hyla_handle_close(task);
}

/* Busy in many calls with several threads, and killed after a random time. */
static void *busy(void *argument)
{
    (void)argument;
    for (;;) {
        hyla_handle_t memobj = HANDLE(hyla_memobj_create(65536));
        struct hyla_map map = {.size = 65536, .protection = HYLA_PROT_READ, .flags = HYLA_MAP_SHARED};
        char bytes[700];
        CHECK_IS(hyla_memobj_map(memobj, &map), 0);
        CHECK_IS(hyla_memobj_read(memobj, 0, bytes, sizeof bytes), sizeof bytes);
        struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE | HYLA_MSG_RECEIVE_NONBLOCK, .from = HANDLE(hyla_port_create(3))};
        CHECK_IS(hyla_msg(&msg), -EAGAIN);
        CHECK_IS(hyla_handle_close(msg.from), 0);
        CHECK_IS(hyla_handle_close(memobj), 0);
        CHECK_IS(hyla_memory_unmap(map.address, 65536), 0);
    }
    return NULL;
}

static void killed_at_any_moment(void)
{
    for (int i = 0; i < 40; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            pthread_t thread;
            give_task();
            pthread_create(&thread, NULL, busy, NULL);
            pthread_create(&thread, NULL, busy, NULL);
            busy(NULL);
        }
        hyla_handle_t task = take_task();
        hyla_sleep(hyla_now() + (uint64_t)i * 97000);
        CHECK(kill(pid, SIGKILL) == 0);
        CHECK(WIFSIGNALED(wait_for(pid)));
        CHECK_IS(hyla_task_wait(task, soon(10000)), 0);
        hyla_handle_close(task);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return after_exec();
    start_or_fail();
    receive = HANDLE(hyla_port_create(1));
    send_right = HANDLE(hyla_port_make_send(receive, 0, HYLA_RIGHT_COPY));
    exec_gives_everything_back(argv[0]);
    threads_come_and_go();
    leave_and_return();
    grandchildren_are_children();
    killed_at_any_moment();
    return 0;
}
