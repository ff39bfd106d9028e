/*
 * The body's small devices: memory, entropy, log, panic.
 */
#include "kernel/body.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

void *body_alloc(size_t size) { return malloc(size); }
void *body_realloc(void *block, size_t size) { return realloc(block, size); }
void body_free(void *block) { free(block); }

void body_random(void *buffer, size_t size)
{
    for (size_t got = 0; got < size;) {
        ssize_t n = getrandom((char *)buffer + got, size - got, 0);
        if (n > 0)
            got += (size_t)n;
    }
}

void body_log(const char *text, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, text, length);
        if (written <= 0)
            return;
        text += written;
        length -= (size_t)written;
    }
}

void body_panic(const char *text)
{
    body_log("hyla: panic: ", 13);
    body_log(text, strlen(text));
    body_log("\n", 1);
    abort();
}
