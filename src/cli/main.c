// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The least cache of one of several processes. */
#define LEAST_CACHE (UINT64_C(64) << 20)

/* ---- help ------------------------------------------------------------------------------------------------- */

static void print_options(const struct option_row *row)
{
    char left[64];

    for (; row && row->name; row++) {
        char letter[8] = "";
        if (row->letter)
            snprintf(letter, sizeof letter, "-%c, ", row->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, row->name, row->value ? " " : "", row->value ? row->value : "");
        printf("  %-30s %s\n", left, row->help);
    }
}

static void print_backend(void *arg, const char *name, const char *summary)
{
    (void)arg;
    printf("  %-10s %s\n", name, summary);
}

static void print_help(const struct command *command)
{
    if (command) {
        printf("usage: dosna --connection C [options] %s %s\n\n%s%s.\n", command->name, command->call,
               (char[]){(char)toupper((unsigned char)command->help[0]), '\0'}, command->help + 1);
        if (command->options)
            puts("\nOptions:");
        print_options(command->options);
        return;
    }
    puts("usage: dosna --connection C [options] COMMAND ...\n\nWhat DosNa keeps, from the shell. Commands:");
    for (command = commands; command->name; command++)
        printf("  %-10s %-22s %s\n", command->name, command->call, command->help);
    puts("\nOptions, before or after the command:");
    print_options(global_options);
    puts("\nBackends:");
    dn_each_backend(print_backend, NULL);
    puts("\nA file '-' is standard input or output. dosna COMMAND --help tells a command's own options.");
}

/* ---- the command line --------------------------------------------------------------------------------------- */

struct reader {
    struct cli *cli;
    int argc, at;
    char **argv;
};

static const struct command *find_command(const char *name)
{
    for (const struct command *command = commands; command->name; command++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

static const struct option_row *find_option(const struct option_row *row, const char *name, size_t length, char letter)
{
    for (; row && row->name; row++)
        if (letter ? row->letter == letter : strlen(row->name) == length && strncmp(row->name, name, length) == 0)
            return row;
    return NULL;
}

static int set_setting(struct cli *cli, const char *key, const char *value)
{
    int error = dn_config_set(cli->config, key, value);

    return error == -ENOMEM ? error : usage_error(error);
}

static int set_pair(struct cli *cli, const char *pair)
{
    const char *equal = strchr(pair, '=');
    char *key = strndup(pair, equal ? (size_t)(equal - pair) : strlen(pair));
    int error = key ? set_setting(cli, key, equal ? equal + 1 : NULL) : no_memory();

    free(key);
    return error;
}

/* --connection-options takes every key=value that follows. */
static int take_pairs(struct reader *reader, const char *first)
{
    int error = strchr(first, '=') ? set_pair(reader->cli, first)
                                   : usage_fail("--connection-options: '%s' is not key=value", first);

    while (!error && reader->at < reader->argc && reader->argv[reader->at][0] != '-' &&
           strchr(reader->argv[reader->at], '='))
        error = set_pair(reader->cli, reader->argv[reader->at++]);
    return error;
}

static int take_global(struct reader *reader, enum cli_option id, const char *name, const char *value)
{
    struct cli *cli = reader->cli;

    switch (id) {
    case GLOBAL_CONNECTION:
        cli->connection = value;
        return 0;
    case GLOBAL_OPTIONS:
        return take_pairs(reader, value);
    case GLOBAL_CONFIG:
        cli->config_file = value;
        return 0;
    case GLOBAL_VERBOSE:
        cli->verbose = true;
        return 0;
    case GLOBAL_QUIET:
        cli->quiet = true;
        return 0;
    case GLOBAL_JSON:
        cli->json = true;
        return 0;
    case GLOBAL_HELP:
        cli->help = true;
        return 0;
    case GLOBAL_VERSION:
        cli->version = true;
        return 0;
    default:
        return set_setting(cli, name, value);
    }
}

/* `text` is the option without dashes. */
static int take_option(struct reader *reader, const char *text, char letter)
{
    struct cli *cli = reader->cli;
    size_t length = strcspn(text, "=");
    const char *value = !letter && text[length] ? text + length + 1 : NULL;
    const struct option_row *row = find_option(global_options, text, length, letter);

    if (!row && cli->command)
        row = find_option(cli->command->options, text, length, letter);
    if (!row)
        return usage_fail("unknown option '%s%s'%s%s", letter ? "-" : "--", text, cli->command ? " for " : "",
                          cli->command ? cli->command->name : "");
    if (!row->value && value)
        return usage_fail("--%s takes no value", row->name);
    if (row->value && !value) {
        if (reader->at == reader->argc)
            return usage_fail("--%s: %s is missing", row->name, row->value);
        value = reader->argv[reader->at++];
    }
    if (row->id >= OPT_COUNT)
        return take_global(reader, row->id, row->name, value);
    cli->value[row->id] = value ? value : "";
    return 0;
}

static int take_word(struct cli *cli, char *word)
{
    if (cli->command) {
        cli->operand[cli->operands++] = word;
        return 0;
    }
    cli->command = find_command(word);
    return cli->command ? 0 : usage_fail("there is no command '%s'; dosna --help lists them", word);
}

/* "-", "-5" and "-.5" are no options. */
static bool is_option(const char *word)
{
    return word[0] == '-' && word[1] && !isdigit((unsigned char)word[1]) && word[1] != '.';
}

static int read_words(struct reader *reader)
{
    struct cli *cli = reader->cli;
    int error = 0;

    while (!error && reader->at < reader->argc) {
        char *word = reader->argv[reader->at++];
        /* Behind it stand operands, such as -inf, or a command to run. */
        if (strcmp(word, "--") == 0 && cli->command && !(cli->command->flags & CMD_REST)) {
            while (reader->at < reader->argc)
                take_word(cli, reader->argv[reader->at++]);
            return 0;
        }
        if (strcmp(word, "--") == 0) {
            cli->rest = reader->argv + reader->at;
            cli->rests = reader->argc - reader->at;
            return 0;
        }
        if (strncmp(word, "--", 2) == 0)
            error = take_option(reader, word + 2, 0);
        else if (is_option(word))
            for (const char *letter = word + 1; *letter && !error; letter++)
                error = take_option(reader, (char[]){*letter, '\0'}, *letter);
        else
            error = take_word(cli, word);
    }
    return error;
}

static int check_call(const struct cli *cli)
{
    const struct command *command = cli->command;

    if (!command)
        return usage_fail("what is to be done? dosna --help lists the commands");
    if (cli->operands < command->least || (command->most >= 0 && cli->operands > command->most))
        return usage_fail("%s takes %s", command->name, *command->call ? command->call : "no operands");
    if ((command->flags & CMD_REST) && !cli->rests)
        return usage_fail("%s: '-- CMD' is missing", command->name);
    if (cli->json && !(command->flags & CMD_JSON))
        return usage_fail("%s has nothing to print as JSON", command->name);
    if ((!cli->connection || !*cli->connection) && !(command->flags & CMD_OFFLINE))
        return usage_fail("--connection is missing");
    return 0;
}

static int read_command_line(struct cli *cli, int argc, char **argv)
{
    struct reader reader = {.cli = cli, .argc = argc, .at = 1, .argv = argv};
    int error;

    cli->operand = calloc((size_t)argc + 1, sizeof *cli->operand);
    if (!cli->operand)
        return no_memory();
    error = read_words(&reader);
    if (error || cli->help || cli->version)
        return error;
    error = check_call(cli);
    if (!error)
        error = dn_config_read(cli->config, cli->config_file);
    return error == -EINVAL || error == -ENOENT ? usage_error(error) : error;
}

/* ---- the team ------------------------------------------------------------------------------------------------ */

static bool is_setting(const struct cli *cli, const char *key, const char *value)
{
    const char *text = dn_config_get(cli->config, key);

    return text && strcmp(text, value) == 0;
}

enum kind { SINGLE, FORKED, MPI };

/* Of one machine's memory and store each of the processes takes a part. */
static int share_machine(struct cli *cli, unsigned processes)
{
    char text[32];
    int error;
    uint64_t cache = setting_number(cli, "cache_size") / processes;

    snprintf(text, sizeof text, "%llu", (unsigned long long)(cache > LEAST_CACHE ? cache : LEAST_CACHE));
    error = processes > 1 ? dn_config_set(cli->config, "cache_size", text) : 0;
    return error || processes == 1 ? error : dn_config_set(cli->config, "njobs", "2");
}

/* Before anything has threads. A command that one process does needs no others to be forked. */
static int make_team(struct cli *cli, enum kind *kind)
{
    unsigned njobs;
    int error;

    cli->team = (struct dn_team){.size = 1};
    *kind = SINGLE;
    if (is_setting(cli, "engine", "mpi")) {
        error = mpi_team(&cli->team);
        *kind = error ? SINGLE : MPI;
        return error;
    }
    if (!cli->command || (cli->command->flags & CMD_ALONE) || !is_setting(cli, "engine", "threads") ||
        !is_setting(cli, "jlbackend", "multiprocessing"))
        return 0;
    njobs = (unsigned)setting_number(cli, "njobs");
    error = share_machine(cli, njobs);
    fflush(NULL);
    if (!error)
        error = dn_team_fork(njobs, &cli->team);
    *kind = error ? SINGLE : FORKED;
    return error;
}

static int agree(struct cli *cli, int error)
{
    return cli->team.size > 1 ? cli->team.agree(cli->team.arg, error, NULL) : error;
}

static int connect_and_run(struct cli *cli)
{
    static const struct dn_team alone = {.size = 1};
    bool takes_part = is_first(cli) || !(cli->command->flags & CMD_ALONE);
    int error = 0, failed;

    catch_signals();
    dn_config_team(cli->config, cli->command->flags & CMD_ALONE ? &alone : &cli->team);
    if (takes_part && !(cli->command->flags & CMD_OFFLINE))
        error = dn_connect(cli->config, cli->connection, &cli->conn);
    error = agree(cli, error);
    if (!error && takes_part)
        error = cli->command->run(cli);
    begin_cleanup();
    if (cli->conn) {
        char text[DN_ERROR_MAX];
        snprintf(text, sizeof text, "%s", dn_error_text(error));
        failed = dn_disconnect(cli->conn);
        if (error)
            dn_fail(error, "%s", text);
        else
            error = failed;
    }
    return agree(cli, error);
}

/* ---- start to end ----------------------------------------------------------------------------------------------- */

/* What is opened later shall not get the number of a standard stream that the caller has closed. The wrong direction
   makes reading or writing it an error. */
static void open_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY); /* the lowest number that is free */
}

static int finish_output(int error)
{
    errno = EIO; /* where it was an earlier write that failed */
    if ((fflush(stdout) != 0 || ferror(stdout)) && !error)
        return fail_output();
    return error;
}

static int report(const struct cli *cli, int error)
{
    bool usage = error == CLI_USAGE;

    if (!error)
        return 0;
    if (error == CLI_NO_READER && is_first(cli))
        die_without_reader();
    if (is_first(cli))
        print_error(cli, dn_error_text(error));
    return usage ? 2 : 1;
}

/* With MPI one of the ranks is to say what is wrong. Others may see nothing wrong, as a file can be missing on one
   machine: they agree after they have connected, and at their end. */
static int fail_with_team(struct cli *cli, int error, enum kind *kind)
{
    char text[DN_ERROR_MAX];

    snprintf(text, sizeof text, "%s", dn_error_text(error));
    if (!is_setting(cli, "engine", "mpi") || mpi_team(&cli->team) != 0)
        return dn_fail(error, "%s", text);
    *kind = MPI;
    error = agree(cli, dn_fail(error, "%s", text));
    return agree(cli, error);
}

static int act(struct cli *cli, int argc, char **argv, enum kind *kind)
{
    int error = read_command_line(cli, argc, argv);

    if (error)
        return fail_with_team(cli, error, kind);
    if (cli->help || cli->version) {
        cli->version ? (void)puts("dosna " DN_VERSION) : print_help(cli->command);
        return finish_output(0);
    }
    dn_log_level(cli->verbose ? DN_LOG_INFO : DN_LOG_ERROR);
    error = make_team(cli, kind);
    if (!error)
        error = connect_and_run(cli);
    return finish_output(error);
}

int main(int argc, char **argv)
{
    struct cli cli = {.config = dn_config_new(), .team = {.size = 1}};
    enum kind kind = SINGLE;
    int status;

    open_standard_streams();
    status = report(&cli, cli.config ? act(&cli, argc, argv, &kind) : no_memory());
    if (kind == FORKED)
        dn_team_end(&cli.team);
    if (kind == MPI)
        mpi_end();
    dn_config_free(cli.config);
    free(cli.operand);
    return status;
}
