/*
 * A file server's record, shared by serve.c (questions) and pages.c (contents on demand).
 */
#ifndef LIB_FS_SERVER_H
#define LIB_FS_SERVER_H

#include "lib/fs/message.h"

#include <pthread.h>

#define THREADS_DEFAULT 4u
#define THREADS_MAX 64u
#define MOUNTS_MAX 64u
#define PAGE_BUCKETS 1024u

struct pages {
    hyla_handle_t port; /* of the pagers; 0: none */
    bool own_open;      /* the server has an `open` of its own */
    bool running;
    pthread_t thread;
    struct hyla_file_ops ops; /* the server's own, beneath those that count */
    pthread_mutex_t mutex; /* guards: */
    struct page_file *buckets[PAGE_BUCKETS];
};

struct hyla_fs {
    struct hyla_file_ops ops;
    void *data;
    char label[32];
    hyla_handle_t port;
    pthread_t threads[THREADS_MAX];
    unsigned thread_count;
    struct pages pages;
    pthread_mutex_t mutex; /* guards: */
    hyla_handle_t mounts[MOUNTS_MAX]; /* send rights to those who attached; 0: free */
    bool stopped, watched;
};

/* pages.c: puts itself between. 0 or a negated errno. */
int pages_start(struct hyla_fs *fs);
void pages_stop(struct hyla_fs *fs); /* once */
void pages_end(struct hyla_fs *fs);

#endif
