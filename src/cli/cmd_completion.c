// SPDX-License-Identifier: Apache-2.0
/* completion: the shells' scripts, made of the tables of commands and options. */
#include "cli.h"

#include <string.h>

static void print_words(const struct option_row *row)
{
    for (; row && row->name; row++) {
        printf(" --%s", row->name);
        if (row->letter)
            printf(" -%c", row->letter);
    }
}

/* Where a value is a file's name, the shell completes it as one; of others it knows nothing. */
static void print_value_cases(const struct option_row *row, bool files)
{
    const char *bar = "";

    for (; row && row->name; row++)
        if (row->value && (strcmp(row->value, "FILE") == 0) == files) {
            printf("%s--%s", bar, row->name);
            bar = "|";
        }
}

/* ---- values that are words ------------------------------------------------------------------------------- */

struct words {
    const char *option;
    char text[256]; /* with blanks between them */
};

static void add_word(struct words *words, const char *word, size_t length)
{
    size_t used = strlen(words->text);

    if (used + length + 2 > sizeof words->text)
        return;
    if (used)
        words->text[used++] = ' ';
    memcpy(words->text + used, word, length);
    words->text[used + length] = '\0';
}

static void add_backend(void *arg, const char *name, const char *summary)
{
    (void)summary;
    add_word(arg, name, strlen(name));
}

/* "a|b|c=a" */
static void add_choices(void *arg, const char *section, const struct dn_option *row, const char *value)
{
    struct words *words = arg;
    const char *choice = row->choices;

    (void)section;
    (void)value;
    if (row->type != DN_OPT_CHOICE || !choice || strcmp(row->name, words->option) != 0)
        return;
    while (*choice) {
        add_word(words, choice, strcspn(choice, "=|"));
        choice += strcspn(choice, "|");
        choice += *choice == '|';
    }
}

/* The words that a global option may have as its value; "": it is free. */
static struct words words_of(const struct cli *cli, const struct option_row *row)
{
    struct words words = {.option = row->name};

    if (row->id == GLOBAL_BACKEND)
        dn_each_backend(add_backend, &words);
    else if (row->id >= OPT_COUNT)
        dn_config_each(cli->config, add_choices, &words);
    return words;
}

/* ---- bash --------------------------------------------------------------------------------------------------- */

/* Both shells' scripts find the command as the first word that is neither an option nor an option's value. */
static void print_bash(const struct cli *cli)
{
    const struct command *command;
    const struct option_row *row;

    puts("# bash completion of dosna; made by: dosna completion bash\n"
         "_dosna()\n{\n"
         "    local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\" command= i\n"
         "    local commands options");
    fputs("    commands='", stdout);
    for (command = commands; command->name; command++)
        printf("%s%s", command == commands ? "" : " ", command->name);
    fputs("'\n    options='", stdout);
    print_words(global_options);
    puts("'\n    for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "        if [[ \" $commands \" == *\" ${COMP_WORDS[i]} \"* ]]; then\n"
         "            command=\"${COMP_WORDS[i]}\"\n            break\n        fi\n    done\n"
         "    case $before in");
    for (row = global_options; row->name; row++) {
        struct words words = words_of(cli, row);
        if (*words.text)
            printf("    --%s) COMPREPLY=($(compgen -W '%s' -- \"$word\")); return ;;\n", row->name, words.text);
    }
    fputs("    ", stdout);
    print_value_cases(global_options, true);
    puts("|--plot) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n    esac\n    case $command in");
    puts("    '') COMPREPLY=($(compgen -W \"$commands $options\" -- \"$word\")); return ;;");
    for (command = commands; command->name; command++) {
        printf("    %s) options+='", command->name);
        print_words(command->options);
        puts("' ;;");
    }
    puts("    esac\n"
         "    if [[ $word == -* ]]; then\n"
         "        COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
         "    else\n        COMPREPLY=($(compgen -f -- \"$word\"))\n    fi\n}\n"
         "complete -o filenames -F _dosna dosna");
}

/* ---- zsh ---------------------------------------------------------------------------------------------------- */

/* Inside single quotes, with the characters that _arguments gives a meaning taken as they are. */
static void print_quoted(const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else if (strchr("[]:\\", *text))
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

static void print_arguments(const struct cli *cli, const struct option_row *row)
{
    for (; row && row->name; row++) {
        struct words words = words_of(cli, row);
        for (int i = 0; i < (row->letter ? 2 : 1); i++) {
            printf("        '%s%.*s[", i ? "-" : "--", i ? 1 : 64, i ? &row->letter : row->name);
            print_quoted(row->help);
            putchar(']');
            if (row->value) {
                putchar(':');
                print_quoted(row->value);
                fputs(strcmp(row->value, "FILE") == 0 ? ":_files" : ":", stdout);
                if (*words.text)
                    printf("(%s)", words.text);
            }
            puts("' \\");
        }
    }
}

static void print_zsh(const struct cli *cli)
{
    const struct command *command;

    puts("#compdef dosna\n# zsh completion of dosna; made by: dosna completion zsh\n"
         "_dosna()\n{\n    local -a commands options\n    local command word\n    commands=(");
    for (command = commands; command->name; command++) {
        printf("        '%s:", command->name);
        print_quoted(command->help);
        puts("'");
    }
    puts("    )\n    for word in ${words[2,CURRENT-1]}; do\n"
         "        if [[ -n ${(M)commands:#$word:*} ]]; then\n"
         "            command=$word\n            break\n        fi\n    done\n"
         "    options=( \\");
    print_arguments(cli, global_options);
    puts("    )\n    case $command in");
    for (command = commands; command->name; command++) {
        if (!command->options)
            continue;
        printf("    %s) options+=( \\\n", command->name);
        print_arguments(cli, command->options);
        puts("    ) ;;");
    }
    puts("    esac\n    if [[ -z $command ]]; then\n"
         "        _arguments -S $options '*:command:{_describe command commands}'\n"
         "    else\n        _arguments -S $options '*:file:_files'\n    fi\n}\n"
         "_dosna \"$@\"");
}

int cmd_completion(struct cli *cli)
{
    const char *shell = cli->operand[0];

    if (strcmp(shell, "bash") == 0)
        print_bash(cli);
    else if (strcmp(shell, "zsh") == 0)
        print_zsh(cli);
    else
        return usage_fail("there is no completion for '%s'; bash and zsh have one", shell);
    return 0;
}
