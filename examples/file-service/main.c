/*
 * A service with files: a call "open NAME" is answered with a handle to the file's memory object. See ../README.md.
 *
 *     request   words[0] = OPEN, words[1] = rights wanted; bytes: the name
 *     answer    words[0] = 0 and one handle, or a negated errno value
 */
#include "examples/example.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OPEN = 1 };

static hyla_handle_t port;
static struct file {
    const char *name;
    uint32_t most; /* rights that anybody may have */
    hyla_handle_t memobj;
} files[] = {
    {"motd", HYLA_RIGHT_READ | HYLA_RIGHT_MAP | HYLA_RIGHT_TRANSFER, 0},
    {"scratch", HYLA_RIGHT_READ | HYLA_RIGHT_WRITE | HYLA_RIGHT_MAP | HYLA_RIGHT_TRANSFER, 0},
};

/* --- the service ------------------------------------------------------------------------------------- */

static int64_t find(const char *name, uint32_t size, uint64_t rights, struct hyla_msg_handle *handle)
{
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (strlen(files[i].name) != size || memcmp(files[i].name, name, size))
            continue;
        if (rights & ~(uint64_t)files[i].most)
            return -EACCES;
        *handle = (struct hyla_msg_handle){.handle = files[i].memobj, .rights = (uint32_t)rights};
        return 0;
    }
    return -ENOENT;
}

static void *serve(void *argument)
{
    char name[64];
    struct hyla_msg_handle handle;
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE, .from = port, .receive_data = (uintptr_t)name, .receive_size = sizeof name};
    (void)argument;
    while (hyla_msg(&msg) == 0) {
        int64_t result = msg.words[0] == OPEN ? find(name, msg.receive_size, msg.words[1], &handle) : -EINVAL;
        msg.words[0] = (uint64_t)result;
        msg.send_handles = (uintptr_t)&handle; /* copied: the service keeps its own */
        msg.send_handle_count = result == 0;
        msg.flags = HYLA_MSG_SEND | HYLA_MSG_RECEIVE;
        msg.to = msg.reply;
        msg.receive_size = sizeof name;
    }
    return NULL;
}

/* --- a client ---------------------------------------------------------------------------------------- */

static int64_t open_file(hyla_handle_t service, const char *name, uint32_t rights)
{
    struct hyla_msg_handle handle;
    struct hyla_msg msg = {
        .flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = service, .words = {OPEN, rights}, .send_data = (uintptr_t)name,
        .send_size = (uint32_t)strlen(name), .receive_handles = (uintptr_t)&handle, .receive_handle_count = 1,
    };
    int64_t result = hyla_msg(&msg);
    if (result == 0)
        result = (int64_t)msg.words[0];
    return result == 0 ? (int64_t)handle.handle : result;
}

static int client(hyla_handle_t service)
{
    char text[64] = "";
    hyla_handle_t motd = (hyla_handle_t)must(open_file(service, "motd", HYLA_RIGHT_READ), "open motd");
    must(hyla_memobj_read(motd, 0, text, sizeof text - 1), "read");
    if (strcmp(text, "be kind\n") || hyla_memobj_write(motd, 0, "x", 1) != -EACCES)
        return 1;
    if (open_file(service, "motd", HYLA_RIGHT_WRITE) != -EACCES || open_file(service, "nothing", HYLA_RIGHT_READ) != -ENOENT)
        return 1;
    hyla_handle_t scratch = (hyla_handle_t)must(open_file(service, "scratch", HYLA_RIGHT_READ | HYLA_RIGHT_WRITE), "open scratch");
    must(hyla_memobj_write(scratch, 0, "from the client", 15), "write");
    return 0;
}

int main(void)
{
    pthread_t thread;
    char text[16] = "";
    int status;
    must(hyla_start(), "no kernel of Hyla's");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        files[i].memobj = (hyla_handle_t)must(hyla_memobj_create(0), "memobj_create");
    must(hyla_memobj_write(files[0].memobj, 0, "be kind\n", 8), "write");
    port = (hyla_handle_t)must(hyla_port_create(0), "port_create");
    hyla_handle_t service = (hyla_handle_t)must(hyla_port_make_send(port, 0, HYLA_RIGHT_COPY), "port_make_send");
    pthread_create(&thread, NULL, serve, NULL);
    if (fork() == 0)
        _exit(client(service));
    int failed = wait(&status) < 0 || status != 0;
    hyla_handle_close(port);
    pthread_join(thread, NULL);
    must(hyla_memobj_read(files[1].memobj, 0, text, 15), "read");
    printf("the scratch file says: %s\n", text);
    return failed || strcmp(text, "from the client") != 0;
}
