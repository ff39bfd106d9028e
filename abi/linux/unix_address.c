/*
 * Names of UNIX-domain sockets (unix(7)).
 *
 * A name in the file system is a node of type socket whose `socket` field points at who is bound to it; an
 * abstract name lives in a hash table here. Both are looked up and changed under unix_names_mutex, and a
 * socket leaves its name before its file's reference goes, so what is found there is alive.
 */
#include "abi/linux/unix_socket.h"

#include "abi/linux/process.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#define ABSTRACT_BUCKETS 64u
#define AUTOBIND_NAMES (1u << 20) /* five hexadecimal digits */

static struct list abstract_names[ABSTRACT_BUCKETS]; /* zeroed: a bucket is initialised when first used */

struct mutex unix_names_mutex = {
    .state_lock = SPINLOCK_INIT(RANK_WAITQ),
    .waiters = {&unix_names_mutex.waiters, &unix_names_mutex.waiters},
    .rank = RANK_SOCKET_NAMES,
};

static void address_destroy(struct object *object)
{
    struct unix_address *address = CONTAINER_OF(object, struct unix_address, object);

    object_unref(address->node);
    kfree(address);
}

static const struct object_type address_type = {.name = "socket address", .destroy = address_destroy};

static struct unix_address *address_create(const char *path, uint32_t length, uint16_t type)
{
    struct unix_address *address = kzalloc(sizeof(*address));

    if (!address)
        return NULL;
    object_init(&address->object, &address_type);
    list_init(&address->link);
    address->length = length;
    address->type = type;
    memcpy(address->path, path, length);
    return address;
}

int unix_address_length(const struct linux_sockaddr_un *name, uint32_t length)
{
    uint32_t path = length - offsetof(struct linux_sockaddr_un, path);

    if (length < offsetof(struct linux_sockaddr_un, path) || length > sizeof(*name) || name->family != LINUX_AF_UNIX)
        return -EINVAL;
    if (!path || !name->path[0])
        return path; /* empty, or abstract: every byte counts */
    return strnlen(name->path, path) + 1;
}

uint32_t unix_address_fill(const struct unix_address *address, struct linux_sockaddr_un *name)
{
    name->family = LINUX_AF_UNIX;
    if (!address)
        return offsetof(struct linux_sockaddr_un, path);
    memcpy(name->path, address->path, min_u64(address->length, sizeof(name->path)));
    return offsetof(struct linux_sockaddr_un, path) + address->length;
}

/* --- abstract names ---------------------------------------------------------------------------------- */

static struct list *abstract_bucket(const char *path, uint32_t length, uint16_t type)
{
    uint32_t hash = type;
    struct list *bucket;

    for (uint32_t i = 0; i < length; i++)
        hash = hash * 31 + (uint8_t)path[i];
    bucket = &abstract_names[(hash ^ hash >> 8) % ABSTRACT_BUCKETS];
    if (!bucket->next)
        list_init(bucket);
    return bucket;
}

static struct unix_address *abstract_find_locked(const char *path, uint32_t length, uint16_t type)
{
    struct list *bucket = abstract_bucket(path, length, type);

    LIST_FOR_EACH(link, bucket) {
        struct unix_address *address = LIST_ENTRY(link, struct unix_address, link);
        if (address->type == type && address->length == length && !memcmp(address->path, path, length))
            return address;
    }
    return NULL;
}

/* --- binding ----------------------------------------------------------------------------------------- */

/* One binding at a time, and only one ever: -EINVAL for the rest. */
static int binding_begin(struct unix_socket *socket)
{
    int error = 0;

    mutex_lock(&socket->mutex);
    if (socket->address || socket->binding)
        error = -EINVAL;
    else
        socket->binding = true;
    mutex_unlock(&socket->mutex);
    return error;
}

/* Takes over the address's reference; NULL: the binding failed. */
static void binding_end(struct unix_socket *socket, struct unix_address *address)
{
    mutex_lock(&socket->mutex);
    socket->address = address;
    socket->binding = false;
    mutex_unlock(&socket->mutex);
}

static int abstract_bind(struct unix_socket *socket, const char *path, uint32_t length)
{
    struct unix_address *address = address_create(path, length, socket->type);
    int error = 0;

    if (!address)
        return -ENOMEM;
    mutex_lock(&unix_names_mutex);
    if (abstract_find_locked(path, length, socket->type)) {
        error = -EADDRINUSE;
    } else {
        address->owner = socket;
        list_push_back(abstract_bucket(path, length, socket->type), &address->link);
        binding_end(socket, address);
    }
    mutex_unlock(&unix_names_mutex);
    if (error)
        object_unref(address);
    return error;
}

static int file_bind(struct unix_socket *socket, const char *path, uint32_t length)
{
    char name[UNIX_PATH_MAX + 1] = {0};
    struct unix_address *address;
    struct path *place;
    int error;

    memcpy(name, path, length - 1);
    address = address_create(name, length, socket->type);
    if (!address)
        return -ENOMEM;
    error = vfs_mknod(LINUX_AT_FDCWD, name, LINUX_S_IFSOCK | 0777, 0, &place);
    if (error) {
        object_unref(address);
        return error == -EEXIST ? -EADDRINUSE : error;
    }
    address->node = object_ref(path_node(place));
    path_unref(place);
    mutex_lock(&unix_names_mutex);
    address->owner = socket;
    address->node->socket = socket;
    binding_end(socket, address);
    mutex_unlock(&unix_names_mutex);
    return 0;
}

int unix_bind(struct unix_socket *socket, const struct linux_sockaddr_un *name, uint32_t length)
{
    int size = unix_address_length(name, length), error;

    if (size < 0)
        return size;
    if (!size)
        return unix_autobind(socket);
    error = binding_begin(socket);
    if (error)
        return error;
    error = name->path[0] ? file_bind(socket, name->path, size) : abstract_bind(socket, name->path, size);
    if (error)
        binding_end(socket, NULL);
    return error;
}

int unix_autobind(struct unix_socket *socket)
{
    static struct atomic32 next = ATOMIC_INIT(0);
    int error = binding_begin(socket);

    if (error)
        return socket->address ? 0 : error; /* a bound socket stays as it is */
    error = -ENOSPC;
    for (uint32_t i = 0; i < AUTOBIND_NAMES; i++) {
        char name[7];

        format(name + 1, sizeof(name) - 1, "%05x", atomic32_add(&next, 1) % AUTOBIND_NAMES);
        name[0] = 0;
        error = abstract_bind(socket, name, 6);
        if (error != -EADDRINUSE)
            break;
    }
    if (error)
        binding_end(socket, NULL);
    return error;
}

void unix_unbind(struct unix_socket *socket)
{
    struct unix_address *address;

    mutex_lock(&unix_names_mutex);
    address = socket->address;
    if (address && address->owner == socket) {
        address->owner = NULL;
        list_remove(&address->link);
        if (address->node)
            address->node->socket = NULL;
    }
    mutex_unlock(&unix_names_mutex);
}

/* --- lookup ------------------------------------------------------------------------------------------ */

static int file_lookup(const char *path, uint32_t length, uint16_t type, struct unix_socket **found)
{
    char name[UNIX_PATH_MAX + 1] = {0};
    struct path *place;
    struct node *node;
    int error;

    memcpy(name, path, length - 1);
    error = path_walk(LINUX_AT_FDCWD, name, 0, &place);
    if (error)
        return error;
    node = path_node(place);
    error = node_permission(node, 2);
    if (!error && (node->mode & LINUX_S_IFMT) != LINUX_S_IFSOCK)
        error = -ECONNREFUSED;
    if (!error) {
        mutex_lock(&unix_names_mutex);
        *found = node->socket;
        if (!*found)
            error = -ECONNREFUSED;
        else if ((*found)->type != type)
            error = -EPROTOTYPE;
        else
            object_ref(*found);
        mutex_unlock(&unix_names_mutex);
    }
    path_unref(place);
    return error;
}

static int abstract_lookup(const char *path, uint32_t length, uint16_t type, struct unix_socket **found)
{
    struct unix_address *address;

    mutex_lock(&unix_names_mutex);
    address = abstract_find_locked(path, length, type);
    if (address)
        *found = object_ref(address->owner);
    mutex_unlock(&unix_names_mutex);
    return address ? 0 : -ECONNREFUSED;
}

int unix_lookup(const struct linux_sockaddr_un *name, uint32_t length, uint16_t type, struct unix_socket **found)
{
    int size = unix_address_length(name, length);

    if (size < 0)
        return size;
    if (!size)
        return -EINVAL;
    return name->path[0] ? file_lookup(name->path, size, type, found) : abstract_lookup(name->path, size, type, found);
}
