/*
 * The last words, and names for addresses of the kernel.
 */
#ifndef RISCV64_PANIC_H
#define RISCV64_PANIC_H

#include "body/riscv64/trap.h"

NORETURN void panic_trap(const char *text, const struct trap_frame *frame);

/*
 * The symbol table: functions by address, ascending, then their names one after the other. Made by tools/symbols.py from
 * a first link and put in place in a second one.
 */
struct symbol {
    uint32_t offset; /* from the image's start */
    uint32_t name;   /* in symbol_names */
};
extern const struct symbol symbols[];
extern const uint32_t symbol_count;
extern const char symbol_names[];

#endif
