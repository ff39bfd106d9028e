/*
 * AVL trees: insertion and removal link or unlink a node and then walk to the root, where each step
 * recomputes height and summary and rotates when the two sides differ by two. The walk never stops early,
 * because a summary may have changed where the height has not.
 */
#include "kernel/tree.h"

#include "kernel/assert.h"

static uint32_t height_of(const struct tree_node *node) { return node ? node->height : 0; }

static void node_update(struct tree *tree, struct tree_node *node)
{
    uint32_t left = height_of(node->child[0]), right = height_of(node->child[1]);

    node->height = 1 + (left > right ? left : right);
    if (tree->update)
        tree->update(node);
}

/* Puts `node` (or nothing) where `old` hangs. */
static void replace_child(struct tree *tree, struct tree_node *old, struct tree_node *node)
{
    struct tree_node *parent = old->parent;

    if (!parent)
        tree->root = node;
    else
        parent->child[parent->child[1] == old] = node;
    if (node)
        node->parent = parent;
}

/* Lifts node's child on the side opposite to `side` into its place: node goes down to `side`. */
static struct tree_node *rotate(struct tree *tree, struct tree_node *node, int side)
{
    struct tree_node *up = node->child[!side];

    replace_child(tree, node, up);
    node->child[!side] = up->child[side];
    if (node->child[!side])
        node->child[!side]->parent = node;
    up->child[side] = node;
    node->parent = up;
    node_update(tree, node);
    node_update(tree, up);
    return up;
}

static struct tree_node *balance(struct tree *tree, struct tree_node *node)
{
    uint32_t left = height_of(node->child[0]), right = height_of(node->child[1]);
    int heavy;

    node_update(tree, node);
    if (left <= right + 1 && right <= left + 1)
        return node;
    heavy = right > left;
    struct tree_node *child = node->child[heavy];
    if (height_of(child->child[!heavy]) > height_of(child->child[heavy]))
        rotate(tree, child, heavy);
    return rotate(tree, node, !heavy);
}

static void balance_up(struct tree *tree, struct tree_node *node)
{
    while (node)
        node = balance(tree, node)->parent;
}

void tree_insert(struct tree *tree, struct tree_node *parent, int side, struct tree_node *node)
{
    node->parent = parent;
    node->child[0] = node->child[1] = NULL;
    if (parent) {
        KASSERT(!parent->child[side]);
        parent->child[side] = node;
    } else {
        KASSERT(!tree->root);
        tree->root = node;
    }
    balance_up(tree, node);
}

/* The node has two children: its successor takes its place. Returns where the walk to the root starts. */
static struct tree_node *remove_inner(struct tree *tree, struct tree_node *node)
{
    struct tree_node *next = node->child[1], *start;

    while (next->child[0])
        next = next->child[0];
    start = next->parent == node ? next : next->parent;
    replace_child(tree, next, next->child[1]);
    replace_child(tree, node, next);
    for (int side = 0; side < 2; side++) {
        next->child[side] = node->child[side];
        if (next->child[side])
            next->child[side]->parent = next;
    }
    return start;
}

void tree_remove(struct tree *tree, struct tree_node *node)
{
    struct tree_node *start = node->parent;

    if (node->child[0] && node->child[1])
        start = remove_inner(tree, node);
    else
        replace_child(tree, node, node->child[node->child[0] == NULL]);
    node->parent = node->child[0] = node->child[1] = NULL;
    node->height = 0;
    balance_up(tree, start);
}

void tree_changed(struct tree *tree, struct tree_node *node)
{
    for (; node; node = node->parent)
        node_update(tree, node);
}
