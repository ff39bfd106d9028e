/*
 * Atomics of real machines, whatever their architecture: the compiler's built-ins. Bodies that run on one share this file.
 */
#ifndef BODY_ATOMIC_H
#define BODY_ATOMIC_H

#define DEFINE_ATOMIC_WORD(bits)                                                                                       \
    static inline uint##bits##_t atomic##bits##_load_relaxed(const struct atomic##bits *word)                          \
    {                                                                                                                  \
        return __atomic_load_n(&word->raw, __ATOMIC_RELAXED);                                                          \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_load_acquire(const struct atomic##bits *word)                          \
    {                                                                                                                  \
        return __atomic_load_n(&word->raw, __ATOMIC_ACQUIRE);                                                          \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_load(const struct atomic##bits *word)                                  \
    {                                                                                                                  \
        return __atomic_load_n(&word->raw, __ATOMIC_SEQ_CST);                                                          \
    }                                                                                                                  \
    static inline void atomic##bits##_store_relaxed(struct atomic##bits *word, uint##bits##_t value)                   \
    {                                                                                                                  \
        __atomic_store_n(&word->raw, value, __ATOMIC_RELAXED);                                                         \
    }                                                                                                                  \
    static inline void atomic##bits##_store_release(struct atomic##bits *word, uint##bits##_t value)                   \
    {                                                                                                                  \
        __atomic_store_n(&word->raw, value, __ATOMIC_RELEASE);                                                         \
    }                                                                                                                  \
    static inline void atomic##bits##_store(struct atomic##bits *word, uint##bits##_t value)                           \
    {                                                                                                                  \
        __atomic_store_n(&word->raw, value, __ATOMIC_SEQ_CST);                                                         \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_swap(struct atomic##bits *word, uint##bits##_t value)                  \
    {                                                                                                                  \
        return __atomic_exchange_n(&word->raw, value, __ATOMIC_SEQ_CST);                                               \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_swap_acquire(struct atomic##bits *word, uint##bits##_t value)          \
    {                                                                                                                  \
        return __atomic_exchange_n(&word->raw, value, __ATOMIC_ACQUIRE);                                               \
    }                                                                                                                  \
    static inline bool atomic##bits##_cas(struct atomic##bits *word, uint##bits##_t *expected,                         \
                                          uint##bits##_t desired)                                                      \
    {                                                                                                                  \
        return __atomic_compare_exchange_n(&word->raw, expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);  \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_add(struct atomic##bits *word, uint##bits##_t value)                   \
    {                                                                                                                  \
        return __atomic_fetch_add(&word->raw, value, __ATOMIC_SEQ_CST);                                                \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_add_relaxed(struct atomic##bits *word, uint##bits##_t value)           \
    {                                                                                                                  \
        return __atomic_fetch_add(&word->raw, value, __ATOMIC_RELAXED);                                                \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_sub(struct atomic##bits *word, uint##bits##_t value)                   \
    {                                                                                                                  \
        return __atomic_fetch_sub(&word->raw, value, __ATOMIC_SEQ_CST);                                                \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_or(struct atomic##bits *word, uint##bits##_t value)                    \
    {                                                                                                                  \
        return __atomic_fetch_or(&word->raw, value, __ATOMIC_SEQ_CST);                                                 \
    }                                                                                                                  \
    static inline uint##bits##_t atomic##bits##_and(struct atomic##bits *word, uint##bits##_t value)                   \
    {                                                                                                                  \
        return __atomic_fetch_and(&word->raw, value, __ATOMIC_SEQ_CST);                                                \
    }

DEFINE_ATOMIC_WORD(32)
DEFINE_ATOMIC_WORD(64)
#undef DEFINE_ATOMIC_WORD

static inline void *atomic_ptr_load_acquire(const struct atomic_ptr *word) { return __atomic_load_n(&word->raw, __ATOMIC_ACQUIRE); }
static inline void *atomic_ptr_load_relaxed(const struct atomic_ptr *word) { return __atomic_load_n(&word->raw, __ATOMIC_RELAXED); }
static inline void atomic_ptr_store_release(struct atomic_ptr *word, void *value) { __atomic_store_n(&word->raw, value, __ATOMIC_RELEASE); }
static inline void atomic_ptr_store_relaxed(struct atomic_ptr *word, void *value) { __atomic_store_n(&word->raw, value, __ATOMIC_RELAXED); }
static inline void *atomic_ptr_swap(struct atomic_ptr *word, void *value) { return __atomic_exchange_n(&word->raw, value, __ATOMIC_SEQ_CST); }
static inline bool atomic_ptr_cas(struct atomic_ptr *word, void **expected, void *desired)
{
    return __atomic_compare_exchange_n(&word->raw, expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static inline bool atomic32_take(struct atomic32 *word) { return atomic32_swap_acquire(word, 1) == 0; }

/* ThreadSanitizer does not know fences: there, a read-modify-write of a word that all share stands for it. */
#ifdef __SANITIZE_THREAD__
static inline void atomic_fence(void)
{
    static uint32_t shared;
    __atomic_fetch_add(&shared, 0, __ATOMIC_SEQ_CST);
}
#else
static inline void atomic_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
#endif

#endif
