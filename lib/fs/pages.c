/*
 * Contents whose pages are supplied on demand: each file that is open has a pager, asked for pages by messages on a port of its own, and
 * what it supplies is what the server's function `read` answers. So the kernel keeps what was read, as long as it likes, and a server
 * that only reads needs to know nothing of it.
 *
 * One thread serves that port, so pages of a file are read in the order they were asked for: most often front to back.
 *
 * A pager goes when the kernel has given back all references to its file, for by then it has let go of the memory object. The library
 * counts them, by what lookup, create and link answered.
 */
#include "lib/fs/server.h"

#include <errno.h>
#include <stdlib.h>

#define PAGE 4096u
#define RUN_PAGES 64u /* pages are asked for in runs of at most this */
#define RUN_BYTES ((size_t)RUN_PAGES * PAGE)

struct page_file {
    struct page_file *next; /* in its bucket */
    uint64_t node, references;
    hyla_handle_t pager;    /* 0: not open */
    uint64_t pages;         /* of the file */
    uint64_t next_page;     /* after what was supplied last: who asks from here, or for what came before it, reads on */
};

/* --- files, by number; pages->mutex held ------------------------------------------------------------- */

static struct page_file **find(struct pages *pages, uint64_t node)
{
    struct page_file **at = &pages->buckets[(node * 0x9e3779b97f4a7c15u >> 40) % PAGE_BUCKETS];
    while (*at && (*at)->node != node)
        at = &(*at)->next;
    return at;
}

static struct page_file *get(struct pages *pages, uint64_t node)
{
    struct page_file **at = find(pages, node);
    if (!*at) {
        *at = calloc(1, sizeof **at);
        if (*at)
            (*at)->node = node;
    }
    return *at;
}

/* --- references -------------------------------------------------------------------------------------- */

/* A reference that cannot be counted is one too many, so the file's pager stays: no harm but the memory. */
static void count(struct hyla_fs *fs, const struct hyla_file_attributes *a)
{
    pthread_mutex_lock(&fs->pages.mutex);
    struct page_file *file = get(&fs->pages, a->node);
    if (file)
        file->references++;
    pthread_mutex_unlock(&fs->pages.mutex);
}

static int64_t counted_lookup(struct hyla_fs *fs, uint64_t directory, const char *name, struct hyla_file_attributes *found)
{
    int64_t result = fs->pages.ops.lookup(fs, directory, name, found);
    if (result >= 0)
        count(fs, found);
    return result;
}

static int64_t counted_forget(struct hyla_fs *fs, uint64_t node, uint64_t references)
{
    struct page_file *unused = NULL;
    pthread_mutex_lock(&fs->pages.mutex);
    struct page_file **at = find(&fs->pages, node);
    if (*at)
        (*at)->references -= references < (*at)->references ? references : (*at)->references;
    if (*at && !(*at)->references) {
        unused = *at;
        *at = unused->next;
    }
    pthread_mutex_unlock(&fs->pages.mutex);
    if (unused && unused->pager)
        hyla_handle_close(unused->pager);
    free(unused);
    return fs->pages.ops.forget(fs, node, references);
}

/* --- opening ----------------------------------------------------------------------------------------- */

int64_t hyla_fs_open_paged(struct hyla_fs *fs, uint64_t node, uint64_t size, struct hyla_msg_handle *contents)
{
    const uint32_t rights = HYLA_RIGHT_READ | HYLA_RIGHT_MAP | HYLA_RIGHT_TRANSFER;
    if (!fs->pages.port)
        return -EOPNOTSUPP;
    pthread_mutex_lock(&fs->pages.mutex);
    struct page_file *file = get(&fs->pages, node);
    int64_t result = file ? 0 : -ENOMEM;
    if (!result && !file->pager) {
        result = hyla_pager_create(fs->pages.port, node, size);
        if (result > 0) {
            file->pager = (hyla_handle_t)result;
            file->pages = size / PAGE + (size % PAGE != 0);
        }
    }
    if (result >= 0)
        result = hyla_pager_memobj(file->pager, rights);
    pthread_mutex_unlock(&fs->pages.mutex);
    if (result < 0)
        return result;
    *contents = (struct hyla_msg_handle){.handle = (hyla_handle_t)result, .rights = rights, .move = 1};
    return 0;
}

static int64_t open_any(struct hyla_fs *fs, uint64_t node, uint32_t flags, struct hyla_msg_handle *contents)
{
    struct hyla_file_attributes a = {0};
    if (flags & HYLA_FILE_OPEN_WRITE)
        return -EROFS;
    int64_t result = fs->ops.get_attributes(fs, node, &a);
    return result < 0 ? result : hyla_fs_open_paged(fs, node, a.size, contents);
}

/* --- supplying --------------------------------------------------------------------------------------- */

/* A copy. The pager's handle stays good: only a forget closes it, and a file that is asked for pages has references. */
static struct page_file file_of(struct hyla_fs *fs, uint64_t node)
{
    pthread_mutex_lock(&fs->pages.mutex);
    struct page_file *file = *find(&fs->pages, node), copy = file ? *file : (struct page_file){0};
    pthread_mutex_unlock(&fs->pages.mutex);
    return copy;
}

static void reads_on(struct hyla_fs *fs, uint64_t node, uint64_t next_page)
{
    pthread_mutex_lock(&fs->pages.mutex);
    struct page_file *file = *find(&fs->pages, node);
    if (file)
        file->next_page = next_page;
    pthread_mutex_unlock(&fs->pages.mutex);
}

static int64_t read_run(struct hyla_fs *fs, uint64_t node, uint64_t offset, char *bytes, uint64_t size)
{
    uint64_t done = 0;
    while (done < size) {
        int64_t got = fs->ops.read(fs, node, offset + done, bytes + done, (uint32_t)(size - done));
        if (got < 0)
            return got;
        if (got == 0 || (uint64_t)got > size - done)
            break;
        done += (uint64_t)got;
    }
    return (int64_t)done;
}

static bool still_asked(hyla_handle_t pager, const struct hyla_page_run *run)
{
    unsigned char flags[RUN_PAGES];
    if (hyla_pager_query(pager, run->first, flags, run->count) < 0)
        return true;
    for (uint64_t i = 0; i < run->count; i++)
        if (flags[i] & HYLA_PAGE_ASKED)
            return true;
    return false;
}

/* False: it could not be read. */
static bool supply_run(struct hyla_fs *fs, const struct page_file *file, const struct hyla_page_run *run, char *bytes, bool asked)
{
    int64_t got = read_run(fs, file->node, run->first * PAGE, bytes, run->count * PAGE);
    if (got >= 0)
        hyla_pager_supply(file->pager, run, bytes, (uint64_t)got); /* what is missing is zeros */
    else if (asked)
        hyla_pager_fail(file->pager, run, (uint32_t)-got);
    return got >= 0;
}

/*
 * What is asked for; and for one who reads on, the run after it, while he is busy with this one. What was supplied so, before it was
 * asked for, need not be again.
 */
static void supply(struct hyla_fs *fs, const struct hyla_msg *msg, char *bytes)
{
    struct page_file file = file_of(fs, msg->words[1]);
    struct hyla_page_run run = {.first = msg->words[2], .count = msg->words[3], .epoch = msg->words[4]}, ahead = run;
    if (!file.pager || run.count > RUN_PAGES)
        return;
    bool on = run.first <= file.next_page && run.first + run.count + RUN_PAGES >= file.next_page;
    if (still_asked(file.pager, &run)) {
        if (!supply_run(fs, &file, &run, bytes, true))
            return;
        file.next_page = run.first + run.count;
    }
    ahead.first = file.next_page;
    ahead.count = file.pages > ahead.first ? file.pages - ahead.first : 0;
    ahead.count = ahead.count < RUN_PAGES ? ahead.count : RUN_PAGES;
    if (on && ahead.count && supply_run(fs, &file, &ahead, bytes, false))
        file.next_page = ahead.first + ahead.count;
    reads_on(fs, file.node, file.next_page);
}

static void *serve_pages(void *argument)
{
    struct hyla_fs *fs = argument;
    char *bytes = malloc(RUN_BYTES);
    for (;;) {
        struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = fs->pages.port};
        int64_t error = hyla_msg(&msg);
        if (error == -EINTR || error == -ENOMEM)
            continue;
        if (error || !bytes)
            break;
        if (msg.words[0] == HYLA_PAGER_PAGE_IN)
            supply(fs, &msg, bytes);
    }
    free(bytes);
    return NULL;
}

/* --- birth and death --------------------------------------------------------------------------------- */

int pages_start(struct hyla_fs *fs)
{
    struct pages *pages = &fs->pages;
    if (!fs->ops.read || !fs->ops.lookup || fs->ops.create || fs->ops.link)
        return -EINVAL;
    int64_t port = hyla_port_create(0);
    if (port < 0)
        return (int)port;
    pages->port = (hyla_handle_t)port;
    pages->ops = fs->ops;
    fs->ops.lookup = counted_lookup;
    fs->ops.forget = counted_forget;
    if (!pages->own_open)
        fs->ops.open = open_any;
    int error = pthread_create(&pages->thread, NULL, serve_pages, fs);
    pages->running = error == 0;
    return -error;
}

void pages_stop(struct hyla_fs *fs)
{
    if (fs->pages.port)
        hyla_handle_close(fs->pages.port);
}

void pages_end(struct hyla_fs *fs)
{
    struct pages *pages = &fs->pages;
    if (pages->running)
        pthread_join(pages->thread, NULL);
    for (unsigned i = 0; i < PAGE_BUCKETS; i++) {
        while (pages->buckets[i]) {
            struct page_file *file = pages->buckets[i];
            pages->buckets[i] = file->next;
            if (file->pager)
                hyla_handle_close(file->pager);
            free(file);
        }
    }
}
