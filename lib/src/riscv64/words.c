/*
 * Calls of words, in registers: s2 to s9 for the words, all other registers that a function may change are lost.
 */
#include "lib/src/call.h"

#include <errno.h>

#define WORDS(message) \
    register uint64_t s2 __asm__("s2") = (message)->word[0]; \
    register uint64_t s3 __asm__("s3") = (message)->word[1]; \
    register uint64_t s4 __asm__("s4") = (message)->word[2]; \
    register uint64_t s5 __asm__("s5") = (message)->word[3]; \
    register uint64_t s6 __asm__("s6") = (message)->word[4]; \
    register uint64_t s7 __asm__("s7") = (message)->word[5]; \
    register uint64_t s8 __asm__("s8") = (message)->word[6]; \
    register uint64_t s9 __asm__("s9") = (message)->word[7]

static int64_t word_call(uint64_t number, uint64_t first, uint64_t second, struct hyla_words *message)
{
    register uint64_t a0 __asm__("a0") = first;
    register uint64_t a1 __asm__("a1") = second;
    register uint64_t a7 __asm__("a7") = number;
    WORDS(message);
    __asm__ volatile("ecall"
                     : "+r"(a0), "+r"(a1), "+r"(a7), "+r"(s2), "+r"(s3), "+r"(s4), "+r"(s5), "+r"(s6), "+r"(s7), "+r"(s8), "+r"(s9)
                     :
                     : "a2", "a3", "a4", "a5", "a6", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "memory");
    if ((int64_t)a0 >= 0)
        *message = (struct hyla_words){.word = {s2, s3, s4, s5, s6, s7, s8, s9}, .badge = a1};
    return (int64_t)a0;
}

int64_t hyla_word_call(hyla_handle_t to, struct hyla_words *message)
{
    int error;
    return world_now(&error) == HYLA_WORLD_MANAGED ? word_call(HYLA_CALL_WORD_CALL, to, 0, message) : error ? error : -ENOSYS;
}

int64_t hyla_word_reply_wait(hyla_handle_t from, hyla_handle_t reply, struct hyla_words *message)
{
    int error;
    return world_now(&error) == HYLA_WORLD_MANAGED ? word_call(HYLA_CALL_WORD_REPLY_WAIT, from, reply, message) : error ? error : -ENOSYS;
}
