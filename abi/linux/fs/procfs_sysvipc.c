/*
 * /proc/sysvipc: the message queues, shared memory segments and semaphore sets there are, a line each (proc(5)). A table that
 * changes meanwhile shows each object that was there all the time once.
 */
#include "abi/linux/fs/procfs.h"
#include "abi/linux/sysv_ipc.h"

static int show_lines(struct proc_text *text, const char *head, bool (*next_line)(uint32_t *place, char line[SYSV_LINE]))
{
    char line[SYSV_LINE];
    uint32_t place = 0;

    proc_add(text, "%s\n", head);
    while (next_line(&place, line))
        proc_add(text, "%s", line);
    return 0;
}

static int show_msg(const struct proc_node *node, struct proc_text *text)
{
    (void)node;
    return show_lines(text,
                      "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime",
                      sysv_msg_line);
}

static int show_shm(const struct proc_node *node, struct proc_text *text)
{
    (void)node;
    return show_lines(text,
                      "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime"
                      "      ctime                   rss                  swap",
                      sysv_shm_line);
}

static int show_sem(const struct proc_node *node, struct proc_text *text)
{
    (void)node;
    return show_lines(text, "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime", sysv_sem_line);
}

const struct proc_entry proc_sysvipc_entries[PROC_SYSVIPC_COUNT] = {
    PROC_FILE("msg", 0444, show_msg),
    PROC_FILE("sem", 0444, show_sem),
    PROC_FILE("shm", 0444, show_shm),
};
