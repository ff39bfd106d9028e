/* FIFOs: opening rules, hang-up, being reopened. */
#include "event_check.h"

static char name[80], directory[64];

static void *open_writer(void *argument)
{
    int fd = open(name, O_WRONLY);
    (void)argument;
    CHECK(fd >= 0 && write(fd, "hi", 2) == 2 && close(fd) == 0);
    return NULL;
}

static void meeting(void)
{
    pthread_t thread;
    char buffer[8];
    CHECK(pthread_create(&thread, NULL, open_writer, NULL) == 0);
    int fd = open(name, O_RDONLY);
    struct stat stat;
    CHECK(fd >= 0 && fstat(fd, &stat) == 0 && S_ISFIFO(stat.st_mode) && (stat.st_mode & 0777) == 0600);
    CHECK(read(fd, buffer, 8) == 2 && read(fd, buffer, 8) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    close(fd);
}

static void nonblocking(void)
{
    char byte;
    CHECK_ERROR(open(name, O_WRONLY | O_NONBLOCK), ENXIO);
    int reader = open(name, O_RDONLY | O_NONBLOCK);
    CHECK(reader >= 0 && read(reader, &byte, 1) == 0);
    CHECK(poll_one(reader, POLLIN) == 0); /* nobody came yet: no hang-up */
    int writer = open(name, O_WRONLY | O_NONBLOCK);
    CHECK(writer >= 0 && poll_one(writer, POLLOUT) == POLLOUT);
    CHECK_ERROR(read(reader, &byte, 1), EAGAIN);
    CHECK(write(writer, "x", 1) == 1 && poll_one(reader, POLLIN) == POLLIN);
    close(writer);
    CHECK(poll_one(reader, POLLIN) == (POLLIN | POLLHUP));
    CHECK(read(reader, &byte, 1) == 1 && poll_one(reader, POLLIN) == POLLHUP);
    writer = open(name, O_WRONLY);
    CHECK(writer >= 0 && poll_one(reader, POLLIN) == 0);
    close(reader);
    CHECK(poll_one(writer, POLLOUT) == (POLLOUT | POLLERR));
    close(writer);
    int both = open(name, O_RDWR);
    CHECK(both >= 0 && write(both, "x", 1) == 1);
    reader = open(name, O_RDONLY); /* the same pipe while it is open */
    CHECK(reader >= 0 && read(reader, &byte, 1) == 1);
    close(both);
    close(reader);
    reader = open(name, O_RDONLY | O_NONBLOCK); /* a new one afterwards */
    CHECK(reader >= 0 && readable_bytes(reader) == 0);
    close(reader);
}

static void interrupted(void)
{
    tick_start(0);
    CHECK_ERROR(open(name, O_RDONLY), EINTR);
    CHECK_ERROR(open(name, O_WRONLY), EINTR);
    tick_stop();
    CHECK_ERROR(open(name, O_WRONLY | O_NONBLOCK), ENXIO); /* no reader was left behind */
}

int main(void)
{
    strcpy(directory, "/tmp/hyla-fifo-XXXXXX");
    CHECK(mkdtemp(directory));
    snprintf(name, sizeof name, "%s/fifo", directory);
    CHECK(mkfifo(name, 0600) == 0);
    meeting();
    nonblocking();
    interrupted();
    CHECK(unlink(name) == 0 && rmdir(directory) == 0);
    return 0;
}
