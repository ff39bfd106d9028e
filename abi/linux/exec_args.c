/*
 * The strings of exec: argv and envp, copied into one block of kernel memory and checked against the limits that
 * Linux has (execve(2)): a string may have 128 KiB, all of them with their pointers a quarter of the stack limit, at
 * least 128 KiB, at most 6 MiB.
 *
 * Strings mostly lie one behind the other, so they are read by the page: what is left of the page that a string begins in
 * is kept for the ones that follow it. Each byte is still looked at once only.
 */
#include "abi/linux/exec.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#define ARGS_MAX (6u << 20)
#define ARGS_MIN (128u << 10)
#define POINTERS_AT_ONCE 64

void exec_args_init(struct exec_args *args, uint64_t stack_limit)
{
    *args = (struct exec_args){.limit = max_u64(min_u64(stack_limit / 4, ARGS_MAX), ARGS_MIN)};
}

void exec_args_done(struct exec_args *args)
{
    kfree(args->strings);
    args->strings = NULL;
}

static uint64_t pointers_size(const struct exec_args *args)
{
    return (uint64_t)((args->argc ? args->argc : 1) + args->envc) * sizeof(uint64_t);
}

/* Room for `more` bytes behind the strings. */
static int reserve(struct exec_args *args, uint64_t more)
{
    uint64_t capacity = args->capacity ? args->capacity : PAGE_SIZE;

    while (capacity < args->size + more)
        capacity *= 2;
    if (capacity == args->capacity)
        return 0;
    char *strings = krealloc(args->strings, capacity);
    if (!strings)
        return -ENOMEM;
    args->strings = strings;
    args->capacity = capacity;
    return 0;
}

static int check_limit(const struct exec_args *args)
{
    return args->size + pointers_size(args) > args->limit ? -E2BIG : 0;
}

/* The last piece of user memory that was read. */
struct piece {
    uaddr_t start;
    uint64_t size;
    char bytes[PAGE_SIZE];
};

static bool read_piece(struct piece *piece, uaddr_t address)
{
    uint64_t size = PAGE_SIZE - address % PAGE_SIZE;

    if (address - piece->start < piece->size)
        return true;
    piece->start = address;
    piece->size = user_read(piece->bytes, address, size) ? 0 : size;
    return piece->size;
}

/* A string that lies in the piece as a whole: its length, or -ENAMETOOLONG. */
static int64_t copy_from_piece(struct exec_args *args, struct piece *piece, uaddr_t address)
{
    if (!read_piece(piece, address))
        return -ENAMETOOLONG;
    const char *string = piece->bytes + (address - piece->start);
    uint64_t room = piece->size - (address - piece->start);
    const char *end = memchr(string, 0, room);
    if (!end)
        return -ENAMETOOLONG;
    int64_t length = end - string;
    int error = reserve(args, (uint64_t)length + 1);
    if (error)
        return error;
    memcpy(args->strings + args->size, string, (uint64_t)length + 1);
    return length;
}

static int add_user_string(struct exec_args *args, struct piece *piece, uaddr_t address)
{
    static const uint32_t rooms[] = {256, 4096, EXEC_STRING_MAX};
    int64_t length = copy_from_piece(args, piece, address);

    for (uint32_t i = 0; i < ARRAY_SIZE(rooms) && length == -ENAMETOOLONG; i++) {
        int error = reserve(args, rooms[i]);
        if (error)
            return error;
        length = user_read_string(args->strings + args->size, address, rooms[i]);
    }
    if (length < 0)
        return length == -ENAMETOOLONG ? -E2BIG : (int)length;
    args->size += length + 1;
    return check_limit(args);
}

/* As many pointers as can be read at once from a page; at least one, or -EFAULT. */
static int read_pointers(uaddr_t array, uaddr_t pointers[POINTERS_AT_ONCE])
{
    uint64_t room = (round_down(array, PAGE_SIZE) + PAGE_SIZE - array) / sizeof(uaddr_t);
    uint64_t count = min_u64(room ? room : 1, POINTERS_AT_ONCE);

    if (user_read(pointers, array, count * sizeof(uaddr_t)))
        return -EFAULT;
    return (int)count;
}

static int add_user_array(struct exec_args *args, struct piece *piece, uaddr_t array, uint32_t *counter)
{
    uaddr_t pointers[POINTERS_AT_ONCE];

    while (array) {
        int count = read_pointers(array, pointers);
        if (count < 0)
            return count;
        for (int i = 0; i < count; i++) {
            if (!pointers[i])
                return 0;
            ++*counter;
            int error = add_user_string(args, piece, pointers[i]);
            if (error)
                return error;
        }
        array += (uint64_t)count * sizeof(uaddr_t);
    }
    return 0;
}

static int add_kernel_string(struct exec_args *args, const char *text)
{
    uint64_t size = strlen(text) + 1;

    if (size > EXEC_STRING_MAX)
        return -E2BIG;
    int error = reserve(args, size);
    if (error)
        return error;
    memcpy(args->strings + args->size, text, size);
    args->size += size;
    return check_limit(args);
}

/* A program always has a name, if only an empty one. */
static int end_of_argv(struct exec_args *args)
{
    int error = 0;

    if (!args->argc) {
        args->argc = 1;
        error = add_kernel_string(args, "");
    }
    args->env_start = args->size;
    return error;
}

int exec_args_read_user(struct exec_args *args, uaddr_t argv, uaddr_t envp)
{
    struct piece *piece = kalloc(sizeof *piece);

    if (!piece)
        return -ENOMEM;
    piece->start = piece->size = 0;
    int error = add_user_array(args, piece, argv, &args->argc);
    if (!error)
        error = end_of_argv(args);
    if (!error)
        error = add_user_array(args, piece, envp, &args->envc);
    kfree(piece);
    return error;
}

static int add_kernel_array(struct exec_args *args, char *const *array, uint32_t *counter)
{
    int error = 0;

    for (; array && *array && !error; array++) {
        ++*counter;
        error = add_kernel_string(args, *array);
    }
    return error;
}

int exec_args_read_kernel(struct exec_args *args, char *const *argv, char *const *envp)
{
    int error = add_kernel_array(args, argv, &args->argc);

    if (!error)
        error = end_of_argv(args);
    return error ? error : add_kernel_array(args, envp, &args->envc);
}

int exec_args_replace_first(struct exec_args *args, const char *interpreter, const char *option, const char *script)
{
    struct exec_args fresh = {.limit = args->limit, .envc = args->envc};
    uint64_t first = strlen(args->strings) + 1;
    int error = add_kernel_string(&fresh, interpreter);

    if (!error && option)
        error = add_kernel_string(&fresh, option);
    if (!error)
        error = add_kernel_string(&fresh, script);
    uint64_t prefix = fresh.size;
    if (!error)
        error = reserve(&fresh, args->size - first);
    if (error) {
        exec_args_done(&fresh);
        return error;
    }
    memcpy(fresh.strings + prefix, args->strings + first, args->size - first);
    fresh.size = prefix + args->size - first;
    fresh.env_start = prefix + args->env_start - first;
    fresh.argc = args->argc + 1 + (option != NULL);
    kfree(args->strings);
    *args = fresh;
    return check_limit(args);
}
