/*
 * `hyla ps` and `hyla ports`: what is in a running server, as it says itself.
 */
#include "cmd/command.h"
#include "cmd/server.h"

#include "body/linux/attach_page.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_SECONDS 10

static void help_with(const char *name, const char *what)
{
    printf("Usage: hyla %s [--socket PATH]\n\n%s\n\n"
           "  --socket PATH  the server's socket (default: $HYLA_SOCKET, or hyla.sock in $XDG_RUNTIME_DIR)\n"
           "  --help         print this\n", name, what);
}

static void help_ps(void) { help_with("ps", "Lists the tasks that are attached to a server."); }
static void help_ports(void) { help_with("ports", "Lists the handles to ports in a server."); }

static int show(const char *path, uint32_t what)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    struct attach_look look = {.tag = ATTACH_LOOK, .what = what};
    char text[4096];
    ssize_t got = -1;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && send(fd, &look, sizeof look, MSG_NOSIGNAL) == sizeof look)
        while ((got = recv(fd, text, sizeof text, 0)) > 0)
            fwrite(text, 1, (size_t)got, stdout);
    if (got < 0)
        complain("no server answers at '%s': %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return got < 0 || fflush(stdout) ? EXIT_HYLA : 0;
}

static int look_at(const struct command *command, int argc, char **argv, uint32_t what)
{
    const char *given = NULL;
    if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
        command->help();
        return fflush(stdout) ? EXIT_HYLA : 0;
    }
    if (argc == 3 && !strcmp(argv[1], "--socket")) {
        given = argv[2];
    } else if (argc != 1) {
        complain("'%s': see `hyla %s --help`", argv[1], command->name);
        return EXIT_HYLA;
    }
    const char *path = server_socket_path(given);
    return path ? show(path, what) : EXIT_HYLA;
}

static int ps(int argc, char **argv) { return look_at(&command_ps, argc, argv, ATTACH_LOOK_TASKS); }
static int ports(int argc, char **argv) { return look_at(&command_ports, argc, argv, ATTACH_LOOK_PORTS); }

const struct command command_ps = {"ps", "list what is attached to a server", help_ps, ps};
const struct command command_ports = {"ports", "list the ports in a server", help_ports, ports};
