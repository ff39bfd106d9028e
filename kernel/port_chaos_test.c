/*
 * Ports: tasks that do whatever they can think of, at once, interrupted, with and without memory. Nothing is expected of any one
 * answer; at the end everything must be gone.
 */
#include "body/sim/port_testing.h"

#define TASKS 3
#define STEPS 8
#define KNOWN 6

/* Tasks that do whatever they can think of with the handles they come across, with their stacks or parked. */
struct mind {
    struct handle_table table;
    handle_t known[KNOWN];
    uint32_t steps;
};

static handle_t pick(struct mind *mind) { return mind->known[sim_random(KNOWN)]; }
static void learn(struct mind *mind, handle_t handle)
{
    if (handle != HANDLE_NONE)
        mind->known[sim_random(KNOWN)] = handle;
}

static void learn_note(struct mind *mind, const struct note *note)
{
    if (!note->received)
        return;
    learn(mind, note->reply);
    for (uint32_t i = 0; i < note->handle_count && i < 4; i++)
        learn(mind, note->handles[i]);
}

static void think(void *argument);

static void message_over(struct mind *mind, struct port_thread *self)
{
    struct note note;
    note_take(self, &note);
    if (note.received && sim_chance(8))
        port_msg_reject(self);
    else
        learn_note(mind, &note);
    port_message_done(self);
}

static void think_parked(void *argument)
{
    struct port_thread *self = port_thread_self();
    if (port_msg_resume(self) == PORT_WAITS)
        port_msg_park(self, think_parked, argument);
    message_over(argument, self);
    think(argument);
}

static void do_message(struct mind *mind)
{
    static const uint32_t kinds[] = {PORT_SEND, PORT_SEND | PORT_CALL, PORT_RECEIVE, PORT_SEND | PORT_RECEIVE};
    struct outgoing outgoing = {.word = sim_random(9), .size = sim_random(20), .copy = sim_chance(2)};
    struct port_thread *self = self_made();
    struct port_request what = {.flags = kinds[sim_random(ARRAY_SIZE(kinds))], .to = pick(mind), .from = pick(mind), .table = &mind->table, ROOM};
    if (sim_chance(2))
        outgoing.handle = pick(mind);
    what.flags |= sim_chance(4) ? 0 : PORT_SEND_NONBLOCK;
    what.flags |= sim_chance(4) ? 0 : PORT_RECEIVE_NONBLOCK;
    what.flags |= sim_chance(2) ? 0 : PORT_PARKS;
    if (message_fill(self, &outgoing) == 0 && port_msg_begin(self, &what) == PORT_WAITS) {
        if (what.flags & PORT_PARKS)
            port_msg_park(self, think_parked, mind);
        do
            port_msg_wait(self);
        while (port_msg_resume(self) == PORT_WAITS);
    }
    message_over(mind, self);
}

static void do_manage(struct mind *mind)
{
    struct handle_table *table = &mind->table;
    handle_t made = HANDLE_NONE;
    switch (sim_random(9)) {
    case 0: port_create(table, sim_random(3), &made); break;
    case 1: port_make_send(table, pick(mind), sim_random(3), SEND_RIGHTS, &made); break;
    case 2: port_make_send_once(table, pick(mind), sim_random(3), &made); break;
    case 3: handle_close(table, pick(mind)); break;
    case 4: port_set_create(table, &made); break;
    case 5: port_set_add(table, pick(mind), pick(mind)); break;
    case 6: port_revoke(table, pick(mind), sim_random(3)); break;
    case 7: port_notify(table, pick(mind), (enum port_notice)(1 + sim_random(4)), sim_random(3), pick(mind), sim_random(2)); break;
    case 8: handle_copy(table, pick(mind), UINT32_MAX, &made); break;
    }
    learn(mind, made);
}

static void think(void *argument)
{
    struct mind *mind = argument;
    struct thread *self = thread_current();
    while (mind->steps < STEPS) {
        if (mind->steps++ == 0)
            sim_may_interrupt(self, 4);
        if (sim_chance(2))
            thread_interrupt_clear(self);
        if (sim_chance(3))
            do_manage(mind);
        else
            do_message(mind);
    }
    sim_leave_alone(self);
    if (sim_chance(2))
        handle_table_destroy(&mind->table);
}

static void mind_init(struct mind *mind)
{
    mind->steps = 0;
    handle_table_init(&mind->table, 40);
    for (uint32_t i = 0; i < KNOWN; i++)
        mind->known[i] = (handle_t)(1u << 16 | i); /* what the test puts there first */
}

/* Who waits for ever is interrupted until it has ended. */
static void end_thread(struct thread *thread)
{
    while (atomic32_load(&thread->object.references) > 1) {
        thread_interrupt(thread);
        thread_yield();
        body_relax(0);
    }
    object_unref(thread);
}

static void chaos_run(void)
{
    struct mind minds[TASKS];
    struct thread *threads[TASKS];
    sim_calm_begin();
    for (uint32_t i = 0; i < TASKS; i++)
        mind_init(&minds[i]);
    for (uint32_t i = 0; i < TASKS; i++) {
        handle_t receive = port_of(&minds[i].table, sim_random(2));
        for (uint32_t j = 0; j < TASKS; j++)
            send_right(&minds[i].table, receive, j, &minds[j].table);
        token_make(&minds[i].table);
        threads[i] = thread_create("mind", NULL, think, &minds[i]);
    }
    sim_calm_end();
    for (uint32_t i = 0; i < TASKS; i++)
        thread_start(threads[i]);
    for (uint32_t i = 0; i < TASKS; i++)
        end_thread(threads[i]);
    sim_calm_begin();
    for (uint32_t i = 0; i < TASKS; i++)
        handle_table_destroy(&minds[i].table);
    sim_calm_end();
}

SIM_TEST(whatever_tasks_do_nothing_is_left, .schedules = 15000) { chaos_run(); }
SIM_TEST(whatever_tasks_do_without_memory_nothing_is_left, .schedules = 15000, .fail_allocations = true) { chaos_run(); }
