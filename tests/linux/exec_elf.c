/*
 * Damaged ELF files: each is refused with Linux's error, or kills the process that executed it, and nothing else.
 *
 * Each case is a small program (exit(42) in eleven bytes of code) with something wrong.
 */
#include "process_check.h"

#include <elf.h>
#include <stddef.h>

#define BASE 0x400000

struct image {
    Elf64_Ehdr header;
    Elf64_Phdr segments[3];
    char interpreter[32];
    uint8_t code[16];
    uint8_t padding[8192];
};

static char directory[] = "/tmp/hyla-elf-XXXXXX";

#ifdef __riscv
#define THIS_MACHINE EM_RISCV
#define OTHER_MACHINE EM_X86_64
/* li a0, 42; li a7, 93; ecall */
static const uint8_t exit_42[16] = {0x13, 0x05, 0xa0, 0x02, 0x93, 0x08, 0xd0, 0x05, 0x73, 0, 0, 0};
enum { STATUS_AT = 2, STATUS_43 = 0xb0 };
#else
#define THIS_MACHINE EM_X86_64
#define OTHER_MACHINE EM_RISCV
/* mov $42, %edi; mov $60, %eax; syscall */
static const uint8_t exit_42[16] = {0xbf, 42, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05};
enum { STATUS_AT = 1, STATUS_43 = 43 };
#endif

static struct image good(void)
{
    struct image image = {
        .header = {
            .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
            .e_type = ET_EXEC,
            .e_machine = THIS_MACHINE,
            .e_version = EV_CURRENT,
            .e_entry = BASE + offsetof(struct image, code),
            .e_phoff = offsetof(struct image, segments),
            .e_ehsize = sizeof(Elf64_Ehdr),
            .e_phentsize = sizeof(Elf64_Phdr),
            .e_phnum = 1,
        },
        .segments = {{
            .p_type = PT_LOAD,
            .p_flags = PF_R | PF_X,
            .p_vaddr = BASE,
            .p_filesz = sizeof(struct image),
            .p_memsz = sizeof(struct image),
            .p_align = 4096,
        }},
    };

    memcpy(image.code, exit_42, sizeof exit_42);
    return image;
}

/* The error of exec, else minus the wait status. */
static int outcome(const void *bytes, size_t size)
{
    int fd = open("program", O_WRONLY | O_CREAT | O_TRUNC, 0755), ends[2], error = 0;
    char *argv[] = {"program", NULL};

    CHECK(fd >= 0 && write(fd, bytes, size) == (ssize_t)size && close(fd) == 0);
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        execv("./program", argv);
        error = errno;
        CHECK(write(ends[1], &error, sizeof error) == sizeof error);
        _exit(0);
    }
    close(ends[1]);
    CHECK(read(ends[0], &error, sizeof error) >= 0);
    close(ends[0]);
    int status = wait_status(pid);
    return error ? error : -(status & ~0x80);
}

#define EXITED(code) (-((code) << 8))
#define DIED(signal) (-(signal))

static int failures;
static void expect(const char *what, int found, int wanted)
{
    if (found == wanted)
        return;
    dprintf(2, "%s: %d, not %d\n", what, found, wanted);
    failures++;
}

/* Runs a changed copy of the good program. */
#define CASE(what, wanted, ...)                                                                                        \
    do {                                                                                                               \
        struct image image = good();                                                                                   \
        Elf64_Ehdr *h = &image.header;                                                                                 \
        Elf64_Phdr *s = image.segments;                                                                                \
        (void)h, (void)s;                                                                                              \
        __VA_ARGS__;                                                                                                   \
        expect(what, outcome(&image, sizeof image), wanted);                                                           \
    } while (0)

static void headers(void)
{
    struct image image = good();

    expect("good", outcome(&image, sizeof image), EXITED(42));
    expect("one byte", outcome(&image, 1), ENOEXEC);
    expect("half a header", outcome(&image, 40), ENOEXEC);
    expect("header only", outcome(&image, 64), ENOEXEC);
    CASE("magic", ENOEXEC, h->e_ident[1] = 'e');
    CASE("relocatable", ENOEXEC, h->e_type = ET_REL);
    CASE("core", ENOEXEC, h->e_type = ET_CORE);
    CASE("other machine", ENOEXEC, h->e_machine = OTHER_MACHINE);
    CASE("entry size", ENOEXEC, h->e_phentsize = 55);
    CASE("no segments", ENOEXEC, h->e_phnum = 0);
    CASE("too many segments", ENOEXEC, h->e_phnum = 2000);
    CASE("segments far away", ENOEXEC, h->e_phoff = 1 << 30);
    CASE("segments at the end of numbers", ENOEXEC, h->e_phoff = UINT64_MAX - 8);
    CASE("class ignored", EXITED(42), h->e_ident[EI_DATA] = 0);
}

static void segments(void)
{
    CASE("nothing to load", DIED(SIGSEGV), s->p_type = PT_NOTE);
    CASE("file part too long", DIED(SIGSEGV), s->p_memsz = 100);
    CASE("in the kernel", DIED(SIGSEGV), s->p_vaddr = 0xffff800000000000);
    CASE("address wraps", DIED(SIGSEGV), s->p_vaddr = UINT64_MAX - 4095);
    CASE("memory wraps", DIED(SIGSEGV), s->p_memsz = UINT64_MAX - 100);
    CASE("offset in the page", DIED(SIGSEGV), s->p_offset = 1);
    CASE("entry nowhere", DIED(SIGSEGV), h->e_entry = 0x10000);
    CASE("entry in the kernel", DIED(SIGSEGV), h->e_entry = 0xffffffff80000000);
    CASE("not executable", DIED(SIGSEGV), s->p_flags = PF_R);
    CASE("zeros behind", EXITED(42), s->p_memsz += 1 << 20);
    CASE("movable", EXITED(42), h->e_type = ET_DYN; h->e_entry -= BASE; s->p_vaddr = 0);
    CASE("odd alignment", EXITED(42), s->p_align = 3);
}

static void interpreters(void)
{
    size_t where = offsetof(struct image, interpreter);

#define INTERPRETER(name, size)                                                                                        \
    h->e_phnum = 2;                                                                                                    \
    s[1] = s[0];                                                                                                       \
    s[0] = (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = where, .p_filesz = size};                                     \
    strcpy(image.interpreter, name)
    CASE("missing interpreter", ENOENT, INTERPRETER("/no/such/file", 14));
    CASE("interpreter without end", ENOEXEC, INTERPRETER("/no/such/file", 5));
    CASE("empty interpreter name", ENOEXEC, INTERPRETER("", 1));
    CASE("endless interpreter name", ENOEXEC, INTERPRETER("", 5000));
    CASE("interpreter is a directory", EACCES, INTERPRETER("/", 2));
    CASE("interpreter name beyond the file", EIO, INTERPRETER("/", 2); s[0].p_offset = 1 << 20);
    int fd = open("text", O_WRONLY | O_CREAT, 0755);
    CHECK(fd >= 0 && write(fd, good().padding, 4096) == 4096 && close(fd) == 0);
    CASE("interpreter is no ELF file", ELIBBAD, INTERPRETER("./text", 7));
    CHECK(truncate("text", 10) == 0);
    CASE("interpreter is too short", EIO, INTERPRETER("./text", 7));
    struct image movable = good();
    movable.header.e_type = ET_DYN;
    movable.header.e_entry -= BASE;
    movable.segments[0].p_vaddr = 0;
    movable.code[STATUS_AT] = STATUS_43;
    fd = open("loader", O_WRONLY | O_CREAT, 0755);
    CHECK(fd >= 0 && write(fd, &movable, sizeof movable) == sizeof movable && close(fd) == 0);
    CASE("interpreter runs", EXITED(43), INTERPRETER("./loader", 9));
    CASE("interpreter of a movable program", EXITED(43), INTERPRETER("./loader", 9); h->e_type = ET_DYN; s[1].p_vaddr = 0);
}

/* Any byte of the headers may be anything: whatever comes, it comes to the child alone. */
static void random_damage(void)
{
    unsigned seed = 1;

    for (int i = 0; i < 300; i++) {
        struct image image = good();
        for (int n = 0; n < 3; n++)
            ((uint8_t *)&image)[rand_r(&seed) % (64 + 56)] = (uint8_t)rand_r(&seed);
        outcome(&image, sizeof image);
    }
}

int main(void)
{
    CHECK(mkdtemp(directory) && chdir(directory) == 0);
    signal(SIGALRM, SIG_DFL);
    headers();
    segments();
    interpreters();
    random_damage();
    unlink("program"), unlink("text"), unlink("loader");
    CHECK(chdir("/") == 0 && rmdir(directory) == 0);
    if (failures)
        return 1;
    puts("elf ok");
}
