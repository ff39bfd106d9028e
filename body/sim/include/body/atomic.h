/*
 * Atomics of the simulated machine: each access is a point where the CPU may be switched, and stores go
 * through the CPU's store buffer (body/sim/buffer.c).
 */
#ifndef BODY_ATOMIC_H
#define BODY_ATOMIC_H

enum sim_order { SIM_RELAXED, SIM_RELEASE, SIM_FULL };
enum sim_rmw { SIM_SWAP, SIM_ADD, SIM_ADD_RELAXED, SIM_SUB, SIM_OR, SIM_AND };

/* `size` is 4 or 8 bytes. A load sees the CPU's own buffered stores. */
uint64_t sim_atomic_load(const void *word, uint32_t size);
void sim_atomic_store(void *word, uint32_t size, uint64_t value, enum sim_order order);
/* Both empty the buffer first, but for ADD_RELAXED on a weak machine. */
uint64_t sim_atomic_rmw(void *word, uint32_t size, uint64_t value, enum sim_rmw operation);
bool sim_atomic_cas(void *word, uint32_t size, uint64_t *expected, uint64_t desired);
void atomic_fence(void);

#define DEFINE_ATOMIC_WORD(bits)                                                                                       \
    static inline uint##bits##_t atomic##bits##_load_relaxed(const struct atomic##bits *word)                          \
    {                                                                                                                  \
        return (uint##bits##_t)sim_atomic_load(&word->raw, bits / 8);                                                  \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_load_acquire(const struct atomic##bits *word)                          \
    {                                                                                                                  \
        return (uint##bits##_t)sim_atomic_load(&word->raw, bits / 8);                                                  \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_load(const struct atomic##bits *word)                                  \
    {                                                                                                                  \
        return (uint##bits##_t)sim_atomic_load(&word->raw, bits / 8);                                                  \
    }                                                                                                                  \
    static inline void atomic##bits##_store_relaxed(struct atomic##bits *word, uint##bits##_t value)                   \
    {                                                                                                                  \
        sim_atomic_store(&word->raw, bits / 8, value, SIM_RELAXED);                                                    \
    }                                                                                                                  \
    static inline void atomic##bits##_store_release(struct atomic##bits *word, uint##bits##_t value)                   \
    {                                                                                                                  \
        sim_atomic_store(&word->raw, bits / 8, value, SIM_RELEASE);                                                    \
    }                                                                                                                  \
    static inline void atomic##bits##_store(struct atomic##bits *word, uint##bits##_t value)                           \
    {                                                                                                                  \
        sim_atomic_store(&word->raw, bits / 8, value, SIM_FULL);                                                       \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_swap(struct atomic##bits *word, uint##bits##_t value)                  \
    {                                                                                                                  \
        return (uint##bits##_t)sim_atomic_rmw(&word->raw, bits / 8, value, SIM_SWAP);                                  \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_swap_acquire(struct atomic##bits *word, uint##bits##_t value)          \
    {                                                                                                                  \
        return atomic##bits##_swap(word, value);                                                                       \
    }                                                                                                                  \
    static inline bool atomic##bits##_cas(struct atomic##bits *word, uint##bits##_t *expected,                         \
                                          uint##bits##_t desired)                                                      \
    {                                                                                                                  \
        uint64_t wide = *expected;                                                                                     \
        bool swapped = sim_atomic_cas(&word->raw, bits / 8, &wide, desired);                                           \
        *expected = (uint##bits##_t)wide;                                                                              \
        return swapped;                                                                                                \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_add(struct atomic##bits *word, uint##bits##_t value)                   \
    {                                                                                                                  \
        return (uint##bits##_t)sim_atomic_rmw(&word->raw, bits / 8, value, SIM_ADD);                                   \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_add_relaxed(struct atomic##bits *word, uint##bits##_t value)           \
    {                                                                                                                  \
        return (uint##bits##_t)sim_atomic_rmw(&word->raw, bits / 8, value, SIM_ADD_RELAXED);                           \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_sub(struct atomic##bits *word, uint##bits##_t value)                   \
    {                                                                                                                  \
        return (uint##bits##_t)sim_atomic_rmw(&word->raw, bits / 8, value, SIM_SUB);                                   \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_or(struct atomic##bits *word, uint##bits##_t value)                    \
    {                                                                                                                  \
        return (uint##bits##_t)sim_atomic_rmw(&word->raw, bits / 8, value, SIM_OR);                                    \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_and(struct atomic##bits *word, uint##bits##_t value)                   \
    {                                                                                                                  \
        return (uint##bits##_t)sim_atomic_rmw(&word->raw, bits / 8, value, SIM_AND);                                   \
    }

DEFINE_ATOMIC_WORD(32)
DEFINE_ATOMIC_WORD(64)
#undef DEFINE_ATOMIC_WORD

static inline bool atomic32_take(struct atomic32 *word) { return atomic32_swap_acquire(word, 1) == 0; }

static inline void *atomic_ptr_load_acquire(const struct atomic_ptr *word)
{
    return (void *)sim_atomic_load(&word->raw, sizeof(word->raw));
}
static inline void *atomic_ptr_load_relaxed(const struct atomic_ptr *word) { return atomic_ptr_load_acquire(word); }
static inline void atomic_ptr_store_release(struct atomic_ptr *word, void *value)
{
    sim_atomic_store(&word->raw, sizeof(word->raw), (uintptr_t)value, SIM_RELEASE);
}
static inline void atomic_ptr_store_relaxed(struct atomic_ptr *word, void *value)
{
    sim_atomic_store(&word->raw, sizeof(word->raw), (uintptr_t)value, SIM_RELAXED);
}
static inline void *atomic_ptr_swap(struct atomic_ptr *word, void *value)
{
    return (void *)sim_atomic_rmw(&word->raw, sizeof(word->raw), (uintptr_t)value, SIM_SWAP);
}
static inline bool atomic_ptr_cas(struct atomic_ptr *word, void **expected, void *desired)
{
    uint64_t wide = (uintptr_t)*expected;
    bool swapped = sim_atomic_cas(&word->raw, sizeof(word->raw), &wide, (uintptr_t)desired);
    *expected = (void *)(uintptr_t)wide;
    return swapped;
}

#endif
