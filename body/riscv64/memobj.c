/*
 * Memobjs on RISC-V: pages in a radix tree, and who has translations of them.
 *
 * The tree's nodes have 64 children and hang together by levels; a small object is one node. The kernel reaches pages
 * through the direct map, programs by translations that refer to the same frames. memobj->mutex guards the tree.
 *
 * An attachment says that some page of a memobj may be translated in a space. It stays until one of the two goes. When pages
 * are dropped they are marked condemned and every attached space is searched for them: dropping pages of a mapped object
 * is rare, and so translations need no list of their own.
 */
#include "body/riscv64/frames.h"
#include "body/riscv64/space.h"
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/errno.h"
#include "kernel/memobj.h"
#include "kernel/paging/paging.h"
#include "kernel/string.h"

#define FANOUT_SHIFT 6
#define FANOUT (1u << FANOUT_SHIFT)
#define BUCKETS 512u

struct tree_level {
    void *child[FANOUT]; /* nodes, or pages at the lowest level */
};

struct pages {
    struct tree_level *root;
    uint32_t height; /* 0: no node; n: indices below 64^n */
    struct list attachments;
};

struct attachment {
    struct list by_memobj, by_space, by_hash;
    struct pages *pages;
    struct space *space;
};

static struct list buckets[BUCKETS];
static struct mutex attach_mutex; /* guards the attachments */

void memobj_init(void)
{
    mutex_init(&attach_mutex, RANK_BODY_SLEEPING);
    for (uint32_t i = 0; i < BUCKETS; i++)
        list_init(&buckets[i]);
}

/* --- the tree ------------------------------------------------------------------------------------------ */

static bool within(uint32_t height, uint64_t index) { return height * FANOUT_SHIFT >= 64 || index >> height * FANOUT_SHIFT == 0; }

static bool raise(struct pages *pages)
{
    struct tree_level *above = kzalloc(sizeof *above);
    if (!above)
        return false;
    above->child[0] = pages->root;
    pages->root = above;
    pages->height++;
    return true;
}

/* Where the page's pointer is, nodes made when `make`; NULL: no such node, or no memory. */
static void **slot_of(struct pages *pages, uint64_t index, bool make)
{
    while (!pages->height || !within(pages->height, index))
        if (!make || !raise(pages))
            return NULL;
    struct tree_level *node = pages->root;
    for (uint32_t level = pages->height - 1; level > 0; level--) {
        void **child = &node->child[index >> level * FANOUT_SHIFT & (FANOUT - 1)];
        if (!*child && (!make || !(*child = kzalloc(sizeof *node))))
            return NULL;
        node = *child;
    }
    return &node->child[index & (FANOUT - 1)];
}

/*
 * The next page's slot at or after *index and before end, or NULL. Absent nodes are skipped whole.
 */
static void **next_slot(const struct pages *pages, uint64_t *index, uint64_t end)
{
    while (*index < end && pages->height && within(pages->height, *index)) {
        struct tree_level *node = pages->root;
        uint32_t level = pages->height - 1;
        while (level > 0 && node->child[*index >> level * FANOUT_SHIFT & (FANOUT - 1)])
            node = node->child[*index >> level-- * FANOUT_SHIFT & (FANOUT - 1)];
        void **slot = &node->child[*index >> level * FANOUT_SHIFT & (FANOUT - 1)];
        if (*slot)
            return slot;
        uint64_t span = (uint64_t)1 << level * FANOUT_SHIFT;
        *index = round_down(*index, span) + span;
    }
    return NULL;
}

static void free_nodes(struct tree_level *node, uint32_t height)
{
    for (uint32_t i = 0; i < FANOUT; i++) {
        if (node->child[i] && height > 1)
            free_nodes(node->child[i], height - 1);
        else if (node->child[i])
            page_unref(node->child[i]);
    }
    kfree(node);
}

/* --- attachments --------------------------------------------------------------------------------------- */

static struct list *bucket_of(const struct pages *pages, const struct space *space)
{
    uint64_t hash = ((uint64_t)pages ^ (uint64_t)space << 7) * 0x9e3779b97f4a7c15ull;
    return &buckets[hash >> 32 & (BUCKETS - 1)];
}

static int attach_locked(struct pages *pages, struct space *space)
{
    struct list *bucket = bucket_of(pages, space);
    LIST_FOR_EACH(node, bucket)
    {
        struct attachment *known = LIST_ENTRY(node, struct attachment, by_hash);
        if (known->pages == pages && known->space == space)
            return 0;
    }
    struct attachment *attachment = kalloc(sizeof *attachment);
    if (!attachment)
        return -ENOMEM;
    attachment->pages = pages;
    attachment->space = space;
    list_push_front(bucket, &attachment->by_hash);
    list_push_front(&pages->attachments, &attachment->by_memobj);
    list_push_front(&space->attachments, &attachment->by_space);
    return 0;
}

static void detach_locked(struct attachment *attachment)
{
    list_remove(&attachment->by_hash);
    list_remove(&attachment->by_memobj);
    list_remove(&attachment->by_space);
    kfree(attachment);
}

int translation_attach(struct aspace *aspace, struct memobj *memobj)
{
    mutex_lock(&attach_mutex);
    int error = attach_locked(memobj->body, aspace->body);
    mutex_unlock(&attach_mutex);
    return error;
}

void memobj_detach_all(struct space *space)
{
    mutex_lock(&attach_mutex);
    while (!list_empty(&space->attachments))
        detach_locked(LIST_ENTRY(space->attachments.next, struct attachment, by_space));
    mutex_unlock(&attach_mutex);
}

int memobj_attach_all(struct space *child, struct space *parent)
{
    int error = 0;
    mutex_lock(&attach_mutex);
    LIST_FOR_EACH(node, &parent->attachments)
    {
        if (!error)
            error = attach_locked(LIST_ENTRY(node, struct attachment, by_space)->pages, child);
    }
    mutex_unlock(&attach_mutex);
    return error;
}

/* --- the contract -------------------------------------------------------------------------------------- */

int body_memobj_create(struct memobj *memobj)
{
    struct pages *pages = kzalloc(sizeof *pages);
    if (!pages)
        return -ENOMEM;
    list_init(&pages->attachments);
    memobj->body = pages;
    return 0;
}

void body_memobj_destroy(struct memobj *memobj)
{
    struct pages *pages = memobj->body;
    mutex_lock(&attach_mutex);
    while (!list_empty(&pages->attachments))
        detach_locked(LIST_ENTRY(pages->attachments.next, struct attachment, by_memobj));
    mutex_unlock(&attach_mutex);
    if (pages->root)
        free_nodes(pages->root, pages->height);
    kfree(pages);
}

void *body_memobj_page(struct memobj *memobj, uint64_t index)
{
    void **slot = slot_of(memobj->body, index, true);
    if (!slot || *slot)
        return slot ? *slot : NULL;
    void *page = page_alloc();
    if (page)
        *slot = memset(page, 0, PAGE_SIZE);
    return page;
}

bool body_memobj_present(struct memobj *memobj, uint64_t index)
{
    void **slot = slot_of(memobj->body, index, false);
    return slot && *slot;
}

uint64_t body_memobj_made(struct memobj *memobj, uint64_t first, uint64_t count)
{
    uint64_t made = 0, end = count > UINT64_MAX - first ? UINT64_MAX : first + count;
    for (uint64_t index = first; next_slot(memobj->body, &index, end); index++)
        made++;
    return made;
}

static void unmap_condemned(struct pages *pages)
{
    mutex_lock(&attach_mutex);
    LIST_FOR_EACH(node, &pages->attachments)
    {
        space_unmap_condemned(LIST_ENTRY(node, struct attachment, by_memobj)->space);
    }
    mutex_unlock(&attach_mutex);
}

void body_memobj_punch(struct memobj *memobj, uint64_t first, uint64_t count)
{
    struct pages *pages = memobj->body;
    uint64_t end = count > UINT64_MAX - first ? UINT64_MAX : first + count;
    void **slot;
    if (!list_empty(&pages->attachments)) {
        for (uint64_t index = first; (slot = next_slot(pages, &index, end)); index++)
            frame_of(frame_of_address(*slot))->used = FRAME_CONDEMNED;
        unmap_condemned(pages);
    }
    for (uint64_t index = first; (slot = next_slot(pages, &index, end)); index++) {
        page_unref(*slot);
        *slot = NULL;
    }
}

int body_memobj_mappable(UNUSED struct memobj *memobj) { return 0; }

/* As dropping does it: the pages are marked, and whoever is attached looks for them. */
bool body_memobj_revoke(struct memobj *memobj, uint64_t first, uint64_t count, bool writes_only)
{
    struct pages *pages = memobj->body;
    void **slot;
    mutex_lock(&memobj->mutex); /* the tree's nodes; the pages themselves stay */
    for (uint64_t index = first; (slot = next_slot(pages, &index, first + count)); index++)
        frame_of(frame_of_address(*slot))->used = writes_only ? FRAME_READ_ONLY : FRAME_CONDEMNED;
    mutex_lock(&attach_mutex);
    LIST_FOR_EACH(node, &pages->attachments)
    {
        struct space *space = LIST_ENTRY(node, struct attachment, by_memobj)->space;
        if (writes_only)
            space_protect_marked(space);
        else
            space_unmap_condemned(space);
    }
    mutex_unlock(&attach_mutex);
    for (uint64_t index = first; (slot = next_slot(pages, &index, first + count)); index++)
        frame_of(frame_of_address(*slot))->used = 0;
    mutex_unlock(&memobj->mutex);
    return true;
}

/* There is no host whose files could be memobjs. */
int64_t body_memobj_file_read(UNUSED struct memobj *memobj, UNUSED void *buffer, UNUSED uint64_t offset, UNUSED size_t size)
{
    return -EIO;
}

int64_t body_memobj_file_write(UNUSED struct memobj *memobj, UNUSED const void *buffer, UNUSED uint64_t offset, UNUSED size_t size)
{
    return -EIO;
}
