/*
 * The first program of a test machine: runs programs one after the other and tells how each ended.
 *
 *   runner FILE...      each in an empty folder of its own; then the line "@@ NAME STATUS", or "@@ NAME timeout"
 *
 * Started as cat or rm it is a small cat or rm -r, for tests that run those.
 */
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_SECONDS 60

static const char *base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int cat(void)
{
    char bytes[4096];
    ssize_t got;
    while ((got = read(0, bytes, sizeof bytes)) > 0)
        if (write(1, bytes, (size_t)got) != got)
            return 1;
    return got < 0;
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat, (void)kind, (void)place;
    return remove(path);
}

static pid_t start(const char *file)
{
    char folder[256];
    snprintf(folder, sizeof folder, "/tmp/%s", base(file));
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        setpgid(0, 0);
        if (mkdir(folder, 0755) == 0 && chdir(folder) == 0)
            execl(file, file, (char *)NULL);
        _exit(126);
    }
    return pid;
}

/* False when the time is over. Others that end meanwhile are somebody's orphans. */
static bool wait_for(pid_t pid, int *status)
{
    struct timespec now, end;
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += LIMIT_SECONDS;
    for (;;) {
        pid_t ended;
        while ((ended = waitpid(-1, status, WNOHANG)) > 0)
            if (ended == pid)
                return true;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec >= end.tv_sec)
            return false;
        struct timespec left = {end.tv_sec - now.tv_sec, 0};
        sigtimedwait(&child, NULL, &left);
    }
}

static void run(const char *file)
{
    int status = 0;
    pid_t pid = start(file);
    if (wait_for(pid, &status)) {
        printf("\n@@ %s %d\n", base(file), WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    } else {
        printf("\n@@ %s timeout\n", base(file));
        kill(-pid, SIGKILL);
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    sigset_t child;
    if (!strcmp(base(argv[0]), "cat"))
        return cat();
    if (!strcmp(base(argv[0]), "rm"))
        return nftw(argv[argc - 1], remove_one, 16, FTW_DEPTH | FTW_PHYS) ? 1 : 0;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    for (int i = 1; i < argc; i++)
        run(argv[i]);
    return 0;
}
