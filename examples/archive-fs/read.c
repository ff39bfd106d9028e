/*
 * Readers: each has the archive open and stands in one entry at some byte. A question goes to the one that gets there by going on,
 * the nearest; when there is none, to the one that was used longest ago, which begins anew. So files that are read from front to
 * back in any order of their beginnings, a few at once, cost no more than one pass for each.
 */
#include "examples/archive-fs/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { READERS = 4 };

struct reader {
    pthread_mutex_t busy; /* held while it reads */
    struct archive *archive; /* NULL: not begun */
    void *position;
    /* written with busy and `mutex` held, so that either is enough to look */
    uint64_t entry, offset; /* where it stands */
    uint64_t used;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct reader readers[READERS] = {
    {.busy = PTHREAD_MUTEX_INITIALIZER}, {.busy = PTHREAD_MUTEX_INITIALIZER}, {.busy = PTHREAD_MUTEX_INITIALIZER}, {.busy = PTHREAD_MUTEX_INITIALIZER},
};
static uint64_t turn;
int archive_fd = 3;

static bool reaches(const struct reader *reader, uint64_t entry, uint64_t offset)
{
    return reader->archive && (reader->entry < entry || (reader->entry == entry && reader->offset <= offset));
}

/* How much better a is than b; both reach. */
static bool nearer(const struct reader *a, const struct reader *b)
{
    return a->entry > b->entry || (a->entry == b->entry && a->offset > b->offset);
}

static struct reader *choose(uint64_t entry, uint64_t offset)
{
    struct reader *best = NULL, *oldest = &readers[0];
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < READERS; i++) {
        struct reader *reader = &readers[i];
        if (reaches(reader, entry, offset) && (!best || nearer(reader, best)))
            best = reader;
        if (reader->used < oldest->used)
            oldest = reader;
    }
    /* One that stands in another entry is worth keeping there while others are unused. */
    if (!best || (best->entry != entry && !oldest->archive))
        best = oldest;
    best->used = ++turn;
    pthread_mutex_unlock(&mutex);
    pthread_mutex_lock(&best->busy);
    return best;
}

static void stand(struct reader *reader, uint64_t entry, uint64_t offset)
{
    pthread_mutex_lock(&mutex);
    reader->entry = entry;
    reader->offset = offset;
    pthread_mutex_unlock(&mutex);
}

static void forget(struct reader *reader)
{
    if (reader->archive)
        archive_end(reader->archive, reader->position);
    pthread_mutex_lock(&mutex);
    reader->archive = NULL;
    pthread_mutex_unlock(&mutex);
    stand(reader, 0, 0);
}

static int begin(struct reader *reader)
{
    struct archive *archive = archive_begin(archive_fd, &reader->position);
    pthread_mutex_lock(&mutex);
    reader->archive = archive;
    pthread_mutex_unlock(&mutex);
    stand(reader, 0, 0);
    return archive ? 0 : -EIO;
}

static int go_to_entry(struct reader *reader, uint64_t entry)
{
    struct archive_entry *header;
    while (reader->entry < entry) {
        int result = archive_read_next_header(reader->archive, &header);
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN && result != ARCHIVE_RETRY)
            return -EIO;
        stand(reader, reader->entry + 1, 0);
    }
    return 0;
}

/* Bytes from where it stands; `to` NULL: passed over. */
static int64_t read_on(struct reader *reader, char *to, uint64_t size)
{
    static _Thread_local char nowhere[65536];
    uint64_t done = 0;
    while (done < size) {
        uint64_t part = !to && size - done > sizeof nowhere ? sizeof nowhere : size - done;
        la_ssize_t got = archive_read_data(reader->archive, to ? to + done : nowhere, part);
        if (got == ARCHIVE_RETRY)
            continue;
        if (got < 0)
            return -EIO;
        if (got == 0)
            break;
        done += (uint64_t)got;
        stand(reader, reader->entry, reader->offset + (uint64_t)got);
    }
    return (int64_t)done;
}

static int64_t read_at(struct reader *reader, uint64_t entry, uint64_t offset, char *to, uint64_t size)
{
    int64_t result = 0;
    if (!reaches(reader, entry, offset)) {
        forget(reader);
        result = begin(reader);
    }
    if (!result)
        result = go_to_entry(reader, entry);
    if (!result && reader->offset < offset) {
        uint64_t wanted = offset - reader->offset;
        result = read_on(reader, NULL, wanted);
        result = result < 0 ? result : (uint64_t)result < wanted ? -EIO : 0;
    }
    return result ? result : read_on(reader, to, size);
}

int64_t entry_read(uint64_t entry, uint64_t offset, void *to, uint64_t size)
{
    struct reader *reader = choose(entry, offset);
    int64_t result = read_at(reader, entry, offset, to, size);
    if (result < 0)
        forget(reader); /* it stands nowhere */
    pthread_mutex_unlock(&reader->busy);
    return result;
}
