/*
 * Mapping into another attached process, for whoever holds its task: while it waits in a call, while it computes, while it is stopped
 * (then it fails in bounded time and nothing has been mapped), and after its death.
 */
#include "check.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static struct shared {
    volatile uint32_t go_on, seen;
    volatile uint64_t address;
} *shared;

static hyla_handle_t receive, send_right;
static int ready[2]; /* a pipe: the child says that it has begun */

/* Sends its task right, then waits or computes until it is told where to look. */
static void child(int waits)
{
    struct hyla_msg_handle handle = {.handle = HANDLE(hyla_task_self()), .rights = HYLA_RIGHT_ALL, .move = 1};
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = send_right, .send_handles = (uintptr_t)&handle, .send_handle_count = 1};
    hyla_handle_t never = HANDLE(hyla_timer_create());
    CHECK_IS(hyla_msg(&msg), 0);
    CHECK(write(ready[1], "r", 1) == 1);
    while (!shared->go_on)
        if (waits)
            hyla_timer_wait(never, hyla_now() + 300000000);
    shared->seen = *(volatile uint32_t *)(uintptr_t)shared->address;
    *(volatile uint32_t *)(uintptr_t)(shared->address + 4) = 4711;
    _exit(0);
}

static pid_t start_child(int waits, hyla_handle_t *task)
{
    struct hyla_msg_handle handle;
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = receive, .receive_handles = (uintptr_t)&handle, .receive_handle_count = 1};
    memset(shared, 0, sizeof *shared);
    pid_t pid = fork();
    if (pid == 0)
        child(waits);
    CHECK_IS(hyla_msg(&msg), 0);
    *task = handle.handle;
    char byte;
    CHECK(read(ready[0], &byte, 1) == 1);
    return pid;
}

static void ended(pid_t pid)
{
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void maps(int waits)
{
    hyla_handle_t task, memobj = HANDLE(hyla_memobj_create(8192));
    uint32_t value = 99;
    pid_t pid = start_child(waits, &task);
    CHECK_IS(hyla_memobj_write(memobj, 4096, &value, 4), 4);
    struct hyla_map map = {.size = 8192, .protection = HYLA_PROT_READ | HYLA_PROT_WRITE, .flags = HYLA_MAP_SHARED};
    uint64_t start = hyla_now();
    for (int i = 0; i < 50; i++) {
        map.address = 0;
        CHECK_IS(hyla_task_map(task, memobj, &map), 0);
        CHECK_IS(hyla_task_protect(task, map.address, 4096, HYLA_PROT_READ), 0);
        if (i < 49)
            CHECK_IS(hyla_task_unmap(task, map.address, 8192), 0);
    }
    CHECK(hyla_now() - start < 20000000000u);
    shared->address = map.address + 4096;
    shared->go_on = 1;
    ended(pid);
    CHECK(shared->seen == 99);
    CHECK_IS(hyla_memobj_read(memobj, 4100, &value, 4), 4);
    CHECK(value == 4711);
    CHECK_IS(hyla_task_wait(task, soon(10000)), 0);
    CHECK_IS(hyla_task_map(task, memobj, &map), -ESRCH);
    struct hyla_task_info info;
    CHECK_IS(hyla_task_info(task, &info), 0);
    CHECK(info.ended && !info.handles && !info.mapped);
    hyla_handle_close(task);
    hyla_handle_close(memobj);
}

static void stopped_target_is_given_up(void)
{
    hyla_handle_t task, memobj = HANDLE(hyla_memobj_create(4096));
    pid_t pid = start_child(1, &task);
    int status;
    CHECK(kill(pid, SIGSTOP) == 0 && waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    struct hyla_map map = {.size = 4096, .protection = HYLA_PROT_READ, .flags = HYLA_MAP_SHARED};
    uint64_t start = hyla_now();
    int64_t result = hyla_task_map(task, memobj, &map);
    CHECK_IS(result, -ETIMEDOUT);
    CHECK(hyla_now() - start < 8000000000u);
    CHECK(kill(pid, SIGCONT) == 0);
    CHECK_IS(hyla_task_map(task, memobj, &map), 0);
    CHECK(kill(pid, SIGSTOP) == 0 && waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
    CHECK_IS(hyla_task_wait(task, soon(10000)), 0);
    hyla_handle_close(task);
    hyla_handle_close(memobj);
}

int main(void)
{
    start_or_fail();
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(pipe(ready) == 0);
    receive = HANDLE(hyla_port_create(1));
    send_right = HANDLE(hyla_port_make_send(receive, 0, HYLA_RIGHT_COPY));
    maps(1);
    maps(0);
    stopped_target_is_given_up();
    return 0;
}
