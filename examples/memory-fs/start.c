/*
 * The memory server's command line:   hyla-fs-memory [--port HANDLE | --mount DIRECTORY [--again]] [--size SIZE]
 */
#include "examples/memory-fs/memory.h"
#include "examples/server.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int usage(const char *name)
{
    fprintf(stderr, "usage: %s [--port HANDLE | --mount DIRECTORY [--again]] [--size SIZE] [--owner UID GID]\n", name);
    return 2;
}

int main(int argc, char **argv)
{
    struct server_line line = {0};
    unsigned uid = getuid(), gid = getgid();
    for (int at = 1; at < argc;) {
        int words = server_option(&line, argc, argv, at);
        if (!words && !strcmp(argv[at], "--size") && at + 1 < argc && (tree.limit = server_size(argv[at + 1])))
            words = 2;
        if (!words && !strcmp(argv[at], "--owner") && at + 2 < argc && sscanf(argv[at + 1], "%u", &uid) == 1 && sscanf(argv[at + 2], "%u", &gid) == 1)
            words = 3;
        if (!words)
            return usage(argv[0]);
        at += words;
    }
    if (!line.port && !line.mount)
        return usage(argv[0]);
    struct file *root = file_make(S_IFDIR | 01777, uid, gid);
    if (!root)
        return 1;
    root->links = 1; /* its name is the mount's */
    return server_run(&line, &memory_ops, false, "memory");
}
