/*
 * The device tree reader: one pass over the structure block, with the chain of open nodes on the stack.
 */
#include "body/riscv64/fdt.h"

#include "kernel/string.h"

#define MAGIC 0xd00dfeedu
#define DEPTH_MAX 16u
enum token { TOKEN_BEGIN = 1, TOKEN_END = 2, TOKEN_PROPERTY = 3, TOKEN_NOTHING = 4, TOKEN_LAST = 9 };

static struct {
    const uint8_t *structure, *structure_end;
    const char *strings;
    uint32_t strings_size;
} tree;

static uint32_t big32(const void *at)
{
    const uint8_t *bytes = at;
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

uint64_t fdt_number(const void *cells, uint32_t count)
{
    const uint8_t *at = cells;
    return count == 2 ? (uint64_t)big32(at) << 32 | big32(at + 4) : count == 1 ? big32(at) : 0;
}

uint32_t fdt_size(const void *blob) { return big32(blob) == MAGIC ? big32((const uint8_t *)blob + 4) : 0; }

static bool open_blob(const uint8_t *blob)
{
    uint32_t size = fdt_size(blob);
    uint32_t structure = big32(blob + 8), strings = big32(blob + 12), strings_size = big32(blob + 32), structure_size = big32(blob + 36);
    if (size < 40 || structure > size || structure_size > size - structure || strings > size || strings_size > size - strings)
        return false;
    tree.structure = blob + structure;
    tree.structure_end = tree.structure + structure_size;
    tree.strings = (const char *)blob + strings;
    tree.strings_size = strings_size;
    return true;
}

/* The token at *at and what follows it; 0 when there is none. *at moves behind the token word. */
static uint32_t next_token(const uint8_t **at)
{
    if (tree.structure_end - *at < 4)
        return 0;
    uint32_t token = big32(*at);
    *at += 4;
    return token;
}

struct property {
    const char *name;
    const uint8_t *value;
    uint32_t size;
};

static bool read_property(const uint8_t **at, struct property *property)
{
    if (tree.structure_end - *at < 8)
        return false;
    uint32_t size = big32(*at), name = big32(*at + 4);
    *at += 8;
    if (size > (size_t)(tree.structure_end - *at) || name >= tree.strings_size)
        return false;
    *property = (struct property){tree.strings + name, *at, size};
    *at += (size + 3u) & ~3u;
    return *at <= tree.structure_end;
}

const void *fdt_property(const struct fdt_node *node, const char *name, uint32_t *size)
{
    const uint8_t *at = node->properties;
    struct property property;
    for (;;) {
        uint32_t token = next_token(&at);
        if (token == TOKEN_NOTHING)
            continue;
        if (token != TOKEN_PROPERTY || !read_property(&at, &property))
            return NULL;
        if (strcmp(property.name, name))
            continue;
        if (size)
            *size = property.size;
        return property.value;
    }
}

uint32_t fdt_cell(const struct fdt_node *node, const char *name, uint32_t otherwise)
{
    uint32_t size;
    const void *value = fdt_property(node, name, &size);
    return value && size >= 4 ? big32(value) : otherwise;
}

bool fdt_has_string(const struct fdt_node *node, const char *property, const char *text)
{
    uint32_t size, length;
    const char *value = fdt_property(node, property, &size);
    for (; value && size; value += length, size -= length) {
        length = (uint32_t)strnlen(value, size - 1) + 1;
        if (length == strlen(text) + 1 && !memcmp(value, text, length))
            return true;
    }
    return false;
}

bool fdt_reg(const struct fdt_node *node, uint32_t index, uint64_t *address, uint64_t *size)
{
    if (!node->parent)
        return false;
    uint32_t a = node->parent->address_cells, s = node->parent->size_cells, bytes;
    const uint8_t *value = fdt_property(node, "reg", &bytes);
    if (!value || a + s == 0 || bytes / 4 / (a + s) <= index)
        return false;
    value += (size_t)index * (a + s) * 4;
    *address = fdt_number(value, a);
    *size = fdt_number(value + a * 4, s);
    return true;
}

/* Fills the node whose name begins at *at. */
static bool begin_node(const uint8_t **at, struct fdt_node *node, const struct fdt_node *parent)
{
    size_t left = (size_t)(tree.structure_end - *at), length = strnlen((const char *)*at, left);
    if (length == left)
        return false;
    node->name = (const char *)*at;
    node->parent = parent;
    *at += (length + 4) & ~(size_t)3;
    node->properties = *at;
    node->address_cells = fdt_cell(node, "#address-cells", 2);
    node->size_cells = fdt_cell(node, "#size-cells", 1);
    return *at <= tree.structure_end;
}

bool fdt_walk(const void *blob, void (*visit)(const struct fdt_node *node))
{
    struct fdt_node open[DEPTH_MAX];
    struct property ignored;
    uint32_t depth = 0;
    if (!open_blob(blob))
        return false;
    for (const uint8_t *at = tree.structure;;) {
        switch (next_token(&at)) {
        case TOKEN_BEGIN:
            if (depth == DEPTH_MAX || !begin_node(&at, &open[depth], depth ? &open[depth - 1] : NULL))
                return false;
            visit(&open[depth++]);
            break;
        case TOKEN_END:
            if (depth == 0)
                return false;
            depth--;
            break;
        case TOKEN_PROPERTY:
            if (!read_property(&at, &ignored))
                return false;
            break;
        case TOKEN_NOTHING: break;
        case TOKEN_LAST: return depth == 0;
        default: return false;
        }
    }
}
