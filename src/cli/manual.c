/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/manual: prints scdoc source. Text of the tables is plain, so every mark
 * that scdoc would read as emphasis is escaped.
 */
#include "cli/manual.h"

#include <stdio.h>

#include "cli/command.h"

static void escaped(const char *text) {
  for (; *text != '\0'; text++) {
    if (*text == '_' || *text == '*' || *text == '\\' || *text == '#' || *text == '<' ||
        *text == '~')
      putchar('\\');
    putchar(*text);
  }
}

static void print_option(const struct option_spec *option) {
  if (option->letter != 0) printf("*-%c*, ", option->letter);
  printf("*--");
  escaped(option->name);
  printf("*");
  if (option->value != NULL) {
    printf(" ");
    escaped(option->value);
  }
  printf("\n\t");
  escaped(option->help);
  if (option->type == OPTION_INT || option->type == OPTION_REAL)
    printf(" From %.12g to %.12g.", option->min, option->max);
  if (option->fallback != NULL) printf(" The default is %s.", option->fallback);
  printf("\n\n");
}

static void print_command(const struct command *command) {
  printf("## ");
  escaped(command->name);
  printf(" ");
  escaped(command->arguments);
  printf("\n\n");
  escaped(command->help);
  printf("\n\n");
  for (const struct option_spec *o = command->options; o != NULL && o->name != NULL; o++)
    print_option(o);
}

void manual_print(void) {
  printf("exeunt(1)\n\n# NAME\n\nexeunt - early-exit neural networks\n\n# SYNOPSIS\n\n"
         "*exeunt* COMMAND [OPTION...] [ARGUMENT...]\n\n# DESCRIPTION\n\n"
         "Most inputs are easy: a network that may answer at an early exit does a fraction of the\n"
         "work for the same accuracy. *exeunt* builds, trains, calibrates, measures and runs such\n"
         "networks. Begin with *exeunt demo*.\n\n# OPTIONS OF EVERY COMMAND\n\n");
  for (const struct option_spec *o = options_common(); o->name != NULL; o++) print_option(o);
  printf("*-h*, *--help*\n\tExplains the command.\n\n# COMMANDS\n\n");
  for (int32_t i = 0; command_at(i) != NULL; i++) print_command(command_at(i));
  printf(
      "# EXIT STATUS\n\n0 where all went well, 1 where the command failed, 2 where its usage was "
      "wrong.\n\n# ENVIRONMENT\n\n_EXEUNT\\_COMMAND\\_OPTION_\n\tThe option of that command where "
      "the command line does not give it: EXEUNT\\_SERVE\\_MAX\\_BODY for --max-body of serve; for "
      "flags 1 or 0.\n\n# FILES\n\n_model.safetensors_\n\tA model: weights, structure, pre-processing, "
      "policy, costs, receipt.\n\n_model.safetensors.checkpoint_\n\tA training run that was "
      "stopped; *exeunt train --resume* goes on from it.\n");
}
