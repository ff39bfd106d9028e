/*
 * Intrusive balanced trees (AVL), ordered by whatever the caller compares.
 *
 * The caller finds the place and links the node; the tree keeps the balance. A tree may carry a summary
 * in each node (for instance the largest gap beneath it): `update` recomputes one node's summary from its
 * own data and its children's, and runs bottom-up wherever the shape or the data changed.
 * No locks: whoever owns the tree has one. Depth is at most 1.44 * log2(n), so recursion is safe.
 */
#ifndef KERNEL_TREE_H
#define KERNEL_TREE_H

#include "kernel/types.h"

struct tree_node {
    struct tree_node *parent;
    struct tree_node *child[2]; /* 0: before, 1: after */
    uint32_t height;            /* of the subtree; 1 for a leaf */
};

struct tree {
    struct tree_node *root;
    void (*update)(struct tree_node *node); /* may be NULL */
};

static inline void tree_init(struct tree *tree, void (*update)(struct tree_node *node))
{
    tree->root = NULL;
    tree->update = update;
}

/* Links a node as parent's child on `side`, which is free; parent NULL: the tree is empty. */
void tree_insert(struct tree *tree, struct tree_node *parent, int side, struct tree_node *node);
void tree_remove(struct tree *tree, struct tree_node *node);
/* The node's own data changed: summaries from it to the root are computed again. */
void tree_changed(struct tree *tree, struct tree_node *node);

#endif
