/*
 * How the tracer shows arguments and results.
 *
 * One function per kind of argument, chosen by the kind that the table's generator gave it. User memory is read for
 * display only, once more than the call itself reads it: a program that changes it in between deceives its trace, not
 * the kernel.
 */
#include "abi/linux/trace_text.h"

#include "abi/linux/trace_names.h"
#include "abi/linux/uapi.h"
#include "kernel/errno.h"
#include "kernel/string.h"
#include "kernel/user.h"

#define STRINGS_SHOWN 16
#define STRING_LIMIT_MAX 1024
#define PATH_SHOWN_MAX 256u

void text_add(struct trace_text *text, const char *string, ...)
{
    va_list args;
    va_start(args, string);
    size_t room = sizeof text->text - text->length;
    int length = format_va(text->text + text->length, room, string, args);
    va_end(args);
    text->length += length < 0 ? 0 : min_u64((uint64_t)length, room - 1);
}

static void add_byte(struct trace_text *text, uint8_t byte)
{
    static const char plain[] = "nrtvf\\\"", raw[] = "\n\r\t\v\f\\\"";
    const char *found = byte ? strchr(raw, byte) : NULL;
    if (found)
        text_add(text, "\\%c", plain[found - raw]);
    else if (byte >= 0x20 && byte < 0x7f)
        text_add(text, "%c", byte);
    else
        text_add(text, "\\%o", byte);
}

/* A quoted piece of user memory: up to `size` bytes, ending at a NUL when it is a string. */
static void add_memory(struct trace_text *text, uaddr_t address, uint64_t size, bool string, uint32_t limit)
{
    uint8_t piece[STRING_LIMIT_MAX];
    size_t wanted = min_u64(size, min_u64(limit, sizeof piece));
    size_t got = user_read_some(piece, address, wanted);
    if (!got && size) {
        text_add(text, "%#llx", (unsigned long long)address);
        return;
    }
    const uint8_t *end = string ? memchr(piece, 0, got) : NULL;
    size_t shown = end ? (size_t)(end - piece) : got;
    text_add(text, "\"");
    for (size_t i = 0; i < shown; i++)
        add_byte(text, piece[i]);
    text_add(text, "\"%s", (string ? !end : shown < size) ? "..." : "");
}

static void add_string(struct trace_text *text, uaddr_t address, uint32_t limit)
{
    if (address)
        add_memory(text, address, UINT64_MAX, true, limit);
    else
        text_add(text, "NULL");
}

static void add_strings(struct trace_text *text, uaddr_t address, uint32_t limit)
{
    uint64_t pointer;
    text_add(text, "[");
    for (uint32_t i = 0; !user_read(&pointer, address + i * sizeof pointer, sizeof pointer) && pointer; i++) {
        text_add(text, "%s", i ? ", " : "");
        if (i == STRINGS_SHOWN) {
            text_add(text, "...");
            break;
        }
        add_string(text, pointer, limit);
    }
    text_add(text, "]");
}

static void add_bits(struct trace_text *text, const struct call_value *values, uint64_t bits)
{
    const char *separator = "";
    for (; values->name; values++) {
        /* The one value 0 is O_RDONLY, which the two bits of the access mode being clear mean. */
        bool wanted = values->value ? (bits & values->value) == values->value : !(bits & 3);
        if (!wanted)
            continue;
        text_add(text, "%s%s", separator, values->name);
        separator = "|";
        bits &= ~values->value;
    }
    if (bits || !*separator)
        text_add(text, bits ? "%s%#llx" : "%s%llu", separator, (unsigned long long)bits);
}

static void add_enum(struct trace_text *text, const struct call_value *values, uint64_t value)
{
    for (; values->name; values++) {
        if ((uint32_t)values->value == (uint32_t)value) {
            text_add(text, "%s", values->name);
            return;
        }
    }
    text_add(text, "%#llx", (unsigned long long)value);
}

static void add_time(struct trace_text *text, uaddr_t address, const char *unit)
{
    struct linux_timespec time;
    if (!address)
        text_add(text, "NULL");
    else if (user_read(&time, address, sizeof time))
        text_add(text, "%#llx", (unsigned long long)address);
    else
        text_add(text, "{tv_sec=%lld, tv_%s=%lld}", (long long)time.seconds, unit, (long long)time.nanoseconds);
}

static void add_ints(struct trace_text *text, uaddr_t address, uint32_t count)
{
    int32_t values[2];
    if (!address)
        text_add(text, "NULL");
    else if (user_read(values, address, count * sizeof values[0]))
        text_add(text, "%#llx", (unsigned long long)address);
    else if (count == 1)
        text_add(text, "[%d]", values[0]);
    else
        text_add(text, "[%d, %d]", values[0], values[1]);
}

static void add_wait_status(struct trace_text *text, uaddr_t address)
{
    int32_t status;
    char name[16];
    if (!address || user_read(&status, address, sizeof status))
        text_add(text, address ? "%#llx" : "NULL", (unsigned long long)address);
    else if (!(status & 0x7f))
        text_add(text, "[exit %d]", (status >> 8) & 0xff);
    else if ((status & 0xff) == 0x7f)
        text_add(text, "[stop %s]", signal_name((status >> 8) & 0xff, name));
    else
        text_add(text, "[%s]", signal_name(status & 0x7f, name));
}

static void add_stat(struct trace_text *text, uaddr_t address)
{
    static const char *const kinds[16] = {[1] = "S_IFIFO", [2] = "S_IFCHR", [4] = "S_IFDIR", [6] = "S_IFBLK",
                                          [8] = "S_IFREG", [10] = "S_IFLNK", [12] = "S_IFSOCK"};
    struct linux_stat stat;
    if (user_read(&stat, address, sizeof stat)) {
        text_add(text, "%#llx", (unsigned long long)address);
        return;
    }
    const char *kind = kinds[stat.mode >> 12 & 15];
    text_add(text, "{st_mode=%s|0%o, st_size=%lld, ...}", kind ? kind : "0", stat.mode & 07777, (long long)stat.size);
}

static void add_signal_set(struct trace_text *text, uaddr_t address)
{
    uint64_t set;
    char name[16];
    if (!address || user_read(&set, address, sizeof set)) {
        text_add(text, address ? "%#llx" : "NULL", (unsigned long long)address);
        return;
    }
    bool inverted = __builtin_popcountll(set) > 32;
    text_add(text, inverted ? "~[" : "[");
    const char *separator = "";
    for (int signal = 1; signal <= 64; signal++) {
        if (((set >> (signal - 1)) & 1) == inverted)
            continue;
        text_add(text, "%s%s", separator, signal_name(signal, name));
        separator = " ";
    }
    text_add(text, "]");
}

bool argument_after_call(const struct call_argument *argument)
{
    switch ((enum call_argument_kind)argument->kind) {
    case CALL_ARG_BYTES_OUT:
    case CALL_ARG_TIMESPEC_OUT:
    case CALL_ARG_TIMEVAL_OUT:
    case CALL_ARG_FD_PAIR_OUT:
    case CALL_ARG_INT_OUT:
    case CALL_ARG_STATUS_OUT:
    case CALL_ARG_SIGSET_OUT:
    case CALL_ARG_STAT_OUT:
        return true;
    default:
        return false;
    }
}

static void add_scalar(struct trace_text *text, const struct call_argument *argument, uint64_t value)
{
    char name[16];
    switch ((enum call_argument_kind)argument->kind) {
    case CALL_ARG_INT:
        text_add(text, "%d", (int32_t)value);
        break;
    case CALL_ARG_FD:
        text_add(text, (int32_t)value == -100 ? "AT_FDCWD" : "%d", (int32_t)value);
        break;
    case CALL_ARG_UINT:
        text_add(text, "%u", (uint32_t)value);
        break;
    case CALL_ARG_LONG:
        text_add(text, "%lld", (long long)value);
        break;
    case CALL_ARG_ULONG:
        text_add(text, "%llu", (unsigned long long)value);
        break;
    case CALL_ARG_HEX32:
        text_add(text, "%#x", (uint32_t)value);
        break;
    case CALL_ARG_OCTAL:
        text_add(text, "0%o", (uint32_t)value);
        break;
    case CALL_ARG_SIGNAL:
        text_add(text, "%s", signal_name((int32_t)value, name));
        break;
    default:
        text_add(text, value ? "%#llx" : "NULL", (unsigned long long)value);
        break;
    }
}

/* Arguments behind a pointer. False: show the scalar. */
static bool add_pointed(struct trace_text *text, const struct call_argument *argument, uint64_t value, uint64_t size,
                        uint32_t limit)
{
    switch ((enum call_argument_kind)argument->kind) {
    case CALL_ARG_STRING:
        add_string(text, value, PATH_SHOWN_MAX > limit ? PATH_SHOWN_MAX : limit);
        return true;
    case CALL_ARG_STRINGS:
        add_strings(text, value, limit);
        return true;
    case CALL_ARG_BYTES_IN:
    case CALL_ARG_BYTES_OUT:
        add_memory(text, value, size, false, limit);
        return true;
    case CALL_ARG_TIMESPEC_IN:
    case CALL_ARG_TIMESPEC_OUT:
        add_time(text, value, "nsec");
        return true;
    case CALL_ARG_TIMEVAL_IN:
    case CALL_ARG_TIMEVAL_OUT:
        add_time(text, value, "usec");
        return true;
    case CALL_ARG_FD_PAIR_OUT:
        add_ints(text, value, 2);
        return true;
    case CALL_ARG_INT_OUT:
        add_ints(text, value, 1);
        return true;
    case CALL_ARG_STATUS_OUT:
        add_wait_status(text, value);
        return true;
    case CALL_ARG_STAT_OUT:
        add_stat(text, value);
        return true;
    case CALL_ARG_SIGSET_IN:
    case CALL_ARG_SIGSET_OUT:
        add_signal_set(text, value);
        return true;
    default:
        return false;
    }
}

void text_add_argument(struct trace_text *text, const struct call_argument *argument, uint32_t index,
                       const uint64_t arguments[6], int64_t result, uint32_t string_limit)
{
    uint64_t value = arguments[index];
    bool after = argument_after_call(argument);
    uint64_t size = after ? (uint64_t)result : arguments[argument->other];
    if (argument->kind == CALL_ARG_BITS)
        add_bits(text, argument->values, (uint32_t)value);
    else if (argument->kind == CALL_ARG_ENUM)
        add_enum(text, argument->values, value);
    else if ((after && result < 0) || !add_pointed(text, argument, value, size, string_limit))
        add_scalar(text, argument, value);
}

static const char *restart_name(int64_t result)
{
    switch (-result) {
    case ERESTARTSYS:
        return "ERESTARTSYS";
    case ERESTARTNOINTR:
        return "ERESTARTNOINTR";
    case ERESTARTNOHAND:
        return "ERESTARTNOHAND";
    case ERESTART_RESTARTBLOCK:
        return "ERESTART_RESTARTBLOCK";
    default:
        return NULL;
    }
}

void text_add_result(struct trace_text *text, int64_t result, bool address)
{
    if (result >= 0 || result < -4095)
        text_add(text, address ? " = %#llx" : " = %lld", (long long)result);
    else if (restart_name(result))
        text_add(text, " = ? %s (interrupted)", restart_name(result));
    else if (error_name((int)-result))
        text_add(text, " = -1 %s", error_name((int)-result));
    else
        text_add(text, " = -1 (error %lld)", (long long)-result);
}
