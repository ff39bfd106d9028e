#!/usr/bin/env python3
"""Makes the RISC-V kernel's symbol table: a C file with every function's address and name.

    symbols.py NM ELF OUTPUT      of a first link, for the second
    symbols.py OUTPUT             an empty one, for the first link

Both have the same text addresses, since the table comes after all text (body/riscv64/kernel.ld).
"""
import subprocess
import sys

HEAD = '/* Made by tools/symbols.py. */\n#include "body/riscv64/panic.h"\n\n'
SECTION = '__attribute__((section(".rodata.z_symbols")))'


def functions(nm, elf):
    found = {}
    start = 0
    for line in subprocess.run([nm, elf], check=True, capture_output=True, text=True).stdout.splitlines():
        words = line.split()
        if len(words) != 3:
            continue
        address, kind, name = int(words[0], 16), words[1], words[2]
        if name == "image_start":
            start = address
        elif kind in "tT" and not name.startswith((".L", "$")):
            found.setdefault(address, name)
    return sorted((address - start, name) for address, name in found.items())


def table(symbols):
    rows, names, offset = [], [], 0
    for address, name in symbols:
        rows.append(f"    {{{address}u, {offset}u}},")
        names.append(f'    "{name}\\0"')
        offset += len(name) + 1
    rows = rows or ["    {0, 0},"]
    names = names or ['    ""']
    return (HEAD + f"const struct symbol symbols[] {SECTION} = {{\n" + "\n".join(rows) +
            f"\n}};\nconst uint32_t symbol_count {SECTION} = {len(symbols)};\n"
            f"const char symbol_names[] {SECTION} =\n" + "\n".join(names) + ";\n")


def main(arguments):
    symbols = functions(*arguments[:2]) if len(arguments) == 3 else []
    with open(arguments[-1], "w", encoding="ascii") as file:
        file.write(table(symbols))


if __name__ == "__main__":
    main(sys.argv[1:])
