/*
 * Pagers behind a port.
 *
 * A page-in is a message with the run in its words. Everything else adds up in `news`, and one message says that there are any: so
 * what waits in the port is bounded by the pages asked for, and the sum is exact however late the pager looks. Messages are
 * posted past the port's queue limit, since nobody here can wait for room.
 */
#include "kernel/pager_port.h"

#include "kernel/alloc.h"
#include "kernel/errno.h"
#include "kernel/port_internal.h"

/* --- messages ---------------------------------------------------------------------------------------- */

static struct port_item *message_make(const struct port_pager *pager, enum pager_message kind)
{
    struct port_item *item = port_item_make();

    if (item) {
        item->badge = 0;
        item->message.words[0] = kind;
        item->message.words[1] = pager->cookie;
    }
    return item;
}

/* -EIO: the port is dead. */
static int message_post(struct port_pager *pager, struct port_item *item)
{
    if (port_post(pager->port, item, false))
        return 0;
    port_item_free(item);
    return -EIO;
}

static int ask(struct memobj *memobj UNUSED, void *context, const struct page_run *run, uint64_t needed)
{
    struct port_pager *pager = context;
    struct port_item *item = message_make(pager, PAGER_PAGE_IN);

    if (!item)
        return -ENOMEM;
    item->message.words[2] = run->first;
    item->message.words[3] = run->count;
    item->message.words[4] = run->epoch;
    item->message.words[5] = needed;
    return message_post(pager, item);
}

/* --- news -------------------------------------------------------------------------------------------- */

static void merge_clean(struct pager_news *news, uint64_t first, uint64_t count)
{
    uint64_t end = max_u64(first + count, news->clean_first + news->clean_count);

    if (news->flags & NEWS_CLEAN) {
        news->clean_first = min_u64(news->clean_first, first);
        news->clean_count = end - news->clean_first;
    } else {
        news->clean_first = first;
        news->clean_count = count;
    }
}

static void merge(struct pager_news *news, const struct pager_news *more)
{
    if (more->flags & NEWS_CLEAN)
        merge_clean(news, more->clean_first, more->clean_count);
    if (more->flags & NEWS_RESIZED) {
        news->lowest = news->flags & NEWS_RESIZED ? min_u64(news->lowest, more->lowest) : more->lowest;
        news->size = more->size;
    }
    news->flags |= more->flags;
}

/* Without memory for the message the news wait for the next ones, or for a look. */
static void tell(struct port_pager *pager, const struct pager_news *more)
{
    struct port_item *item = message_make(pager, PAGER_NEWS);
    bool post;

    spin_lock(&pager->lock);
    merge(&pager->news, more);
    post = item && !pager->told;
    pager->told |= post;
    spin_unlock(&pager->lock);
    if (post)
        message_post(pager, item);
    else
        port_item_free(item);
}

static void clean(struct memobj *memobj UNUSED, void *context, uint64_t first, uint64_t count)
{
    tell(context, &(struct pager_news){.flags = NEWS_CLEAN, .clean_first = first, .clean_count = count});
}

static void resized(struct memobj *memobj UNUSED, void *context, uint64_t size, uint64_t lowest)
{
    tell(context, &(struct pager_news){.flags = NEWS_RESIZED, .size = size, .lowest = lowest});
}

static void written(struct memobj *memobj UNUSED, void *context) { tell(context, &(struct pager_news){.flags = NEWS_WRITTEN}); }
static void idle(struct memobj *memobj UNUSED, void *context) { tell(context, &(struct pager_news){.flags = NEWS_IDLE}); }

static const struct pager_ops port_ops = {
    .asked_max = PORT_ASKED_MAX, .page_in = ask, .clean = clean, .resized = resized, .written = written, .idle = idle};

void port_pager_news(struct port_pager *pager, struct pager_news *news)
{
    spin_lock(&pager->lock);
    *news = pager->news;
    pager->news = (struct pager_news){0};
    pager->told = false;
    spin_unlock(&pager->lock);
}

/* --- life -------------------------------------------------------------------------------------------- */

static void pager_orphaned(struct object *object) { pager_die(CONTAINER_OF(object, struct port_pager, object)->memobj); }

static void pager_destroy(struct object *object)
{
    struct port_pager *pager = CONTAINER_OF(object, struct port_pager, object);

    pager_gone(pager->memobj);
    object_unref(pager->port);
    kfree(pager);
}

const struct object_type port_pager_type = {.name = "pager", .destroy = pager_destroy, .no_handles = pager_orphaned};

struct port_pager *port_pager_create(struct port *port, uint64_t cookie, uint64_t size)
{
    struct port_pager *pager = kzalloc(sizeof(*pager));

    if (!pager)
        return NULL;
    spinlock_init(&pager->lock, RANK_PAGER);
    pager->cookie = cookie;
    pager->memobj = memobj_create_paged(&port_ops, pager, size);
    if (!pager->memobj) {
        kfree(pager);
        return NULL;
    }
    pager->port = object_ref(port);
    object_init(&pager->object, &port_pager_type);
    return pager;
}
