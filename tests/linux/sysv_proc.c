/* /proc/sysvipc: a line for each queue, segment and set, with what the *ctl calls say of it. */
#include "process_check.h"

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

static char text[65536];

static void load(const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/sysvipc/%s", name);
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    size_t used = 0;
    ssize_t got;
    while ((got = read(fd, text + used, sizeof text - 1 - used)) > 0)
        used += got;
    CHECK(got == 0);
    text[used] = 0;
    close(fd);
}

/* The line of an object, or NULL. Fields: the first of 14. */
static char *line_of(int id, long long fields[14])
{
    char *saved = NULL;
    for (char *line = strtok_r(strchr(text, '\n') + 1, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved)) {
        unsigned mode;
        int used, count = 3;
        long long key;
        CHECK(sscanf(line, "%lld %lld %o%n", &key, &fields[1], &mode, &used) == 3);
        fields[0] = key;
        fields[2] = mode;
        for (char *at = line + used; count < 14 && sscanf(at, "%lld%n", &fields[count], &used) == 1; count++)
            at += used;
        if (fields[1] == id)
            return line;
    }
    return NULL;
}

static void queues(void)
{
    struct { long type; char bytes[8]; } message = {1, "1234567"};
    long long fields[14];
    int id = msgget(0x6d736731, IPC_CREAT | IPC_EXCL | 0640);
    CHECK(id >= 0 && msgsnd(id, &message, 7, 0) == 0);
    load("msg");
    CHECK(strncmp(text, "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n", 119) == 0);
    CHECK(line_of(id, fields));
    CHECK(fields[0] == 0x6d736731 && fields[2] == 0640 && fields[3] == 7 && fields[4] == 1 && fields[5] == getpid() && fields[6] == 0);
    CHECK(fields[7] == geteuid() && fields[8] == getegid() && fields[9] == geteuid() && fields[11] > 0 && fields[12] == 0 && fields[13] > 0);
    CHECK(msgctl(id, IPC_RMID, NULL) == 0);
    load("msg");
    CHECK(!line_of(id, fields));
}

static void segments(void)
{
    long long fields[14];
    int id = shmget(IPC_PRIVATE, 5000, 0600);
    CHECK(id >= 0);
    void *at = shmat(id, NULL, 0);
    CHECK(at != (void *)-1);
    load("shm");
    CHECK(line_of(id, fields));
    CHECK(fields[0] == 0 && (fields[2] & 0777) == 0600 && fields[3] == 5000 && fields[4] == getpid() && fields[5] == getpid() && fields[6] == 1);
    CHECK(shmdt(at) == 0 && shmctl(id, IPC_RMID, NULL) == 0);
    load("shm");
    CHECK(!line_of(id, fields));
}

static void sets(void)
{
    long long fields[14];
    int id = semget(IPC_PRIVATE, 3, 0604), other = semget(IPC_PRIVATE, 1, 0600);
    CHECK(id >= 0 && other >= 0);
    load("sem");
    CHECK(line_of(id, fields) && fields[2] == 0604 && fields[3] == 3 && fields[4] == geteuid() && fields[8] == 0 && fields[9] > 0);
    load("sem");
    CHECK(line_of(other, fields) && fields[3] == 1);
    CHECK(semctl(id, 0, IPC_RMID) == 0 && semctl(other, 0, IPC_RMID) == 0);
}

int main(void)
{
    queues();
    segments();
    sets();
    return 0;
}
