/*
 * Reading the first file of an archive from front to back:   bench_archive library ARCHIVE | file PATH
 *
 * Prints nanoseconds and bytes: with the archive library in this process, or as a file that somebody serves.
 */
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char buffer[256 << 10];

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static unsigned long long read_with_library(const char *path)
{
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    unsigned long long total = 0;
    la_ssize_t got;
    archive_read_support_filter_all(archive);
    archive_read_support_format_all(archive);
    if (archive_read_open_filename(archive, path, 256 << 10) || archive_read_next_header(archive, &entry))
        return 0;
    while ((got = archive_read_data(archive, buffer, sizeof buffer)) > 0)
        total += (unsigned long long)got;
    archive_read_free(archive);
    return total;
}

static unsigned long long read_file(const char *path)
{
    unsigned long long total = 0;
    ssize_t got;
    int fd = open(path, O_RDONLY);
    while (fd >= 0 && (got = read(fd, buffer, sizeof buffer)) > 0)
        total += (unsigned long long)got;
    return total;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    double start = now();
    unsigned long long total = !strcmp(argv[1], "library") ? read_with_library(argv[2]) : read_file(argv[2]);
    printf("%.0f %llu\n", now() - start, total);
    return total == 0;
}
