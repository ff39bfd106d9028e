/*
 * /dev/eth0, from inside: asks the emulator's user network (10.0.2.2) for its address by ARP and reads the answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CHECK(what)                                                                                                                        \
    do {                                                                                                                                   \
        if (!(what)) {                                                                                                                     \
            printf("%d: %s, errno %d\n", __LINE__, #what, errno);                                                                          \
            exit(1);                                                                                                                       \
        }                                                                                                                                  \
    } while (0)

int main(void)
{
    unsigned char frame[60] = {[0 ... 5] = 0xff, [12] = 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, [28] = 10, 0, 2, 15, [38] = 10, 0, 2, 2}, got[1600];
    struct ifreq request = {.ifr_name = "eth0"};
    int fd = open("/dev/eth0", O_RDWR);
    CHECK(fd >= 0);
    CHECK(open("/dev/eth0", O_RDWR) == -1 && errno == EBUSY);
    CHECK(ioctl(fd, SIOCGIFMTU, &request) == 0 && request.ifr_mtu == 1500);
    CHECK(ioctl(fd, SIOCGIFHWADDR, &request) == 0);
    memcpy(frame + 6, request.ifr_hwaddr.sa_data, 6);
    memcpy(frame + 22, request.ifr_hwaddr.sa_data, 6);
    CHECK(write(fd, frame, 10) == -1 && errno == EINVAL);
    CHECK(write(fd, got, 1600) == -1 && errno == EMSGSIZE);
    CHECK(write(fd, frame, sizeof frame) == sizeof frame);
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        CHECK(poll(&wait, 1, 20000) == 1 && (wait.revents & POLLIN));
        ssize_t size = read(fd, got, sizeof got);
        CHECK(size > 0);
        if (size >= 42 && got[12] == 8 && got[13] == 6 && got[21] == 2)
            break;
    }
    CHECK(memcmp(got, request.ifr_hwaddr.sa_data, 6) == 0 && memcmp(got + 28, "\x0a\0\2\2", 4) == 0);
    CHECK(close(fd) == 0 && open("/dev/eth0", O_RDWR) >= 0);
    return 0;
}
