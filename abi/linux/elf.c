/*
 * ELF files: reading and checking their headers, mapping their segments.
 *
 * The file is whatever a program wrote into it: every number is checked before it is used, and arithmetic that
 * could wrap is checked for it. What Linux refuses at once is refused in elf_open (ENOEXEC); what it finds out only
 * while mapping fails in elf_map, after the point of no return, as there.
 *
 * A segment whose file part ends inside a page has the rest of that page zeroed when it may be written; whole
 * pages beyond are anonymous. File pages are mapped privately over the file's memobj.
 */
#include "abi/linux/exec.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#include <arch/linux.h>

#define SEGMENTS_SIZE_MAX 65536u
#define INTERPRETER_NAME_MAX 4096u
enum { SEGMENT_EXECUTE = 1, SEGMENT_WRITE = 2, SEGMENT_READ = 4 };

/* --- headers ----------------------------------------------------------------------------------------- */

static int read_exactly(struct file *file, void *buffer, uint64_t offset, size_t size)
{
    if (offset > INT64_MAX - size)
        return -EINVAL;
    int64_t moved = file_read_kernel(file, buffer, size, offset);
    if (moved < 0)
        return (int)moved;
    return (size_t)moved == size ? 0 : -EIO;
}

static bool header_fits(const struct elf_header *header)
{
    static const uint8_t magic[4] = {0x7f, 'E', 'L', 'F'};
    uint32_t size = (uint32_t)header->phnum * sizeof(struct elf_segment);

    return !memcmp(header->ident, magic, sizeof magic) && (header->type == ELF_TYPE_EXEC || header->type == ELF_TYPE_DYN) &&
           header->machine == ARCH_ELF_MACHINE && header->phentsize == sizeof(struct elf_segment) && size > 0 &&
           size <= SEGMENTS_SIZE_MAX;
}

/* False when a segment cannot be in memory at all. */
static bool segment_possible(const struct elf_segment *segment)
{
    return segment->memory_size <= ARCH_USER_TOP && segment->file_size <= segment->memory_size &&
           segment->address <= ARCH_USER_TOP - segment->memory_size && segment->offset <= INT64_MAX - segment->file_size;
}

static void find_extent(struct elf_file *elf)
{
    uint64_t low = UINT64_MAX, high = 0;

    elf->low = elf->high = 0;
    for (uint32_t i = 0; i < elf->header.phnum; i++) {
        const struct elf_segment *segment = &elf->segments[i];
        if (segment->type != ELF_SEGMENT_LOAD)
            continue;
        if (!segment_possible(segment))
            return;
        low = min_u64(low, round_down(segment->address, PAGE_SIZE));
        high = max_u64(high, round_up(segment->address + segment->memory_size, PAGE_SIZE));
    }
    if (low < high) {
        elf->low = low;
        elf->high = high;
    }
}

int elf_open(struct elf_file *elf, struct file *file)
{
    *elf = (struct elf_file){.file = file};
    int error = read_exactly(file, &elf->header, 0, sizeof elf->header);
    if (error)
        return error;
    if (!header_fits(&elf->header) || !file->ops->map)
        return -ENOEXEC;
    size_t size = elf->header.phnum * sizeof(struct elf_segment);
    elf->segments = kalloc(size);
    if (!elf->segments)
        return -ENOMEM;
    if (read_exactly(file, elf->segments, elf->header.phoff, size))
        return -ENOEXEC;
    find_extent(elf);
    return 0;
}

void elf_close(struct elf_file *elf)
{
    kfree(elf->segments);
    if (elf->file)
        file_unref(elf->file);
    *elf = (struct elf_file){0};
}

static const struct elf_segment *find_segment(const struct elf_file *elf, uint32_t type)
{
    for (uint32_t i = 0; i < elf->header.phnum; i++) {
        if (elf->segments[i].type == type)
            return &elf->segments[i];
    }
    return NULL;
}

int elf_interpreter(struct elf_file *elf, char **name)
{
    const struct elf_segment *segment = find_segment(elf, ELF_SEGMENT_INTERPRETER);

    *name = NULL;
    if (!segment)
        return 0;
    if (segment->file_size > INTERPRETER_NAME_MAX || segment->file_size < 2)
        return -ENOEXEC;
    char *text = kalloc(segment->file_size);
    if (!text)
        return -ENOMEM;
    int error = read_exactly(elf->file, text, segment->offset, segment->file_size);
    if (!error && text[segment->file_size - 1] != '\0')
        error = -ENOEXEC;
    if (error)
        kfree(text);
    else
        *name = text;
    return error;
}

bool elf_wants_executable_stack(const struct elf_file *elf)
{
    const struct elf_segment *segment = find_segment(elf, ELF_SEGMENT_STACK);

    return segment && (segment->flags & SEGMENT_EXECUTE);
}

uaddr_t elf_headers_address(const struct elf_file *elf)
{
    const struct elf_segment *headers = find_segment(elf, ELF_SEGMENT_HEADERS);

    if (headers)
        return headers->address + elf->bias;
    for (uint32_t i = 0; i < elf->header.phnum; i++) {
        const struct elf_segment *segment = &elf->segments[i];
        if (segment->type == ELF_SEGMENT_LOAD && segment->offset <= elf->header.phoff &&
            elf->header.phoff < segment->offset + segment->file_size)
            return elf->header.phoff - segment->offset + segment->address + elf->bias;
    }
    return 0;
}

/* --- mapping ----------------------------------------------------------------------------------------- */

struct mapping {
    struct elf_file *elf;
    struct aspace *aspace;
    struct memobj *memobj;
    uint32_t flags; /* of every map request */
};

static uint32_t protection(const struct elf_segment *segment)
{
    return (segment->flags & SEGMENT_READ ? PROT_READ_BIT : 0) | (segment->flags & SEGMENT_WRITE ? PROT_WRITE_BIT : 0) |
           (segment->flags & SEGMENT_EXECUTE ? PROT_EXEC_BIT : 0);
}

static int map_file_part(const struct mapping *mapping, const struct elf_segment *segment, uaddr_t address)
{
    uint64_t in_page = address % PAGE_SIZE;
    struct aspace_map_request request = {
        .address = address - in_page,
        .size = round_up(segment->file_size + in_page, PAGE_SIZE),
        .prot = protection(segment),
        .flags = mapping->flags,
        .memobj = mapping->memobj,
        .offset = segment->offset - in_page,
        .owner = &mapping->elf->file->object,
    };
    uaddr_t mapped;

    if (segment->offset < in_page || request.offset % PAGE_SIZE)
        return -EINVAL;
    return aspace_map(mapping->aspace, &request, &mapped);
}

static int map_zero_part(const struct mapping *mapping, const struct elf_segment *segment, uaddr_t start, uaddr_t end)
{
    struct aspace_map_request request = {
        .address = start, .size = end - start, .prot = protection(segment), .flags = mapping->flags};
    uaddr_t mapped;

    return start < end ? aspace_map(mapping->aspace, &request, &mapped) : 0;
}

/* The rest of the page that the file part ends in. */
static int zero_tail(const struct mapping *mapping, const struct elf_segment *segment, uaddr_t from)
{
    uint64_t size = round_up(from, PAGE_SIZE) - from;

    if (!size || segment->memory_size == segment->file_size || !(segment->flags & SEGMENT_WRITE))
        return 0;
    uint8_t *zeros = kzalloc(size);
    if (!zeros)
        return -ENOMEM;
    size_t moved = body_copy_out(mapping->aspace, from, zeros, size);
    kfree(zeros);
    return moved == size ? 0 : -EFAULT;
}

static int map_segment(const struct mapping *mapping, const struct elf_segment *segment)
{
    uaddr_t address = segment->address + mapping->elf->bias;
    uaddr_t file_end = address + segment->file_size;
    uaddr_t zero_start = segment->file_size ? round_up(file_end, PAGE_SIZE) : round_down(address, PAGE_SIZE);
    int error = segment->file_size ? map_file_part(mapping, segment, address) : 0;

    if (!error)
        error = map_zero_part(mapping, segment, zero_start, round_up(address + segment->memory_size, PAGE_SIZE));
    if (!error && segment->file_size)
        error = zero_tail(mapping, segment, file_end);
    return error;
}

int elf_map(struct elf_file *elf, struct aspace *aspace, bool replace)
{
    struct mapping mapping = {.elf = elf, .aspace = aspace};
    bool first = true;
    int error;

    if (elf->low == elf->high)
        return -EINVAL;
    error = elf->file->ops->map(elf->file, PROT_READ_BIT | PROT_EXEC_BIT, false, &mapping.memobj);
    for (uint32_t i = 0; i < elf->header.phnum && !error; i++) {
        if (elf->segments[i].type != ELF_SEGMENT_LOAD)
            continue;
        /* Segments may overlap each other by a page, never what was there before. */
        mapping.flags = REGION_MAY_WRITE | (first && !replace ? ASPACE_FIXED_NOREPLACE : ASPACE_FIXED);
        error = map_segment(&mapping, &elf->segments[i]);
        first = false;
    }
    object_unref(mapping.memobj);
    return error;
}
