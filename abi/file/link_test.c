/*
 * The kernel's side of the file protocol against servers of every kind: one that answers well, ones that say what they like, one
 * that never answers, and ones that die at any moment. What is checked each time: an answer is either sound or an error, nobody
 * waits for ever, and nothing is left over.
 */
#include "abi/file/file_calls.h"
#include "body/sim/port_testing.h"

struct world {
    struct object owner;
    struct handle_table table; /* the server's */
    handle_t receive, notify;
    struct handle_value right;
    struct file_link *link;
    struct atomic32 invalidated, named, asked, forgotten;
};

static void owner_destroy(struct object *object) { (void)object; }
static const struct object_type owner_type = {.name = "owner", .destroy = owner_destroy};

static struct world *world_of(struct object *owner) { return CONTAINER_OF(owner, struct world, owner); }

static void on_invalidate(struct object *owner, uint64_t node, uint32_t what)
{
    SIM_CHECK_EQUAL(node, 7);
    SIM_CHECK_EQUAL(what, 3);
    atomic32_add(&world_of(owner)->invalidated, 1);
}

static void on_name(struct object *owner, uint64_t directory, const char *name, uint32_t length)
{
    SIM_CHECK_EQUAL(directory, 1);
    SIM_CHECK(length == 3 && !memcmp(name, "old", 3));
    atomic32_add(&world_of(owner)->named, 1);
}

static const struct file_link_events events = {.invalidate = on_invalidate, .invalidate_name = on_name};

static void world_init(struct world *world)
{
    *world = (struct world){.notify = HANDLE_NONE};
    sim_calm_begin();
    object_init(&world->owner, &owner_type);
    handle_table_init(&world->table, 100);
    world->receive = port_of(&world->table, 0);
    handle_t send = send_right(&world->table, world->receive, 1, &world->table);
    SIM_CHECK_EQUAL(handle_get(&world->table, send, &port_type, RIGHT_SEND, &world->right), 0);
    SIM_CHECK_EQUAL(file_link_create(&world->right, &world->owner, &events, &world->link), 0);
    object_unref(world->right.object);
    handle_close(&world->table, send);
    sim_calm_end();
}

static void world_end(struct world *world)
{
    if (world->link)
        file_link_close(world->link);
    handle_table_destroy(&world->table);
    sim_settle(); /* the listener and the sender have ended */
    SIM_CHECK_EQUAL(atomic32_load(&world->owner.references), 1);
    object_unref(&world->owner);
}

/* --- servers ----------------------------------------------------------------------------------------- */

struct reply {
    uint64_t words[8];
    uint32_t size, handles;
    char bytes[512];
};

/* One question, by its words; -EPIPE when nobody can ask any more. */
static int question_take(struct world *world, uint64_t words[8], handle_t *reply, handle_t *brought)
{
    struct port_thread *self = self_made();
    struct port_request request = {
        .flags = PORT_RECEIVE, .from = world->receive, .table = &world->table, .bytes_max = PORT_BYTES_MAX, .handles_max = 1,
    };
    int error = port_msg(self, &request);
    if (error)
        return error;
    memcpy(words, port_message_of(self)->words, 8 * sizeof words[0]);
    *reply = port_answer_of(self)->reply;
    *brought = port_message_of(self)->handle_count ? port_message_of(self)->handles[0].handle : HANDLE_NONE;
    port_message_done(self);
    return 0;
}

static void reply_send(struct world *world, handle_t to, const struct reply *reply)
{
    struct port_thread *self = self_made();
    struct port_request request = {.flags = PORT_SEND, .to = to, .table = &world->table};
    sim_calm_begin();
    SIM_CHECK_EQUAL(port_message_prepare(self, reply->size, reply->handles), 0);
    struct port_message *message = port_message_of(self);
    memcpy(message->words, reply->words, sizeof reply->words);
    if (reply->size)
        memcpy(message->bytes, reply->bytes, reply->size);
    for (uint32_t i = 0; i < reply->handles; i++)
        message->handles[i] = (struct handle_transfer){.handle = token_make(&world->table), .rights = TOKEN_RIGHTS, .move = true};
    port_msg(self, &request);
    port_message_done(self);
    sim_calm_end();
}

static struct hyla_file_attributes attributes_of(uint64_t node)
{
    return (struct hyla_file_attributes){.node = node, .mode = 0100644, .links = 1, .size = 5};
}

static void answer_well(const uint64_t words[8], struct reply *reply)
{
    struct hyla_file_attributes attributes = attributes_of(words[0] == HYLA_FILE_ATTACH ? 1 : words[1]);
    memcpy(reply->bytes, &attributes, sizeof attributes);
    reply->size = sizeof attributes;
    if (words[0] == HYLA_FILE_ATTACH) {
        memcpy(reply->bytes + reply->size, "test", 4);
        reply->size += 4;
        reply->words[1] = 4;
    } else if (words[0] == HYLA_FILE_READ) {
        memcpy(reply->bytes, "bytes", 5);
        reply->size = 5;
        reply->words[0] = 5;
    }
}

/* Anything at all. */
static void answer_badly(struct reply *reply)
{
    for (int i = 0; i < 8; i++)
        reply->words[i] = sim_chance(2) ? sim_random(300) : sim_chance(2) ? (uint64_t)-(int64_t)sim_random(600) : (uint64_t)sim_random(1u << 31) << 33;
    reply->size = sim_chance(2) ? sizeof(struct hyla_file_attributes) : sim_random(sizeof reply->bytes);
    reply->handles = sim_chance(3) ? 1 + sim_random(2) : 0;
    for (uint32_t i = 0; i < reply->size; i++)
        reply->bytes[i] = (char)sim_random(256);
}

struct server {
    struct world *world;
    uint32_t questions;      /* then it ends, with its port */
    bool hostile, drops;
};

static void serve(void *argument)
{
    struct server *server = argument;
    struct world *world = server->world;
    uint64_t words[8];
    handle_t to, brought;
    for (uint32_t i = 0; i < server->questions && question_take(world, words, &to, &brought) == 0; i++) {
        struct reply reply = {0};
        atomic32_add(&world->asked, 1);
        if (words[0] == HYLA_FILE_FORGET)
            atomic32_add(&world->forgotten, (uint32_t)words[2]);
        if (words[0] == HYLA_FILE_ATTACH)
            world->notify = brought;
        if (to == HANDLE_NONE)
            continue;
        if (server->drops && sim_chance(3)) {
            handle_close(&world->table, to);
            continue;
        }
        if (server->hostile && sim_chance(2))
            answer_badly(&reply);
        else
            answer_well(words, &reply);
        reply_send(world, to, &reply);
        if (server->hostile && sim_chance(4))
            reply_send(world, to, &reply); /* twice: the right is used up */
    }
    handle_close(&world->table, world->receive);
}

/* --- tests ------------------------------------------------------------------------------------------- */

static bool known_error(int64_t result)
{
    return result == 0 || (result >= -133 && result < 0) || result == -ERESTARTSYS;
}

SIM_TEST(a_server_that_answers_well_is_believed, .schedules = 2000)
{
    struct world world;
    struct hyla_file_attributes attributes = {0};
    struct handle_value contents;
    char label[32], bytes[16];
    world_init(&world);
    struct server server = {.world = &world, .questions = 4};
    struct sim_thread *thread = sim_spawn(serve, &server);
    sim_calm_begin();
    SIM_CHECK_EQUAL(file_link_attach(world.link, &attributes, label), 0);
    SIM_CHECK(attributes.node == 1 && !strcmp(label, "test"));
    SIM_CHECK_EQUAL(file_call_lookup(world.link, 9, "name", 4, &attributes), 0);
    SIM_CHECK_EQUAL(attributes.node, 9);
    SIM_CHECK_EQUAL(file_call_read(world.link, 9, 0, 16, bytes, 16), 5);
    SIM_CHECK(!memcmp(bytes, "bytes", 5));
    SIM_CHECK_EQUAL(file_call_open(world.link, 9, 0, &contents), -EIO); /* attributes are no answer to that */
    SIM_CHECK_EQUAL(atomic64_load_relaxed(&world.link->messages), 4);
    sim_join(thread);
    SIM_CHECK_EQUAL(file_call_get_attributes(world.link, 9, &attributes), -EIO);
    SIM_CHECK(file_link_dead(world.link));
    sim_calm_end();
    world_end(&world);
}

static void ask_anything(void *argument)
{
    struct world *world = argument;
    struct hyla_file_attributes attributes;
    struct handle_value contents = {0};
    char bytes[64];
    uint32_t word;
    for (int i = 0; i < 6; i++) {
        int64_t result = 0;
        switch (sim_random(5)) {
        case 0: result = file_call_lookup(world->link, 3, "x", 1, &attributes); break;
        case 1:
            result = file_call_read(world->link, 3, 0, sizeof bytes, bytes, sizeof bytes);
            SIM_CHECK(result <= (int64_t)sizeof bytes);
            result = result > 0 ? 0 : result;
            break;
        case 2:
            result = file_call_open(world->link, 3, 0, &contents);
            if (result == 0 && contents.object)
                handle_value_close(&contents);
            break;
        case 3: result = file_call_remove(world->link, 3, "x", 1, 0); break;
        default: result = file_call_write(world->link, 3, 0, "abc", 3, &word, &attributes); break;
        }
        SIM_CHECK(known_error(result));
    }
}

SIM_TEST(whatever_a_server_says_is_sound_or_an_error, .schedules = 12000)
{
    struct world world;
    world_init(&world);
    struct server server = {.world = &world, .questions = 1 + sim_random(20), .hostile = true, .drops = sim_chance(2)};
    struct sim_thread *thread = sim_spawn(serve, &server), *asker = sim_spawn(ask_anything, &world);
    ask_anything(&world);
    sim_join(asker);
    file_link_close(world.link);
    world.link = NULL;
    thread_kill(sim_kernel_thread(thread)); /* it may wait for more */
    sim_join(thread);
    world_end(&world);
}

static void ask_and_wait(void *argument)
{
    struct world *world = argument;
    struct hyla_file_attributes attributes;
    bool changes = sim_chance(2);
    int64_t result = changes ? file_call_remove(world->link, 1, "x", 1, 0) : file_call_get_attributes(world->link, 1, &attributes);
    SIM_CHECK(result == -EINTR || result == -ERESTARTSYS || result == -EIO);
}

/* Takes a question and answers it never. */
static void take_and_wait(void *argument)
{
    struct world *world = argument;
    uint64_t words[8];
    handle_t to, brought;
    question_take(world, words, &to, &brought);
}

SIM_TEST(a_server_that_never_answers_holds_nobody_who_is_killed, .schedules = 6000)
{
    struct world world;
    world_init(&world);
    struct sim_thread *server = sim_spawn(take_and_wait, &world);
    struct sim_thread *askers[2] = {sim_spawn(ask_and_wait, &world), sim_spawn(ask_and_wait, &world)};
    for (int i = 0; i < 2; i++)
        thread_kill(sim_kernel_thread(askers[i]));
    for (int i = 0; i < 2; i++)
        sim_join(askers[i]);
    thread_kill(sim_kernel_thread(server));
    sim_join(server);
    world_end(&world);
}

static void change_and_be_interrupted(void *argument)
{
    struct world *world = argument;
    struct hyla_file_attributes attributes;
    struct hyla_file_changes changes = {.valid = HYLA_FILE_SET_MODE};
    SIM_CHECK_EQUAL(file_call_set_attributes(world->link, 1, &changes, &attributes), 0);
}

SIM_TEST(an_interruption_does_not_part_a_change_from_its_answer, .schedules = 4000)
{
    struct world world;
    world_init(&world);
    sim_calm_begin();
    struct server server = {.world = &world, .questions = 1};
    struct sim_thread *asker = sim_spawn(change_and_be_interrupted, &world);
    thread_interrupt(sim_kernel_thread(asker));
    struct sim_thread *thread = sim_spawn(serve, &server);
    thread_interrupt(sim_kernel_thread(asker));
    sim_join(asker);
    sim_join(thread);
    sim_calm_end();
    world_end(&world);
}

static void die_at_once(void *argument)
{
    struct world *world = argument;
    handle_close(&world->table, world->receive);
}

SIM_TEST(a_death_ends_every_wait_and_is_noticed_without_a_question, .schedules = 6000)
{
    struct world world;
    world_init(&world);
    struct sim_thread *askers[2] = {sim_spawn(ask_and_wait, &world), sim_spawn(ask_and_wait, &world)};
    struct sim_thread *killer = sim_spawn(die_at_once, &world);
    for (int i = 0; i < 2; i++)
        sim_join(askers[i]);
    sim_join(killer);
    sim_settle();
    SIM_CHECK(file_link_dead(world.link));
    world_end(&world);
}

/* --- what the server tells, and is told -------------------------------------------------------------- */

static int tell(struct world *world, const uint64_t words[3], const char *bytes, uint32_t size, int64_t *result)
{
    struct port_thread *self = self_made();
    struct port_request request = {.flags = PORT_SEND | PORT_CALL, .to = world->notify, .table = &world->table, .bytes_max = 16};
    SIM_CHECK_EQUAL(port_message_prepare(self, size, 0), 0);
    memcpy(port_message_of(self)->words, words, 3 * sizeof words[0]);
    if (size)
        memcpy(port_message_of(self)->bytes, bytes, size);
    int error = port_msg(self, &request);
    if (!error)
        *result = (int64_t)port_message_of(self)->words[0];
    port_message_done(self);
    return error;
}

SIM_TEST(recalls_are_heard_and_nonsense_is_refused, .schedules = 2000)
{
    struct world world;
    struct hyla_file_attributes attributes;
    char label[32];
    int64_t result = 1;
    world_init(&world);
    sim_calm_begin();
    struct server server = {.world = &world, .questions = 1};
    struct sim_thread *thread = sim_spawn(serve, &server);
    SIM_CHECK_EQUAL(file_link_attach(world.link, &attributes, label), 0);
    sim_join(thread);
    uint32_t before = atomic32_load(&world.link->recalls);
    const uint64_t good[3] = {HYLA_FILE_INVALIDATE, 7, 3}, name[3] = {HYLA_FILE_INVALIDATE_NAME, 1, 3};
    const uint64_t long_name[3] = {HYLA_FILE_INVALIDATE_NAME, 1, 300}, unknown[3] = {99, 1, 3};
    SIM_CHECK(tell(&world, good, "", 0, &result) == 0 && result == 0);
    SIM_CHECK(tell(&world, name, "old", 3, &result) == 0 && result == 0);
    SIM_CHECK(tell(&world, name, "older", 5, &result) == 0 && result == -EPROTO);
    SIM_CHECK(tell(&world, long_name, "old", 3, &result) == 0 && result == -EPROTO);
    SIM_CHECK(tell(&world, unknown, "", 0, &result) == 0 && result == -EPROTO);
    SIM_CHECK_EQUAL(atomic32_load(&world.invalidated), 1);
    SIM_CHECK_EQUAL(atomic32_load(&world.named), 1);
    SIM_CHECK_EQUAL(atomic32_load(&world.link->recalls), before + 2);
    sim_calm_end();
    world_end(&world);
}

SIM_TEST(references_are_given_back_or_go_with_the_link, .schedules = 6000)
{
    struct world world;
    world_init(&world);
    sim_calm_begin();
    bool whole = sim_chance(2);
    struct server server = {.world = &world, .questions = whole ? 8 : sim_random(8)};
    struct sim_thread *thread = sim_spawn(serve, &server);
    for (uint64_t i = 0; i < 4; i++) {
        struct file_outgoing *outgoing = kzalloc(sizeof *outgoing);
        outgoing->node = i + 1;
        outgoing->references = i + 1;
        outgoing->changes.valid = HYLA_FILE_SET_MODIFY;
        file_link_post(world.link, outgoing);
        if (sim_chance(3))
            thread_yield();
    }
    if (whole) {
        sim_join(thread);
        SIM_CHECK_EQUAL(atomic32_load(&world.forgotten), 10);
    } else {
        file_link_close(world.link);
        world.link = NULL;
        thread_kill(sim_kernel_thread(thread));
        sim_join(thread);
    }
    sim_calm_end();
    world_end(&world);
}
