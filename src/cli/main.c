/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/main: finds the command and runs it. Exit status: 0, 1 (failed), 2 (bad
 * usage). SIGPIPE is ignored so that a closed reader is a failed write, which
 * is reported, and not a death without a word.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/manual.h"
#include "exeunt.h"

static const struct command *const commands[] = {
#define COMMAND(name) &command_##name,
#include "cli/commands.def"
#undef COMMAND
};

const struct command *command_at(int32_t index) {
  return index >= 0 && (size_t)index < sizeof commands / sizeof *commands ? commands[index] : NULL;
}

const struct command *command_find(const char *name) {
  for (int32_t i = 0; command_at(i) != NULL; i++)
    if (strcmp(command_at(i)->name, name) == 0) return command_at(i);
  return NULL;
}

static void print_help(FILE *to) {
  fprintf(to,
          "exeunt %s: early-exit neural networks\n\n"
          "usage: exeunt COMMAND [OPTION...] [ARGUMENT...]\n\n",
          ex_version());
  for (int32_t i = 0; command_at(i) != NULL; i++)
    fprintf(to, "  %-10s %s\n", command_at(i)->name, command_at(i)->summary);
  fprintf(to, "\n`exeunt COMMAND --help` explains a command and its options.\n"
              "Begin with `exeunt demo`.\n");
}

static int run_command(const struct command *command, int argc, char **argv) {
  void *options = calloc(1, command->size);
  if (options == NULL) {
    fprintf(stderr, "exeunt: out of memory\n");
    return EXIT_FAILED;
  }
  int first = 0;
  int status = options_parse(command, argc, argv, options, &first);
  if (status < 0) status = command->run(options, argv + first, argc - first);
  free(options);
  if (fflush(stdout) != 0 || ferror(stdout)) {
    fprintf(stderr, "exeunt: writing to standard output failed\n");
    return EXIT_FAILED;
  }
  return status;
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  if (argc < 2) {
    print_help(stderr);
    return EXIT_USAGE;
  }
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
      strcmp(argv[1], "help") == 0) {
    const struct command *command = argc > 2 ? command_find(argv[2]) : NULL;
    char help[] = "--help", *words[] = {argv[2], help, NULL};
    if (command != NULL) return run_command(command, 2, words);
    print_help(stdout);
    return EXIT_SUCCESS;
  }
  if (strcmp(argv[1], "--version") == 0) {
    printf("exeunt %s\n", ex_version());
    return EXIT_SUCCESS;
  }
  if (strcmp(argv[1], "--manual") == 0) {
    manual_print();
    return EXIT_SUCCESS;
  }
  const struct command *command = command_find(argv[1]);
  if (command == NULL) {
    fprintf(stderr, "exeunt: \"%s\" is not a command; `exeunt --help` lists them\n", argv[1]);
    return EXIT_USAGE;
  }
  return run_command(command, argc - 1, argv + 1);
}
