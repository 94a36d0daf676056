// SPDX-License-Identifier: Apache-2.0
/* The tables of commands and options, from which parsing, help and completion are made. */
#include "cli.h"

const struct option_row global_options[] = {
    {GLOBAL_BACKEND, "backend", 0, "B", "what kind of store; hdf5"},
    {GLOBAL_ENGINE, "engine", 0, "E", "cpu, threads (or jl) or mpi"},
    {GLOBAL_CONNECTION, "connection", 0, "C", "the folder, pool or bucket; needed"},
    {GLOBAL_OPTIONS, "connection-options", 0, "K=V", "any settings, as many as follow"},
    {GLOBAL_NJOBS, "njobs", 0, "N", "chunks at once"},
    {GLOBAL_JLBACKEND, "jlbackend", 0, "J", "threading or multiprocessing: what the jobs are"},
    {GLOBAL_CONFIG, "config", 0, "FILE", "settings, in place of ~/.config/dosnafs.conf or /etc/dosnafs.conf"},
    {GLOBAL_JSON, "json", 0, NULL, "print results as JSON"},
    {GLOBAL_VERBOSE, "verbose", 'v', NULL, "say what was done, and how fast"},
    {GLOBAL_QUIET, "quiet", 'q', NULL, "no progress bar"},
    {GLOBAL_HELP, "help", 'h', NULL, "this, or a command's own help"},
    {GLOBAL_VERSION, "version", 'V', NULL, "the version"},
    {.name = NULL},
};

#define END {.name = NULL}
#define SHAPE {OPT_SHAPE, "shape", 0, "N,N,...", "extent of each axis, in elements"}
#define DTYPE {OPT_DTYPE, "dtype", 0, "T", "element type as numpy writes it: '<f4', uint8, ..."}
#define CHUNK_SIZE {OPT_CHUNK_SIZE, "chunk-size", 0, "N,N,...|auto", "extent of a chunk; auto: near-cubic, about 1 MiB"}
#define FILLVALUE {OPT_FILLVALUE, "fillvalue", 0, "V", "what elements that were never stored read as; 0"}
#define RAW {OPT_RAW, "raw", 0, NULL, "FILE is bare elements in row-major order, whatever its name"}
#define FORCE(help) {OPT_FORCE, "force", 'f', NULL, help}

static const struct option_row create_options[] = {SHAPE, DTYPE, CHUNK_SIZE, FILLVALUE, END};
static const struct option_row ls_options[] = {
    {OPT_LONG, "long", 'l', NULL, "shape, type, chunk size and chunks stored too"},
    {OPT_RESCAN, "rescan", 0, NULL, "look through the whole store first (ceph: for datasets that DosNa made)"},
    END,
};
static const struct option_row load_options[] = {SHAPE, DTYPE, CHUNK_SIZE, FILLVALUE, RAW, END};
static const struct option_row save_options[] = {RAW, FORCE("replace FILE"), END};
static const struct option_row force_options[] = {FORCE("do not ask"), END};
static const struct option_row get_options[] = {RAW, FORCE("replace FILE"), END};
static const struct option_row set_options[] = {RAW, END};
static const struct option_row clone_options[] = {
    {OPT_DATA, "data", 0, NULL, "copy the chunks too, inside the store where it can do that"},
    END,
};
static const struct option_row check_options[] = {
    {OPT_REPAIR, "repair", 0, NULL, "remove stray chunks"},
    END,
};
static const struct option_row show_options[] = {
    {OPT_AXIS, "axis", 0, "A", "the axis that the slice is across; 0"},
    {OPT_INDEX, "index", 0, "I", "its position on that axis; the middle"},
    {OPT_PERCENTILE, "percentile", 0, "P", "scale from the P-th to the (100-P)-th percentile, not min to max"},
    FORCE("replace FILE"),
    END,
};
static const struct option_row bench_options[] = {
    {OPT_SIZE, "size", 0, "BYTES", "bytes of the test dataset, with K, M or G; 64M"},
    {OPT_PLOT, "plot", 0, "FILE", "a plot of the table as PNG"},
    FORCE("replace FILE"),
    END,
};

const struct command commands[] = {
    {"create", "NAME", "make an empty dataset", 1, 1, 0, create_options, cmd_create},
    {"ls", "[PATTERN]", "list datasets, those that match a shell pattern", 0, 1, CMD_ALONE | CMD_JSON, ls_options, cmd_ls},
    {"info", "NAME", "what a dataset is, and how much of it is stored", 1, 1, CMD_ALONE | CMD_JSON, NULL, cmd_info},
    {"load", "NAME FILE", "store a file (.npy, raw, FILE.h5:/PATH, TIFF, - for .npy or raw) as a dataset, made if missing", 2, 2, CMD_JSON,
     load_options, cmd_load},
    {"save", "NAME FILE", "write a dataset to a file, its kind by its name as in load; - is .npy", 2, 2, CMD_JSON, save_options, cmd_save},
    {"get", "NAME SLICES [FILE]", "print a selection such as '[36:80, 89:, ..., 5]', or write it as .npy", 2, 3, CMD_ALONE,
     get_options, cmd_get},
    {"set", "NAME SLICES VALUE|FILE", "fill a selection with one value, or with a file of its shape", 3, 3, CMD_ALONE, set_options, cmd_set},
    {"clone", "SRC DST", "a new dataset like another one", 2, 2, CMD_JSON, clone_options, cmd_clone},
    {"map", "SRC DST -- CMD ...", "a new dataset from each chunk of another one, through CMD", 2, 2, CMD_JSON | CMD_REST, NULL, cmd_map},
    {"apply", "NAME -- CMD ...", "replace each chunk by what CMD makes of it", 1, 1, CMD_JSON | CMD_REST, NULL, cmd_apply},
    {"clear", "NAME", "delete all chunks, so that all of it is the fill value", 1, 1, 0, force_options, cmd_clear},
    {"rm", "NAME ...", "delete datasets", 1, -1, 0, force_options, cmd_rm},
    {"check", "NAME", "find stray, damaged and wrong-length chunks and bad metadata", 1, 1, CMD_ALONE | CMD_JSON, check_options, cmd_check},
    {"show", "NAME [FILE.png]", "a slice as a picture, in the terminal without FILE", 1, 2, CMD_ALONE, show_options, cmd_show},
    {"bench", "", "time writing and reading at several chunk sizes and jobs", 0, 0, CMD_ALONE | CMD_JSON, bench_options, cmd_bench},
    {"completion", "bash|zsh", "print a shell's completion script", 1, 1, CMD_ALONE | CMD_OFFLINE, NULL, cmd_completion},
    {.name = NULL},
};
