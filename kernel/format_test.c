/*
 * Formatted text: each conversion against what snprintf(3) gives, and the edges of the buffer.
 */
#include "body/sim/sim.h"
#include "kernel/alloc.h"
#include "kernel/string.h"

#define CHECK_FORMAT(expected, ...)                                                                                    \
    do {                                                                                                               \
        char text_[128];                                                                                               \
        int length_ = format(text_, sizeof(text_), __VA_ARGS__);                                                       \
        if (strcmp(text_, expected) != 0)                                                                              \
            sim_fail("'%s' instead of '%s'", text_, expected);                                                         \
        SIM_CHECK_EQUAL(length_, strlen(expected));                                                                    \
    } while (0)

SIM_TEST(numbers_are_formatted_as_snprintf_does, .schedules = 1)
{
    CHECK_FORMAT("-5 5 4294967295", "%d %i %u", -5, 5, UINT32_MAX);
    CHECK_FORMAT("-9223372036854775808", "%ld", INT64_MIN);
    CHECK_FORMAT("18446744073709551615", "%llu", (unsigned long long)UINT64_MAX);
    CHECK_FORMAT("ff FF 0xff 0 17", "%x %X %#x %#x %o", 255, 255, 255, 0, 15);
    CHECK_FORMAT("   42|42   |00042|  042", "%5d|%-5d|%05d|%5.3d", 42, 42, 42, 42);
    CHECK_FORMAT("-0042|  -42", "%05d|%5d", -42, -42);
    CHECK_FORMAT("-1 255 -1 65535", "%hhd %hhu %hd %hu", (signed char)-1, (unsigned char)255, (short)-1, (unsigned short)65535);
    CHECK_FORMAT("7 ab|", "%zu %*s|", (size_t)7, -2, "ab");
    CHECK_FORMAT("0x1234", "%p", (void *)0x1234);
}

SIM_TEST(text_is_formatted_as_snprintf_does, .schedules = 1)
{
    CHECK_FORMAT("a b% c", "%c %s%% %s", 'a', "b", "c");
    CHECK_FORMAT("abc|  abc|abc  |ab", "%s|%5s|%-5s|%.2s", "abc", "abc", "abc", "abc");
    CHECK_FORMAT("ab", "%.*s", 2, "abcdef");
}

SIM_TEST(a_short_buffer_is_cut_and_terminated, .schedules = 1)
{
    char text[4] = "xyz";
    SIM_CHECK_EQUAL(format(text, 0, "%s", "abcdef"), 6);
    SIM_CHECK(text[0] == 'x');
    SIM_CHECK_EQUAL(format(text, sizeof(text), "%s", "abcdef"), 6);
    SIM_CHECK(strcmp(text, "abc") == 0);
    SIM_CHECK_EQUAL(format(text, sizeof(text), "%s", "abc"), 3);
    SIM_CHECK(strcmp(text, "abc") == 0);
}

SIM_TEST(allocation_arithmetic_does_not_overflow, .schedules = 1)
{
    SIM_CHECK(!kcalloc(SIZE_MAX / 2, 3));
    void *empty = kalloc(0);
    SIM_CHECK(empty);
    kfree(empty);
    kfree(NULL);
    char *copy = kstrdup("hyla");
    SIM_CHECK(copy && strcmp(copy, "hyla") == 0);
    copy = krealloc(copy, 100);
    SIM_CHECK(strcmp(copy, "hyla") == 0);
    kfree(copy);
}
