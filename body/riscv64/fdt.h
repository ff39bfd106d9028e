/*
 * Reading a flattened device tree (Devicetree Specification, chapter 5), in place and without memory of its own.
 *
 * The blob is the firmware's: offsets are checked against its size before they are followed, and a damaged tree ends
 * the walk.
 */
#ifndef RISCV64_FDT_H
#define RISCV64_FDT_H

#include "kernel/types.h"

struct fdt_node {
    const char *name;
    const struct fdt_node *parent; /* NULL for the root */
    const uint8_t *properties;     /* where they begin */
    uint32_t address_cells, size_cells; /* of its own children */
};

/* Calls visit for each node, parents first. False: this is no device tree, or it is damaged. */
bool fdt_walk(const void *blob, void (*visit)(const struct fdt_node *node));
/* Bytes that the whole blob takes; 0: no device tree. */
uint32_t fdt_size(const void *blob);
/* A property's bytes, or NULL. *size may be NULL. */
const void *fdt_property(const struct fdt_node *node, const char *name, uint32_t *size);
/* The first cell, or `otherwise`. */
uint32_t fdt_cell(const struct fdt_node *node, const char *name, uint32_t otherwise);
/* One or two cells at `cells`. */
uint64_t fdt_number(const void *cells, uint32_t count);
/* One string of a list of strings. */
bool fdt_has_string(const struct fdt_node *node, const char *property, const char *text);
static inline bool fdt_compatible(const struct fdt_node *node, const char *text) { return fdt_has_string(node, "compatible", text); }
/* The index'th entry of reg, translated as far as identity goes (simple buses without ranges to apply). */
bool fdt_reg(const struct fdt_node *node, uint32_t index, uint64_t *address, uint64_t *size);

#endif
