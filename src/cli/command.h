/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/command: what a command of `exeunt` is. One file per command; a line in
 * commands.def. Options are a table that parses, checks, and prints the help.
 */
#ifndef EX_CLI_COMMAND_H
#define EX_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, MAX_ASSIGNMENTS = 64 };

enum option_type {
  OPTION_FLAG,       /* bool */
  OPTION_TEXT,       /* const char *, NULL when not given */
  OPTION_INT,        /* int64_t */
  OPTION_REAL,       /* double, NaN when not given and without a default */
  OPTION_ASSIGNMENTS /* struct assignments: KEY=VALUE, may be repeated */
};

struct assignments {
  int32_t n;
  const char *text[MAX_ASSIGNMENTS];
};

struct option_spec {
  const char *name; /* without the dashes */
  char letter;      /* 0: none */
  enum option_type type;
  size_t offset;        /* in the command's options struct */
  const char *value;    /* what its argument is called in the help: "FILE" */
  double min, max;      /* inclusive, for numbers */
  const char *fallback; /* default of a number, as text; NULL: none */
  const char *help;     /* one sentence */
};

/* Every command has these, as the first member of its options struct. */
struct common_options {
  bool json, quiet;
  int64_t threads, seed;
};

struct command {
  const char *name;
  const char *arguments;             /* "MODEL FILE...", for the usage line */
  const char *summary;               /* a line for the list */
  const char *help;                  /* a paragraph or two */
  const struct option_spec *options; /* beside the common ones; ends with a NULL name; or NULL */
  size_t size;                       /* of the options struct */
  int32_t min_arguments, max_arguments;
  /* Returns the exit status. `arguments` [n]. */
  int (*run)(const void *options, char *const *arguments, int32_t n);
  /* NULL: --help prints the general help. Else this does it, told what the
   * other words name, so that --method NAME --help can explain that method;
   * `arguments` [n] are unchecked. Returns the exit status. */
  int (*explain)(const void *options, char *const *arguments, int32_t n);
};

#define COMMAND(name) extern const struct command command_##name;
#include "cli/commands.def"
#undef COMMAND

const struct command *command_find(const char *name);
const struct command *command_at(int32_t index); /* NULL past the last */

/* Parses argv[1…] of a command into `options` (zeroed by the caller); returns
 * −1 to go on, else the exit status (help was printed, or the usage is wrong).
 * The remaining arguments are moved to argv[*first …]. */
int options_parse(const struct command *command, int argc, char **argv, void *options, int *first);
void options_print_help(const struct command *command);
const struct option_spec *options_common(void); /* ends with a NULL name */

#endif
