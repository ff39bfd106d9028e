/*
 * The pages of simulated memobjs: a list of frames, each allocated (and failing to be) on its own.
 */
#include "body/sim/user.h"

#include "kernel/alloc.h"
#include "kernel/errno.h"
#include "kernel/memobj.h"
#include "kernel/string.h"

struct sim_memobj {
    struct sim_frame *frames;
};

struct sim_frame *sim_frame_find(struct sim_frame *list, uint64_t index)
{
    while (list && list->index != index)
        list = list->next;
    return list;
}

struct sim_frame *sim_frame_add(struct sim_frame **list, uint64_t index)
{
    struct sim_frame *frame = kalloc(sizeof(*frame));
    char *bytes = frame ? kzalloc(PAGE_SIZE) : NULL;
    if (!bytes) {
        kfree(frame);
        return NULL;
    }
    if (sim_frame_find(*list, index)) { /* another CPU was faster */
        kfree(bytes);
        kfree(frame);
        return sim_frame_find(*list, index);
    }
    *frame = (struct sim_frame){.next = *list, .index = index, .bytes = bytes};
    *list = frame;
    return frame;
}

static void forget_frame(const struct sim_frame *frame)
{
    for (uint32_t s = 0; s < SIM_STRANDS; s++) {
        sim_point(); /* until here, that CPU may still use the page */
        sim_buffer_drain(&sim.strands[s]);
        for (uint32_t i = 0; i < SIM_TLB_ENTRIES; i++)
            if (sim.strands[s].tlb[i].frame == frame)
                sim.strands[s].tlb[i].frame = NULL;
    }
}

void sim_frames_remove(struct sim_frame **list, uint64_t first, uint64_t count)
{
    while (*list) {
        struct sim_frame *frame = *list;
        if (frame->index - first >= count) {
            list = &frame->next;
            continue;
        }
        *list = frame->next;
        forget_frame(frame);
        kfree(frame->bytes);
        kfree(frame);
    }
}

int body_memobj_create(struct memobj *memobj)
{
    memobj->body = kzalloc(sizeof(struct sim_memobj));
    return memobj->body ? 0 : -ENOMEM;
}

void body_memobj_destroy(struct memobj *memobj)
{
    struct sim_memobj *pages = memobj->body;
    sim_frames_remove(&pages->frames, 0, UINT64_MAX);
    kfree(pages);
}

struct sim_frame *sim_memobj_frame(struct memobj *memobj, uint64_t index)
{
    struct sim_memobj *pages = memobj->body;
    struct sim_frame *frame = sim_frame_find(pages->frames, index);
    return frame ? frame : sim_frame_add(&pages->frames, index);
}

void *body_memobj_page(struct memobj *memobj, uint64_t index)
{
    struct sim_frame *frame = sim_memobj_frame(memobj, index);
    return frame ? frame->bytes : NULL;
}

bool body_memobj_present(struct memobj *memobj, uint64_t index)
{
    struct sim_memobj *pages = memobj->body;
    sim_point();
    return sim_frame_find(pages->frames, index);
}

uint64_t body_memobj_made(struct memobj *memobj, uint64_t first, uint64_t count)
{
    struct sim_memobj *pages = memobj->body;
    uint64_t made = 0;
    for (const struct sim_frame *frame = pages->frames; frame; frame = frame->next)
        made += frame->index - first < count;
    return made;
}

void body_memobj_punch(struct memobj *memobj, uint64_t first, uint64_t count)
{
    struct sim_memobj *pages = memobj->body;
    sim_frames_remove(&pages->frames, first, count);
}

int body_memobj_mappable(struct memobj *memobj UNUSED) { return 0; }

/* No frame of its own is a mapping's: what a CPU remembers is all there is. */
bool body_memobj_revoke(struct memobj *memobj, uint64_t first, uint64_t count, bool writes_only)
{
    struct sim_memobj *pages = memobj->body;
    for (uint64_t index = first; index < first + count; index++) {
        struct sim_frame *frame = sim_frame_find(pages->frames, index);
        for (uint32_t s = 0; frame && s < SIM_STRANDS; s++) {
            sim_point();
            sim_buffer_drain(&sim.strands[s]);
            for (uint32_t i = 0; i < SIM_TLB_ENTRIES; i++) {
                struct sim_tlb_entry *entry = &sim.strands[s].tlb[i];
                if (entry->frame == frame && writes_only)
                    entry->prot &= ~2u;
                else if (entry->frame == frame)
                    entry->frame = NULL;
            }
        }
    }
    return true;
}

/* There are no host files here. */
int64_t body_memobj_file_read(struct memobj *memobj UNUSED, void *buffer UNUSED, uint64_t offset UNUSED, size_t size UNUSED)
{
    return -EIO;
}

int64_t body_memobj_file_write(struct memobj *memobj UNUSED, const void *buffer UNUSED, uint64_t offset UNUSED,
                               size_t size UNUSED)
{
    return -EIO;
}
