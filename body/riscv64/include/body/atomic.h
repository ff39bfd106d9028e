/*
 * Atomics of RISC-V: the mapping of the architecture's manual (RVWMO, table A.6), spelled out, since the compiler's built-ins take a
 * read-modify-write for each store and a fence more for each of the others.
 *
 *     load             fence rw,rw; l; fence r,rw        load_acquire   l; fence r,rw        load_relaxed   l
 *     store            fence rw,w; s                     store_release  fence rw,w; s        store_relaxed  s
 *     swap, add, …     amo.aqrl                          swap_acquire   amo.aq               add_relaxed    amo
 */
#ifndef BODY_ATOMIC_H
#define BODY_ATOMIC_H

#define RISCV_FENCE(before, after) __asm__ volatile("fence " #before ", " #after ::: "memory")
#define RISCV_AMO(operation, order, word, value)                                                                       \
    ({                                                                                                                 \
        __typeof__((word)->raw) old_;                                                                                  \
        if (sizeof old_ == 4)                                                                                          \
            __asm__ volatile(operation ".w" order " %0, %z2, %1" : "=r"(old_), "+A"((word)->raw) : "rJ"(value) : "memory"); \
        else                                                                                                           \
            __asm__ volatile(operation ".d" order " %0, %z2, %1" : "=r"(old_), "+A"((word)->raw) : "rJ"(value) : "memory"); \
        old_;                                                                                                          \
    })

#define DEFINE_ATOMIC_LOADS_AND_STORES(name, type, value_type)                                                         \
    static inline value_type name##_load_relaxed(const struct name *word) { return *(type const volatile *)&word->raw; } \
    static inline value_type name##_load_acquire(const struct name *word)                                              \
    {                                                                                                                  \
        value_type value = *(type const volatile *)&word->raw;                                                         \
        RISCV_FENCE(r, rw);                                                                                            \
        return value;                                                                                                  \
    }                                                                                                                  \
    static inline void name##_store_relaxed(struct name *word, value_type value) { *(type volatile *)&word->raw = value; } \
    static inline void name##_store_release(struct name *word, value_type value)                                       \
    {                                                                                                                  \
        RISCV_FENCE(rw, w);                                                                                            \
        *(type volatile *)&word->raw = value;                                                                          \
    }                                                                                                                  \
    static inline value_type name##_swap(struct name *word, value_type value) { return RISCV_AMO("amoswap", ".aqrl", word, value); } \
    static inline bool name##_cas(struct name *word, value_type *expected, value_type desired)                         \
    {                                                                                                                  \
        return __atomic_compare_exchange_n(&word->raw, expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);  \
    }

#define DEFINE_ATOMIC_WORD(name, type)                                                                                 \
    DEFINE_ATOMIC_LOADS_AND_STORES(name, type, type)                                                                   \
    static inline type name##_load(const struct name *word)                                                            \
    {                                                                                                                  \
        RISCV_FENCE(rw, rw);                                                                                           \
        return name##_load_acquire(word);                                                                              \
    }                                                                                                                  \
    static inline void name##_store(struct name *word, type value) { name##_store_release(word, value); }              \
    static inline type name##_swap_acquire(struct name *word, type value) { return RISCV_AMO("amoswap", ".aq", word, value); } \
    static inline type name##_add(struct name *word, type value) { return RISCV_AMO("amoadd", ".aqrl", word, value); } \
    static inline type name##_add_relaxed(struct name *word, type value) { return RISCV_AMO("amoadd", "", word, value); } \
    static inline type name##_sub(struct name *word, type value) { return RISCV_AMO("amoadd", ".aqrl", word, (type)0 - value); } \
    static inline type name##_or(struct name *word, type value) { return RISCV_AMO("amoor", ".aqrl", word, value); }   \
    static inline type name##_and(struct name *word, type value) { return RISCV_AMO("amoand", ".aqrl", word, value); }

typedef void *atomic_pointer;
DEFINE_ATOMIC_WORD(atomic32, uint32_t)
DEFINE_ATOMIC_WORD(atomic64, uint64_t)
DEFINE_ATOMIC_LOADS_AND_STORES(atomic_ptr, atomic_pointer, atomic_pointer)
#undef DEFINE_ATOMIC_WORD
#undef DEFINE_ATOMIC_LOADS_AND_STORES

static inline bool atomic32_take(struct atomic32 *word)
{
    int64_t old; /* sign-extended already */
    __asm__ volatile("amoswap.w.aq %0, %2, %1" : "=r"(old), "+A"(word->raw) : "r"(1) : "memory");
    return old == 0;
}

static inline void atomic_fence(void) { RISCV_FENCE(rw, rw); }

#endif
