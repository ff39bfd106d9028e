/*
 * Entropy: ChaCha20 as a generator with a key that is replaced after each use (RFC 8439's block function).
 *
 * The first key is made of the firmware's seed, where the device tree has one, the clocks and the machine's place in time. An
 * entropy device adds to it as long as the machine runs. With neither the numbers are not good enough for secrets, and the log
 * says so.
 */
#include "body/riscv64/machine.h"
#include "body/riscv64/random.h"
#include "kernel/assert.h"
#include "kernel/body.h"
#include "kernel/lock.h"
#include "kernel/string.h"

#define ROUNDS 10u
#define STALE_BLOCKS 1024u /* fresh entropy is asked for after so many */

static struct {
    struct spinlock lock;
    uint32_t key[8];
    uint64_t count;
} generator = {.lock = SPINLOCK_INIT(RANK_BODY)};

static uint32_t rotate(uint32_t value, uint32_t by) { return value << by | value >> (32 - by); }

static void quarter(uint32_t *x, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    x[a] += x[b], x[d] = rotate(x[d] ^ x[a], 16);
    x[c] += x[d], x[b] = rotate(x[b] ^ x[c], 12);
    x[a] += x[b], x[d] = rotate(x[d] ^ x[a], 8);
    x[c] += x[d], x[b] = rotate(x[b] ^ x[c], 7);
}

static void make_block(const uint32_t key[8], uint64_t count, uint32_t out[16])
{
    uint32_t start[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    memcpy(start + 4, key, 32);
    memcpy(start + 12, &count, sizeof count);
    memcpy(out, start, sizeof start);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        quarter(out, 0, 4, 8, 12), quarter(out, 1, 5, 9, 13), quarter(out, 2, 6, 10, 14), quarter(out, 3, 7, 11, 15);
        quarter(out, 0, 5, 10, 15), quarter(out, 1, 6, 11, 12), quarter(out, 2, 7, 8, 13), quarter(out, 3, 4, 9, 14);
    }
    for (uint32_t i = 0; i < 16; i++)
        out[i] += start[i];
}

/* Half of a block goes out, the other half is the next key. */
static void next_half(uint8_t out[32])
{
    uint32_t block[16];
    spin_lock(&generator.lock);
    make_block(generator.key, generator.count++, block);
    memcpy(generator.key, block, 32);
    bool stale = !(generator.count % STALE_BLOCKS);
    spin_unlock(&generator.lock);
    memcpy(out, block + 8, 32);
    if (stale)
        random_want_entropy();
}

void body_random(void *buffer, size_t size)
{
    uint8_t half[32];
    for (uint8_t *out = buffer; size; ) {
        size_t part = size < sizeof half ? size : sizeof half;
        next_half(half);
        memcpy(out, half, part);
        out += part;
        size -= part;
    }
}

void random_mix(const void *bytes, size_t size)
{
    const uint8_t *in = bytes;
    uint32_t block[16];
    spin_lock(&generator.lock);
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)generator.key)[i % 32] ^= in[i];
        if (i % 32 == 31 || i + 1 == size) {
            make_block(generator.key, generator.count++, block);
            memcpy(generator.key, block, 32);
        }
    }
    spin_unlock(&generator.lock);
}

void random_init(void)
{
    uint64_t times[2] = {body_now(), (uint64_t)body_wall_offset()};
    random_mix(times, sizeof times);
    if (machine.seed && machine.seed_size >= 16)
        random_mix(machine.seed, machine.seed_size);
    else if (!random_has_device())
        log_line("the firmware gives no rng-seed and there is no entropy device: random numbers can be guessed");
}
