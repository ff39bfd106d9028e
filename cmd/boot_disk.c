/*
 * Images of disks for the machine: raw files or block devices of the host's, which the program sees as /dev/vda, /dev/vdb, …
 *
 * They are opened here, so that a name that does not exist or may not be read is said at once and in the user's words; the emulator
 * gets the descriptor. An image is only ever taken as raw: guessing a format would let a guest choose it by what it writes.
 */
#include "cmd/boot.h"
#include "cmd/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SECTOR 512u

static int bad(const char *name, const char *why)
{
    complain("--disk '%s': %s", name, why);
    return EXIT_HYLA;
}

/* Cuts ",ro" off. */
static bool take_read_only(char *text)
{
    char *comma = strrchr(text, ',');
    if (!comma || strcmp(comma, ",ro"))
        return false;
    *comma = 0;
    return true;
}

int boot_disk_add(struct boot_options *options, char *text)
{
    struct boot_disk disk = {.read_only = take_read_only(text), .name = text};
    struct stat stat;
    if (options->disk_count == BOOT_DISKS_MAX)
        return bad(text, "there is no room for more disks");
    disk.fd = open(text, disk.read_only ? O_RDONLY : O_RDWR); /* the emulator inherits it */
    if (disk.fd < 0 && (errno == EACCES || errno == EROFS || errno == EPERM) && !disk.read_only) {
        complain("--disk '%s': %s (with ',ro' behind the name it is only read)", text, strerror(errno));
        return EXIT_HYLA;
    }
    if (disk.fd < 0 || fstat(disk.fd, &stat))
        return bad(text, strerror(errno));
    if (!S_ISREG(stat.st_mode) && !S_ISBLK(stat.st_mode))
        return bad(text, "a file or a block device is wanted");
    if (S_ISREG(stat.st_mode) && (stat.st_size == 0 || stat.st_size % SECTOR))
        return bad(text, "its size is no multiple of a disk's sectors of 512 bytes");
    options->disks[options->disk_count++] = disk;
    return -1;
}

char *boot_disk_drive(const struct boot_disk *disk, uint32_t number)
{
    char *text;
    /* Opened anew by the emulator: a name in /proc needs no escaping, and the rights are those of the descriptor's file. */
    if (asprintf(&text, "if=none,id=disk%u,format=raw,file=/proc/self/fd/%d,readonly=%s", number, disk->fd, disk->read_only ? "on" : "off") < 0)
        abort();
    return text;
}
