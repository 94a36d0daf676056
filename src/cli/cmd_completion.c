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

/* Both shells' scripts find the command as the first word that is neither an option nor an option's value. */
static void print_bash(void)
{
    const struct command *command;

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
    puts("    --backend) COMPREPLY=($(compgen -W 'ram hdf5 ceph s3 sage' -- \"$word\")); return ;;\n"
         "    --engine) COMPREPLY=($(compgen -W 'cpu threads jl mpi' -- \"$word\")); return ;;\n"
         "    --jlbackend) COMPREPLY=($(compgen -W 'threading multiprocessing' -- \"$word\")); return ;;");
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

static void print_arguments(const struct option_row *row)
{
    for (; row && row->name; row++) {
        for (int i = 0; i < (row->letter ? 2 : 1); i++) {
            printf("        '%s%.*s[", i ? "-" : "--", i ? 1 : 64, i ? &row->letter : row->name);
            print_quoted(row->help);
            putchar(']');
            if (row->value) {
                putchar(':');
                print_quoted(row->value);
                fputs(strcmp(row->value, "FILE") == 0 ? ":_files" : ":", stdout);
            }
            puts("' \\");
        }
    }
}

static void print_zsh(void)
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
    print_arguments(global_options);
    puts("    )\n    case $command in");
    for (command = commands; command->name; command++) {
        if (!command->options)
            continue;
        printf("    %s) options+=( \\\n", command->name);
        print_arguments(command->options);
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
        print_bash();
    else if (strcmp(shell, "zsh") == 0)
        print_zsh();
    else
        return usage_fail("there is no completion for '%s'; bash and zsh have one", shell);
    return 0;
}
