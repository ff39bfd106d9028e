/* What the examples share: a check that ends the program, and no more. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <hyla/hyla.h>
#include <stdio.h>
#include <stdlib.h>

/* The result of a call that must not fail here. */
static inline int64_t must(int64_t result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, hyla_error_text(result));
        exit(1);
    }
    return result;
}

#endif
