/*
 * One file, exercised at random and checked against a model: reads, writes, appends, mappings, truncation, holes, copies, and
 * closing and opening again.    file_exerciser FILE [OPERATIONS [SEED]]
 *
 * The model is a plain array of what the file must hold. Each operation's result and bytes are compared at once; at the end, and now and
 * then, the whole file is. When something differs, the operations before it are printed; the same seed does the same again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SIZE_MAX_ = 300000, HISTORY = 12, PAGE = 4096 };

static uint8_t model[SIZE_MAX_], buffer[SIZE_MAX_ + PAGE];
static size_t size; /* of the file */
static uint64_t state, operation, unsupported;
static const char *name;
static int fd;
static char history[HISTORY][96];

static uint32_t draw(uint32_t bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % bound;
}

static void fail(const char *what, uint64_t at)
{
    fprintf(stderr, "operation %llu: %s (at %llu, errno %d: %s)\n", (unsigned long long)operation, what, (unsigned long long)at, errno, strerror(errno));
    for (uint64_t i = operation >= HISTORY ? operation - HISTORY + 1 : 0; i <= operation; i++)
        fprintf(stderr, "  %s\n", history[i % HISTORY]);
    exit(1);
}

static void note(const char *what, size_t offset, size_t length)
{
    snprintf(history[operation % HISTORY], sizeof history[0], "%llu: %s at %zu, %zu bytes, file %zu", (unsigned long long)operation, what, offset, length, size);
}

static void compare(const uint8_t *got, size_t offset, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (got[i] != model[offset + i])
            fail("a byte differs", offset + i);
}

/* Mostly short, sometimes at page boundaries, now and then long. */
static size_t draw_length(void)
{
    switch (draw(8)) {
    case 0: return draw(3 * PAGE) + 1;
    case 1: return PAGE;
    case 2: return draw(70000) + 1;
    default: return draw(600) + 1;
    }
}

static size_t draw_offset(size_t limit)
{
    size_t offset = draw((uint32_t)limit + 1);
    return draw(4) ? offset : offset / PAGE * PAGE;
}

static void draw_bytes(size_t length)
{
    uint32_t word = draw(UINT32_MAX);
    for (size_t i = 0; i < length; i++)
        buffer[i] = (uint8_t)(word + i * 7 + (i >> 8));
}

/* What the model has written: the file grows by zeros up to it. */
static void model_write(size_t offset, size_t length)
{
    if (offset > size)
        memset(model + size, 0, offset - size);
    memcpy(model + offset, buffer, length);
    if (offset + length > size)
        size = offset + length;
}

/* --- operations -------------------------------------------------------------------------------------- */

static void do_read(void)
{
    size_t offset = draw_offset(SIZE_MAX_ - 1), length = draw_length(), there = offset < size ? size - offset : 0;
    size_t wanted = length < there ? length : there;
    note("pread", offset, length);
    if (pread(fd, buffer, length, (off_t)offset) != (ssize_t)wanted)
        fail("pread's result", offset);
    compare(buffer, offset, wanted);
}

static void do_write(void)
{
    size_t offset = draw_offset(draw(3) ? size : SIZE_MAX_ - 1), length = draw_length();
    if (offset + length > SIZE_MAX_)
        length = SIZE_MAX_ - offset;
    note("pwrite", offset, length);
    draw_bytes(length);
    if (length && pwrite(fd, buffer, length, (off_t)offset) != (ssize_t)length)
        fail("pwrite's result", offset);
    if (length)
        model_write(offset, length);
}

static void do_writev(void)
{
    size_t offset = draw_offset(size), length = draw_length();
    if (offset + length > SIZE_MAX_)
        length = SIZE_MAX_ - offset;
    size_t cut = draw((uint32_t)length + 1);
    struct iovec parts[2] = {{buffer, cut}, {buffer + cut, length - cut}};
    note("pwritev", offset, length);
    draw_bytes(length);
    if (pwritev(fd, parts, 2, (off_t)offset) != (ssize_t)length)
        fail("pwritev's result", offset);
    if (length)
        model_write(offset, length);
}

static void do_append(void)
{
    size_t length = draw_length();
    if (size + length > SIZE_MAX_)
        return note("nothing", 0, 0);
    int appending = open(name, O_WRONLY | O_APPEND);
    note("append", size, length);
    draw_bytes(length);
    if (appending < 0 || write(appending, buffer, length) != (ssize_t)length || close(appending))
        fail("append", size);
    model_write(size, length);
}

static void do_truncate(void)
{
    size_t to = draw(3) ? draw((uint32_t)size + 1) : draw_offset(SIZE_MAX_);
    note("ftruncate", to, 0);
    if (draw(4) ? ftruncate(fd, (off_t)to) : truncate(name, (off_t)to))
        fail("truncate", to);
    if (to > size)
        memset(model + size, 0, to - size);
    size = to;
}

/* The mapped range ends with the page of the file's end, whose rest is not the file's. */
static void do_map(bool write)
{
    if (!size)
        return note("nothing", 0, 0);
    size_t offset = draw((uint32_t)size), length = draw_length();
    if (offset + length > size)
        length = size - offset;
    size_t start = offset / PAGE * PAGE;
    note(write ? "write through a map" : "read through a map", offset, length);
    uint8_t *map = mmap(NULL, offset + length - start, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, fd, (off_t)start);
    if (map == MAP_FAILED)
        fail("mmap", offset);
    compare(map + (offset - start), offset, length);
    if (write) {
        draw_bytes(length);
        memcpy(map + (offset - start), buffer, length);
        memcpy(model + offset, buffer, length);
        if (draw(2) && msync(map, offset + length - start, MS_SYNC))
            fail("msync", offset);
    }
    if (munmap(map, offset + length - start))
        fail("munmap", offset);
}

static void do_private_map(void)
{
    if (!size)
        return note("nothing", 0, 0);
    size_t length = size < 3 * PAGE ? size : 3 * PAGE;
    note("private map", 0, length);
    uint8_t *map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        fail("mmap", 0);
    memset(map, 0x5a, length / 2 + 1); /* nobody else's business */
    compare(map + length / 2 + 1, length / 2 + 1, length - length / 2 - 1);
    munmap(map, length);
}

static void do_allocate(void)
{
    static const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE};
    int mode = modes[draw(4)];
    size_t offset = draw_offset(SIZE_MAX_ - 1), length = draw_length();
    if (offset + length > SIZE_MAX_)
        length = SIZE_MAX_ - offset;
    note(mode & FALLOC_FL_PUNCH_HOLE ? "punch a hole" : mode & FALLOC_FL_ZERO_RANGE ? "zero a range" : "fallocate", offset, length);
    if (fallocate(fd, mode, (off_t)offset, (off_t)length)) {
        if (errno != EOPNOTSUPP)
            fail("fallocate", offset);
        unsupported++;
        return;
    }
    if (!(mode & FALLOC_FL_KEEP_SIZE) && offset + length > size) {
        memset(model + size, 0, offset + length - size);
        size = offset + length;
    }
    if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) && offset < size)
        memset(model + offset, 0, (offset + length < size ? offset + length : size) - offset);
}

static void do_copy(void)
{
    size_t from = draw((uint32_t)size + 1), to = draw_offset(SIZE_MAX_ - 1), length = draw_length();
    if (from + length > size)
        length = size - from;
    if (to + length > SIZE_MAX_)
        length = SIZE_MAX_ - to;
    if (from < to + length && to < from + length)
        return note("nothing", 0, 0); /* overlapping ranges are refused */
    note("copy_file_range", to, length);
    off64_t in = (off64_t)from, out = (off64_t)to;
    for (size_t done = 0; done < length;) {
        ssize_t got = copy_file_range(fd, &in, fd, &out, length - done, 0);
        if (got <= 0)
            fail("copy_file_range", to + done);
        done += (size_t)got;
    }
    memcpy(buffer, model + from, length);
    if (length)
        model_write(to, length);
}

/* Through a pipe: what sendfile and splice bring is what is there. */
static void do_sendfile(void)
{
    int pipe_[2];
    size_t offset = draw((uint32_t)size + 1), length = draw(16 * PAGE) + 1, there = size - offset, wanted = length < there ? length : there;
    off_t at = (off_t)offset;
    note("sendfile", offset, length);
    if (pipe(pipe_))
        fail("pipe", 0);
    ssize_t sent = wanted ? draw(2) ? sendfile(pipe_[1], fd, &at, wanted) : splice(fd, &at, pipe_[1], NULL, wanted, 0) : 0;
    if (sent < 0 || (wanted && !sent) || (size_t)sent > wanted || at != (off_t)(offset + (size_t)sent))
        fail("sendfile's result", offset);
    for (size_t done = 0; done < (size_t)sent;) {
        ssize_t got = read(pipe_[0], buffer + done, (size_t)sent - done);
        if (got <= 0)
            fail("reading what was sent", offset);
        done += (size_t)got;
    }
    compare(buffer, offset, (size_t)sent);
    close(pipe_[0]);
    close(pipe_[1]);
}

static void do_reopen(void)
{
    note("close and open", 0, 0);
    if (draw(4) == 0 && fsync(fd))
        fail("fsync", 0);
    if (close(fd) || (fd = open(name, O_RDWR)) < 0)
        fail("open", 0);
}

static void do_stat(void)
{
    struct stat stat_;
    note("fstat", 0, 0);
    if (fstat(fd, &stat_) || (size_t)stat_.st_size != size)
        fail("the size", (uint64_t)stat_.st_size);
}

static void check_all(void)
{
    do_stat();
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(fd, buffer + done, size - done, (off_t)done);
        if (got <= 0)
            fail("reading it all", done);
        done += (size_t)got;
    }
    compare(buffer, 0, size);
}

static void exercise_one(void)
{
    switch (draw(20)) {
    case 0: case 1: case 2: case 3: return do_read();
    case 4: case 5: case 6: case 7: return do_write();
    case 8: return do_writev();
    case 9: return do_append();
    case 10: return do_truncate();
    case 11: case 12: return do_map(false);
    case 13: case 14: return do_map(true);
    case 15: return do_private_map();
    case 16: return do_allocate();
    case 17: return do_copy();
    case 18: return do_sendfile();
    default: return draw(4) ? do_stat() : draw(8) ? do_reopen() : check_all();
    }
}

int main(int argc, char **argv)
{
    uint64_t operations = argc > 2 ? strtoull(argv[2], NULL, 10) : 20000, seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    if (argc < 2)
        return 2;
    name = argv[1];
    state = seed * 0x9e3779b97f4a7c15u + 1;
    fd = open(name, O_RDWR | O_CREAT, 0666);
    ssize_t got = fd < 0 ? -1 : pread(fd, model, SIZE_MAX_, 0); /* what an archive brought is where it begins */
    if (got < 0)
        fail("open", 0);
    size = (size_t)got;
    for (; operation < operations; operation++)
        exercise_one();
    check_all();
    printf("%llu operations, seed %llu, %llu of them not supported\n", (unsigned long long)operations, (unsigned long long)seed, (unsigned long long)unsupported);
    return 0;
}
