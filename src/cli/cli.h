// SPDX-License-Identifier: Apache-2.0
/*
 * dosna, the command line: what its commands share. A client of libdosna's public headers.
 *
 * A command is a row of commands[] in commands.c: its options, what it is called with, and a function that
 * does it. main.c reads the command line, makes the team of processes, connects, runs the function and
 * turns its result into an exit status: 0; 1, the work failed; 2, it was called the wrong way.
 *
 * With a team every rank runs the function, unless the row says ALONE. Only rank 0 prints.
 */
#ifndef CLI_H
#define CLI_H

#include <dosna/batch.h>
#include <dosna/dosna.h>
#include <dosna/slice.h>
#include <dosna/team.h>
#include <stdio.h>

/** What a wrong call returns, as -errno in value: exit status 2. Nothing else of the program or of
 *  libdosna returns it. */
#define CLI_USAGE (-4000)
/** In the same way: whoever read standard output has gone. */
#define CLI_NO_READER (-4001)

/** Every option; those of commands are indices of cli.value[]. */
enum cli_option {
    OPT_SHAPE, OPT_DTYPE, OPT_CHUNK_SIZE, OPT_FILLVALUE, OPT_LONG, OPT_RESCAN, OPT_RAW, OPT_FORCE, OPT_DATA,
    OPT_REPAIR, OPT_AXIS, OPT_INDEX, OPT_PERCENTILE, OPT_SIZE, OPT_PLOT,
    OPT_COUNT, /* the global ones follow; they have no value of their own there */
    GLOBAL_BACKEND = OPT_COUNT, GLOBAL_ENGINE, GLOBAL_CONNECTION, GLOBAL_OPTIONS, GLOBAL_NJOBS, GLOBAL_JLBACKEND,
    GLOBAL_CONFIG, GLOBAL_VERBOSE, GLOBAL_QUIET, GLOBAL_JSON, GLOBAL_HELP, GLOBAL_VERSION
};

struct option_row {
    enum cli_option id;
    const char *name;   /* without dashes; NULL ends a table */
    char letter;        /* or 0 */
    const char *value;  /* what it takes, as in the help: "FILE"; NULL: nothing */
    const char *help;
};

struct cli {
    const struct command *command;
    dn_config *config;
    const char *config_file;
    const char *connection;
    bool json, quiet, verbose;
    const char *value[OPT_COUNT]; /* as given; "" for an option without a value; NULL: not given */
    char **operand;               /* what is no option, in order */
    int operands;
    char **rest;                  /* behind "--", with CMD_REST: a command to run; NULL-terminated */
    int rests;
    bool help, version;
    bool output_taken;            /* standard output has the array: results go to standard error */

    struct dn_team team; /* size 1 when there is one process */
    dn_connection *conn;
};

enum { CMD_ALONE = 1 << 0, CMD_JSON = 1 << 1, CMD_REST = 1 << 2, CMD_OFFLINE = 1 << 3 };

struct command {
    const char *name;
    const char *call;                 /* its operands, as in the help */
    const char *help;
    int least, most;                  /* operands; most -1: any number */
    unsigned flags;                   /* ALONE: by rank 0; JSON: knows --json; REST: takes "-- CMD"; OFFLINE: no connection */
    const struct option_row *options; /* NULL: none */
    int (*run)(struct cli *cli);
};

/** The table; ends with a NULL name. Global options are those of main.c. */
extern const struct command commands[];
extern const struct option_row global_options[];

/* One file each; 0, negative errno, or CLI_USAGE. */
int cmd_create(struct cli *cli);
int cmd_ls(struct cli *cli);
int cmd_info(struct cli *cli);
int cmd_load(struct cli *cli);
int cmd_save(struct cli *cli);
int cmd_get(struct cli *cli);
int cmd_set(struct cli *cli);
int cmd_clone(struct cli *cli);
int cmd_map(struct cli *cli);
int cmd_apply(struct cli *cli);
int cmd_clear(struct cli *cli);
int cmd_rm(struct cli *cli);
int cmd_check(struct cli *cli);
int cmd_show(struct cli *cli);
int cmd_bench(struct cli *cli);
int cmd_completion(struct cli *cli);

/* ---- common.c: small things that several commands need ------------------------------------------ */

/** As dn_fail(), for a wrong call. */
int usage_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** `error`, with its text, as a wrong call; 0 stays 0. */
int usage_error(int error);

/** An out-of-memory error, with its text. */
int no_memory(void);

static inline bool has_option(const struct cli *cli, enum cli_option id)
{
    return cli->value[id] != NULL;
}

/** Is this the process that prints, creates files and deletes? */
static inline bool is_first(const struct cli *cli)
{
    return cli->team.rank == 0;
}

/** A vector of extents, "100,100,50". CLI_USAGE; `what` names it. Returns the number of them. */
int parse_extents(const char *what, const char *text, uint64_t *out);

/** A whole number. 0 or CLI_USAGE. */
int parse_number(const char *what, const char *text, int64_t *out);

/** Chunks of about 1 MiB, as near to cubes as the shape allows. desc->chunk_size is what is filled. */
void auto_chunk_size(struct dn_desc *desc);

/** Fill desc->chunk_size from --chunk-size: extents, "auto", or `otherwise` when it is not given. */
int choose_chunk_size(const struct cli *cli, struct dn_desc *desc, const char *otherwise);

/** An extents' vector as text "100, 100, 50". */
const char *extents_text(const uint64_t *extents, int ndim, char text[DN_VECTOR_TEXT]);

/** The chunk's name in messages: "1, 0, 3". */
const char *part_text(const struct dn_part *part, char text[DN_VECTOR_TEXT]);

/** Bytes for people, "1.5 GiB". */
const char *bytes_text(uint64_t bytes, char text[32]);

/** A JSON string with its quotes, on stdout. */
void json_string(const char *text);
/** "[1, 2, 3]" on stdout. */
void json_extents(const uint64_t *extents, int ndim);

/** Ask on a terminal; true at once with --force or without a terminal on standard input. */
bool confirmed(const struct cli *cli, const char *question);

/** Chunks stored of a dataset, or negative. */
int64_t count_stored(dn_dataset *dataset);

/** A setting in force that is a number of something. */
uint64_t setting_number(const struct cli *cli, const char *key);

/** Bytes of chunks in memory while something is done to each by itself. */
uint64_t chunks_in_use(const struct cli *cli, const struct dn_desc *desc);

/** On standard error: one line, whatever is in the names that `text` tells. */
void print_error(const struct cli *cli, const char *text);
/** On standard output; on a terminal, where a name is no command to it, with '?' for control characters. */
void print_name(const char *name);

/** Why a write to standard output has failed, by errno; with its text. */
int fail_output(void);

/** Ctrl-C or SIGTERM came, or the terminal has gone. Ends waits inside libdosna too. */
bool interrupted(void);
/** Catch these signals from now on, SIGHUP unless it is ignored. One that comes a second later kills. What would be
 *  SIGPIPE or SIGXFSZ is an error of write(). */
void catch_signals(void);
/** End the program as SIGPIPE would have ended it; returns where that was ignored from the beginning. */
void die_without_reader(void);
/** Let no signal end a wait while something half-made is taken back; interrupted() goes on telling. */
void begin_cleanup(void);

/** Close a dataset (NULL: none) that something was done to: `error`, with its text kept, or what the close says. */
int finish_dataset(dn_dataset *dataset, int error);

/** Delete what this command created, whatever went wrong; keeps the error's text. Returns `error`. */
int take_back(struct cli *cli, const char *name, int error);

/** What a finished piece of work says with -v or --json: chunks or bytes, and how fast. */
void report_done(const struct cli *cli, const char *what, uint64_t chunks, uint64_t bytes, double seconds);

double seconds_now(void);

/* ---- progress.c: a bar on standard error, where that is a terminal ---------------------------------- */

struct progress;

/** NULL, on which the others do nothing, where no bar is wanted. `label` must live on. */
struct progress *progress_start(const struct cli *cli, const char *label, uint64_t bytes);
/** From any thread. */
void progress_add(struct progress *progress, uint64_t bytes);
/** Takes the bar away. */
void progress_end(struct progress *progress);

/* ---- mpi.c ---------------------------------------------------------------------------------------- */

/** Make a team of the processes that mpiexec started. -ENOTSUP in a program built without MPI. */
int mpi_team(struct dn_team *out);
void mpi_end(void);

/* ---- pixels.c: PNG files ----------------------------------------------------------------------------- */

/** Write 8-bit pixels, 1 (grey) or 3 (RGB) bytes each, by a temporary file beside `path`; "-" is stdout. -EEXIST
 *  without `force` where there is a file. */
int png_write(const char *path, bool force, unsigned width, unsigned height, unsigned channels,
              const unsigned char *pixels);

/* ---- element.c and text.c: elements as numpy prints them --------------------------------------------- */

/** One element as it stands in a printed array, or as print() shows it alone. For the caller to free(); NULL: no
 *  memory. */
char *element_text(const struct dn_dtype *dtype, const unsigned char *bytes, bool alone);

/**
 * Print a selection of a dataset as numpy's print() does: rows in brackets, columns of equal width, the
 * middle left out beyond 1000 elements.
 */
int print_slice(dn_dataset *dataset, const struct dn_slice *slice);

#endif
