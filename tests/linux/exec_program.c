/* execve: what the new program gets (arguments, environment, auxiliary vector), keeps and loses; scripts; refusals. */
#include "process_check.h"

#include <elf.h>
#include <sys/auxv.h>

extern char **environ;
static char *self_name;
static char directory[] = "/tmp/hyla-exec-XXXXXX";

static void make_file(const char *name, const void *bytes, size_t size, mode_t mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    CHECK(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    CHECK(fchmod(fd, mode) == 0 && close(fd) == 0);
}

static void make_text(const char *name, const char *text) { make_file(name, text, strlen(text), 0755); }

/* --- the program at the other end -------------------------------------------------------------------- */

static int show(int argc, char **argv)
{
    for (int i = 2; i < argc; i++)
        printf("[%s]", argv[i]);
    for (char **text = environ; *text; text++)
        printf("{%s}", *text);
    puts("");
    return 0;
}

static int check_auxv(void)
{
    extern const Elf64_Ehdr __ehdr_start;
    const Elf64_Phdr *headers = (const void *)getauxval(AT_PHDR);

    CHECK(getauxval(AT_PAGESZ) == 4096 && getauxval(AT_CLKTCK) == 100);
    CHECK(getauxval(AT_PHENT) == sizeof(Elf64_Phdr) && getauxval(AT_PHNUM) == __ehdr_start.e_phnum);
    CHECK((const char *)headers == (const char *)&__ehdr_start + __ehdr_start.e_phoff);
    CHECK(getauxval(AT_UID) == getuid() && getauxval(AT_EUID) == geteuid() && getauxval(AT_GID) == getgid());
    CHECK(getauxval(AT_SECURE) == 0 && getauxval(AT_BASE) == 0);
    CHECK(!strcmp((const char *)getauxval(AT_EXECFN), self_name));
#ifdef __x86_64__
    CHECK(!strcmp((const char *)getauxval(AT_PLATFORM), "x86_64"));
#endif
    CHECK(getauxval(AT_RANDOM) && getauxval(AT_HWCAP) && getauxval(AT_MINSIGSTKSZ) >= 1024);
    CHECK(getauxval(AT_ENTRY) == __ehdr_start.e_entry);
    return 0;
}

static void handler(int signal) { (void)signal; }

static int check_kept(char **argv)
{
    sigset_t set;
    struct sigaction action;
    char name[16];

    CHECK(fcntl(atoi(argv[2]), F_GETFD) == 0 && fcntl(atoi(argv[3]), F_GETFD) == -1);
    CHECK(getpid() == atoi(argv[4]));
    CHECK(sigprocmask(SIG_SETMASK, NULL, &set) == 0 && sigismember(&set, SIGUSR2) == 1);
    CHECK(sigpending(&set) == 0 && sigismember(&set, SIGUSR2) == 1);
    CHECK(sigaction(SIGUSR1, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
    CHECK(sigaction(SIGINT, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
    stack_t stack;
    CHECK(sigaltstack(NULL, &stack) == 0 && stack.ss_flags == SS_DISABLE);
    CHECK(prctl(PR_GET_NAME, name) == 0);
    const char *slash = strrchr(self_name, '/');
    CHECK(!strncmp(name, slash ? slash + 1 : self_name, 15));
    CHECK(umask(0) == 027);
    return 0;
}

/* --- this end ---------------------------------------------------------------------------------------- */

/* The first line that the program prints. */
static char *output_of(const char *file, char *const argv[], char *const envp[])
{
    static char line[4096];
    int ends[2];

    CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], 1);
        execve(file, argv, envp);
        dprintf(1, "errno %d\n", errno);
        _exit(0);
    }
    close(ends[1]);
    FILE *stream = fdopen(ends[0], "r");
    CHECK(fgets(line, sizeof line, stream));
    fclose(stream);
    wait_exit(pid, 0);
    line[strcspn(line, "\n")] = '\0';
    return line;
}

static void arguments_and_environment(void)
{
    char *argv[] = {"name", "show", "a", "", "b c", NULL}, *envp[] = {"X=1", "Y=", NULL};

    CHECK(!strcmp(output_of(self_name, argv, envp), "[a][][b c]{X=1}{Y=}"));
    CHECK(!strcmp(output_of(self_name, argv, NULL), "[a][][b c]"));
}

static void scripts(void)
{
    char text[PATH_MAX], *argv[] = {"ignored", "x", NULL}, *envp[] = {NULL};

    snprintf(text, sizeof text, "#! %s show  one two \t\n", self_name);
    make_text("script", text);
    /* One argument is all that a script's first line can give: "show  one two". */
    CHECK(!strcmp(output_of("./script", argv, envp), "whole [show  one two][./script][x]"));
    snprintf(text, sizeof text, "#!%s show\nrest\n", self_name);
    make_text("script", text);
    CHECK(!strcmp(output_of("./script", argv, envp), "[./script][x]"));
    snprintf(text, sizeof text, "#!./script\n");
    make_text("nested", text);
    CHECK(!strcmp(output_of("./nested", argv, envp), "[./script][./nested][x]"));
    make_text("loop", "#!./loop\n");
    CHECK(!strcmp(output_of("./loop", argv, envp), "errno 40"));
    make_text("missing", "#!./nothing-here\n");
    CHECK(!strcmp(output_of("./missing", argv, envp), "errno 2"));
    make_text("empty", "#!\n");
    CHECK(!strcmp(output_of("./empty", argv, envp), "errno 8"));
    make_text("blank", "#!  \t \n");
    CHECK(!strcmp(output_of("./blank", argv, envp), "errno 8"));
    memset(text, 'x', 400);
    memcpy(text, "#!", 2);
    text[400] = '\0';
    make_text("long", text);
    CHECK(!strcmp(output_of("./long", argv, envp), "errno 8"));
}

static int exec_error(const char *file, void *argv)
{
    int ends[2], error = 0;

    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        syscall(SYS_execve, file, argv, environ);
        error = errno;
        CHECK(write(ends[1], &error, sizeof error) == sizeof error);
        _exit(0);
    }
    close(ends[1]);
    CHECK(read(ends[0], &error, sizeof error) >= 0);
    close(ends[0]);
    wait_status(pid);
    return error;
}

static void refusals(void)
{
    char *argv[] = {"x", NULL};

    CHECK(exec_error("./nothing", argv) == ENOENT);
    CHECK(exec_error("", argv) == ENOENT);
    CHECK(exec_error(".", argv) == EACCES);
    CHECK(exec_error("/dev/null", argv) == EACCES);
    make_file("plain", "text", 4, 0644);
    CHECK(exec_error("./plain", argv) == EACCES);
    CHECK(exec_error("./plain/x", argv) == ENOTDIR);
    make_file("nothing-in-it", "", 0, 0755);
    CHECK(exec_error("./nothing-in-it", argv) == ENOEXEC);
    make_text("unknown", "no format at all");
    CHECK(exec_error("./unknown", argv) == ENOEXEC);
    CHECK(exec_error(self_name, (void *)8) == EFAULT);
    char *bad[] = {"x", (char *)16, NULL};
    CHECK(exec_error(self_name, bad) == EFAULT);
    int fd = open("busy", O_WRONLY | O_CREAT, 0755);
    CHECK(fd >= 0 && write(fd, "#!/bin/true\n", 12) == 12);
    CHECK(exec_error("./busy", argv) == ETXTBSY);
    CHECK(close(fd) == 0);
}

static void too_much(void)
{
    size_t limit = 128 * 1024;
    char *big = malloc(limit + 1), *argv[] = {"x", "true", big, NULL};

    memset(big, 'a', limit);
    big[limit - 1] = '\0';
    CHECK(exec_error(self_name, argv) == 0);
    big[limit - 1] = 'a';
    big[limit] = '\0';
    CHECK(exec_error(self_name, argv) == E2BIG);
    big[1000] = '\0';
    size_t count = 3000;
    char **many = calloc(count + 1, sizeof *many);
    for (size_t i = 0; i < count; i++)
        many[i] = i == 1 ? "true" : big;
    CHECK(exec_error(self_name, many) == E2BIG);
    many[1000] = NULL;
    CHECK(exec_error(self_name, many) == 0);
    free(many);
    free(big);
}

static void what_is_kept(void)
{
    char kept[16], closed[16], pid[16], *argv[] = {self_name, "kept", kept, closed, pid, NULL};
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
    sigset_t set;

    snprintf(kept, sizeof kept, "%d", open("/dev/null", O_RDONLY));
    snprintf(closed, sizeof closed, "%d", open("/dev/null", O_RDONLY | O_CLOEXEC));
    snprintf(pid, sizeof pid, "%d", getpid());
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0 && raise(SIGUSR2) == 0);
    signal(SIGUSR1, handler);
    signal(SIGINT, SIG_IGN);
    CHECK(sigaltstack(&stack, NULL) == 0);
    umask(027);
    execv(self_name, argv);
    CHECK(false);
}

static void by_descriptor(void)
{
    char *argv[] = {"x", "true", NULL};
    int fd = open(self_name, O_PATH);

    CHECK(fd >= 0);
    CHECK_ERROR(syscall(SYS_execveat, fd, "", argv, environ, 0), ENOENT);
    CHECK_ERROR(syscall(SYS_execveat, fd, "x", argv, environ, 0x8000), EINVAL);
    CHECK_ERROR(syscall(SYS_execveat, -1, "x", argv, environ, 0), EBADF);
    CHECK(symlink(self_name, "link") == 0);
    CHECK_ERROR(syscall(SYS_execveat, AT_FDCWD, "link", argv, environ, AT_SYMLINK_NOFOLLOW), ELOOP);
    syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
    CHECK(false);
}

static void no_arguments_at_all(void)
{
    syscall(SYS_execve, "./count", NULL, NULL);
    CHECK(false);
}

static void vfork_then_exec(void)
{
    char *argv[] = {self_name, "true", NULL};

    for (int i = 0; i < 20; i++) {
        pid_t pid = vfork();
        CHECK(pid >= 0);
        if (pid == 0) {
            execv(self_name, argv);
            _exit(99);
        }
        wait_exit(pid, 0);
    }
}

static void auxiliary_vector(void)
{
    char *argv[] = {self_name, "auxv", NULL};

    execv(self_name, argv);
    CHECK(false);
}

int main(int argc, char **argv)
{
    static char absolute[PATH_MAX];

    self_name = argv[0];
    if (argc == 1 && argv[0][0] == '\0')
        return 0;
    if (argc > 1 && !strcmp(argv[1], "show"))
        return show(argc, argv);
    if (argc > 1 && !strcmp(argv[1], "true"))
        return 0;
    if (argc > 1 && !strncmp(argv[1], "show ", 5))
        return printf("whole ") < 0 || show(argc + 1, argv - 1);
    if (argc > 1 && !strcmp(argv[1], "auxv"))
        return check_auxv();
    if (argc > 1 && !strcmp(argv[1], "kept"))
        return check_kept(argv);
    if (argv[0][0] != '/') {
        CHECK(getcwd(absolute, sizeof absolute - strlen(argv[0]) - 2));
        strcat(strcat(absolute, "/"), argv[0]);
        self_name = absolute;
    }
    CHECK(mkdtemp(directory) && chdir(directory) == 0);
    arguments_and_environment();
    scripts();
    refusals();
    too_much();
    in_child(what_is_kept);
    in_child(by_descriptor);
    CHECK(symlink(self_name, "count") == 0);
    in_child(no_arguments_at_all);
    in_child(vfork_then_exec);
    in_child(auxiliary_vector);
    CHECK(chdir("/") == 0);
    char *remove[] = {"rm", "-r", directory, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execvp("rm", remove);
        _exit(99);
    }
    wait_exit(pid, 0);
    puts("exec ok");
}
