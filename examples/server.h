/*
 * The command line that the shipped file servers share:   SERVER [--port HANDLE | --mount DIRECTORY [--again]] [OPTION…]
 *
 * `hyla run --mount` starts them with --port: the receive right of a port that the kernel has the other side of. A user who starts one
 * inside has it mount itself.
 */
#ifndef EXAMPLES_SERVER_H
#define EXAMPLES_SERVER_H

#include <hyla/fs.h>

#include <stdbool.h>

struct server_line {
    hyla_handle_t port;
    const char *mount;
    bool again;           /* in the place of a server that has died */
    unsigned long flags;  /* of the mount */
};

/* Takes one of the shared options: how many words it was, 0: none of them. */
int server_option(struct server_line *line, int argc, char **argv, int at);
/* "64K", "10M": bytes; 0: no size. */
uint64_t server_size(const char *text);
/* Serves; the exit status of the program, which it has told why. */
int server_run(const struct server_line *line, const struct hyla_file_ops *ops, bool paged, const char *label);

#endif
