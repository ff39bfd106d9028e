/*
 * Pagers behind a port: what a paged memobj asks of its pager comes as messages, and the answers as calls (abi/native). See
 * docs/memobjs.md.
 */
#ifndef KERNEL_PAGER_PORT_H
#define KERNEL_PAGER_PORT_H

#include "kernel/pager.h"

struct port;

/* Pages of one memobj that were asked for by messages and not answered: so many messages may be in the port. */
#define PORT_ASKED_MAX 128u

enum pager_message {
    PAGER_PAGE_IN = 1, /* words: this, the cookie, first, count, epoch, how many are needed */
    PAGER_NEWS = 2,    /* words: this, the cookie. No second one comes before port_pager_news */
};

enum pager_news_flags { NEWS_RESIZED = 1, NEWS_WRITTEN = 2, NEWS_CLEAN = 4, NEWS_IDLE = 8 };

struct pager_news {
    uint32_t flags;
    uint64_t size, lowest;            /* with RESIZED: now, and the least since last told */
    uint64_t clean_first, clean_count; /* with CLEAN: pages */
};

/* The pager's side of a memobj: an object for its task's handle table. When the last handle goes, the pager has died. */
struct port_pager {
    struct object object;
    struct memobj *memobj; /* held */
    struct port *port;     /* a reference */
    uint64_t cookie;
    struct spinlock lock;  /* guards: */
    struct pager_news news;
    bool told;             /* a PAGER_NEWS is in the port, or was taken, and the news have not been asked for */
};

extern const struct object_type port_pager_type;

/* One reference; its memobj idles, or does so soon. NULL: no memory, or too large. */
struct port_pager *port_pager_create(struct port *port, uint64_t cookie, uint64_t size);
/* What there is to tell, and forgets it. */
void port_pager_news(struct port_pager *pager, struct pager_news *news);

#endif
