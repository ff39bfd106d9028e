/*
 * Mapping the vDSO. Its image travels inside the kernel (vdso/); all programs share its pages.
 */
#include "body/riscv64/vdso.h"

#include "kernel/assert.h"
#include "kernel/aspace.h"
#include "kernel/paging/paging.h"
#include "kernel/string.h"

#define VDSO_PAGES 2u

extern const unsigned char vdso_image[];
extern const size_t vdso_image_size;

static void *pages[VDSO_PAGES];

void vdso_init(void)
{
    KASSERT(vdso_image_size <= sizeof pages / sizeof *pages * PAGE_SIZE);
    for (uint32_t i = 0; i < VDSO_PAGES; i++) {
        size_t offset = (size_t)i * PAGE_SIZE, left = vdso_image_size > offset ? vdso_image_size - offset : 0;
        pages[i] = page_alloc();
        if (!pages[i])
            panic("no memory for the vDSO");
        memset(pages[i], 0, PAGE_SIZE);
        memcpy(pages[i], vdso_image + offset, left < PAGE_SIZE ? left : PAGE_SIZE);
    }
}

int vdso_map(struct aspace *aspace)
{
    const uint32_t prot = PROT_READ_BIT | PROT_EXEC_BIT;
    uaddr_t start = aspace->ceiling - VDSO_PAGES * PAGE_SIZE;
    int error = aspace_add_body_region(aspace, start, VDSO_PAGES * PAGE_SIZE, prot, "[vdso]");
    aspace->ceiling = aspace->high = start - PAGE_SIZE;
    mutex_lock(&aspace->mutex);
    for (uint32_t i = 0; i < VDSO_PAGES && !error; i++) {
        page_ref(pages[i]);
        error = translation_set(aspace, start + i * PAGE_SIZE, pages[i], prot, false);
    }
    mutex_unlock(&aspace->mutex);
    return error;
}
