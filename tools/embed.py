#!/usr/bin/env python3
"""Writes a C file whose array holds a file's bytes.

    embed.py NAME INPUT OUTPUT

Defines `const unsigned char NAME[]` (page-aligned, so that it can be handed to write or mapped whole) and `const size_t
NAME_size`.
"""
import sys


def main(name, source, target):
    with open(source, "rb") as file:
        data = file.read()
    rows = (data[i:i + 32] for i in range(0, len(data), 32))
    text = ",\n".join(",".join(map(str, row)) for row in rows)
    with open(target, "w", encoding="ascii") as file:
        file.write(f"/* Made by tools/embed.py from {source}. */\n#include <stddef.h>\n"
                   f"extern const unsigned char {name}[];\nextern const size_t {name}_size;\n"
                   f"const unsigned char {name}[] __attribute__((aligned(4096))) = {{\n{text}\n}};\n"
                   f"const size_t {name}_size = {len(data)};\n")


if __name__ == "__main__":
    main(*sys.argv[1:4])
