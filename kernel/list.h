/*
 * Intrusive doubly linked lists. A list head and a node are the same type; a node that is on no list
 * points to itself, so that list_remove is safe to repeat and membership can be asked.
 */
#ifndef KERNEL_LIST_H
#define KERNEL_LIST_H

#include "kernel/types.h"

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *list) { list->next = list->prev = list; }
static inline bool list_empty(const struct list *list) { return list->next == list; }
/* True when the node is on some list. */
static inline bool list_linked(const struct list *node) { return node->next != node; }

static inline void list_insert_between(struct list *node, struct list *prev, struct list *next)
{
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
}

static inline void list_push_back(struct list *list, struct list *node) { list_insert_between(node, list->prev, list); }
static inline void list_push_front(struct list *list, struct list *node) { list_insert_between(node, list, list->next); }

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* The first node, removed, or NULL. */
static inline struct list *list_pop_front(struct list *list)
{
    struct list *node = list->next;
    if (node == list)
        return NULL;
    list_remove(node);
    return node;
}

/* Moves every node of `from` to the end of `to`. */
static inline void list_splice_back(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)
#define LIST_FOR_EACH(node, head) for (struct list *node = (head)->next; node != (head); node = node->next)
/* The body may remove the current node (and no other). */
#define LIST_FOR_EACH_SAFE(node, head)                                                                                 \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head);                                  \
         node = node##_next, node##_next = node->next)

#endif
