/*
 * kevent(2) over the calls of event queues: changes first, each answered by itself, then the wait.
 */
#include <errno.h>
#include <hyla/hyla.h>
#include <stdbool.h>

/* One change. 1: it is answered in *event; 0: it is made, and nothing is to be said; or its error. */
static int64_t make_change(hyla_handle_t queue, const struct hyla_event *change, struct hyla_event *event, bool room)
{
    int64_t error = hyla_queue_change(queue, change);
    if (!error && (!(change->flags & HYLA_EVENT_RECEIPT) || !room))
        return 0;
    if (!room || error == -EBADF || error == -EACCES) {
        struct hyla_handle_info info; /* the queue's own, or the change's? */
        if (!room || hyla_handle_info(queue, &info) || info.kind != HYLA_OBJECT_KIND_QUEUE || !(info.rights & HYLA_RIGHT_WRITE))
            return error;
    }
    *event = *change;
    event->flags = HYLA_EVENT_ERROR;
    event->data = -error;
    return 1;
}

int64_t hyla_kevent(hyla_handle_t queue, const struct hyla_event *changes, uint32_t change_count, struct hyla_event *events, uint32_t event_count, uint64_t deadline)
{
    uint32_t answered = 0;
    for (uint32_t i = 0; i < change_count; i++) {
        int64_t answer = make_change(queue, &changes[i], &events[answered], answered < event_count);
        if (answer < 0)
            return answer;
        answered += answer > 0;
    }
    if (answered || !event_count)
        return answered;
    uint64_t room = event_count < 256 ? event_count : 256;
    int64_t got = hyla_queue_wait(queue, events, room * sizeof *events, deadline);
    return got == -ETIMEDOUT ? 0 : got;
}
