/*
 * Paged memobjs: the states of their pages, 64 to a block, blocks in a tree.
 *
 * Totals are kept beside the bits, so that limits and "is there any" cost nothing. Who changes bits does it here.
 */
#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/pager_internal.h"

static struct page_block *block_of(struct tree_node *node) { return CONTAINER_OF(node, struct page_block, node); }

struct page_block *block_find(struct paged *paged, uint64_t index)
{
    uint64_t number = index / BLOCK_PAGES;
    struct tree_node *node = paged->blocks.root;

    while (node && block_of(node)->number != number)
        node = node->child[block_of(node)->number < number];
    return node ? block_of(node) : NULL;
}

struct page_block *block_make(struct paged *paged, uint64_t index)
{
    uint64_t number = index / BLOCK_PAGES;
    struct tree_node *parent = NULL, *node = paged->blocks.root;
    struct page_block *block;
    int side = 0;

    while (node && block_of(node)->number != number) {
        parent = node;
        side = block_of(node)->number < number;
        node = node->child[side];
    }
    if (node)
        return block_of(node);
    block = kzalloc(sizeof(*block));
    if (block) {
        block->number = number;
        tree_insert(&paged->blocks, parent, side, &block->node);
    }
    return block;
}

struct page_block *block_after(struct paged *paged, uint64_t index)
{
    uint64_t number = index / BLOCK_PAGES;
    struct page_block *best = NULL;

    for (struct tree_node *node = paged->blocks.root; node;) {
        struct page_block *block = block_of(node);
        if (block->number == number)
            return block;
        if (block->number > number)
            best = block;
        node = node->child[block->number < number];
    }
    return best;
}

uint64_t block_mask(const struct page_block *block, uint64_t first, uint64_t end)
{
    uint64_t start = block->number * BLOCK_PAGES, low, high;

    if (end <= start || first >= start + BLOCK_PAGES || first >= end)
        return 0;
    low = first > start ? first - start : 0;
    high = end - start < BLOCK_PAGES ? end - start : BLOCK_PAGES;
    return (high == BLOCK_PAGES ? ~(uint64_t)0 : ((uint64_t)1 << high) - 1) & ~(((uint64_t)1 << low) - 1);
}

bool page_is(struct paged *paged, uint64_t index, enum block_bit bit)
{
    const struct page_block *block = block_find(paged, index);

    return block && (block->bits[bit] & page_bit(index));
}

uint64_t bits_count(uint64_t mask)
{
    mask -= mask >> 1 & 0x5555555555555555u;
    mask = (mask & 0x3333333333333333u) + (mask >> 2 & 0x3333333333333333u);
    return ((mask + (mask >> 4)) & 0x0f0f0f0f0f0f0f0fu) * 0x0101010101010101u >> 56;
}

void block_set(struct paged *paged, struct page_block *block, enum block_bit bit, uint64_t mask)
{
    paged->totals[bit] += bits_count(mask & ~block->bits[bit]);
    block->bits[bit] |= mask;
}

void block_clear(struct paged *paged, struct page_block *block, enum block_bit bit, uint64_t mask)
{
    uint64_t gone = bits_count(mask & block->bits[bit]);

    KASSERT(paged->totals[bit] >= gone);
    paged->totals[bit] -= gone;
    block->bits[bit] &= ~mask;
}

bool pages_any(struct paged *paged, uint64_t first, uint64_t end, enum block_bit bit)
{
    if (!paged->totals[bit])
        return false;
    for (struct page_block *block; first < end && (block = block_after(paged, first));
         first = (block->number + 1) * BLOCK_PAGES) {
        if (block->bits[bit] & block_mask(block, first, end))
            return true;
    }
    return false;
}

static bool says_nothing(const struct page_block *block)
{
    uint64_t all = 0;

    for (uint32_t bit = 0; bit < BIT_ACCESSED; bit++)
        all |= block->bits[bit];
    return !all;
}

static void block_free(struct paged *paged, struct page_block *block)
{
    for (uint32_t bit = 0; bit < BLOCK_BITS; bit++)
        block_clear(paged, block, bit, ~(uint64_t)0);
    tree_remove(&paged->blocks, &block->node);
    kfree(block);
}

void blocks_trim(struct paged *paged, uint64_t first, uint64_t end)
{
    struct page_block *block;

    while (first < end && (block = block_after(paged, first)) && block->number * BLOCK_PAGES < end) {
        first = (block->number + 1) * BLOCK_PAGES;
        if (says_nothing(block))
            block_free(paged, block);
    }
}

void blocks_free(struct paged *paged)
{
    while (paged->blocks.root)
        block_free(paged, block_of(paged->blocks.root));
}
