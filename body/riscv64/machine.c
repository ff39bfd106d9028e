/*
 * From the device tree to struct machine.
 *
 * Harts without a known address (more than MACHINE_HARTS_MAX, or disabled) are left alone. What is missing stays zero
 * and whoever needs it says so.
 */
#include "body/riscv64/machine.h"

#include "body/riscv64/fdt.h"
#include "kernel/string.h"

struct machine machine = {.arguments = "", .sstc = true};

static void add_range(struct machine_range *ranges, uint32_t *count, uint64_t start, uint64_t size)
{
    if (size && *count < MACHINE_RANGES_MAX)
        ranges[(*count)++] = (struct machine_range){start, size};
}

static void read_ranges(const struct fdt_node *node, struct machine_range *ranges, uint32_t *count)
{
    uint64_t address, size;
    for (uint32_t i = 0; fdt_reg(node, i, &address, &size); i++)
        add_range(ranges, count, address, size);
}

static void read_device(const struct fdt_node *node, struct machine_device *device)
{
    if (device->size || !fdt_reg(node, 0, &device->address, &device->size))
        return;
    device->interrupt = fdt_cell(node, "interrupts", 0);
}

static bool available(const struct fdt_node *node)
{
    return !fdt_property(node, "status", NULL) || fdt_has_string(node, "status", "okay") || fdt_has_string(node, "status", "ok");
}

/* --- harts ------------------------------------------------------------------------------------------- */

/* An extension of more than one letter in an ISA string: between underscores. */
static bool isa_has(const char *isa, const char *extension)
{
    size_t length = strlen(extension);
    for (const char *at = strchr(isa, '_'); at; at = strchr(at + 1, '_'))
        if (!strncmp(at + 1, extension, length) && (at[1 + length] == '_' || !at[1 + length]))
            return true;
    return false;
}

static void read_hart(const struct fdt_node *node)
{
    uint64_t id, size;
    const char *isa = fdt_property(node, "riscv,isa", NULL);
    if (!available(node) || machine.hart_count == MACHINE_HARTS_MAX || !fdt_reg(node, 0, &id, &size))
        return;
    machine.hart_ids[machine.hart_count++] = id;
    if (!isa || !isa_has(isa, "sstc"))
        machine.sstc = false;
}

/* The interrupt controller inside a hart's node: the node came just before. */
static void read_hart_controller(const struct fdt_node *node)
{
    uint64_t id, size;
    if (!fdt_reg(node->parent, 0, &id, &size))
        return;
    for (uint32_t i = 0; i < machine.hart_count; i++)
        if (machine.hart_ids[i] == id)
            machine.hart_phandles[i] = fdt_cell(node, "phandle", 0);
}

/* --- the interrupt controller -------------------------------------------------------------------------- */

/* interrupts-extended lists (hart controller, cause) per context: supervisor external interrupts are cause 9. */
static void read_plic(const struct fdt_node *node)
{
    uint32_t size = 0;
    const uint8_t *pairs = fdt_property(node, "interrupts-extended", &size);
    read_device(node, &machine.plic);
    machine.plic_sources = fdt_cell(node, "riscv,ndev", 0);
    for (uint32_t context = 0; pairs && context < size / 8; context++) {
        uint64_t phandle = fdt_number(pairs + context * 8, 1), cause = fdt_number(pairs + context * 8 + 4, 1);
        for (uint32_t i = 0; i < machine.hart_count; i++)
            if (machine.hart_phandles[i] == phandle && cause == 9)
                machine.plic_contexts[i] = context;
    }
}

/* --- the rest ------------------------------------------------------------------------------------------ */

static void read_chosen(const struct fdt_node *node)
{
    uint32_t size;
    const char *arguments = fdt_property(node, "bootargs", &size);
    if (arguments && size && !arguments[size - 1])
        machine.arguments = arguments;
    const void *start = fdt_property(node, "linux,initrd-start", &size);
    machine.initrd_start = start ? fdt_number(start, size / 4) : 0;
    const void *end = fdt_property(node, "linux,initrd-end", &size);
    machine.initrd_end = end ? fdt_number(end, size / 4) : 0;
    machine.seed = fdt_property(node, "rng-seed", &machine.seed_size);
}

static void read_uart(const struct fdt_node *node)
{
    read_device(node, &machine.uart);
    machine.uart_shift = fdt_cell(node, "reg-shift", 0);
    machine.uart_width = fdt_cell(node, "reg-io-width", 1);
}

static void visit_harts(const struct fdt_node *node)
{
    if (!strcmp(node->name, "cpus"))
        machine.timebase_hz = fdt_cell(node, "timebase-frequency", 0);
    else if (fdt_has_string(node, "device_type", "cpu"))
        read_hart(node);
    else if (node->parent && fdt_compatible(node, "riscv,cpu-intc"))
        read_hart_controller(node);
}

static void visit(const struct fdt_node *node)
{
    if (!node->parent) {
        uint32_t size;
        const char *model = fdt_property(node, "model", &size);
        format(machine.model, sizeof machine.model, "%s", model ? model : "unknown");
    } else if (fdt_has_string(node, "device_type", "memory")) {
        read_ranges(node, machine.memory, &machine.memory_count);
    } else if (!strcmp(node->parent->name, "reserved-memory")) {
        read_ranges(node, machine.reserved, &machine.reserved_count);
    } else if (fdt_compatible(node, "riscv,plic0") || fdt_compatible(node, "sifive,plic-1.0.0")) {
        read_plic(node);
    } else if (!strcmp(node->name, "chosen")) {
        read_chosen(node);
    } else if (fdt_compatible(node, "ns16550a") || fdt_compatible(node, "ns16550")) {
        read_uart(node);
    } else if (fdt_compatible(node, "virtio,mmio")) {
        if (machine.virtio_count < MACHINE_VIRTIO_MAX)
            read_device(node, &machine.virtio[machine.virtio_count++]);
    } else if (fdt_compatible(node, "sifive,test0")) {
        read_device(node, &machine.test);
    } else if (fdt_compatible(node, "google,goldfish-rtc")) {
        read_device(node, &machine.clock);
    }
}

bool machine_read(const void *blob, uint64_t physical)
{
    if (!fdt_walk(blob, visit_harts) || !fdt_walk(blob, visit)) /* the interrupt controller's contexts name the harts */
        return false;
    add_range(machine.reserved, &machine.reserved_count, physical, fdt_size(blob));
    add_range(machine.reserved, &machine.reserved_count, machine.initrd_start, machine.initrd_end - machine.initrd_start);
    return true;
}

int32_t machine_argument(const char *name, const char **value)
{
    size_t length = strlen(name);
    const char *at = machine.arguments;
    while (*at) {
        while (*at == ' ')
            at++;
        size_t size = 0;
        while (at[size] && at[size] != ' ')
            size++;
        if (size == 2 && at[0] == '-' && at[1] == '-')
            return -1;
        if (size >= length && !strncmp(at, name, length) && (size == length || at[length] == '=')) {
            *value = at + length + (size > length);
            return (int32_t)(size > length ? size - length - 1 : 0);
        }
        at += size;
    }
    return -1;
}
