/*
 * What the shipped file servers share: see server.h.
 */
#include "examples/server.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

int server_option(struct server_line *line, int argc, char **argv, int at)
{
    const char *name = argv[at];
    if (!strcmp(name, "--again")) {
        line->again = true;
        return 1;
    }
    if (at + 1 >= argc)
        return 0;
    if (!strcmp(name, "--mount"))
        line->mount = argv[at + 1];
    else if (!strcmp(name, "--port"))
        line->port = (hyla_handle_t)strtoul(argv[at + 1], NULL, 10);
    else
        return 0;
    return 2;
}

uint64_t server_size(const char *text)
{
    static const char units[] = "kmgt";
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, tolower((unsigned char)*end)) : NULL;
    if (!isdigit((unsigned char)*text) || (*end && (!unit || end[1])))
        return 0;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    return value <= UINT64_MAX >> shift ? value << shift : 0;
}

int server_run(const struct server_line *line, const struct hyla_file_ops *ops, bool paged, const char *label)
{
    const struct hyla_fs_options options = {.ops = ops, .paged = paged, .label = label, .port = line->port};
    struct hyla_fs *fs;
    int error = hyla_fs_create(&options, &fs);
    if (!error && line->mount) {
        error = hyla_fs_mount(fs, line->mount, line->flags | (line->again ? MS_REMOUNT : 0));
        if (error)
            hyla_fs_stop(fs);
    }
    if (error) {
        fprintf(stderr, "%s: %s%s%s\n", label, line->mount ? line->mount : "cannot serve", line->mount ? ": " : ": ", hyla_error_text(error));
        return 1;
    }
    return hyla_fs_run(fs) != 0;
}
