/*
 * Many processes or threads that wait, for counting what each costs the server.
 *
 *     crowd processes N | threads N      prints "ready" when all are there, ends when its input does
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *wait_forever(void *unused)
{
    pause();
    return unused;
}

int main(int argc, char **argv)
{
    int count = argc > 2 ? atoi(argv[2]) : 0, ends[2];
    char byte;
    if (pipe(ends))
        return 1;
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        if (!strcmp(argv[1], "threads")) {
            if (pthread_create(&thread, NULL, wait_forever, NULL))
                return 1;
        } else if (!fork()) {
            close(ends[1]);
            _exit(read(ends[0], &byte, 1) != 0); /* until the first process ends */
        }
    }
    puts("ready");
    fflush(stdout);
    return read(0, &byte, 1) != 0;
}
