/*
 * Fuzzes the kernel's program loader: real ELF files with a few bytes changed, where it hurts most, are executed. Each
 * either starts (and does anything), or is refused with an error; the kernel and the companion go on.
 */
#include "hostile.h"

#include <elf.h>

#define ELF_SIZE_MAX (4u << 20)

static unsigned char original[ELF_SIZE_MAX], image[ELF_SIZE_MAX];

static size_t read_all(const char *path)
{
    int fd = open(path, O_RDONLY);
    size_t size = 0;
    ssize_t got;
    while (fd >= 0 && size < ELF_SIZE_MAX && (got = read(fd, original + size, ELF_SIZE_MAX - size)) > 0)
        size += (size_t)got;
    close(fd);
    return size;
}

static void put(size_t at, size_t size, uint64_t value)
{
    memcpy(image + at, &value, size);
}

/* A field of the file header, a field of a program header, or a byte anywhere in the first pages. */
static void mutate_once(uint64_t *seed)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)original;
    uint64_t what = random_next(seed), value = random_argument(seed);
    size_t segment = header->e_phoff + what / 8 % (header->e_phnum ? header->e_phnum : 1) * sizeof(Elf64_Phdr);
    switch (what % 8) {
    case 0: put(what / 8 % sizeof(Elf64_Ehdr), 1, value); break;
    case 1: put(offsetof(Elf64_Ehdr, e_entry) + what / 8 % 3 * 8, 8, value); break;
    case 2: put(offsetof(Elf64_Ehdr, e_ehsize) + what / 8 % 6 * 2, 2, value); break;
    case 3: put(segment + what / 1024 % 2 * 4, 4, what & 4096 ? value % 8 : value); break;
    case 4:
    case 5: put(segment + 8 + what / 1024 % 6 * 8, 8, value); break;
    case 6: { /* a little off */
        uint64_t old;
        size_t at = segment + 8 + what / 1024 % 6 * 8;
        memcpy(&old, image + at, 8);
        put(at, 8, old + value % 8192 - 4096);
        break;
    }
    default: put(what / 8 % 8192, 1, value); break;
    }
}

static size_t mutate(uint64_t *seed, size_t size)
{
    memcpy(image, original, size);
    for (uint64_t left = 1 + random_next(seed) % 4; left > 0; left--)
        mutate_once(seed);
    return random_next(seed) % 16 ? size : random_next(seed) % size; /* cut off */
}

static void execute(const char *path)
{
    char *argv[] = {(char *)"fuzzed", NULL}, *envp[] = {NULL};
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    for (int fd = 3; fd < 64; fd++)
        close(fd);
    alarm(2);
    execve(path, argv, envp);
    _exit(99);
}

/* Words: the files to begin with. Prints how many started. */
int attack_elf(const struct attack *attack)
{
    uint64_t seed = attack->seed, until = clock_ms() + attack->seconds * 1000;
    unsigned tried = 0, started = 0;
    for (char **next = attack->extra; clock_ms() < until; next = next[1] ? next + 1 : attack->extra) {
        char path[64];
        int status;
        size_t size = read_all(*next);
        MUST(size > 8192 + sizeof(Elf64_Ehdr));
        size = mutate(&seed, size);
        snprintf(path, sizeof path, "/tmp/hostile-elf-%u", tried % 2);
        unlink(path);
        int fd = open(path, O_CREAT | O_WRONLY, 0700);
        MUST(fd >= 0 && write(fd, image, size) == (ssize_t)size && close(fd) == 0);
        pid_t pid = fork();
        MUST(pid >= 0);
        if (pid == 0)
            execute(path);
        end_within(pid, 1000, &status);
        tried++;
        started += !(WIFEXITED(status) && WEXITSTATUS(status) == 99);
    }
    printf("elf: %u tried, %u started\n", tried, started);
    return 0;
}
