/* System V message queues: types, sizes, waiting and its ends, what msgctl shows and sets. */
#include "process_check.h"

#include <sys/ipc.h>
#include <sys/msg.h>

struct text {
    long type;
    char bytes[128];
};

static int make(void)
{
    int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);

    CHECK(id >= 0);
    return id;
}

static int put(int id, long type, const char *bytes, int flags)
{
    struct text text = {.type = type};

    strcpy(text.bytes, bytes);
    return msgsnd(id, &text, strlen(bytes), flags);
}

static bool take(int id, long type, int flags, long wanted_type, const char *wanted)
{
    struct text text = {0};
    ssize_t size = msgrcv(id, &text, sizeof text.bytes, type, flags | IPC_NOWAIT);

    return size == (ssize_t)strlen(wanted) && text.type == wanted_type && !memcmp(text.bytes, wanted, (size_t)size);
}

static struct msqid_ds show(int id)
{
    struct msqid_ds ds;

    CHECK(msgctl(id, IPC_STAT, &ds) == 0);
    return ds;
}

static void remove_queue(int id) { CHECK(msgctl(id, IPC_RMID, NULL) == 0); }

static void types_choose(void)
{
    int id = make();

    CHECK(put(id, 3, "three", 0) == 0 && put(id, 1, "one", 0) == 0 && put(id, 2, "two", 0) == 0 && put(id, 1, "uno", 0) == 0);
    struct msqid_ds ds = show(id);
    CHECK(ds.msg_qnum == 4 && ds.__msg_cbytes == 14 && ds.msg_lspid == getpid() && ds.msg_lrpid == 0 && ds.msg_stime != 0);
    CHECK(take(id, 2, 0, 2, "two"));
    CHECK(take(id, -2, 0, 1, "one") && take(id, 3, MSG_EXCEPT, 1, "uno") && take(id, 0, 0, 3, "three"));
    CHECK_ERROR(msgrcv(id, &ds, 1, 0, IPC_NOWAIT), ENOMSG);
    CHECK(show(id).msg_qnum == 0 && show(id).msg_lrpid == getpid());
    remove_queue(id);
    CHECK(put(id, 1, "x", 0) == -1 && (errno == EINVAL || errno == EIDRM));
}

static void sizes_are_checked(void)
{
    static char large[16384];
    int id = make();
    struct text text = {.type = 1};

    CHECK_ERROR(put(id, 0, "x", 0), EINVAL);
    CHECK_ERROR(put(id, -1, "x", 0), EINVAL);
    *(long *)(void *)large = 1;
    CHECK_ERROR(msgsnd(id, large, 8193, 0), EINVAL);
    CHECK(msgsnd(id, large, 8192, 0) == 0 && msgsnd(id, large, 8192, IPC_NOWAIT) == 0);
    CHECK_ERROR(msgsnd(id, large, 1, IPC_NOWAIT), EAGAIN);
    CHECK_ERROR(msgrcv(id, &text, sizeof text.bytes, 0, IPC_NOWAIT), E2BIG);
    CHECK(msgrcv(id, &text, sizeof text.bytes, 0, IPC_NOWAIT | MSG_NOERROR) == sizeof text.bytes);
    CHECK(msgrcv(id, large, sizeof large - sizeof(long), 0, 0) == 8192);
    CHECK(msgsnd(id, &text, 0, 0) == 0 && msgrcv(id, &text, 0, 0, 0) == 0);
    CHECK_ERROR(msgsnd(id, (void *)8, 4, 0), EFAULT);
    remove_queue(id);
}

static void on_signal(int signal) { (void)signal; }

/* The queue is full: child after child waits to send, to receive. */
static void waits_end(void)
{
    int id = make();
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct text text;
    struct msqid_ds ds = show(id);

    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    ds.msg_qbytes = 4;
    CHECK(msgctl(id, IPC_SET, &ds) == 0 && show(id).msg_qbytes == 4);
    CHECK(put(id, 1, "full", 0) == 0);
    pid_t sender = fork();
    CHECK(sender >= 0);
    if (sender == 0) {
        CHECK(put(id, 2, "next", 0) == 0);
        _exit(0);
    }
    CHECK(msgrcv(id, &text, sizeof text.bytes, 2 - 1, 0) == 4);
    CHECK(msgrcv(id, &text, sizeof text.bytes, 2, 0) == 4 && !memcmp(text.bytes, "next", 4));
    wait_exit(sender, 0);
    pid_t receiver = fork();
    CHECK(receiver >= 0);
    if (receiver == 0) {
        CHECK(raise(SIGUSR1) == 0);
        ssize_t got;
        CHECK((got = msgrcv(id, &text, sizeof text.bytes, 7, 0)) == 3 || errno == EINTR);
        CHECK(got == 3 || msgrcv(id, &text, sizeof text.bytes, 7, 0) == 3);
        /* EINVAL when the queue was gone before the call: nobody can tell when another process sleeps in it. */
        CHECK(msgrcv(id, &text, sizeof text.bytes, 8, 0) == -1 && (errno == EIDRM || errno == EINVAL));
        _exit(0);
    }
    CHECK(put(id, 7, "for", 0) == 0);
    while (show(id).msg_qnum)
        sched_yield();
    CHECK(put(id, 9, "xxx", 0) == 0); /* not for it */
    for (int i = 0; i < 100; i++)
        sched_yield();
    remove_queue(id);
    int status = wait_status(receiver);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void everything_arrives_in_order(void)
{
    enum { COUNT = 500 };
    int id = make();
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        for (int i = 0; i < COUNT; i++) {
            struct text text = {.type = 1 + i % 3};
            memcpy(text.bytes, &i, sizeof i);
            CHECK(msgsnd(id, &text, sizeof text.bytes, 0) == 0);
        }
        _exit(0);
    }
    for (int i = 0; i < COUNT; i++) {
        struct text text;
        int got;
        CHECK(msgrcv(id, &text, sizeof text.bytes, 0, 0) == sizeof text.bytes);
        memcpy(&got, text.bytes, sizeof got);
        CHECK(got == i && text.type == 1 + i % 3);
    }
    wait_exit(pid, 0);
    remove_queue(id);
}

static void the_tables_can_be_listed(void)
{
    int id = make(), last;
    struct msginfo info;
    struct msqid_ds ds;
    bool found = false;

    CHECK(put(id, 1, "x", 0) == 0);
    CHECK((last = msgctl(0, MSG_INFO, (struct msqid_ds *)&info)) >= 0 && info.msgpool >= 1 && info.msgmap >= 1 && info.msgtql >= 1);
    CHECK(msgctl(0, IPC_INFO, (struct msqid_ds *)&info) == last && info.msgmax == 8192 && info.msgmnb == 16384);
    for (int i = 0; i <= last; i++)
        found |= msgctl(i, MSG_STAT, &ds) == id;
    CHECK(found);
    CHECK_ERROR(msgctl(id, 99, &ds), EINVAL);
    remove_queue(id);
}

int main(void)
{
    types_choose();
    sizes_are_checked();
    waits_end();
    everything_arrives_in_order();
    the_tables_can_be_listed();
    puts("msg ok");
}
