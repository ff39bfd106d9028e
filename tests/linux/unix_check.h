/*
 * For the tests of UNIX-domain sockets: names, pairs, and messages with descriptors or credentials.
 */
#ifndef TESTS_LINUX_UNIX_CHECK_H
#define TESTS_LINUX_UNIX_CHECK_H

#include "event_check.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#ifndef SIOCOUTQ
#define SIOCOUTQ 0x5411
#endif

static inline socklen_t name_file(struct sockaddr_un *name, const char *path)
{
    memset(name, 0, sizeof *name);
    name->sun_family = AF_UNIX;
    strcpy(name->sun_path, path);
    return offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1;
}

/* An abstract name that no other process uses. */
static inline socklen_t name_abstract(struct sockaddr_un *name, const char *text)
{
    memset(name, 0, sizeof *name);
    name->sun_family = AF_UNIX;
    int length = snprintf(name->sun_path + 1, sizeof name->sun_path - 1, "hyla-%d-%s", (int)getpid(), text);
    return offsetof(struct sockaddr_un, sun_path) + 1 + length;
}

static inline void pair_of(int type, int pair[2]) { CHECK(socketpair(AF_UNIX, type, 0, pair) == 0); }

/* Sends `text` with descriptors. */
static inline ssize_t send_fds(int fd, const char *text, const int *fds, int count)
{
    union { struct cmsghdr align; char bytes[CMSG_SPACE(300 * sizeof(int))]; } control;
    struct iovec vector = {(char *)text, strlen(text)};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    memset(&control, 0, sizeof control);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

struct received {
    ssize_t size;
    char text[64];
    int flags, count, fds[260];
    bool has_credentials;
    struct ucred credentials;
};

static inline struct received receive(int fd, size_t control_room, int flags)
{
    static union { struct cmsghdr align; char bytes[4096]; } control;
    struct received got = {0};
    struct iovec vector = {got.text, sizeof got.text};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control_room ? control.bytes : NULL,
                             .msg_controllen = control_room};
    got.size = recvmsg(fd, &message, flags);
    got.flags = message.msg_flags;
    if (got.size < 0)
        return got;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        CHECK(header->cmsg_level == SOL_SOCKET);
        if (header->cmsg_type == SCM_RIGHTS) {
            got.count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(got.fds, CMSG_DATA(header), got.count * sizeof(int));
        } else {
            CHECK(header->cmsg_type == SCM_CREDENTIALS);
            got.has_credentials = true;
            memcpy(&got.credentials, CMSG_DATA(header), sizeof got.credentials);
        }
    }
    return got;
}

#endif
