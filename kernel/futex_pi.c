/*
 * PI futexes: words that hold their owner's thread id, so that a contended lock is handed over by the kernel.
 *
 * Everything about one word happens under the pi_mutex of its key's table, a sleeping lock, because the
 * word must be changed together with the kernel's record and changing it may suspend. A futex_pi_state
 * exists while somebody waits; waiters are served in order of arrival (Hyla's threads have no priorities to
 * inherit: the host schedules them). A second, spinning lock guards the graph of who waits for whom, over
 * all tables: it answers deadlock questions and finds what a dying thread owns.
 *
 * An owner that dies grants the lock to the first waiter, who writes itself into the word in its own
 * address space (the dying thread's may be gone already): until it has, it is the state's `pending`.
 *
 * Race of an owner's death with a new waiter:           the owner's thread
 *   waiter: 1. puts the state into the graph              a. its state becomes EXITING
 *           2. asks for the owner's state                 b. looks for its states in the graph
 * Both sides pass the graph lock between their two steps, so either 2 sees a (the waiter looks at the word
 * again), or b finds the state of 1.
 */
#include "kernel/futex_internal.h"

#include "kernel/alloc.h"
#include "kernel/assert.h"
#include "kernel/memobj.h"

#define GRAPH_CHAINS 64u
/* The longest chain of owners that is followed, as Linux's max_lock_depth. */
#define CHAIN_DEPTH_MAX 1024u

static struct spinlock graph_lock = SPINLOCK_INIT(RANK_FUTEX_GRAPH);
/* under graph_lock */
#define STATES_INIT(i) {&graph_states[i], &graph_states[i]}
#define WAITERS_INIT(i) {&graph_waiters[i], &graph_waiters[i]}
static struct list graph_states[GRAPH_CHAINS] = {FUTEX_REPEAT_64(STATES_INIT)};    /* by key */
static struct list graph_waiters[GRAPH_CHAINS] = {FUTEX_REPEAT_64(WAITERS_INIT)}; /* by thread id */
static struct atomic32 graph_state_count = ATOMIC_INIT(0); /* a hint, for those who hope for none */

typedef enum futex_owner_state owner_state_function(uint32_t id);
static struct atomic_ptr owner_state_of = ATOMIC_INIT(NULL);

void futex_owner_register(owner_state_function *state) { atomic_ptr_store_release(&owner_state_of, (void *)state); }

static enum futex_owner_state owner_state(uint32_t id)
{
    owner_state_function *state = (owner_state_function *)atomic_ptr_load_acquire(&owner_state_of);

    return state ? state(id) : FUTEX_OWNER_GONE;
}

/* --- the graph --------------------------------------------------------------------------------------- */

static struct list *state_chain(const struct futex_key *key) { return &graph_states[futex_key_hash(key) % GRAPH_CHAINS]; }
static struct list *waiter_chain(uint32_t id) { return &graph_waiters[id % GRAPH_CHAINS]; }

static struct futex_pi_state *find_state_graph(const struct futex_key *key)
{
    LIST_FOR_EACH(node, state_chain(key))
    {
        struct futex_pi_state *state = LIST_ENTRY(node, struct futex_pi_state, link);
        if (futex_key_equal(&state->key, key))
            return state;
    }
    return NULL;
}

/* The pi_mutex of the key's table keeps what is found. */
static struct futex_pi_state *find_state(const struct futex_key *key)
{
    struct futex_pi_state *state = NULL;

    if (!atomic32_load(&graph_state_count))
        return NULL;
    spin_lock(&graph_lock);
    state = find_state_graph(key);
    spin_unlock(&graph_lock);
    return state;
}

bool futex_pi_present(const struct futex_key *key) { return find_state(key); }

static struct futex_pi_waiter *find_waiter_graph(uint32_t id)
{
    LIST_FOR_EACH(node, waiter_chain(id))
    {
        struct futex_pi_waiter *waiter = LIST_ENTRY(node, struct futex_pi_waiter, id_link);
        if (waiter->id == id)
            return waiter;
    }
    return NULL;
}

/* True when `owner` waits, over however many locks, for a lock of `id`. A chain too long counts as one. */
static bool chain_reaches(uint32_t owner, uint32_t id)
{
    for (uint32_t depth = 0; depth < CHAIN_DEPTH_MAX; depth++) {
        struct futex_pi_waiter *waiter;
        if (owner == id)
            return true;
        waiter = find_waiter_graph(owner);
        if (!waiter)
            return false;
        owner = waiter->state->owner;
    }
    return true;
}

/* Queues the waiter on a state, or refuses with -EDEADLK. */
static int graph_join(struct futex_pi_state *state, struct futex_pi_waiter *waiter)
{
    int error = 0;

    spin_lock(&graph_lock);
    if (chain_reaches(state->owner, waiter->id)) {
        error = -EDEADLK;
    } else {
        waiter->state = state;
        list_push_back(&state->waiters, &waiter->link);
        list_push_back(waiter_chain(waiter->id), &waiter->id_link);
    }
    spin_unlock(&graph_lock);
    return error;
}

static void graph_leave(struct futex_pi_waiter *waiter)
{
    spin_lock(&graph_lock);
    list_remove(&waiter->link);
    list_remove(&waiter->id_link);
    waiter->state = NULL;
    spin_unlock(&graph_lock);
}

/* --- states ------------------------------------------------------------------------------------------ */

static struct futex_pi_state *state_create(const struct futex_key *key, uint32_t owner)
{
    struct futex_pi_state *state = kzalloc(sizeof(*state));

    if (!state)
        return NULL;
    list_init(&state->waiters);
    state->key = *key;
    futex_key_ref(key);
    state->owner = owner;
    futex_count_up(futex_key_counter(key)); /* a wake of a PI word is an error that user space must not miss */
    spin_lock(&graph_lock);
    list_push_back(state_chain(key), &state->link);
    spin_unlock(&graph_lock);
    atomic32_add(&graph_state_count, 1);
    return state;
}

/* Goes when nobody waits and nobody has the word still to change. */
static void state_release(struct futex_pi_state *state)
{
    if (state->pending || !list_empty(&state->waiters))
        return;
    atomic32_sub(&graph_state_count, 1);
    spin_lock(&graph_lock);
    list_remove(&state->link);
    spin_unlock(&graph_lock);
    futex_count_down(futex_key_counter(&state->key));
    futex_key_put(&state->key);
    kfree(state);
}

/* The first waiter becomes the owner. Its thread needs the pi_mutex to leave, so it stays until we are done. */
static void grant_first(struct futex_pi_state *state, bool owner_died)
{
    struct futex_pi_waiter *waiter = LIST_ENTRY(state->waiters.next, struct futex_pi_waiter, link);

    spin_lock(&graph_lock);
    state->owner = waiter->id;
    spin_unlock(&graph_lock);
    graph_leave(waiter);
    waiter->granted = true;
    waiter->owner_died = owner_died;
    state->pending = owner_died ? waiter : NULL;
    waitq_wake_all(&waiter->sleep);
    state_release(state);
}

/* --- the word ---------------------------------------------------------------------------------------- */

enum word_result { WORD_DONE, WORD_CHANGED };

/* WORD_DONE, WORD_CHANGED, or an error. */
static int change_word(uaddr_t address, uint32_t expected, uint32_t desired)
{
    uint32_t previous;
    int error;

    if (thread_killed(thread_current()))
        return -EINTR;
    error = body_cas32(address, expected, desired, &previous);
    if (error)
        return error;
    return previous == expected ? WORD_DONE : WORD_CHANGED;
}

/* --- acquiring --------------------------------------------------------------------------------------- */

void futex_pi_waiter_init(struct futex_pi_waiter *waiter, const struct futex_key *target, uaddr_t address, uint32_t id)
{
    *waiter = (struct futex_pi_waiter){.id = id, .target = *target, .address = address};
    list_init(&waiter->link);
    list_init(&waiter->id_link);
    waitq_init(&waiter->sleep);
}

/* After joining a fresh state: its owner must be someone who will give it up. 0, or what to do instead. */
static int check_owner(struct futex_pi_state *state, struct futex_pi_waiter *waiter, uaddr_t address, uint32_t value)
{
    enum futex_owner_state is = owner_state(state->owner);
    uint32_t now;
    int error;

    if (is == FUTEX_OWNER_ALIVE)
        return FUTEX_PI_MUST_WAIT;
    futex_pi_cancel_locked(waiter);
    if (is == FUTEX_OWNER_FOREIGN)
        return -EPERM;
    if (is == FUTEX_OWNER_EXITING)
        return -EBUSY;
    error = futex_read_word(address, &now); /* its exit may have changed the word between our two looks */
    if (error)
        return error;
    return now == value ? -ESRCH : -EBUSY;
}

/* The word has an owner: marks it contended and queues. -EBUSY: look again. */
static int queue_on_owner(struct futex_pi_waiter *waiter, uaddr_t address, struct futex_pi_state *state, uint32_t value)
{
    uint32_t owner = value & FUTEX_WORD_OWNER;
    bool fresh = !state;
    int error;

    /* User space must not have changed the owner behind the waiters' back; a dead or dying one is being replaced. */
    if (state && owner != state->owner && !state->pending && !(value & FUTEX_WORD_OWNER_DIED))
        return -EINVAL;
    if (!(value & FUTEX_WORD_WAITERS)) {
        error = change_word(address, value, value | FUTEX_WORD_WAITERS);
        if (error)
            return error == WORD_CHANGED ? -EBUSY : error;
    }
    if (fresh)
        state = state_create(&waiter->target, owner);
    if (!state)
        return -ENOMEM;
    error = graph_join(state, waiter);
    if (error) {
        state_release(state);
        return error;
    }
    return fresh ? check_owner(state, waiter, address, value | FUTEX_WORD_WAITERS) : FUTEX_PI_MUST_WAIT;
}

int futex_pi_acquire_locked(struct futex_pi_waiter *waiter, uaddr_t address, bool try_only, bool more)
{
    struct futex_pi_state *state = find_state(&waiter->target);
    uint32_t value, desired;
    int error = futex_read_word(address, &value);

    KASSERT(mutex_owned(&futex_key_table(&waiter->target)->pi_mutex));
    if (error)
        return error;
    if ((value & FUTEX_WORD_OWNER) == waiter->id)
        return -EDEADLK;
    if (state || (value & FUTEX_WORD_OWNER))
        return try_only ? -EAGAIN : queue_on_owner(waiter, address, state, value);
    desired = waiter->id | (value & FUTEX_WORD_OWNER_DIED) | (more ? FUTEX_WORD_WAITERS : 0);
    error = change_word(address, value, desired);
    return error == WORD_CHANGED ? -EBUSY : error;
}

/* The word changed, or its owner is going and will change it: neither may have to wait for our mutex. */
void futex_pi_breathe_locked(struct mutex *mutex)
{
    mutex_unlock(mutex);
    thread_yield();
    mutex_lock(mutex);
}

/* A dead owner's successor writes itself into the word. */
static int fix_word(struct futex_pi_waiter *waiter)
{
    uint32_t value;
    int result = futex_read_word(waiter->address, &value);

    while (!result) {
        result = change_word(waiter->address, value, waiter->id | FUTEX_WORD_WAITERS | FUTEX_WORD_OWNER_DIED);
        if (result != WORD_CHANGED)
            break;
        result = futex_read_word(waiter->address, &value);
    }
    return result;
}

int futex_pi_granted_locked(struct futex_pi_waiter *waiter)
{
    struct futex_pi_state *state;
    int error;

    if (!waiter->owner_died)
        return 0;
    state = find_state(&waiter->target);
    KASSERT(state && state->pending == waiter);
    error = fix_word(waiter);
    state->pending = NULL;
    if (error && !list_empty(&state->waiters))
        grant_first(state, true);
    else
        state_release(state);
    return error;
}

void futex_pi_cancel_locked(struct futex_pi_waiter *waiter)
{
    struct futex_pi_state *state = waiter->state;

    graph_leave(waiter);
    state_release(state);
}

int futex_pi_sleep_locked(struct futex_pi_waiter *waiter, struct mutex *mutex, nanoseconds_t deadline)
{
    int error = 0;

    while (!waiter->granted && !error)
        error = waitq_sleep(&waiter->sleep, mutex, deadline, WAIT_INTERRUPTIBLE);
    if (waiter->granted)
        return futex_pi_granted_locked(waiter);
    if (waiter->state)
        futex_pi_cancel_locked(waiter);
    return error;
}

int futex_lock_pi(struct futex_word word, uint32_t self, nanoseconds_t deadline, bool try_only)
{
    struct futex_pi_waiter waiter;
    struct futex_key key;
    struct mutex *mutex;
    int error = futex_key_get(word, &key);

    if (error)
        return error;
    mutex = &futex_key_table(&key)->pi_mutex;
    futex_pi_waiter_init(&waiter, &key, word.address, self);
    mutex_lock(mutex);
    while ((error = futex_pi_acquire_locked(&waiter, word.address, try_only, false)) == -EBUSY)
        futex_pi_breathe_locked(mutex);
    if (error == FUTEX_PI_MUST_WAIT)
        error = futex_pi_sleep_locked(&waiter, mutex, deadline);
    mutex_unlock(mutex);
    futex_key_put(&key);
    return error;
}

/* --- releasing --------------------------------------------------------------------------------------- */

/* One try: 0, -EBUSY when the word changed, or an error. Nothing changes unless the word could be written. */
static int try_release(const struct futex_key *key, uaddr_t address, uint32_t self)
{
    struct futex_pi_state *state = find_state(key);
    uint32_t value, desired = 0;
    int result = futex_read_word(address, &value);

    if (result)
        return result;
    if ((value & FUTEX_WORD_OWNER) != self)
        return -EPERM;
    if (state && (state->owner != self || state->pending))
        return -EINVAL;
    if (state)
        desired = LIST_ENTRY(state->waiters.next, struct futex_pi_waiter, link)->id | FUTEX_WORD_WAITERS;
    result = change_word(address, value, desired);
    if (result == WORD_DONE && state)
        grant_first(state, false);
    return result == WORD_CHANGED ? -EBUSY : result;
}

int futex_unlock_pi(struct futex_word word, uint32_t self)
{
    struct futex_key key;
    struct mutex *mutex;
    int error = futex_key_get(word, &key);

    if (error)
        return error;
    mutex = &futex_key_table(&key)->pi_mutex;
    mutex_lock(mutex);
    do
        error = try_release(&key, word.address, self);
    while (error == -EBUSY);
    mutex_unlock(mutex);
    futex_key_put(&key);
    return error;
}

/* --- an owner's death -------------------------------------------------------------------------------- */

/* The key of some state that `id` owns, with references that keep its table. */
static bool find_owned(uint32_t id, struct futex_key *key)
{
    bool found = false;

    spin_lock(&graph_lock);
    for (uint32_t i = 0; !found && i < GRAPH_CHAINS; i++) {
        LIST_FOR_EACH(node, &graph_states[i])
        {
            struct futex_pi_state *state = LIST_ENTRY(node, struct futex_pi_state, link);
            if (state->owner != id || list_empty(&state->waiters))
                continue;
            *key = state->key;
            object_ref(key->object); /* its waiters, or the state itself, hold one too */
            found = true;
            break;
        }
    }
    spin_unlock(&graph_lock);
    return found;
}

void futex_owner_exit(uint32_t id)
{
    struct futex_key key;

    if (!atomic32_load(&graph_state_count))
        return;
    while (find_owned(id, &key)) {
        struct mutex *mutex = &futex_key_table(&key)->pi_mutex;
        struct futex_pi_state *state;
        mutex_lock(mutex);
        state = find_state(&key);
        if (state && state->owner == id && !list_empty(&state->waiters))
            grant_first(state, true);
        mutex_unlock(mutex);
        object_unref(key.object);
    }
}
