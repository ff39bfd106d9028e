/*
 * Attacks on a ring (docs/pipe-rings.md) that is shared with an honest partner: the words in it, its writers' lock, its memory. The
 * partner may lose or misread bytes, but whatever is done, it comes out when the attacker's ends are closed.
 */
#include "hostile.h"

#define WARM 150
#define MAX_PLACES 16

static int to[2], from[2];
static pid_t partner;
static volatile bool spoiling;

static struct ring_header *ring_at(unsigned place) { return (struct ring_header *)(STUB_RINGS_BASE + place * RING_STRIDE); }
static struct call_pages_header *pages(void) { return (struct call_pages_header *)CALL_PAGES_BASE; }

__attribute__((noreturn)) static void honest(void)
{
    char bytes[64];
    ssize_t got;
    while ((got = read(to[0], bytes, sizeof bytes)) > 0)
        if (write(from[1], bytes, (size_t)got) != got)
            break;
    _exit(0);
}

/* The places that this thread is lent a ring in: which are its slot's words. Bits. */
static unsigned lent(void)
{
    struct call_slot *slots = (struct call_slot *)(CALL_PAGES_BASE + CALL_PAGES_HEADER_SIZE);
    unsigned places = 0;
    for (unsigned slot = 0; slot < 4; slot++)
        for (unsigned i = 0; i < RING_ENTRIES; i++)
            if (slots[slot].rings[i] & 0xffffffff)
                places |= 1u << (slots[slot].rings[i] >> RING_ENTRY_PLACE_SHIFT) % MAX_PLACES;
    return places;
}

static void round_trip(void)
{
    char byte = 'x';
    MUST(write(to[1], &byte, 1) == 1 && read(from[0], &byte, 1) == 1 && byte == 'x');
}

static unsigned begin(void)
{
    unsigned places;
    MUST(pipe(to) == 0 && pipe(from) == 0);
    partner = fork();
    MUST(partner >= 0);
    if (partner == 0) {
        close(to[1]);
        close(from[0]);
        honest();
    }
    close(to[0]);
    close(from[1]);
    unsigned before = lent();
    for (int i = 0; i < WARM; i++)
        round_trip();
    places = lent() & ~before;
    return places;
}

/* The ends go, and the partner sees it. */
static void end(void)
{
    int status;
    close(to[1]);
    close(from[0]);
    MUST(end_within(partner, 5000, &status) && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* --- the ways ------------------------------------------------------------------------------------------- */

static void each_ring(unsigned places, void (*spoil)(struct ring_header *ring, uint64_t *seed), uint64_t *seed)
{
    for (unsigned place = 0; place < MAX_PLACES; place++)
        if (places & 1u << place)
            spoil(ring_at(place), seed);
}

static void hold_lock(struct ring_header *ring, uint64_t *seed) { (void)seed, ring->writing = 1; }

static void spoil_word(struct ring_header *ring, uint64_t *seed)
{
    uint64_t value = random_argument(seed), where = random_next(seed);
    switch (where % 6) {
    case 0: ring->head = value; break;
    case 1: ring->tail = value; break;
    case 2: ring->head = ring->tail + value % 300000; break;
    case 3: ring->readers_asleep = (uint32_t)value % 3, ring->writers_asleep = (uint32_t)value / 4 % 3; break;
    case 4: ring->writing = (uint32_t)value % 2; break;
    default: memset((char *)ring + RING_DATA_OFFSET, (int)value, 4096); break;
    }
}

/* As if the ring were alive and empty, for ever: a sleeper that trusted it would never wake. */
static void put_back(struct ring_header *ring, uint64_t *seed)
{
    (void)seed;
    ring->head &= ~RING_REVOKED;
    ring->tail = ring->head;
}

static void punch(struct ring_header *ring, uint64_t *seed)
{
    gate_call(SYS_madvise, (long)ring, random_next(seed) % 2 ? RING_SIZE : RING_DATA_OFFSET, 9 /* MADV_REMOVE */, 0, 0, 0);
}

static unsigned spoiled_places;
static void (*spoiled_how)(struct ring_header *ring, uint64_t *seed);
static uint64_t spoiled_seed;

static void *spoil_on(void *unused)
{
    (void)unused;
    while (spoiling)
        each_ring(spoiled_places, spoiled_how, &spoiled_seed);
    return NULL;
}

/* Spoils while the ends are being closed. */
static void spoil_to_the_end(unsigned places, void (*how)(struct ring_header *ring, uint64_t *seed), uint64_t *seed)
{
    pthread_t thread;
    char bytes[100] = "";
    spoiled_places = places;
    spoiled_how = how;
    spoiled_seed = random_next(seed);
    spoiling = true;
    MUST(pthread_create(&thread, NULL, spoil_on, NULL) == 0);
    for (uint64_t i = random_next(seed) % 4; i > 0; i--)
        MUST(write(to[1], bytes, sizeof bytes) == sizeof bytes);
    end();
    spoiling = false;
    pthread_join(thread, NULL);
}

/* A lock that is never given back costs the partner the ring, not its pipe. */
static void locked_for_ever(unsigned places, uint64_t *seed)
{
    each_ring(places, hold_lock, seed);
    for (int i = 0; i < WARM; i++)
        round_trip();
    end();
}

static void counts_spoiled(uint64_t *seed)
{
    for (unsigned i = 0; i < RING_PLACES; i++)
        pages()->ring_users[i] = (uint32_t)random_next(seed) % 3;
    for (int i = 0; i < WARM; i++)
        round_trip();
    end();
}

int attack_rings(const struct attack *attack)
{
    uint64_t seed = attack->seed, until = clock_ms() + attack->seconds * 1000;
    unsigned rounds = 0, with_rings = 0;
    do {
        pid_t pid = fork();
        int status;
        MUST(pid >= 0);
        if (pid == 0) {
            unsigned places = begin();
            switch (rounds % 5) {
            case 0: locked_for_ever(places, &seed); break;
            case 1: spoil_to_the_end(places, spoil_word, &seed); break;
            case 2: spoil_to_the_end(places, put_back, &seed); break;
            case 3: spoil_to_the_end(places, punch, &seed); break;
            default: counts_spoiled(&seed); break;
            }
            _exit(places ? 0 : 77);
        }
        MUST(end_within(pid, 20000, &status) && WIFEXITED(status));
        MUST(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77);
        with_rings += WEXITSTATUS(status) == 0;
        random_next(&seed);
        rounds++;
    } while (clock_ms() < until || rounds < 10);
    printf("rings: %u rounds, %u with rings\n", rounds, with_rings);
    MUST(with_rings > 0);
    return 0;
}
