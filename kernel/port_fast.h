/*
 * The short way of word_call and word_reply_wait: decides whether the hand-over can be made now, and makes it. docs/fast-path.md has
 * the whole story. A body that keeps a message's words in registers includes this where it enters the kernel; nobody else does.
 *
 *   port_fast_call         the running thread calls; the receiver that waits is to run in its place
 *   port_fast_reply_wait   the running thread replies and waits; the caller is to run in its place
 *
 * Both are called with interrupts disabled, on a CPU of the scheduler, for a thread whose user registers are saved. NULL: nothing has
 * changed. Else *fast tells what the thread that now has this CPU and this stack gets, and port_fast_done must follow, once nothing of the
 * thread that has parked is in this CPU any more: from then on it may run elsewhere.
 *
 * Every lock is only tried, without the order check: failing means that another CPU is at it, and leads to the long way. All are held
 * at the moment of the change. mutex->state_lock of a table whose mutex nobody owns stands for the mutex.
 */
#ifndef KERNEL_PORT_FAST_H
#define KERNEL_PORT_FAST_H

#include "kernel/assert.h"
#include "kernel/port_internal.h"
#include "kernel/sched.h"
#include "kernel/task.h"
#include "kernel/user.h"

#define PORT_FAST_NO_SLOT UINT32_MAX

struct port_fast {
    int64_t result;            /* what the call of the thread that runs now answers */
    uint64_t badge;
    struct thread *parked;     /* whose lock is still held */
    thread_function *again;    /* in: the continuation of a thread that parks */
};

/* --- locks --------------------------------------------------------------------------------------------- */

static inline bool fast_try(struct spinlock *lock)
{
    return LIKELY(atomic32_take(&lock->word));
}

/* fast_settle, or giving up, comes before the first release: then one fence does for all locks. */
static inline void fast_release(struct spinlock *lock) { atomic32_store_relaxed(&lock->word, 0); }
static inline void fast_settle(void) { atomic_fence(); }

static inline bool fast_try_table(struct handle_table *table)
{
    if (UNLIKELY(!fast_try(&table->mutex.state_lock)))
        return false;
    if (LIKELY(!table->mutex.owner))
        return true;
    fast_release(&table->mutex.state_lock);
    return false;
}

static inline void fast_release_table(struct handle_table *table) { fast_release(&table->mutex.state_lock); }

/* --- looking ------------------------------------------------------------------------------------------- */

/* The slot, when the handle names an object of that type with these rights. */
static inline struct handle_slot *fast_slot(struct handle_table *table, uint64_t handle, const struct object_type *type, uint32_t rights)
{
    uint64_t index = handle & 0xffff;
    if (UNLIKELY(index >= table->size))
        return NULL;
    struct handle_slot *slot = &table->slots[index];
    bool good = slot->generation == handle >> 16 && slot->object && slot->object->type == type && slot->rights & rights;
    return LIKELY(good) ? slot : NULL;
}

/* Its thread waits in a call of this kind, fully parked. True: both of its locks are held. */
static inline bool fast_try_waiter(struct port_thread *peer, enum port_phase phase)
{
    if (UNLIKELY(!fast_try(&peer->lock)))
        return false;
    if (LIKELY(peer->phase == phase && peer->flags & PORT_REGISTERS && atomic32_load_relaxed(&peer->waiter.state) == WAITER_WAITING)) {
        struct thread *thread = peer->waiter.thread;
        if (LIKELY(fast_try(&thread->lock))) {
            if (LIKELY(thread->state == THREAD_PARKED && !atomic32_load_relaxed(&thread->interrupts)))
                return true;
            fast_release(&thread->lock);
        }
    }
    fast_release(&peer->lock);
    return false;
}

static inline void fast_release_waiter(struct port_thread *peer)
{
    fast_release(&peer->waiter.thread->lock);
    fast_release(&peer->lock);
}

/* The running thread can park. True: its lock is held. */
static inline bool fast_try_self(struct thread *self)
{
    if (UNLIKELY(!fast_try(&self->lock)))
        return false;
    if (LIKELY(!atomic32_load_relaxed(&self->interrupts)))
        return true;
    fast_release(&self->lock);
    return false;
}

/* --- changing ------------------------------------------------------------------------------------------ */

/* The running thread's record, from now on waiting. */
static inline void fast_wait(struct port_thread *me, struct thread *self, uint32_t flags, enum port_phase phase, enum port_stage stage)
{
    me->flags = flags | PORT_PARKS | PORT_REGISTERS;
    me->phase = phase;
    me->stage = stage;
    me->bytes_max = me->handles_max = 0;
    me->answer.reply = HANDLE_NONE;
    me->answer.sent = true;
    me->answer.received = false;
    me->waiter.thread = self;
    atomic32_store_relaxed(&me->waiter.state, WAITER_WAITING);
    me->waiter.flags = WAIT_INTERRUPTIBLE;
    me->waiter.parks = true;
    self->waiter = &me->waiter;
}

/* `self` parks, the other gets its CPU and its stack. */
static inline struct thread *fast_switch(struct cpu *cpu, struct thread *self, struct port_thread *peer, struct port_fast *fast)
{
    struct thread *next = peer->waiter.thread;
    peer->phase = PHASE_IDLE;
    atomic32_store_relaxed(&peer->waiter.state, WAITER_WOKEN);
    next->waiter = NULL;
    next->state = THREAD_RUNNING;
    next->stack = self->stack;
    self->stack = NULL;
    self->state = THREAD_PARKED;
    self->continuation = fast->again;
    self->cpu = cpu->id;
    cpu->current = next;
    fast->parked = self;
    fast_settle();
    return next;
}

/* After a full fence. */
static inline void port_fast_done(struct port_fast *fast) { fast_release(&fast->parked->lock); }

/* The caller's reply right, in the slot that the receiver has reserved. */
static inline int64_t fast_give_reply(struct port_thread *me, struct port_thread *peer)
{
    struct handle_table *table = peer->table;
    struct port_reply *reply = peer->reply;
    uint64_t index = table->first_free;
    struct handle_slot *slot = &table->slots[index];
    peer->reply = NULL;
    peer->reserved = 0;
    reply->caller = me;
    reply->call_number = ++me->call_number;
    atomic32_add_relaxed(&me->references, 1);
    table->first_free = slot->next_free;
    table->reserved--;
    table->used++;
    slot->object = &reply->object;
    slot->badge = 0;
    slot->rights = RIGHT_SEND_ONCE | RIGHT_TRANSFER;
    atomic32_store_relaxed(&reply->object.handles, 1);
    return (int64_t)((uint64_t)slot->generation << 16 | index);
}

/* The used reply right leaves its slot, which stays reserved for the next one. */
static inline void fast_take_reply(struct port_thread *me, struct handle_table *table, struct handle_slot *slot)
{
    struct port_reply *reply = CONTAINER_OF(slot->object, struct port_reply, object);
    slot->object = NULL;
    slot->generation = slot->generation == UINT16_MAX ? 1 : slot->generation + 1;
    slot->next_free = table->first_free;
    table->first_free = (uint32_t)(slot - table->slots);
    table->used--;
    table->reserved++;
    me->reserved = 1;
    atomic32_store_relaxed(&reply->object.handles, 0);
    atomic32_sub(&reply->caller->references, 1); /* never the last: its thread lives */
    reply->caller = NULL;
    me->reply = reply;
}

/* --- the two calls ------------------------------------------------------------------------------------- */

/*
 * Where receivers wait in a port whose receive right is in a table, there are no items and the port is alive; a receiver of this kind has
 * one slot reserved, and a reply right to spare.
 */
static inline bool fast_port_takes(const struct port *port)
{
    return LIKELY(port->holder && !port->badges_revoked && !list_empty(&port->receivers));
}

/*
 * Everything is held but the caller's own locks. That of its record keeps those away who still have a reply right to an earlier call
 * of it, and compare numbers. NULL: they are not to be had.
 */
static inline struct thread *fast_call_locked(struct cpu *cpu, struct thread *self, struct handle_table *table, struct port *port,
                                              struct port_thread *peer, const struct handle_slot *slot, struct port_fast *fast)
{
    struct port_thread *me = self->ports;
    if (UNLIKELY(!fast_try(&me->lock)))
        return NULL;
    if (UNLIKELY(!fast_try_self(self))) {
        fast_release(&me->lock);
        return NULL;
    }
    fast->badge = slot->badge;
    list_remove(&peer->receive_link);
    fast->result = fast_give_reply(me, peer);
    peer->from = NULL;
    atomic32_sub(&port->object.references, 1); /* the receiver's; never the last: its receive right is in a table */
    me->table = table;
    fast_wait(me, self, PORT_SEND | PORT_CALL, PHASE_SERVED, STAGE_SEND);
    struct thread *next = fast_switch(cpu, self, peer, fast);
    fast_release(&me->lock);
    return next;
}

static inline struct thread *fast_call_port(struct cpu *cpu, struct thread *self, struct handle_table *table, struct port *port,
                                            const struct handle_slot *slot, struct port_fast *fast)
{
    struct port_thread *peer = CONTAINER_OF(port->receivers.next, struct port_thread, receive_link);
    struct thread *next = NULL;
    if (UNLIKELY(!fast_try_waiter(peer, PHASE_RECEIVING)))
        return NULL;
    bool own = peer->table == table;
    if (LIKELY(own || fast_try_table(peer->table))) {
        if (LIKELY(peer->table->size))
            next = fast_call_locked(cpu, self, table, port, peer, slot, fast);
        if (!own)
            fast_release_table(peer->table);
    }
    fast_release_waiter(peer);
    return next;
}

static inline struct thread *port_fast_call(struct cpu *cpu, struct thread *self, uint64_t to, struct port_fast *fast)
{
    struct handle_table *table = &self->task->handles;
    struct thread *next = NULL;
    if (UNLIKELY(!self->ports || !fast_try_table(table)))
        return NULL;
    struct handle_slot *slot = fast_slot(table, to, &port_type, RIGHT_SEND);
    if (LIKELY(slot != NULL)) {
        struct port *port = CONTAINER_OF(slot->object, struct port, object);
        if (LIKELY(fast_try(&port->lock))) {
            if (fast_port_takes(port))
                next = fast_call_port(cpu, self, table, port, slot, fast);
            fast_release(&port->lock);
        }
    }
    fast_release_table(table);
    return next;
}

static inline struct thread *fast_reply_locked(struct cpu *cpu, struct thread *self, struct handle_table *table, struct port *port,
                                               struct handle_slot *slot, struct port_fast *fast)
{
    struct port_thread *me = self->ports, *peer = CONTAINER_OF(slot->object, struct port_reply, object)->caller;
    uint64_t number = CONTAINER_OF(slot->object, struct port_reply, object)->call_number;
    struct thread *next = NULL;
    if (UNLIKELY(!fast_try_waiter(peer, PHASE_SERVED)))
        return NULL;
    if (LIKELY(peer->call_number == number && fast_try_self(self))) {
        fast->result = 0;
        fast->badge = 0;
        fast_take_reply(me, table, slot);
        me->table = table;
        me->from = &port->object;
        atomic32_add_relaxed(&port->object.references, 1);
        list_push_back(&port->receivers, &me->receive_link);
        fast_wait(me, self, PORT_RECEIVE, PHASE_RECEIVING, STAGE_RECEIVE);
        next = fast_switch(cpu, self, peer, fast);
    }
    fast_release_waiter(peer);
    return next;
}

static inline bool fast_reply_usable(const struct port_thread *me, const struct handle_slot *slot)
{
    const struct port_reply *reply = CONTAINER_OF(slot->object, struct port_reply, object);
    return LIKELY(reply->caller && !me->reply && atomic32_load_relaxed(&reply->object.references) == 1);
}

static inline struct thread *port_fast_reply_wait(struct cpu *cpu, struct thread *self, uint64_t from, uint64_t once, struct port_fast *fast)
{
    struct handle_table *table = &self->task->handles;
    struct thread *next = NULL;
    if (UNLIKELY(!self->ports || !fast_try_table(table)))
        return NULL;
    struct handle_slot *slot = fast_slot(table, once, &port_reply_type, RIGHT_SEND_ONCE), *source = fast_slot(table, from, &port_type, RIGHT_RECEIVE);
    if (LIKELY(slot && source) && fast_reply_usable(self->ports, slot)) {
        struct port *port = CONTAINER_OF(source->object, struct port, object);
        if (LIKELY(fast_try(&port->lock))) {
            if (LIKELY(port->holder == table && list_empty(&port->items))) /* alive: its receive right is here */
                next = fast_reply_locked(cpu, self, table, port, slot, fast);
            fast_release(&port->lock);
        }
    }
    fast_release_table(table);
    return next;
}

#endif
