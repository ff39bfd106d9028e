/*
 * The archive server's command line:   hyla-fs-archive [--port HANDLE | --mount DIRECTORY [--again]] [FILE]
 *
 * Without a file the archive is descriptor 3.
 */
#include "examples/archive-fs/archive.h"
#include "examples/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

static int usage(const char *name)
{
    fprintf(stderr, "usage: %s [--port HANDLE | --mount DIRECTORY [--again]] [FILE]\n", name);
    return 2;
}

int main(int argc, char **argv)
{
    struct server_line line = {.flags = MS_RDONLY};
    const char *file = NULL;
    for (int at = 1; at < argc;) {
        int words = server_option(&line, argc, argv, at);
        if (!words && !file && argv[at][0] != '-') {
            file = argv[at];
            words = 1;
        }
        if (!words)
            return usage(argv[0]);
        at += words;
    }
    if (!line.port && !line.mount)
        return usage(argv[0]);
    if (file && (archive_fd = open(file, O_RDONLY | O_CLOEXEC)) < 0) {
        fprintf(stderr, "archive: %s: %s\n", file, strerror(errno));
        return 1;
    }
    if (index_make(archive_fd))
        return 1;
    return server_run(&line, &archive_ops, true, "archive");
}
