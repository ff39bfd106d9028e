/*
 * Formatted text without a C library: what snprintf(3) does, for the conversions the kernel uses
 * (see kernel/string.h). An output counts every character and stores those that fit.
 *
 * An unknown conversion is copied as it stands: a message that looks odd is better than a panic in a
 * panic.
 */
#include "kernel/string.h"

struct output {
    char *buffer;
    size_t size;
    size_t length;
};

struct conversion {
    bool zero, minus, alternate;
    int width;
    int precision; /* -1: none given */
    int length;    /* -2 hh, -1 h, 0, 1 l, 2 ll, 3 z */
};

static void put(struct output *out, char byte)
{
    if (out->length + 1 < out->size)
        out->buffer[out->length] = byte;
    out->length++;
}

static void put_repeated(struct output *out, char byte, int count)
{
    while (count-- > 0)
        put(out, byte);
}

static void put_bytes(struct output *out, const char *bytes, int count)
{
    for (int i = 0; i < count; i++)
        put(out, bytes[i]);
}

static void put_text(struct output *out, const struct conversion *how, const char *text)
{
    if (!text)
        text = "(null)";
    int length = (int)(how->precision >= 0 ? strnlen(text, (size_t)how->precision) : strlen(text));
    if (!how->minus)
        put_repeated(out, ' ', how->width - length);
    put_bytes(out, text, length);
    if (how->minus)
        put_repeated(out, ' ', how->width - length);
}

/* prefix: a sign, "0x" or nothing; digits: the number's, without leading zeros. */
static void put_number(struct output *out, const struct conversion *how, const char *prefix, const char *digits, int count)
{
    int prefix_length = (int)strlen(prefix);
    int zeros = how->precision > count ? how->precision - count : 0;
    int padding = how->width - prefix_length - zeros - count;
    if (how->zero && !how->minus && how->precision < 0 && padding > 0) {
        zeros += padding;
        padding = 0;
    }
    if (!how->minus)
        put_repeated(out, ' ', padding);
    put_bytes(out, prefix, prefix_length);
    put_repeated(out, '0', zeros);
    put_bytes(out, digits, count);
    if (how->minus)
        put_repeated(out, ' ', padding);
}

static void put_unsigned(struct output *out, const struct conversion *how, const char *prefix, uint64_t value,
                         unsigned base, bool upper)
{
    char digits[24];
    int count = 0;
    const char *alphabet = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    for (uint64_t rest = value; rest; rest /= base)
        digits[sizeof(digits) - 1 - (size_t)count++] = alphabet[rest % base];
    if (!value && how->precision != 0)
        digits[sizeof(digits) - 1 - (size_t)count++] = '0';
    put_number(out, how, prefix, digits + sizeof(digits) - count, count);
}

static int64_t narrow_signed(int64_t value, int length)
{
    if (length == -2)
        return (signed char)value;
    return length == -1 ? (short)value : value;
}

static uint64_t narrow_unsigned(uint64_t value, int length)
{
    if (length == -2)
        return (unsigned char)value;
    return length == -1 ? (unsigned short)value : value;
}

static const char *read_flags(const char *text, struct conversion *how)
{
    for (;; text++) {
        if (*text == '0')
            how->zero = true;
        else if (*text == '-')
            how->minus = true;
        else if (*text == '#')
            how->alternate = true;
        else
            return text;
    }
}

static const char *read_length(const char *text, struct conversion *how)
{
    if (*text == 'z') {
        how->length = 3;
        return text + 1;
    }
    for (; *text == 'l' && how->length < 2; text++)
        how->length++;
    for (; *text == 'h' && how->length > -2 && how->length <= 0; text++)
        how->length--;
    return text;
}

/* A number, or '*' taking it from the arguments. Bounded, so that padding is too. */
static const char *read_count(const char *text, int *count, va_list *args)
{
    if (*text == '*') {
        *count = va_arg(*args, int);
        return text + 1;
    }
    *count = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        if (*count < 100000)
            *count = *count * 10 + (*text - '0');
    return text;
}

static const char *read_conversion(const char *text, struct conversion *how, va_list *args)
{
    *how = (struct conversion){.precision = -1};
    text = read_flags(text, how);
    text = read_count(text, &how->width, args);
    if (how->width < 0) {
        how->minus = true;
        how->width = -how->width;
    }
    if (*text == '.')
        text = read_count(text + 1, &how->precision, args);
    return read_length(text, how);
}

static void convert_signed(struct output *out, const struct conversion *how, va_list *args)
{
    int64_t value = how->length >= 1 ? va_arg(*args, long) : va_arg(*args, int);
    value = narrow_signed(value, how->length);
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    put_unsigned(out, how, value < 0 ? "-" : "", magnitude, 10, false);
}

static void convert_unsigned(struct output *out, const struct conversion *how, va_list *args, char kind)
{
    uint64_t value = how->length >= 1 ? va_arg(*args, unsigned long) : va_arg(*args, unsigned);
    value = narrow_unsigned(value, how->length);
    unsigned base = kind == 'u' ? 10 : kind == 'o' ? 8 : 16;
    const char *prefix = "";
    if (how->alternate && value)
        prefix = kind == 'x' ? "0x" : kind == 'X' ? "0X" : kind == 'o' ? "0" : "";
    put_unsigned(out, how, prefix, value, base, kind == 'X');
}

/* False when the conversion is not known. */
static bool convert(struct output *out, const struct conversion *how, char kind, va_list *args)
{
    switch (kind) {
    case 'd':
    case 'i':
        convert_signed(out, how, args);
        return true;
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        convert_unsigned(out, how, args, kind);
        return true;
    case 'p':
        put_unsigned(out, how, "0x", (uintptr_t)va_arg(*args, void *), 16, false);
        return true;
    case 'c':
        put_text(out, how, (char[2]){(char)va_arg(*args, int), 0});
        return true;
    case 's':
        put_text(out, how, va_arg(*args, const char *));
        return true;
    case '%':
        put(out, '%');
        return true;
    default:
        return false;
    }
}

static void format_all(struct output *out, const char *text, va_list *args)
{
    while (*text) {
        if (*text != '%') {
            put(out, *text++);
            continue;
        }
        struct conversion how;
        const char *end = read_conversion(text + 1, &how, args);
        if (*end && convert(out, &how, *end, args))
            text = end + 1;
        else
            put(out, *text++);
    }
}

int format_va(char *buffer, size_t size, const char *text, va_list args)
{
    struct output out = {.buffer = buffer, .size = size};
    va_list copy;
    va_copy(copy, args);
    format_all(&out, text, &copy);
    va_end(copy);
    if (size > 0)
        buffer[out.length < size ? out.length : size - 1] = '\0';
    return (int)out.length;
}

int format(char *buffer, size_t size, const char *text, ...)
{
    va_list args;
    va_start(args, text);
    int length = format_va(buffer, size, text, args);
    va_end(args);
    return length;
}
