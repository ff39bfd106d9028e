/*
 * For the tests of file servers, which run inside `hyla run` as root: CHECK, and a file system of four files to be served well or badly.
 */
#ifndef TESTS_FILES_CHECK_H
#define TESTS_FILES_CHECK_H

#include <hyla/fs.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            dprintf(2, "%s:%d: %s (errno %d, %s)\n", __FILE__, __LINE__, #condition, errno, check_where);              \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static const char *check_where = "";

#define PLACE "/mnt-test"
enum { ROOT = 1, FILE_NODE, DIR_NODE, LINK_NODE };
static const char file_text[] = "0123456789";

static inline struct hyla_file_attributes attributes_of(uint64_t node)
{
    static const uint32_t modes[] = {0, 0040777, 0100666, 0040777, 0120777};
    return (struct hyla_file_attributes){.node = node, .mode = node <= LINK_NODE ? modes[node] : 0100666, .links = 1, .size = sizeof file_text - 1};
}

static inline uint64_t named(uint64_t directory, const char *name, size_t length)
{
    static const char *const names[] = {"file", "dir", "link"};
    for (uint64_t i = 0; directory == ROOT && i < 3; i++)
        if (strlen(names[i]) == length && !memcmp(names[i], name, length))
            return i + 2;
    return 0;
}

#endif
