/*
 * Names that came with a directory's entries (READDIRPLUS) and that nobody has looked up yet.
 *
 * Each holds its node, so that the lookup it counts is given back with it. They are few: the oldest makes room. A name is good for one
 * lookup, as long as the program said, unless the directory withdrew its answers since.
 */
#include "abi/linux/fs/fuse.h"

#include "kernel/alloc.h"
#include "kernel/string.h"

enum { PRIMED_MAX = 1024 }; /* of one directory */

struct primed {
    struct list link; /* under conn->table_lock: struct fuse_node.primed, oldest first */
    struct node *node;
    nanoseconds_t until;
    uint32_t generation;
    uint32_t length;
    char name[];
};

static void primed_free(struct primed *primed)
{
    if (!primed)
        return;
    object_unref(primed->node);
    kfree(primed);
}

static struct primed *find_locked(struct fuse_node *fuse, const char *name, size_t length)
{
    LIST_FOR_EACH(link, &fuse->primed)
    {
        struct primed *primed = LIST_ENTRY(link, struct primed, link);
        if (primed->length == length && !memcmp(primed->name, name, length))
            return primed;
    }
    return NULL;
}

static struct primed *take_locked(struct fuse_node *fuse, struct primed *primed)
{
    if (primed) {
        list_remove(&primed->link);
        fuse->primed_count--;
    }
    return primed;
}

void fuse_prime(struct node *dir, const char *name, size_t length, struct node *node, nanoseconds_t until, uint32_t generation)
{
    struct fuse_node *fuse = fuse_node_of(dir);
    struct primed *primed = kalloc(sizeof(*primed) + length), *oldest = NULL;

    if (!primed) {
        object_unref(node);
        return;
    }
    list_init(&primed->link);
    primed->node = node;
    primed->until = until;
    primed->generation = generation;
    primed->length = (uint32_t)length;
    memcpy(primed->name, name, length);
    spin_lock(&fuse->conn->table_lock);
    if (fuse->primed_count == PRIMED_MAX)
        oldest = take_locked(fuse, LIST_ENTRY(fuse->primed.next, struct primed, link));
    list_push_back(&fuse->primed, &primed->link);
    fuse->primed_count++;
    spin_unlock(&fuse->conn->table_lock);
    primed_free(oldest);
}

bool fuse_primed_take(struct node *dir, const char *name, size_t length, struct node **node)
{
    struct fuse_node *fuse = fuse_node_of(dir);
    struct primed *primed;

    spin_lock(&fuse->conn->table_lock);
    primed = take_locked(fuse, find_locked(fuse, name, length));
    spin_unlock(&fuse->conn->table_lock);
    if (!primed)
        return false;
    bool good = primed->until > body_now() && primed->generation == atomic32_load_acquire(&dir->answer_generation);
    if (good) {
        *node = object_ref(primed->node);
        dir->answer_until = primed->until;
    }
    primed_free(primed);
    return good;
}

void fuse_primed_drop(struct fuse_node *fuse)
{
    struct primed *primed;

    do {
        spin_lock(&fuse->conn->table_lock);
        primed = list_empty(&fuse->primed) ? NULL : take_locked(fuse, LIST_ENTRY(fuse->primed.next, struct primed, link));
        spin_unlock(&fuse->conn->table_lock);
        primed_free(primed);
    } while (primed);
}
