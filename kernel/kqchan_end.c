/*
 * The work of a channel's socket end: see kernel/kqchan_end.h.
 */
#include "kernel/kqchan_end.h"

#include "kernel/assert.h"
#include "kernel/errno.h"

#define REQUESTS_AT_ONCE 32u

static struct kqchan_end *end_of(struct kqchan_link *link) { return CONTAINER_OF(link, struct kqchan_end, link); }

void kqchan_end_ready(struct kqchan_end *end) { kernel_async(&end->work); }

void kqchan_end_hang_up(struct kqchan_end *end)
{
    atomic32_store(&end->hung, 1);
    kernel_async(&end->work);
}

/* --- the work ---------------------------------------------------------------------------------------- */

/* True when a request lies in `request`. */
static bool next_request(struct kqchan_end *end)
{
    if (end->kept)
        return true;
    int got = end->socket->receive(end, &end->request);
    if (got < 0)
        atomic32_store(&end->hung, 1);
    end->kept = got > 0;
    return end->kept;
}

static void serve_requests(struct kqchan_end *end)
{
    for (uint32_t served = 0; !atomic32_load(&end->hung) && next_request(end); served++) {
        int error = kqchan_received(end->channel, &end->request);
        if (error == -EAGAIN)
            return;
        end->kept = false;
        if (error)
            atomic32_store(&end->hung, 1);
        if (served == REQUESTS_AT_ONCE) {
            kernel_async(&end->work);
            return;
        }
    }
}

static void end_work(struct async_work *work)
{
    struct kqchan_end *end = CONTAINER_OF(work, struct kqchan_end, work);
    if (!end->told && !atomic32_load(&end->hung) && atomic32_swap(&end->full, 0))
        kqchan_writable(end->channel);
    if (!end->told)
        serve_requests(end);
    if (atomic32_load(&end->hung) && !end->told) {
        end->told = true;
        kqchan_hung_up(end->channel);
        KASSERT(end->closed);
        end->socket->unwatch(end); /* nobody queues the work any more: the channel has no link either */
    }
    if (end->closed && !atomic32_load(&work->queued))
        end->socket->free(end);
}

/* --- what the channel asks --------------------------------------------------------------------------- */

static int link_send(struct kqchan_link *link, const struct kqchan_message *message, struct kqchan_link *child)
{
    struct kqchan_end *end = end_of(link), *born = child ? end_of(child) : NULL;
    atomic32_store(&end->full, 1); /* before: room may come at once */
    int error = end->socket->send(end, message, born);
    if (!error)
        atomic32_store(&end->full, 0);
    if (error != -EPIPE)
        return error;
    kqchan_end_hang_up(end);
    if (born)
        kqchan_end_hang_up(born);
    return error;
}

static int link_pair(struct kqchan_link *link, struct kqchan *child, struct kqchan_link **made)
{
    struct kqchan_end *end = end_of(link), *born = NULL;
    int error = end->socket->pair(end, child, &born);
    *made = error ? NULL : &born->link;
    return error;
}

static void link_close(struct kqchan_link *link)
{
    KASSERT(end_of(link)->told); /* kqchan_hung_up called it, and so this end's work is what runs */
    end_of(link)->closed = true;
}

static void link_abandon(struct kqchan_link *child) { kqchan_end_hang_up(end_of(child)); }

static const struct kqchan_link_operations operations = {.send = link_send, .pair = link_pair, .abandon = link_abandon, .close = link_close};

void kqchan_end_init(struct kqchan_end *end, const struct kqchan_socket *socket)
{
    end->link.operations = &operations;
    end->socket = socket;
    async_work_init(&end->work, end_work);
}
