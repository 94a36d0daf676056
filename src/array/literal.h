// SPDX-License-Identifier: Apache-2.0
/*
 * Python's literals, as repr() of a value of Python or numpy gives them: what a text says, whatever type it is to
 * be stored as.
 *
 * A span is a piece of a string that ends with NUL somewhere; nothing is copied, so a literal lives as long as its
 * text. Pure functions; false: the text is none of that.
 */
#ifndef DOSNA_LITERAL_H
#define DOSNA_LITERAL_H

#include <stdbool.h>
#include <stdint.h>

/** A piece of a text. */
struct span {
    const char *at, *end;
};

struct real {
    bool whole;         /* an integer literal */
    bool minus;
    bool wide;          /* a whole number beyond 64 bits */
    uint64_t magnitude; /* of a whole number that is not wide */
    double value;
    long double exact;  /* for the type that a double does not hold */
};

struct literal {
    enum {
        LITERAL_NONE, LITERAL_BOOLEAN, LITERAL_NUMBER, LITERAL_COMPLEX, LITERAL_STRING, LITERAL_NOT_A_TIME,
    } kind;
    struct real real, imaginary;
    struct span text; /* as str() shows it; of a string, what is between the quotes */
    bool bytes;       /* b'…' */
};

/** Any literal, with or without numpy's name around it: np.float32(…). *out is zero before, as in the next two. */
bool literal_scan(struct span text, struct literal *out);
/** None, NaT or a truth value. */
bool literal_word(struct span text, struct literal *out);
/** A number, real or complex. `exact`: floats are a long double's. */
bool literal_number(struct span text, bool exact, struct literal *out);
/**
 * A number at the start of the text, which moves on. A float of up to 17 digits is what Python made of it,
 * a double; a longer one can only be a long double's. (`exact`: it is that in any case.)
 */
bool literal_real(struct span *text, bool exact, struct real *out);
/** The next byte of a string that is not at its end or, with `wide`, the next character. False: malformed. */
bool literal_unit(struct span *text, bool wide, uint32_t *out);

#endif
