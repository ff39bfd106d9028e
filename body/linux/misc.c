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

static void say(const char *text, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, text, length);
        if (written <= 0)
            return;
        text += written;
        length -= (size_t)written;
    }
}

/* One line of the command's: kernel code gives the text alone. */
void body_log(const char *text, size_t length)
{
    say("hyla: ", 6);
    say(text, length);
    say("\n", 1);
}

void body_panic(const char *text)
{
    say("hyla: panic: ", 13);
    say(text, strlen(text));
    say("\n", 1);
    abort();
}
