/*
 * --bind, --rw and --mount: what the guest sees besides its root.
 *
 * --mount takes "type=TYPE,KEY=VALUE,FLAG…". A value that has commas of its own stands in double quotes, in which a backslash
 * keeps the next character as it is. A type says which keys it knows and which it must have (struct mount_type); a new type is
 * a row of the table, a function that checks its values when the words alone cannot tell, and its case in run_tree.c.
 */
#include "cmd/command.h"
#include "cmd/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *must(void *pointer)
{
    if (!pointer) {
        complain("out of memory");
        exit(EXIT_HYLA);
    }
    return pointer;
}

static int bad(const char *option, const char *value, const char *wanted)
{
    complain("%s '%s': %s", option, value, wanted);
    return EXIT_HYLA;
}

static void add(struct run_options *options, struct run_mount mount)
{
    options->mounts = must(realloc(options->mounts, (options->mount_count + 1) * sizeof *options->mounts));
    options->mounts[options->mount_count++] = mount;
}

/* --- --bind and --rw --------------------------------------------------------------------------------- */

int run_mount_bind(struct run_options *options, const char *text)
{
    char *source = must(strdup(text)), *destination = strchr(source, ':');
    bool read_only = false;
    if (!destination)
        return bad("--bind", text, "is not SRC:DST[:ro]");
    *destination++ = 0;
    char *mode = strchr(destination, ':');
    if (mode) {
        *mode++ = 0;
        read_only = !strcmp(mode, "ro");
        if (!read_only && strcmp(mode, "rw"))
            return bad("--bind", text, "the part after DST can only be ro or rw");
    }
    if (!*source || *destination != '/')
        return bad("--bind", text, "SRC must be named and DST an absolute path");
    if (access(source, F_OK))
        return bad("--bind", source, strerror(errno));
    add(options, (struct run_mount){.type = RUN_MOUNT_BIND, .source = source, .destination = destination, .read_only = read_only});
    return 0;
}

int run_mount_writable(struct run_options *options, const char *path)
{
    char *real = realpath(path, NULL);
    if (!real)
        return bad("--rw", path, strerror(errno));
    add(options, (struct run_mount){.type = RUN_MOUNT_BIND, .source = real, .destination = must(strdup(real))});
    return 0;
}

/* --- --mount ----------------------------------------------------------------------------------------- */

enum mount_key { KEY_TYPE = 1, KEY_SOURCE = 2, KEY_DESTINATION = 4, KEY_READ_ONLY = 8, KEY_PROGRAM = 16, KEY_SIZE = 32 };

static const struct {
    const char *name;
    enum mount_key key;
    bool flag; /* takes no value */
} keys[] = {
    {"type", KEY_TYPE, false},       {"src", KEY_SOURCE, false},      {"source", KEY_SOURCE, false}, {"dst", KEY_DESTINATION, false},
    {"target", KEY_DESTINATION, false}, {"ro", KEY_READ_ONLY, true}, {"prog", KEY_PROGRAM, false}, {"size", KEY_SIZE, false},
};

struct mount_type {
    const char *name;
    enum run_mount_type type;
    uint32_t known, needed; /* enum mount_key, besides KEY_TYPE */
    const char *usage;
    int (*check)(const struct run_mount *mount); /* 0, or the exit code after a complaint; may be NULL */
};

static int check_bind(const struct run_mount *mount)
{
    return access(mount->source, F_OK) ? bad("--mount", mount->source, strerror(errno)) : 0;
}

static int check_memory(const struct run_mount *mount)
{
    uint64_t size;
    return mount->size && !run_size_parse(mount->size, &size) ? bad("--mount", mount->size, "is no size, such as 64M") : 0;
}

static const struct mount_type types[] = {
    {"bind", RUN_MOUNT_BIND, KEY_SOURCE | KEY_DESTINATION | KEY_READ_ONLY, KEY_SOURCE | KEY_DESTINATION,
     "it takes src=PATH,dst=DIR[,ro]", check_bind},
    {"fuse", RUN_MOUNT_FUSE, KEY_PROGRAM | KEY_DESTINATION, KEY_PROGRAM | KEY_DESTINATION,
     "it takes prog=\"COMMAND LINE\",dst=DIR", NULL},
    {"memory", RUN_MOUNT_MEMORY, KEY_DESTINATION | KEY_SIZE, KEY_DESTINATION, "it takes dst=DIR[,size=SIZE]", check_memory},
    {"tar", RUN_MOUNT_TAR, KEY_SOURCE | KEY_DESTINATION, KEY_SOURCE | KEY_DESTINATION, "it takes src=FILE,dst=DIR", check_bind},
    {"host", RUN_MOUNT_HOST, KEY_SOURCE | KEY_DESTINATION, KEY_SOURCE | KEY_DESTINATION, "it takes src=DIR,dst=DIR", check_bind},
    {NULL, 0, 0, 0, NULL, NULL},
};

/* The words of one --mount as they are read. */
struct mount_words {
    uint32_t given; /* enum mount_key */
    const char *type;
    struct run_mount mount;
};

/* Takes the next word off the text, its quotes resolved in place: false at a quote that does not end. */
static bool next_word(char **text, char **word)
{
    char *from = *text, *to = from;
    bool quoted = false;
    *word = from;
    for (; *from && (quoted || *from != ','); from++) {
        if (*from == '"') {
            quoted = !quoted;
            continue;
        }
        if (quoted && *from == '\\' && from[1])
            from++;
        *to++ = *from;
    }
    *text = *from ? from + 1 : from;
    *to = 0;
    return !quoted;
}

static void word_store(struct mount_words *words, enum mount_key key, char *value)
{
    if (key == KEY_TYPE)
        words->type = value;
    if (key == KEY_SOURCE)
        words->mount.source = value;
    if (key == KEY_DESTINATION)
        words->mount.destination = value;
    if (key == KEY_PROGRAM)
        words->mount.program = value;
    if (key == KEY_SIZE)
        words->mount.size = value;
    if (key == KEY_READ_ONLY)
        words->mount.read_only = true;
}

static int word_take(struct mount_words *words, char *word)
{
    char *value = strchr(word, '=');
    if (value)
        *value++ = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(word, keys[i].name))
            continue;
        if (keys[i].flag == (value != NULL))
            return bad("--mount", word, keys[i].flag ? "takes no value" : "needs a value");
        if (words->given & keys[i].key)
            return bad("--mount", word, "is given twice");
        words->given |= keys[i].key;
        word_store(words, keys[i].key, value);
        return 0;
    }
    return bad("--mount", word, "is no key that any type knows");
}

static const struct mount_type *type_of(const char *name)
{
    for (size_t i = 0; types[i].name; i++) {
        if (!strcmp(types[i].name, name))
            return &types[i];
    }
    return NULL;
}

static int words_check(struct mount_words *words, const char *text)
{
    const struct mount_type *type = words->type ? type_of(words->type) : NULL;
    if (!words->type)
        return bad("--mount", text, "has no type=");
    if (!type)
        return bad("--mount", words->type, "is no type of mount; `hyla run --help` lists them");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if ((words->given & keys[i].key) && !((type->known | KEY_TYPE) & keys[i].key)) {
            complain("--mount type=%s: does not know '%s'; %s", type->name, keys[i].name, type->usage);
            return EXIT_HYLA;
        }
    }
    if (type->needed & ~words->given) {
        complain("--mount '%s': %s", text, type->usage);
        return EXIT_HYLA;
    }
    if (*words->mount.destination != '/')
        return bad("--mount", words->mount.destination, "dst must be an absolute path");
    words->mount.type = type->type;
    return type->check ? type->check(&words->mount) : 0;
}

int run_mount_parse(struct run_options *options, const char *text)
{
    struct mount_words words = {0};
    char *rest = must(strdup(text)), *word;
    int code = 0;
    while (!code && *rest) {
        if (!next_word(&rest, &word))
            return bad("--mount", text, "has a quote that does not end");
        code = word_take(&words, word);
    }
    if (!code)
        code = words_check(&words, text);
    if (!code)
        add(options, words.mount);
    return code;
}
