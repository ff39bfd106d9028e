/*
 * The timer queue: a pairing heap over the body's one armed deadline. The heap is made of the timers
 * themselves, so arming never needs memory and never fails; insertion is a comparison, removal is
 * logarithmic over time.
 *
 * The body is armed only for a deadline earlier than the one it is armed for. Cancelling does not re-arm:
 * most timers are timeouts that are cancelled, and one early call of timer_queue_run costs less.
 *
 * One CPU at a time serves the queue. `running` names the timer whose function it is in; the timer itself
 * is not touched after its function has returned, for the function may have let its memory go.
 */
#include "kernel/timer.h"

#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/lock.h"

static struct {
    struct spinlock lock; /* rank TIMER_QUEUE; guards the rest */
    struct timer *root;
    struct timer *running;
    bool serving;
    nanoseconds_t armed; /* what the body is armed for */
} queue = {.lock = SPINLOCK_INIT(RANK_TIMER_QUEUE), .armed = DEADLINE_NEVER};

void timer_system_init(void)
{
    spinlock_init(&queue.lock, RANK_TIMER_QUEUE);
    queue.root = queue.running = NULL;
    queue.serving = false;
    queue.armed = DEADLINE_NEVER;
}

/* --- the heap ---------------------------------------------------------------------------------------- */

static struct timer *heap_merge(struct timer *a, struct timer *b)
{
    if (!a || !b)
        return a ? a : b;
    struct timer *root = b->deadline < a->deadline ? b : a;
    struct timer *child = root == a ? b : a;
    child->previous = root;
    child->sibling = root->child;
    if (root->child)
        root->child->previous = child;
    root->child = child;
    return root;
}

static struct timer *heap_detach(struct timer *timer)
{
    if (timer)
        timer->sibling = timer->previous = NULL;
    return timer;
}

/* Merges a list of siblings: in pairs from the left, then all from the right. */
static struct timer *heap_merge_siblings(struct timer *first)
{
    struct timer *pairs = NULL;
    while (first) {
        struct timer *second = first->sibling;
        struct timer *rest = second ? second->sibling : NULL;
        struct timer *pair = heap_merge(heap_detach(first), heap_detach(second));
        pair->sibling = pairs;
        pairs = pair;
        first = rest;
    }
    struct timer *root = NULL;
    while (pairs) {
        struct timer *rest = pairs->sibling;
        root = heap_merge(root, heap_detach(pairs));
        pairs = rest;
    }
    return root;
}

static void heap_insert(struct timer *timer)
{
    timer->child = timer->sibling = timer->previous = NULL;
    timer->queued = true;
    queue.root = heap_merge(queue.root, timer);
}

static void heap_remove(struct timer *timer)
{
    struct timer *below = heap_merge_siblings(timer->child);
    if (timer == queue.root) {
        queue.root = below;
    } else {
        if (timer->previous->child == timer)
            timer->previous->child = timer->sibling;
        else
            timer->previous->sibling = timer->sibling;
        if (timer->sibling)
            timer->sibling->previous = timer->previous;
        queue.root = heap_merge(queue.root, below);
    }
    timer->child = timer->sibling = timer->previous = NULL;
    timer->queued = false;
}

/* --- timers ------------------------------------------------------------------------------------------ */

static void arm_locked(void)
{
    if (!queue.root || queue.root->deadline >= queue.armed)
        return;
    queue.armed = queue.root->deadline;
    body_timer_arm(queue.armed);
}

void timer_init(struct timer *timer, timer_function *function) { *timer = (struct timer){.function = function}; }

int timer_set(struct timer *timer, nanoseconds_t deadline)
{
    KASSERT(timer->function);
    spin_lock(&queue.lock);
    if (timer->queued)
        heap_remove(timer);
    timer->deadline = deadline;
    if (deadline != DEADLINE_NEVER) {
        heap_insert(timer);
        arm_locked();
    }
    spin_unlock(&queue.lock);
    return 0;
}

static bool cancel_locked(struct timer *timer)
{
    bool queued = timer->queued;
    if (queued)
        heap_remove(timer);
    return queued;
}

bool timer_cancel(struct timer *timer)
{
    spin_lock(&queue.lock);
    bool cancelled = cancel_locked(timer);
    spin_unlock(&queue.lock);
    return cancelled;
}

void timer_cancel_sync(struct timer *timer)
{
    for (uint32_t turn = 0;; turn++) {
        spin_lock(&queue.lock);
        cancel_locked(timer); /* again each time: its function may arm it */
        bool running = queue.running == timer;
        spin_unlock(&queue.lock);
        if (!running)
            return;
        body_relax(turn);
    }
}

static void run_expired_locked(nanoseconds_t now)
{
    while (queue.root && queue.root->deadline <= now) {
        struct timer *timer = queue.root;
        heap_remove(timer);
        queue.running = timer;
        spin_unlock(&queue.lock);
        timer->function(timer);
        spin_lock(&queue.lock);
        queue.running = NULL;
    }
}

void timer_queue_run(void)
{
    nanoseconds_t now = body_now();
    spin_lock(&queue.lock);
    queue.armed = DEADLINE_NEVER; /* also when another CPU serves: it then arms anew for what this call was for */
    if (!queue.serving) {
        queue.serving = true;
        run_expired_locked(now);
        queue.serving = false;
        arm_locked();
    }
    spin_unlock(&queue.lock);
}

nanoseconds_t timer_queue_next(void)
{
    spin_lock(&queue.lock);
    nanoseconds_t next = queue.root ? queue.root->deadline : DEADLINE_NEVER;
    spin_unlock(&queue.lock);
    return next;
}
