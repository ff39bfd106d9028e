/*
 * What a server lets the kernel keep is not asked again, until it is recalled; then it is, also where the answer was under way.
 */
#include "tests/files/check.h"

#define ALL (HYLA_FILE_CACHE_NAMES | HYLA_FILE_CACHE_ABSENT | HYLA_FILE_CACHE_ATTRIBUTES)

static _Atomic uint32_t lookups, asked, size = 10, cache = ALL;
static _Atomic bool there = true, slow, entered;

static struct hyla_file_attributes now_of(uint64_t node)
{
    struct hyla_file_attributes a = attributes_of(node);
    a.size = size;
    a.cache = cache;
    return a;
}

static int64_t get_attributes(struct hyla_fs *fs, uint64_t node, struct hyla_file_attributes *a)
{
    (void)fs;
    asked++;
    *a = now_of(node);
    return 0;
}

static int64_t lookup(struct hyla_fs *fs, uint64_t directory, const char *name, struct hyla_file_attributes *a)
{
    (void)fs;
    lookups++;
    uint64_t node = there ? named(directory, name, strlen(name)) : 0;
    *a = now_of(node);
    if (slow) {
        entered = true;
        while (slow)
            sched_yield();
    }
    return node ? 0 : -ENOENT;
}

static off_t size_seen(void)
{
    struct stat stat_;
    return stat(PLACE "/file", &stat_) ? -1 : stat_.st_size;
}

static void *look(void *argument)
{
    (void)argument;
    size_seen();
    return NULL;
}

int main(void)
{
    static const struct hyla_file_ops ops = {.get_attributes = get_attributes, .lookup = lookup};
    const struct hyla_fs_options options = {.ops = &ops, .label = "recalls"};
    struct hyla_fs *fs;
    pthread_t thread;
    CHECK(mkdir(PLACE, 0777) == 0 && hyla_fs_create(&options, &fs) == 0 && hyla_fs_mount(fs, PLACE, MS_NODEV) == 0);

    CHECK(size_seen() == 10 && size_seen() == 10 && size_seen() == 10);
    CHECK(lookups == 1 && asked <= 2); /* the root's twice at most, the file's never: lookup told them */
    size = 20;
    CHECK(size_seen() == 10); /* kept */
    CHECK(hyla_fs_invalidate(fs, FILE_NODE, HYLA_FILE_INVALIDATE_ATTRIBUTES) == 0);
    CHECK(size_seen() == 20 && lookups == 1);

    there = false;
    CHECK(size_seen() == 20); /* kept */
    CHECK(hyla_fs_invalidate_name(fs, ROOT, "file") == 0);
    CHECK(size_seen() == -1 && size_seen() == -1 && lookups == 2); /* its absence is kept as well */
    there = true;
    CHECK(hyla_fs_invalidate(fs, ROOT, HYLA_FILE_INVALIDATE_NAMES) == 0);
    CHECK(size_seen() == 20 && lookups == 3);

    /* A recall while the answer is under way: the answer is used once, not kept. */
    CHECK(hyla_fs_invalidate_name(fs, ROOT, "file") == 0);
    slow = true;
    CHECK(pthread_create(&thread, NULL, look, NULL) == 0);
    while (!entered)
        sched_yield();
    there = false;
    CHECK(hyla_fs_invalidate_name(fs, ROOT, "file") == 0);
    slow = false;
    pthread_join(thread, NULL);
    CHECK(size_seen() == -1);

    hyla_fs_stop(fs);
    CHECK(hyla_fs_run(fs) == 0);
    while (size_seen() != -1 || errno != EIO) /* the notice of its end may be on its way */
        sched_yield();
    CHECK(umount(PLACE) == 0);

    /* Nothing may be kept: each stat asks for the name and the attributes. */
    there = true;
    cache = 0;
    CHECK(hyla_fs_create(&options, &fs) == 0 && hyla_fs_mount(fs, PLACE, 0) == 0);
    uint32_t before = lookups;
    for (int i = 1; i < 5; i++) {
        size = (uint32_t)i;
        CHECK(size_seen() == i && lookups == before + (uint32_t)i);
    }
    CHECK(umount(PLACE) == 0 && hyla_fs_run(fs) == 0);
    return 0;
}
