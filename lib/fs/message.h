/*
 * Between the generated functions, which take messages apart, and the loop that receives them.
 */
#ifndef LIB_FS_MESSAGE_H
#define LIB_FS_MESSAGE_H

#include <hyla/fs.h>

#include <stdbool.h>
#include <string.h>

#define FILE_MESSAGES 64u /* numbers below it are the kernel's questions */
#define FILE_BYTES_MAX 65536u

struct file_message {
    const uint64_t *words; /* of the question */
    const char *bytes;
    uint32_t size, taken;
    hyla_handle_t handle;  /* that came; whoever keeps it sets it to 0 */
    uint64_t *reply_words;
    char *reply_bytes;     /* FILE_BYTES_MAX */
    uint32_t reply_size;
    struct hyla_msg_handle reply_handle; /* .handle 0: none */
};

typedef int64_t file_serve_function(const struct hyla_file_ops *ops, struct hyla_fs *fs, struct file_message *message);
extern file_serve_function *const file_serve_functions[FILE_MESSAGES];

static inline void take(struct file_message *m, void *to, uint32_t size)
{
    memcpy(to, m->bytes + m->taken, size);
    m->taken += size;
}

/* The size has been checked. True when it is no such text. */
static inline bool take_text(struct file_message *m, char *to, uint64_t size, bool name)
{
    take(m, to, (uint32_t)size);
    to[size] = 0;
    if (strlen(to) != size)
        return true;
    return name && (strchr(to, '/') || !strcmp(to, ".") || !strcmp(to, ".."));
}

static inline void put(struct file_message *m, const void *from, uint64_t size)
{
    memcpy(m->reply_bytes + m->reply_size, from, size);
    m->reply_size += (uint32_t)size;
}

#endif
