/* mremap: growing, shrinking, moving, moving onto, leaving behind, duplicating. */
#include "memory_check.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static void fill(char *area, int pages)
{
    for (int i = 0; i < pages; i++)
        area[i * PAGE] = (char)(i + 1);
}

static bool filled(const char *area, int pages)
{
    for (int i = 0; i < pages; i++)
        if (area[i * PAGE] != (char)(i + 1))
            return false;
    return true;
}

static void in_place(void)
{
    char *area = map_pages(8, READ_WRITE), *result;
    fill(area, 8);
    result = mremap(area, 8 * PAGE, 4 * PAGE, 0);
    CHECK(result == area && filled(area, 4) && fault_of(area + 4 * PAGE, false) == SIGSEGV);
    result = mremap(area, 4 * PAGE, 6 * PAGE, 0);
    CHECK(result == area && filled(area, 4) && area[5 * PAGE] == 0 && fault_of(area + 6 * PAGE, false) == SIGSEGV);
    CHECK(mremap(area, 6 * PAGE, 6 * PAGE, 0) == area);
    CHECK(munmap(area, 6 * PAGE) == 0);
}

static void moves(void)
{
    char *area = map_pages(8, READ_WRITE), *result;
    fill(area, 8);
    CHECK_ERROR(mremap(area, 4 * PAGE, 16 * PAGE, 0), ENOMEM); /* its own second half is in the way */
    result = mremap(area, 4 * PAGE, 16 * PAGE, MREMAP_MAYMOVE);
    CHECK(result != MAP_FAILED && result != area && filled(result, 4) && result[15 * PAGE] == 0);
    CHECK(fault_of(area, false) == SIGSEGV && area[4 * PAGE] == 5);
    CHECK(munmap(area, 8 * PAGE) == 0 && munmap(result, 16 * PAGE) == 0);
}

static void fixed(void)
{
    char *area = map_pages(4, READ_WRITE), *target = map_pages(8, READ_WRITE), *result;
    fill(area, 4);
    memset(target, 77, 8 * PAGE);
    CHECK_ERROR(mremap(area, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, area + PAGE), EINVAL);
    CHECK_ERROR(mremap(area, 4 * PAGE, 4 * PAGE, MREMAP_FIXED, target), EINVAL);
    CHECK_ERROR(mremap(area, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target + 1), EINVAL);
    result = mremap(area, 4 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target + PAGE);
    CHECK(result == target + PAGE && filled(result, 2) && target[0] == 77 && target[3 * PAGE] == 77);
    CHECK(fault_of(area, false) == SIGSEGV && fault_of(area + 3 * PAGE, false) == SIGSEGV);
    CHECK(munmap(target, 8 * PAGE) == 0);
}

static void keeps_old(void)
{
    char *area = map_pages(4, READ_WRITE), *result;
    fill(area, 4);
    CHECK_ERROR(mremap(area, 4 * PAGE, 5 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL), EINVAL);
    CHECK_ERROR(mremap(area, 4 * PAGE, 4 * PAGE, MREMAP_DONTUNMAP, NULL), EINVAL);
    result = mremap(area, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    CHECK(result != MAP_FAILED && result != area && filled(result, 4));
    CHECK(area[0] == 0 && area[3 * PAGE] == 0 && fault_of(area, true) == 0);
    CHECK(munmap(area, 4 * PAGE) == 0 && munmap(result, 4 * PAGE) == 0);
}

static void duplicates(void)
{
    char *area = mmap(NULL, 4 * PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *second;
    char *private = map_pages(1, READ_WRITE);
    CHECK(area != MAP_FAILED);
    fill(area, 4);
    second = mremap(area + PAGE, 0, 2 * PAGE, MREMAP_MAYMOVE);
    CHECK(second != MAP_FAILED && second[0] == 2 && second[PAGE] == 3);
    second[0] = 55;
    CHECK(area[PAGE] == 55);
    CHECK_ERROR(mremap(private, 0, PAGE, MREMAP_MAYMOVE), EINVAL);
    CHECK(munmap(area, 4 * PAGE) == 0 && munmap(second, 2 * PAGE) == 0 && munmap(private, PAGE) == 0);
}

static void errors(void)
{
    char *area = map_pages(4, READ_WRITE);
    CHECK_ERROR(mremap(area + 1, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EINVAL);
    CHECK_ERROR(mremap(area, PAGE, 0, MREMAP_MAYMOVE), EINVAL);
    CHECK_ERROR(mremap(area, PAGE, PAGE, 64), EINVAL);
    CHECK(munmap(area, 4 * PAGE) == 0);
    CHECK_ERROR(mremap(area, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EFAULT);
}

/* A big block moves by its mappings, whatever was split and protected in between. */
static void many_times(void)
{
    size_t pages = 1;
    char *area = map_pages(pages, READ_WRITE);
    area[0] = 1;
    for (int i = 1; i < 200; i++) {
        area = mremap(area, pages * PAGE, (pages + 1) * PAGE, MREMAP_MAYMOVE);
        CHECK(area != MAP_FAILED);
        area[pages * PAGE] = (char)(pages + 1);
        pages++;
        if (i % 20 == 0) {
            CHECK(mprotect(area, PAGE, PROT_READ) == 0);
            CHECK(mprotect(area, PAGE, READ_WRITE) == 0);
        }
    }
    CHECK(filled(area, (int)pages));
    CHECK(munmap(area, pages * PAGE) == 0);
}

int main(void)
{
    in_place();
    moves();
    fixed();
    keeps_old();
    duplicates();
    errors();
    many_times();
    return 0;
}
