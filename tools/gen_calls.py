#!/usr/bin/env python3
"""Makes C and documentation from the system-call tables abi/linux/calls/*.tbl.

    gen_calls.py --output DIR [--values FILE] [--arch ARCH] TABLE...    calls.h, calls_rows.c, calls_ARCH.c (x86_64)
    gen_calls.py --docs FILE TABLE...                     the list for people
    gen_calls.py --counts TABLE...                        one line: N full, N partial, N absent
    gen_calls.py --prune absent.tbl TABLE...              drops the rows from absent.tbl that another table has
    gen_calls.py --strict ...                             a row that two tables have is an error

A table line:  name | x86-64 number or - | riscv64 number or - | status | arguments | one line of text
Status is `full`, `partial: what is missing` or `absent`. Arguments are `type name`, separated by commas. See TYPES and
STRUCT_KINDS for the types. A row in another table replaces one in absent.tbl. The values file names the values of flags
for the tracer:  `set NAME bits|enum A=1 B=2 …` and `use CALL POSITION SET-or-kind [other]`.
"""
import os
import re
import sys

# type -> (C type of the handler's parameter, how the tracer shows it)
TYPES = {
    "int": ("int32_t", "INT"), "fd": ("int32_t", "FD"), "dirfd": ("int32_t", "FD"), "pid": ("int32_t", "INT"),
    "tid": ("int32_t", "INT"), "signal": ("int32_t", "SIGNAL"), "clock": ("int32_t", "INT"), "whence": ("int32_t", "INT"),
    "uint": ("uint32_t", "UINT"), "uid": ("uint32_t", "INT"), "gid": ("uint32_t", "INT"),
    "mode": ("uint32_t", "OCTAL"), "flags": ("uint32_t", "HEX32"), "oflags": ("uint32_t", "OFLAGS"),
    "long": ("int64_t", "LONG"), "ulong": ("uint64_t", "HEX64"), "size": ("uint64_t", "ULONG"),
    "off": ("int64_t", "LONG"), "addr": ("uaddr_t", "ADDRESS"),
    "source": ("uaddr_t", "ADDRESS_IN"),  # of something that the call reads: a few hundred bytes of it come along with the call
}
PATHS = ("path", "path?")
STRUCT_KINDS = ("in", "in?", "out", "out?", "inout", "inout?")
STRUCT_TRACE = {
    ("in", "struct linux_timespec"): "TIMESPEC_IN", ("out", "struct linux_timespec"): "TIMESPEC_OUT",
    ("in", "struct linux_timeval"): "TIMEVAL_IN", ("out", "struct linux_timeval"): "TIMEVAL_OUT",
    ("out", "int32_t[2]"): "FD_PAIR_OUT", ("out", "int32_t"): "INT_OUT",
    ("in", "uint64_t"): "SIGSET_IN", ("out", "uint64_t"): "SIGSET_OUT", ("out", "struct linux_stat"): "STAT_OUT",
}
NO_RETURN = {"exit", "exit_group"}
RESULT_ADDRESS = {"mmap", "mremap", "brk", "shmat"}
PATH_SIZE = 4096


class TableError(Exception):
    pass


class Argument:
    def __init__(self, text):
        words = text.split()
        kind = words[0]
        self.name = words[-1] if len(words) > 1 else kind.rstrip("?")
        self.optional = kind.endswith("?")
        self.direction = self.array = None
        if kind in PATHS:
            self.c, self.trace = "const char *", "STRING"
        elif kind in STRUCT_KINDS:
            tag = " ".join(words[1:-1]) if len(words) > 2 else words[1]
            self.direction = kind.rstrip("?")
            self.set_struct(tag)
        elif kind in TYPES:
            self.c, self.trace = TYPES[kind]
        else:
            raise TableError(f"unknown type '{kind}' in '{text}'")
        self.path = kind in PATHS

    def set_struct(self, tag):
        tag = tag.replace("struct ", "").strip()
        array = re.fullmatch(r"(\w+)\[(\d+)\]", tag)
        if array:
            tag, self.array = array.group(1), int(array.group(2))
        scalar = {"int": "int32_t", "uint": "uint32_t", "long": "int64_t", "ulong": "uint64_t"}.get(tag, tag)
        if re.fullmatch(r"u?int\d+_t", scalar):
            self.element = scalar
        else:
            self.element = "struct " + (tag if tag.startswith("linux_") else "linux_" + tag)
        full = self.element + (f"[{self.array}]" if self.array else "")
        self.c = ("const " if self.direction == "in" else "") + self.element + " *"
        direction = "in" if self.direction == "inout" else self.direction
        self.trace = STRUCT_TRACE.get((direction, full), "ADDRESS_IN" if direction == "in" else "ADDRESS")

    def declaration(self):
        return self.c + ("" if self.c.endswith("*") else " ") + safe(self.name)


def safe(name):
    """An argument's name as a C identifier that is no keyword."""
    return name + "_" if name in ("signed", "unsigned", "new", "default", "register", "int", "long", "static") else name


class Row:
    def __init__(self, line, table, line_number):
        fields = [field.strip() for field in line.split("|")]
        if len(fields) < 5:
            raise TableError("a row has six fields: name | x86-64 | riscv64 | status | arguments | text")
        fields += [""] * (6 - len(fields))
        self.name, self.text = fields[0], " | ".join(fields[5:])
        self.numbers = {"x86_64": number(fields[1]), "riscv64": number(fields[2])}
        self.status, _, self.missing = (part.strip() for part in fields[3].partition(":"))
        if self.status not in ("full", "partial", "absent"):
            raise TableError(f"status '{fields[3]}'")
        if self.status == "partial" and not self.missing:
            raise TableError("partial says what is missing")
        texts = [] if fields[4] in ("", "-", "void") else fields[4].split(",")
        self.arguments = [Argument(text) for text in texts]
        if len(self.arguments) > 6:
            raise TableError("more than six arguments")
        self.table, self.where = table, f"{table}:{line_number}"
        self.absent = self.status == "absent"


def number(text):
    return None if text == "-" else int(text, 0)


def read_rows(tables, strict):
    rows, failed = {}, False
    for table in sorted(tables, key=lambda name: os.path.basename(name) != "absent.tbl"):
        with open(table, encoding="utf-8") as file:
            for line_number, line in enumerate(file, 1):
                if not line.strip() or line.startswith("#"):
                    continue
                try:
                    row = Row(line, table, line_number)
                except (TableError, ValueError, IndexError) as error:
                    print(f"{table}:{line_number}: {error}", file=sys.stderr)
                    failed = True
                    continue
                old = rows.get(row.name)
                if old and not old.absent:
                    print(f"{row.where}: {row.name} is also in {old.where}", file=sys.stderr)
                    failed |= strict
                    if row.absent:
                        continue
                rows[row.name] = row
    failed |= not numbers_unique(rows)
    if failed:
        sys.exit(1)
    return [rows[name] for name in sorted(rows)]


def numbers_unique(rows):
    good = True
    for arch in ("x86_64", "riscv64"):
        seen = {}
        for row in rows.values():
            value = row.numbers[arch]
            if value is None:
                continue
            if value in seen:
                print(f"{row.where}: {arch} number {value} is {seen[value].name}'s", file=sys.stderr)
                good = False
            seen[value] = row
    return good


def read_values(path):
    sets, uses = {}, {}
    if path:
        with open(path, encoding="utf-8") as file:
            text = file.read().replace("\\\n", " ")
        for line in text.splitlines():
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if words[0] == "set":
                pairs = [word.split("=") for word in words[3:]]
                sets[words[1]] = (words[2], [(name, value) for name, value in pairs])
            elif words[0] == "use":
                uses[(words[1], int(words[2]))] = words[3:]
            else:
                sys.exit(f"{path}: what is '{line}'?")
    return sets, uses


def header(source="the tables in abi/linux/calls"):
    return f"/* Generated by tools/gen_calls.py from {source}. Do not edit. */\n"


def make_header(rows):
    tags = sorted({a.element for r in rows if not r.absent for a in r.arguments if a.direction and a.element.startswith("struct")})
    out = [header(), "#ifndef ABI_LINUX_CALLS_H\n#define ABI_LINUX_CALLS_H\n",
           '#include "abi/linux/call.h"\n#include "abi/linux/uapi.h"\n']
    out += [f"{tag};" for tag in tags]
    out.append("")
    for row in rows:
        if not row.absent:
            parameters = ", ".join(a.declaration() for a in row.arguments) or "void"
            out.append(f"int64_t sys_{row.name}({parameters});")
    out.append("\n#endif")
    return "\n".join(out) + "\n"


WRAPPER_HEAD = '''
#include "abi/linux/calls.h"
#include "abi/linux/file.h"
#include "abi/linux/fs/fs.h"
#include "abi/linux/process.h"
#include "abi/linux/signal.h"
#include "kernel/errno.h"
#include "kernel/string.h"
#include "kernel/user.h"

/* Copied structures live on the kernel stack: they are small. */
#define CHECK_SIZE(variable) _Static_assert(sizeof(variable) <= 1024, "too large for the kernel stack: copy it yourself")
'''


def wrapper(row):
    before, after, values = [], [], []
    for index, argument in enumerate(row.arguments):
        local, register = f"v{index}", f"a[{index}]"
        if argument.path:
            before += path_in(argument, local, register)
            values.append(f"p{index}" if argument.optional else local)
        elif argument.direction:
            before += struct_in(argument, local, register)
            value = local if argument.array else "&" + local
            values.append(f"{register} ? {value} : NULL" if argument.optional else value)
            after += struct_out(argument, local, register)
        else:
            values.append(f"({argument.c}){register}")
    unused = "" if row.arguments else "    (void)a;\n"
    call = f"sys_{row.name}({', '.join(values)})"
    body = "".join(f"    {line}\n" for line in before)
    if after:
        body += f"    int64_t result = {call};\n" + "".join(f"    {line}\n" for line in after) + "    return result;\n"
    else:
        body += f"    return {call};\n"
    return f"static int64_t call_{row.name}(const uint64_t a[6])\n{{\n{unused}{body}}}\n"


def path_in(argument, local, register):
    name = local.replace("v", "p")
    read = [f"int64_t e{local} = user_read_string({local}, {register}, sizeof {local});", f"if (e{local} < 0)", f"    return e{local};"]
    if not argument.optional:
        return [f"char {local}[{PATH_SIZE}];"] + read
    return [f"char {local}[{PATH_SIZE}];", f"const char *{name} = NULL;", f"if ({register}) {{"] + \
        ["    " + line for line in read] + [f"    {name} = {local};", "}"]


def struct_in(argument, local, register):
    size = f"[{argument.array}]" if argument.array else ""
    address = local if argument.array else "&" + local
    lines = [f"{argument.element} {local}{size};", f"CHECK_SIZE({local});"]
    if argument.direction == "out":
        return lines + [f"memset({address}, 0, sizeof {local});"]
    condition = f"{register} && " if argument.optional else ""
    return lines + [f"if ({condition}user_read({address}, {register}, sizeof {local}))", "    return -EFAULT;"]


def struct_out(argument, local, register):
    if argument.direction == "in":
        return []
    condition = f"{register} && " if argument.optional else ""
    address = local if argument.array else "&" + local
    return [f"if (result >= 0 && {condition}user_write({register}, {address}, sizeof {local}))", "    return -EFAULT;"]


def make_dispatch(rows, arch):
    out = [header(), WRAPPER_HEAD]
    mine = [row for row in rows if row.numbers[arch] is not None]
    out += [wrapper(row) for row in mine if not row.absent]
    limit = max(row.numbers[arch] for row in mine) + 1
    index = {row.name: i for i, row in enumerate(rows)}
    out.append("call_function *const call_functions[] = {")
    out += [f"    [{row.numbers[arch]}] = call_{row.name}," for row in sorted(mine, key=lambda r: r.numbers[arch]) if not row.absent]
    out.append(f"    [{limit}] = NULL,\n}};\n")
    numbers = ["CALL_ROW_NONE"] * limit
    for row in mine:
        numbers[row.numbers[arch]] = str(index[row.name])
    out.append("const uint16_t call_row_of_number[] = {")
    out += ["    " + ", ".join(numbers[i:i + 12]) + "," for i in range(0, limit, 12)]
    out.append(f"}};\nconst uint32_t call_number_limit = {limit};")
    return "\n".join(out) + "\n"


def make_rows(rows, sets, uses):
    out = [header(), '\n#include "abi/linux/call.h"\n']
    described = ["    {" + describe_row(row, sets, uses) + "}," for row in rows]
    for name, (_, pairs) in sorted(sets.items()):
        if f"values_{name}}}" not in "".join(described):
            continue
        out.append(f"static const struct call_value values_{name}[] = {{")
        out += [f'    {{"{n}", {v}}},' for n, v in pairs]
        out.append("    {NULL, 0},\n};\n")
    out.append("const struct call_row call_rows[] = {")
    out += described
    out.append(f"}};\nconst uint32_t call_row_count = {len(rows)};")
    return "\n".join(out) + "\n"


def describe_row(row, sets, uses):
    flags = ["CALL_NO_RETURN"] * (row.name in NO_RETURN) + ["CALL_RESULT_ADDRESS"] * (row.name in RESULT_ADDRESS)
    arguments = ", ".join(describe_argument(row, i, a, sets, uses) for i, a in enumerate(row.arguments))
    return f'"{row.name}", CALL_{row.status.upper()}, {" | ".join(flags) or 0}, {len(row.arguments)}, {{{arguments}}}'


def describe_argument(row, index, argument, sets, uses):
    kind, other, values = argument.trace, 0, "NULL"
    use = uses.get((row.name, index)) or (["open_flags"] if kind == "OFLAGS" else None)
    if use and use[0] in sets:
        kind, values = sets[use[0]][0].upper(), "values_" + use[0]
    elif use:
        kind, other = use[0].upper(), int(use[1]) if len(use) > 1 else 0
    if kind == "OFLAGS":
        kind = "HEX32"
    return f'{{"{argument.name}", CALL_ARG_{kind}, {other}, {values}}}'


def counts(rows):
    return {status: sum(row.status == status for row in rows) for status in ("full", "partial", "absent")}


def make_docs(rows):
    count = counts(rows)
    out = ["# Linux system calls", "",
           "Generated by `tools/gen_calls.py` from `abi/linux/calls/*.tbl`; `make docs` renews it.", "",
           f"{len(rows)} calls: {count['full']} full, {count['partial']} partial, {count['absent']} absent (they answer ENOSYS).", ""]
    for status, title in (("full", "Full"), ("partial", "Partial"), ("absent", "Absent")):
        chosen = [row for row in rows if row.status == status]
        out += [f"## {title} ({len(chosen)})", ""]
        if status == "absent":
            out += [", ".join(f"`{row.name}`" for row in chosen), ""]
            continue
        head = "| call | x86-64 | riscv64 | what it does |" + (" what is missing |" if status == "partial" else "")
        out += [head, "|---" * (head.count("|") - 1) + "|"]
        for row in chosen:
            line = f"| `{row.name}` | {show(row.numbers['x86_64'])} | {show(row.numbers['riscv64'])} | {row.text} |"
            out.append(line + (f" {row.missing} |" if status == "partial" else ""))
        out.append("")
    return "\n".join(out)


def show(value):
    return "-" if value is None else str(value)


def prune(absent, tables):
    have = {row.name for row in read_rows([t for t in tables if not os.path.samefile(t, absent)], False)}
    with open(absent, encoding="utf-8") as file:
        lines = file.readlines()
    kept = [line for line in lines if line.split("|")[0].strip() not in have or line.startswith("#")]
    with open(absent, "w", encoding="utf-8") as file:
        file.writelines(kept)
    print(f"{len(lines) - len(kept)} rows dropped from {absent}")


def write(path, text):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def main(arguments):
    options, tables, strict = {}, [], False
    while arguments:
        argument = arguments.pop(0)
        if argument == "--strict":
            strict = True
        elif argument == "--counts":
            options["--counts"] = True
        elif argument.startswith("--"):
            options[argument] = arguments.pop(0)
        else:
            tables.append(argument)
    if "--prune" in options:
        return prune(options["--prune"], tables)
    rows = read_rows(tables, strict)
    if "--output" in options:
        sets, uses = read_values(options.get("--values"))
        folder = options["--output"]
        write(os.path.join(folder, "calls.h"), make_header(rows))
        arch = options.get("--arch", "x86_64")
        write(os.path.join(folder, f"calls_{arch}.c"), make_dispatch(rows, arch))
        write(os.path.join(folder, "calls_rows.c"), make_rows(rows, sets, uses))
    if "--docs" in options:
        write(options["--docs"], make_docs(rows))
    if "--counts" in options:
        print("{full} full, {partial} partial, {absent} absent".format(**counts(rows)))


if __name__ == "__main__":
    main(sys.argv[1:])
