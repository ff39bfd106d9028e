/* A memobj whose pages a thread of the same program supplies: page-in, failure, write-back, truncation, idling, death. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

#define PAGE 4096u
#define PAGES 64u
#define USER (HYLA_RIGHT_READ | HYLA_RIGHT_WRITE | HYLA_RIGHT_RESIZE | HYLA_RIGHT_COPY)

static struct {
    hyla_handle_t port, pager, wake;
    pthread_t thread;
    char store[PAGES][PAGE]; /* what the pager has */
    atomic_uint asked, news, silent, bad_page;
    uint64_t size;
} file;

static void page_in(const struct hyla_msg *msg)
{
    struct hyla_page_run run = {.first = msg->words[2], .count = msg->words[3], .epoch = msg->words[4]};
    CHECK(msg->words[1] == 77 && run.count >= 1 && msg->words[5] >= 1 && msg->words[5] <= run.count);
    file.asked++;
    if (file.silent)
        return;
    if (run.first + run.count > PAGES) {
        CHECK(hyla_pager_supply(file.pager, &run, "", 0) >= 0);
        return;
    }
    for (uint64_t i = 0; i < run.count; i++) {
        struct hyla_page_run one = {.first = run.first + i, .count = 1, .epoch = run.epoch};
        if (one.first == file.bad_page)
            CHECK_IS(hyla_pager_fail(file.pager, &one, ENXIO), 0);
        else
            CHECK(hyla_pager_supply(file.pager, &one, file.store[one.first], PAGE) >= 0);
    }
}

static void write_back(void)
{
    static char bytes[2 * PAGE];
    struct hyla_page_run run;
    int64_t size;
    while ((size = hyla_pager_clean(file.pager, 0, UINT64_MAX, bytes, sizeof bytes, &run)) > 0) {
        for (uint64_t i = 0; i < run.count && run.first + i < PAGES; i++)
            memcpy(file.store[run.first + i], bytes + i * PAGE, PAGE);
        CHECK_IS(hyla_pager_cleaned(file.pager, &run, 0), 0);
    }
    CHECK_IS(size, 0);
}

static void look_at_news(void)
{
    struct hyla_pager_news news;
    CHECK_IS(hyla_pager_news(file.pager, &news), 0);
    file.news |= news.flags;
    if (news.flags & HYLA_NEWS_RESIZED) {
        CHECK(news.lowest <= news.size);
        for (uint64_t page = (news.lowest + PAGE - 1) / PAGE; page < PAGES; page++)
            memset(file.store[page], 0, PAGE);
        file.size = news.size;
    }
    if (news.flags & HYLA_NEWS_CLEAN)
        write_back();
}

static void *pager_thread(void *argument)
{
    (void)argument;
    for (;;) {
        struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = file.port};
        int64_t result = hyla_msg(&msg);
        if (result == -EINTR)
            continue;
        CHECK_IS(result, 0);
        if (msg.words[0] == 99)
            return NULL;
        if (msg.words[0] == HYLA_PAGER_PAGE_IN)
            page_in(&msg);
        else
            look_at_news();
    }
}

static void begin(void)
{
    file.bad_page = PAGES;
    file.port = HANDLE(hyla_port_create(16));
    file.wake = HANDLE(hyla_port_make_send(file.port, 5, 0));
    file.pager = HANDLE(hyla_pager_create(file.port, 77, PAGES * PAGE));
    for (unsigned i = 0; i < PAGES; i++)
        memset(file.store[i], 'a' + (int)i % 26, PAGE);
    CHECK(pthread_create(&file.thread, NULL, pager_thread, NULL) == 0);
}

static void end(void)
{
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND, .to = file.wake, .words = {99}};
    CHECK_IS(hyla_msg(&msg), 0);
    pthread_join(file.thread, NULL);
}

static void reading(hyla_handle_t memobj)
{
    static char bytes[PAGES * PAGE];
    CHECK_IS(hyla_memobj_read(memobj, 5 * PAGE + 10, bytes, 4), 4);
    CHECK(memcmp(bytes, "ffff", 4) == 0);
    CHECK_IS(hyla_memobj_read(memobj, 0, bytes, sizeof bytes), sizeof bytes);
    CHECK(memcmp(bytes, file.store, sizeof bytes) == 0);
    unsigned asked = file.asked;
    CHECK_IS(hyla_memobj_read(memobj, 0, bytes, sizeof bytes), sizeof bytes);
    CHECK(file.asked == asked && asked <= PAGES);
    CHECK_IS(hyla_pager_evict(file.pager, 0, UINT64_MAX, 0), PAGES);
    CHECK_IS(hyla_pager_evict(file.pager, 0, 4, HYLA_EVICT_DIRTY), -EINVAL);
}

static void failing(hyla_handle_t memobj)
{
    static char bytes[8 * PAGE];
    file.bad_page = 12;
    CHECK_IS(hyla_memobj_read(memobj, 12 * PAGE, bytes, 10), -ENXIO);
    CHECK_IS(hyla_memobj_read(memobj, 10 * PAGE, bytes, sizeof bytes), 2 * PAGE);
    file.bad_page = PAGES;
    CHECK_IS(hyla_memobj_read(memobj, 12 * PAGE, bytes, 10), 10);
    CHECK(bytes[0] == 'm');
}

static void writing(hyla_handle_t memobj)
{
    uint8_t flags[4];
    char bytes[8] = "";
    CHECK_IS(hyla_memobj_write(memobj, 20 * PAGE + 1, "hello", 5), 5);
    CHECK_IS(hyla_pager_query(file.pager, 19, flags, 4), 0);
    CHECK(flags[1] == (HYLA_PAGE_PRESENT | HYLA_PAGE_DIRTY | HYLA_PAGE_ACCESSED));
    CHECK_IS(hyla_pager_query(file.pager, UINT64_MAX, flags, 4), -EINVAL);
    CHECK_IS(hyla_pager_query(file.pager, 20, (void *)8, 4), -EFAULT);
    CHECK_IS(hyla_pager_clean(file.pager, 0, 64, (void *)8, PAGE, &(struct hyla_page_run){0}), -EFAULT);
    CHECK_IS(hyla_memobj_sync(memobj, 0, UINT64_MAX), 0);
    CHECK(memcmp(file.store[20], "uhellou", 7) == 0);
    CHECK(file.news & HYLA_NEWS_WRITTEN && file.news & HYLA_NEWS_CLEAN);
    CHECK_IS(hyla_pager_evict(file.pager, 20, 1, 0), 1);
    CHECK_IS(hyla_memobj_read(memobj, 20 * PAGE, bytes, 7), 7);
    CHECK(memcmp(bytes, "uhellou", 7) == 0);
}

static void cutting(hyla_handle_t memobj)
{
    char bytes[8] = "12345678";
    CHECK_IS(hyla_memobj_resize(memobj, 30 * PAGE + 3), 0);
    CHECK_IS(hyla_memobj_read(memobj, 30 * PAGE, bytes, 8), 3);
    CHECK_IS(hyla_memobj_resize(memobj, PAGES * PAGE), 0);
    CHECK_IS(hyla_memobj_read(memobj, 30 * PAGE, bytes, 8), 8);
    CHECK(memcmp(bytes, "eee\0\0\0\0", 8) == 0);
    CHECK_IS(hyla_memobj_read(memobj, 40 * PAGE, bytes, 8), 8);
    CHECK(memcmp(bytes, "\0\0\0\0\0\0\0", 8) == 0);
    CHECK(file.news & HYLA_NEWS_RESIZED && file.size == PAGES * PAGE);
}

static void moving(hyla_handle_t memobj)
{
    struct hyla_pager_news news;
    char bytes[8] = "";
    hyla_handle_t source = HANDLE(hyla_memobj_create(4 * PAGE));
    CHECK_IS(hyla_memobj_write(source, PAGE, "moved", 5), 5);
    CHECK_IS(hyla_pager_news(file.pager, &news), 0);
    CHECK_IS(hyla_pager_evict(file.pager, 50, 2, HYLA_EVICT_STALE) >= 0, 1);
    CHECK_IS(hyla_pager_news(file.pager, &news), 0);
    struct hyla_page_run run = {.first = 50, .count = 2, .epoch = news.epoch}, old = {.first = 52, .count = 1, .epoch = news.epoch - 1};
    CHECK_IS(hyla_pager_move(file.pager, &run, source, 1), 2);
    CHECK_IS(hyla_pager_supply(file.pager, &old, "late", 4), 0);
    CHECK_IS(hyla_memobj_read(source, PAGE, bytes, 1), 1);
    CHECK(bytes[0] == 0);
    CHECK_IS(hyla_memobj_read(memobj, 50 * PAGE, bytes, 6), 6);
    CHECK(memcmp(bytes, "moved", 6) == 0);
    CHECK_IS(hyla_pager_lock(file.pager, &run), 0);
    CHECK_IS(hyla_pager_lock(file.pager, &run), -EBUSY);
    CHECK_IS(hyla_pager_evict(file.pager, 50, 2, 0), 0);
    CHECK_IS(hyla_pager_unlock(file.pager, &run), 0);
    CHECK_IS(hyla_pager_evict(file.pager, 50, 2, 0), 2);
    CHECK_IS(hyla_handle_close(source), 0);
}

static void *reader(void *memobj)
{
    char byte;
    CHECK_IS(hyla_memobj_read(*(hyla_handle_t *)memobj, 60 * PAGE, &byte, 1), -EIO);
    return NULL;
}

static void dying(hyla_handle_t memobj)
{
    pthread_t thread;
    char byte;
    unsigned asked = file.asked;
    CHECK_IS(hyla_memobj_read(memobj, 2 * PAGE, &byte, 1), 1);
    file.silent = 1;
    CHECK(pthread_create(&thread, NULL, reader, &memobj) == 0);
    while (file.asked <= asked)
        hyla_sleep(1);
    end();
    CHECK_IS(hyla_handle_close(file.pager), 0);
    pthread_join(thread, NULL);
    CHECK_IS(hyla_memobj_read(memobj, 2 * PAGE, &byte, 1), 1);
    CHECK_IS(hyla_memobj_read(memobj, 3 * PAGE, &byte, 1), -EIO);
    CHECK_IS(hyla_memobj_write(memobj, 2 * PAGE, &byte, 1), -EIO);
}

static void odd_calls(void)
{
    struct hyla_page_run run = {.first = UINT64_MAX, .count = 2};
    hyla_handle_t pager = HANDLE(hyla_pager_create(file.port, 1, 10));
    CHECK_IS(hyla_pager_create(file.port, 1, UINT64_MAX), -EFBIG);
    CHECK_IS(hyla_pager_create(file.wake, 1, 1), -EACCES);
    CHECK_IS(hyla_pager_supply(pager, &run, "", 0), -EINVAL);
    CHECK_IS(hyla_pager_lock(pager, &run), -EINVAL);
    CHECK_IS(hyla_pager_unlock(pager, &run), -EINVAL);
    CHECK_IS(hyla_pager_fail(pager, &run, 0), 0);
    CHECK_IS(hyla_pager_supply(file.wake, &run, "", 0), -EINVAL);
    CHECK_IS(hyla_handle_close(pager), 0);
    /* its port goes first */
    hyla_handle_t port = HANDLE(hyla_port_create(0)), memobj;
    char byte;
    pager = HANDLE(hyla_pager_create(port, 1, 10));
    memobj = HANDLE(hyla_pager_memobj(pager, HYLA_RIGHT_ALL));
    CHECK_IS(hyla_handle_close(port), 0);
    CHECK_IS(hyla_memobj_read(memobj, 0, &byte, 1), -EIO);
    CHECK_IS(hyla_memobj_write(memobj, 0, "0123456789", 10), 10);
    CHECK_IS(hyla_handle_close(memobj), 0);
    CHECK_IS(hyla_handle_close(pager), 0);
}

int main(void)
{
    start_or_fail();
    begin();
    hyla_handle_t memobj = HANDLE(hyla_pager_memobj(file.pager, USER));
    reading(memobj);
    failing(memobj);
    writing(memobj);
    cutting(memobj);
    moving(memobj);
    odd_calls();
    CHECK_IS(hyla_handle_close(memobj), 0);
    while (!(file.news & HYLA_NEWS_IDLE))
        hyla_sleep(1);
    memobj = HANDLE(hyla_pager_memobj(file.pager, USER));
    dying(memobj);
    CHECK_IS(hyla_handle_close(memobj), 0);
    CHECK_IS(hyla_handle_close(file.wake), 0);
    CHECK_IS(hyla_handle_close(file.port), 0);
    puts("ok");
    return 0;
}
