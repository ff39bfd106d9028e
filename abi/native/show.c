/*
 * Native calls as text, for tracers: name(argument, …) with structures as {field=value, …}. What a call only fills in is shown
 * after it. Reads user memory again for showing; nothing here decides anything.
 */
#include "abi/native/call.h"
#include "kernel/string.h"

#define SHOWN_STRUCT 336u
#define SHOWN_STRING 64u

struct shown {
    char *text;
    size_t length, size;
};

static void add(struct shown *shown, const char *text, ...) PRINTF_LIKE(2, 3);
static void add(struct shown *shown, const char *text, ...)
{
    va_list arguments;
    va_start(arguments, text);
    if (shown->length + 1 < shown->size) {
        size_t room = shown->size - shown->length;
        int length = format_va(shown->text + shown->length, room, text, arguments);
        shown->length += length < 0 ? 0 : (size_t)length < room ? (size_t)length : room - 1;
    }
    va_end(arguments);
}

static uint64_t field_value(const uint8_t *from, uint32_t size)
{
    uint64_t value = 0;
    memcpy(&value, from, size);
    return value;
}

static void add_struct(struct shown *shown, const struct native_field *fields, uaddr_t address)
{
    uint8_t bytes[SHOWN_STRUCT];
    uint32_t size = 0;

    for (const struct native_field *field = fields; field->name; field++)
        size = field->offset + (uint32_t)field->size * field->count;
    if (!address || size > sizeof bytes || user_read(bytes, address, size)) {
        add(shown, "%#llx", (unsigned long long)address);
        return;
    }
    add(shown, "{");
    for (const struct native_field *field = fields; field->name; field++) {
        add(shown, "%s%s=", field == fields ? "" : ", ", field->name);
        for (uint32_t i = 0; i < field->count; i++)
            add(shown, "%s%#llx%s", i ? " " : field->count > 1 ? "[" : "", (unsigned long long)field_value(bytes + field->offset + i * field->size, field->size),
                field->count > 1 && i + 1 == field->count ? "]" : "");
    }
    add(shown, "}");
}

static void add_string(struct shown *shown, uaddr_t address)
{
    char text[SHOWN_STRING];
    int64_t length = user_read_string(text, address, sizeof text);
    if (length == -EFAULT) {
        add(shown, "%#llx", (unsigned long long)address);
        return;
    }
    size_t end = length < 0 ? sizeof text - 1 : (size_t)length;
    text[end] = 0;
    for (size_t i = 0; i < end; i++)
        if ((unsigned char)text[i] < 32 || text[i] == '"' || (unsigned char)text[i] > 126)
            text[i] = '.';
    add(shown, "\"%s\"%s", text, length < 0 ? "..." : "");
}

static void add_argument(struct shown *shown, const struct native_argument *argument, uint64_t value)
{
    switch ((enum native_argument_kind)argument->kind) {
    case NATIVE_ARG_INT: add(shown, "%lld", (long long)value); break;
    case NATIVE_ARG_UINT: add(shown, value > 4096 ? "%#llx" : "%llu", (unsigned long long)value); break;
    case NATIVE_ARG_HANDLE: add(shown, "#%x", (uint32_t)value); break;
    case NATIVE_ARG_STRING: add_string(shown, value); break;
    case NATIVE_ARG_DEADLINE:
        if (value == DEADLINE_NEVER)
            add(shown, "never");
        else
            add(shown, "%llu", (unsigned long long)value);
        break;
    case NATIVE_ARG_STRUCT_IN:
    case NATIVE_ARG_STRUCT_OUT:
    case NATIVE_ARG_STRUCT_INOUT: add_struct(shown, argument->fields, value); break;
    default: add(shown, "%#llx", (unsigned long long)value); break;
    }
}

static bool shown_after(const struct native_argument *argument) { return argument->kind == NATIVE_ARG_STRUCT_OUT; }

size_t native_show(uint64_t number, const uint64_t arguments[6], bool after, char *text, size_t size)
{
    struct shown shown = {.text = text, .size = size};
    const struct native_row *row = &native_rows[number - NATIVE_FIRST];

    text[0] = 0;
    if (!row->name) {
        if (!after)
            add(&shown, "native_%llu(", (unsigned long long)number);
        return shown.length;
    }
    if (!after)
        add(&shown, "%s(", row->name);
    bool first_after = false;
    for (uint32_t i = 0; i < row->argument_count; i++) {
        first_after |= shown_after(&row->arguments[i]);
        if (first_after != after)
            continue;
        add(&shown, "%s", i ? ", " : "");
        add_argument(&shown, &row->arguments[i], arguments[i]);
    }
    return shown.length;
}
