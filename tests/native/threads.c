/*
 * Threads and tasks by handles: suspending and resuming, registers of one that stands still, the end; wrong handles and rights, counts,
 * a thread that is in a call, one that suspends itself, one that dies with somebody waiting for it.
 */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>

static _Atomic uint64_t turns; /* of the spinning thread */

/* Counts until its register rbx is not 0; nobody but somebody who sets registers can make it so. */
static uint64_t spin(void)
{
    uint64_t answer = 0;
    __asm__ volatile("xor %%ebx, %%ebx\n1: lock incq %1\n test %%rbx, %%rbx\n jz 1b\n mov %%rbx, %0" : "=r"(answer), "+m"(turns) : : "rbx", "cc", "memory");
    return answer;
}

static _Atomic uint64_t spun;
static void *spinner(void *argument)
{
    (void)argument;
    atomic_store(&spun, spin());
    return NULL;
}

static uint32_t state_of(hyla_handle_t thread)
{
    struct hyla_thread_info info;
    CHECK_IS(hyla_thread_info(thread, &info), 0);
    return info.state;
}

static void must_move(void)
{
    uint64_t before = atomic_load(&turns);
    while (atomic_load(&turns) == before)
        hyla_probe();
}

static void must_stand(void)
{
    uint64_t before = atomic_load(&turns);
    for (int i = 0; i < 200; i++)
        hyla_probe();
    CHECK(atomic_load(&turns) == before);
}

static void created_and_started(void)
{
    struct hyla_registers registers;
    hyla_handle_t thread = HANDLE(hyla_thread_create(spinner, NULL, HYLA_THREAD_STOPPED));
    CHECK(state_of(thread) == HYLA_THREAD_STATE_STOPPED);
    must_stand();
    CHECK_IS(hyla_thread_resume(thread), 0);
    must_move();
    CHECK_IS(hyla_thread_get_registers(thread, &registers), -EBUSY);
    CHECK_IS(hyla_thread_resume(thread), -EINVAL);

    CHECK_IS(hyla_thread_suspend(thread, HYLA_NEVER), 0);
    must_stand();
    CHECK_IS(hyla_thread_suspend(thread, HYLA_NEVER), 0);
    CHECK_IS(hyla_thread_resume(thread), 0);
    CHECK(state_of(thread) == HYLA_THREAD_STATE_STOPPED);
    must_stand();
    CHECK_IS(hyla_thread_get_registers(thread, &registers), 0);
    uint64_t place = registers.values[HYLA_REGISTER_X86_64_RIP];
    CHECK(registers.machine == HYLA_MACHINE_X86_64 && registers.count == 20);
    CHECK(place - (uintptr_t)spin < 128 && registers.values[11] == 0);
    for (int i = 0; i < 100; i++) { /* it is let go and caught again */
        CHECK_IS(hyla_thread_resume(thread), 0);
        CHECK_IS(hyla_thread_suspend(thread, HYLA_NEVER), 0);
    }

    registers.machine++;
    CHECK_IS(hyla_thread_set_registers(thread, &registers), -EINVAL);
    registers.machine--;
    registers.values[HYLA_REGISTER_X86_64_RIP] = UINT64_MAX / 2;
    CHECK_IS(hyla_thread_set_registers(thread, &registers), -EINVAL);
    CHECK_IS(hyla_thread_get_registers(thread, &registers), 0);
    registers.values[11] = 4711; /* rbx */
    CHECK_IS(hyla_thread_set_registers(thread, &registers), 0);
    memset(&registers, 0, sizeof registers);
    CHECK_IS(hyla_thread_get_registers(thread, &registers), 0);
    CHECK(registers.values[11] == 4711);
    must_stand();
    CHECK_IS(hyla_thread_wait(thread, soon(1)), -ETIMEDOUT);
    CHECK_IS(hyla_thread_resume(thread), 0);
    CHECK_IS(hyla_thread_wait(thread, HYLA_NEVER), 0);
    CHECK(atomic_load(&spun) == 4711);
    CHECK(state_of(thread) == HYLA_THREAD_STATE_ENDED);
    CHECK_IS(hyla_thread_suspend(thread, HYLA_NEVER), -ESRCH);
    CHECK_IS(hyla_thread_resume(thread), -ESRCH);
    CHECK_IS(hyla_thread_get_registers(thread, &registers), -ESRCH);
    CHECK_IS(hyla_handle_close(thread), 0);
}

static void wrong_handles(void)
{
    struct hyla_registers registers = {.machine = HYLA_MACHINE_X86_64, .count = 20};
    hyla_handle_t memobj = HANDLE(hyla_memobj_create(1)), self = HANDLE(hyla_thread_self()), task = HANDLE(hyla_task_self());
    hyla_handle_t weak = HANDLE(hyla_handle_copy(self, HYLA_RIGHT_READ)), weak_task = HANDLE(hyla_handle_copy(task, HYLA_RIGHT_READ));
    struct hyla_handle_info info;
    CHECK_IS(hyla_thread_suspend(memobj, 0), -EINVAL);
    CHECK_IS(hyla_thread_resume(99999), -EBADF);
    CHECK_IS(hyla_thread_suspend(weak, 0), -EACCES);
    CHECK_IS(hyla_thread_resume(weak), -EACCES);
    CHECK_IS(hyla_thread_set_registers(weak, &registers), -EACCES);
    CHECK_IS(hyla_thread_set_registers(self, &registers), -EBUSY);
    CHECK_IS(hyla_thread_set_registers(self, (void *)16), -EFAULT);
    CHECK_IS(hyla_thread_open(weak_task, 1), -EACCES);
    CHECK_IS(hyla_thread_open(task, -3), -ESRCH);
    CHECK_IS(hyla_thread_open(task, INT32_MAX), -ESRCH);
    CHECK_IS(hyla_task_end(weak_task), -EACCES);
    CHECK_IS(hyla_task_stop(self), -EINVAL);
    CHECK_IS(hyla_thread_next(task, INT32_MAX), 0);
    CHECK_IS(hyla_handle_info(self, &info), 0);
    CHECK(info.kind == HYLA_OBJECT_KIND_THREAD);
    hyla_handle_t all[] = {memobj, self, task, weak, weak_task};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        CHECK_IS(hyla_handle_close(all[i]), 0);
}

static void found_by_id(void)
{
    struct hyla_ids ids;
    struct hyla_handle_info one, other;
    hyla_handle_t task = HANDLE(hyla_task_self()), self = HANDLE(hyla_thread_self());
    bool found = false;
    CHECK_IS(hyla_ids_get(&ids), 0);
    for (int64_t id = 0; (id = hyla_thread_next(task, (int32_t)id)) > 0;)
        found |= id == ids.thread;
    CHECK(found);
    hyla_handle_t same = HANDLE(hyla_thread_open(task, ids.thread));
    CHECK_IS(hyla_handle_info(self, &one), 0);
    CHECK_IS(hyla_handle_info(same, &other), 0);
    CHECK(one.object == other.object);
    hyla_handle_close(same);
    hyla_handle_close(self);
    hyla_handle_close(task);
}

static void counts_have_an_end(void)
{
    hyla_handle_t thread = HANDLE(hyla_thread_create(spinner, NULL, HYLA_THREAD_STOPPED));
    struct hyla_registers registers;
    for (int i = 1; i < 127; i++)
        CHECK_IS(hyla_thread_suspend(thread, HYLA_NEVER), 0);
    CHECK_IS(hyla_thread_suspend(thread, HYLA_NEVER), -EOVERFLOW);
    CHECK_IS(hyla_thread_get_registers(thread, &registers), 0);
    for (int i = 0; i < 127; i++)
        CHECK_IS(hyla_thread_resume(thread), 0);
    must_move();
    CHECK_IS(hyla_thread_suspend(thread, HYLA_NEVER), 0);
    CHECK_IS(hyla_thread_get_registers(thread, &registers), 0);
    registers.values[11] = 1;
    CHECK_IS(hyla_thread_set_registers(thread, &registers), 0);
    CHECK_IS(hyla_thread_resume(thread), 0);
    CHECK_IS(hyla_thread_wait(thread, HYLA_NEVER), 0);
    hyla_handle_close(thread);
}

/* --- in a call ----------------------------------------------------------------------------------------- */

static hyla_handle_t timer;
static _Atomic int waiting, returned;

static void *waits(void *argument)
{
    if (argument) {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, NULL);
    }
    atomic_store(&waiting, 1);
    CHECK_IS(hyla_timer_wait(timer, HYLA_NEVER), 1); /* no interruption is seen */
    atomic_store(&returned, 1);
    return NULL;
}

static void fire(void)
{
    struct hyla_timer_setting now = {.deadline = 1};
    CHECK_IS(hyla_timer_set(timer, &now), 0);
}

static hyla_handle_t start_waiting(void *blocks_signals)
{
    atomic_store(&waiting, 0);
    atomic_store(&returned, 0);
    hyla_handle_t thread = HANDLE(hyla_thread_create(waits, blocks_signals, 0));
    while (!atomic_load(&waiting))
        hyla_probe();
    return thread;
}

static void suspended_in_a_call(void)
{
    hyla_handle_t thread = start_waiting(NULL);
    int64_t first = hyla_thread_suspend(thread, soon(100));
    CHECK(first == 0 || (first == -ETIMEDOUT && hyla_world() == HYLA_WORLD_MANAGED));
    fire();
    CHECK_IS(hyla_thread_suspend(thread, HYLA_NEVER), 0); /* its call may be over: it stands still by now */
    for (int i = 0; i < 100; i++)
        hyla_probe();
    CHECK(!atomic_load(&returned));
    CHECK_IS(hyla_thread_resume(thread), 0);
    CHECK(!atomic_load(&returned));
    CHECK_IS(hyla_thread_resume(thread), 0);
    CHECK_IS(hyla_thread_wait(thread, HYLA_NEVER), 0);
    CHECK(atomic_load(&returned));
    hyla_handle_close(thread);
}

static _Atomic int64_t heard;
static void *suspends(void *argument)
{
    atomic_store(&heard, hyla_thread_suspend(*(hyla_handle_t *)argument, HYLA_NEVER));
    return NULL;
}

/* The suspender waits for one that does not stand still: in a call, or with libhyla's signal blocked. */
static void resumed_meanwhile(void)
{
    hyla_handle_t thread = start_waiting((void *)1);
    hyla_handle_t suspender = HANDLE(hyla_thread_create(suspends, &thread, 0));
    while (state_of(thread) != HYLA_THREAD_STATE_STOPPING)
        hyla_probe();
    CHECK_IS(hyla_thread_resume(thread), 0);
    CHECK_IS(hyla_thread_wait(suspender, HYLA_NEVER), 0);
    CHECK_IS(atomic_load(&heard), -ECANCELED);
    fire();
    CHECK_IS(hyla_thread_wait(thread, HYLA_NEVER), 0);
    hyla_handle_close(suspender);
    hyla_handle_close(thread);
}

/* --- oneself ------------------------------------------------------------------------------------------- */

static _Atomic int went_on;
static void *suspends_itself(void *argument)
{
    hyla_handle_t self = HANDLE(hyla_thread_self());
    (void)argument;
    CHECK_IS(hyla_thread_suspend(self, HYLA_NEVER), 0);
    atomic_store(&went_on, 1);
    hyla_handle_close(self);
    return NULL;
}

static void by_itself(void)
{
    hyla_handle_t thread = HANDLE(hyla_thread_create(suspends_itself, NULL, 0));
    while (state_of(thread) != HYLA_THREAD_STATE_STOPPED)
        hyla_probe();
    CHECK(!atomic_load(&went_on));
    CHECK_IS(hyla_thread_resume(thread), 0);
    CHECK_IS(hyla_thread_wait(thread, HYLA_NEVER), 0);
    CHECK(atomic_load(&went_on));
    hyla_handle_close(thread);
}

/* --- at any moment ------------------------------------------------------------------------------------- */

static hyla_handle_t workers[3], echo_receive, echo_send;
static _Atomic int done;

static void *serves_echo(void *argument)
{
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = echo_receive};
    (void)argument;
    CHECK_IS(hyla_msg(&msg), 0);
    while (msg.words[0] != UINT64_MAX) {
        msg.flags = HYLA_MSG_SEND | HYLA_MSG_RECEIVE;
        msg.to = msg.reply;
        CHECK_IS(hyla_msg(&msg), 0);
    }
    msg.flags = HYLA_MSG_SEND;
    msg.to = msg.reply;
    CHECK_IS(hyla_msg(&msg), 0);
    return NULL;
}

/* No call is the worse for its thread's being suspended in it. */
static void *calls(void *argument)
{
    uint64_t base = (uint64_t)(uintptr_t)argument << 32;
    for (uint64_t i = 0; i < 1500; i++) {
        struct hyla_msg msg = {.flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = echo_send, .words = {base + i}};
        CHECK_IS(hyla_msg(&msg), 0);
        CHECK(msg.words[0] == base + i);
    }
    atomic_fetch_add(&done, 1);
    return NULL;
}

static void *holds(void *argument)
{
    uint64_t state = (uint64_t)(uintptr_t)argument * 2654435761u + 1;
    while (atomic_load(&done) < 3) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        hyla_handle_t thread = workers[(state >> 33) % 3];
        int64_t error = hyla_thread_suspend(thread, hyla_now() + (state >> 40) % 200000);
        if (error == -ESRCH)
            continue;
        CHECK(error == 0 || error == -ETIMEDOUT);
        CHECK((error = hyla_thread_resume(thread)) == 0 || error == -ESRCH);
    }
    return NULL;
}

static void suspended_at_any_moment(void)
{
    hyla_handle_t holders[2];
    struct hyla_msg stop = {.flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .words = {UINT64_MAX}};
    echo_receive = HANDLE(hyla_port_create(0));
    stop.to = echo_send = HANDLE(hyla_port_make_send(echo_receive, 0, HYLA_RIGHT_COPY));
    hyla_handle_t server = HANDLE(hyla_thread_create(serves_echo, NULL, 0));
    for (uint64_t i = 0; i < 3; i++)
        workers[i] = HANDLE(hyla_thread_create(calls, (void *)(uintptr_t)i, HYLA_THREAD_STOPPED));
    for (uint64_t i = 0; i < 2; i++)
        holders[i] = HANDLE(hyla_thread_create(holds, (void *)(uintptr_t)i, 0));
    for (int i = 0; i < 3; i++)
        CHECK_IS(hyla_thread_resume(workers[i]), 0);
    for (int i = 0; i < 3; i++)
        CHECK_IS(hyla_thread_wait(workers[i], HYLA_NEVER), 0);
    for (int i = 0; i < 2; i++)
        CHECK_IS(hyla_thread_wait(holders[i], HYLA_NEVER), 0);
    CHECK_IS(hyla_msg(&stop), 0);
    CHECK_IS(hyla_thread_wait(server, HYLA_NEVER), 0);
    hyla_handle_t all[] = {workers[0], workers[1], workers[2], holders[0], holders[1], server, echo_send, echo_receive};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        CHECK_IS(hyla_handle_close(all[i]), 0);
}

/* --- in another process -------------------------------------------------------------------------------- */

static hyla_handle_t receive, send_right;
static _Atomic uint64_t *shared;

static void child(void)
{
    struct hyla_msg_handle handles[2] = {{.handle = HANDLE(hyla_task_self()), .rights = HYLA_RIGHT_ALL, .move = 1},
                                         {.handle = HANDLE(hyla_thread_self()), .rights = HYLA_RIGHT_ALL, .move = 1}};
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = send_right, .send_handles = (uintptr_t)handles, .send_handle_count = 2};
    CHECK_IS(hyla_msg(&msg), 0);
    for (;;)
        atomic_fetch_add(shared, 1);
}

static pid_t start_child(hyla_handle_t *task, hyla_handle_t *thread)
{
    struct hyla_msg_handle handles[2];
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = receive, .receive_handles = (uintptr_t)handles, .receive_handle_count = 2};
    pid_t pid = fork();
    if (pid == 0)
        child();
    CHECK_IS(hyla_msg(&msg), 0);
    *task = handles[0].handle;
    *thread = handles[1].handle;
    return pid;
}

static void shared_moves(void)
{
    uint64_t before = atomic_load(shared);
    while (atomic_load(shared) == before)
        hyla_probe();
}

static void shared_stands(void)
{
    uint64_t before = atomic_load(shared);
    for (int i = 0; i < 200; i++)
        hyla_probe();
    CHECK(atomic_load(shared) == before);
}

static void another_process(void)
{
    hyla_handle_t task, thread;
    struct hyla_registers registers;
    int status;
    pid_t pid = start_child(&task, &thread);
    shared_moves();
    CHECK_IS(hyla_thread_suspend(thread, HYLA_NEVER), 0);
    shared_stands();
    CHECK_IS(hyla_thread_get_registers(thread, &registers), 0);
    CHECK_IS(hyla_thread_resume(thread), 0);
    shared_moves();

    CHECK_IS(hyla_task_stop(task), 0);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    shared_stands();
    CHECK_IS(hyla_task_continue(task), 0);
    CHECK(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
    shared_moves();

    CHECK_IS(hyla_thread_suspend(thread, HYLA_NEVER), 0); /* it dies while it stands still */
    CHECK_IS(hyla_task_end(task), 0);
    CHECK_IS(hyla_thread_wait(thread, HYLA_NEVER), 0);
    CHECK_IS(hyla_task_wait(task, HYLA_NEVER), 0);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK_IS(hyla_thread_resume(thread), -ESRCH);
    CHECK_IS(hyla_thread_suspend(thread, HYLA_NEVER), -ESRCH);
    CHECK_IS(hyla_task_end(task), -ESRCH);
    CHECK_IS(hyla_task_stop(task), -ESRCH);
    CHECK_IS(hyla_thread_next(task, 0), 0);
    CHECK_IS(hyla_thread_open(task, 1), -ESRCH);
    hyla_handle_close(thread);
    hyla_handle_close(task);
}

/* The suspender's wait ends with the thread. */
static void dies_meanwhile(void)
{
    hyla_handle_t task, thread;
    int status;
    pid_t pid = start_child(&task, &thread);
    shared_moves();
    CHECK(kill(pid, SIGSTOP) == 0 && waitpid(pid, &status, WUNTRACED) == pid); /* so that it does not answer */
    hyla_handle_t suspender = HANDLE(hyla_thread_create(suspends, &thread, 0));
    while (state_of(thread) == HYLA_THREAD_STATE_RUNNING)
        hyla_probe();
    CHECK_IS(hyla_task_end(task), 0);
    CHECK_IS(hyla_thread_wait(suspender, HYLA_NEVER), 0);
    CHECK_IS(atomic_load(&heard), -ESRCH);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
    hyla_handle_close(suspender);
    hyla_handle_close(thread);
    hyla_handle_close(task);
}

int main(void)
{
    start_or_fail();
    timer = HANDLE(hyla_timer_create());
    receive = HANDLE(hyla_port_create(1));
    send_right = HANDLE(hyla_port_make_send(receive, 0, HYLA_RIGHT_COPY));
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    wrong_handles();
    found_by_id();
    created_and_started();
    counts_have_an_end();
    suspended_in_a_call();
    resumed_meanwhile();
    by_itself();
    suspended_at_any_moment();
    another_process();
    dies_meanwhile();
    return 0;
}
