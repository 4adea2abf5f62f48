/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/options: command lines by table, through getopt_long. The table that
 * checks a value also prints its default and bounds, so the help cannot lie.
 */
#include <ctype.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/command.h"

enum { MAX_OPTIONS = 48 };

static const struct option_spec common[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct common_options, json), NULL, 0, 0, NULL,
     "Print one JSON object for machines instead of text for people."},
    {"threads", 't', OPTION_INT, offsetof(struct common_options, threads), "N", 0, 256, "0",
     "Threads to use; 0 means one per processor."},
    {"seed", 0, OPTION_INT, offsetof(struct common_options, seed), "N", 0, 4294967295.0, "1",
     "Everything that is drawn depends on it."},
    {"quiet", 'q', OPTION_FLAG, offsetof(struct common_options, quiet), NULL, 0, 0, NULL,
     "No progress on standard error."},
    {NULL, 0, OPTION_FLAG, 0, NULL, 0, 0, NULL, NULL},
};

const struct option_spec *options_common(void) { return common; }

/* The command's own options and then the common ones. Returns how many. */
static int32_t collect(const struct command *command, const struct option_spec **all) {
  int32_t n = 0;
  for (const struct option_spec *o = command->options; o != NULL && o->name != NULL; o++)
    all[n++] = o;
  for (const struct option_spec *o = common; o->name != NULL; o++) all[n++] = o;
  return n;
}

static int wrong(const struct command *command, const char *format, const char *a, const char *b) {
  fprintf(stderr, "exeunt %s: ", command->name);
  fprintf(stderr, format, a, b);
  fprintf(stderr, "; see `exeunt %s --help`\n", command->name);
  return EXIT_USAGE;
}

static bool set_int(const struct option_spec *spec, const char *text, int64_t *field) {
  int64_t value;
  if (!ex__text_to_int(text, &value) || !((double)value >= spec->min && (double)value <= spec->max))
    return false;
  *field = value;
  return true;
}

static bool set_real(const struct option_spec *spec, const char *text, double *field) {
  double value;
  if (!ex__text_to_real(text, &value) || !(value >= spec->min && value <= spec->max)) return false;
  *field = value;
  return true;
}

static bool set(const struct option_spec *spec, const char *text, void *options) {
  void *field = (char *)options + spec->offset;
  switch (spec->type) {
    case OPTION_FLAG: *(bool *)field = true; return true;
    case OPTION_TEXT: *(const char **)field = text; return text[0] != '\0';
    case OPTION_INT: return set_int(spec, text, field);
    case OPTION_REAL: return set_real(spec, text, field);
    case OPTION_ASSIGNMENTS: {
      struct assignments *list = field;
      if (list->n == MAX_ASSIGNMENTS || strchr(text, '=') == NULL) return false;
      list->text[list->n++] = text;
      return true;
    }
  }
  return false;
}

static void set_defaults(const struct option_spec *const *all, int32_t n, void *options) {
  for (int32_t i = 0; i < n; i++) {
    void *field = (char *)options + all[i]->offset;
    if (all[i]->type == OPTION_REAL && all[i]->fallback == NULL)
      *(double *)field = NAN;
    else if (all[i]->fallback != NULL)
      set(all[i], all[i]->fallback, options);
  }
}

static void rule(const struct option_spec *spec, char *text, size_t size) {
  switch (spec->type) {
    case OPTION_INT:
      snprintf(text, size, "must be an integer in [%.12g, %.12g]", spec->min, spec->max);
      break;
    case OPTION_REAL:
      snprintf(text, size, "must be a number in [%.12g, %.12g]", spec->min, spec->max);
      break;
    case OPTION_ASSIGNMENTS:
      snprintf(text, size, "must be KEY=VALUE, at most %d times", MAX_ASSIGNMENTS);
      break;
    default: snprintf(text, size, "must not be empty"); break;
  }
}

/* getopt's tables: `value` of a long option is its index + 256. */
static void make_tables(const struct option_spec *const *all, int32_t n, struct option *longs,
                        char *shorts) {
  char *letter = shorts;
  *letter++ = ':'; /* a missing argument is told apart */
  *letter++ = 'h';
  for (int32_t i = 0; i < n; i++) {
    int takes = all[i]->type == OPTION_FLAG ? no_argument : required_argument;
    longs[i] = (struct option){all[i]->name, takes, NULL, 256 + i};
    if (all[i]->letter == 0) continue;
    *letter++ = all[i]->letter;
    if (takes == required_argument) *letter++ = ':';
  }
  longs[n] = (struct option){"help", no_argument, NULL, 'h'};
  longs[n + 1] = (struct option){NULL, 0, NULL, 0};
  *letter = '\0';
}

static const struct option_spec *chosen(const struct option_spec *const *all, int32_t n, int code) {
  if (code >= 256) return all[code - 256];
  for (int32_t i = 0; i < n; i++)
    if (all[i]->letter != 0 && all[i]->letter == code) return all[i];
  return NULL;
}

static int apply(const struct command *command, const struct option_spec *spec, void *options) {
  if (spec == NULL || set(spec, optarg != NULL ? optarg : "", options)) return -1;
  char text[256], rule_text[128];
  rule(spec, rule_text, sizeof rule_text);
  snprintf(text, sizeof text, "--%s = %.80s; %s", spec->name, optarg, rule_text);
  return wrong(command, "%s%s", text, "");
}

static int check_count(const struct command *command, int32_t n, char *const *given) {
  if (n < command->min_arguments)
    return wrong(command, "too few arguments; usage: exeunt %s %s", command->name,
                 command->arguments);
  if (n > command->max_arguments)
    return wrong(command, "argument \"%s\" is one too many; usage is %s",
                 given[command->max_arguments],
                 command->arguments[0] != '\0' ? command->arguments : "without arguments");
  return -1;
}

/* EXEUNT_SERVE_MAX_BODY for --max-body of serve. */
static void environment_name(const struct command *command, const struct option_spec *spec,
                             char *name, size_t size) {
  snprintf(name, size, "EXEUNT_%s_%s", command->name, spec->name);
  for (char *at = name; *at != '\0'; at++)
    *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
}

static bool set_from_environment(const struct option_spec *spec, const char *text, void *options) {
  if (spec->type != OPTION_FLAG) return set(spec, text, options);
  bool on = strcmp(text, "1") == 0 || strcmp(text, "true") == 0;
  *(bool *)((char *)options + spec->offset) = on;
  return on || text[0] == '\0' || strcmp(text, "0") == 0 || strcmp(text, "false") == 0;
}

/* What the environment says comes before what the command line says. */
static int read_environment(const struct command *command, const struct option_spec *const *all,
                            int32_t n, void *options) {
  for (int32_t i = 0; i < n; i++) {
    char name[96], text[384], rule_text[128];
    environment_name(command, all[i], name, sizeof name);
    const char *value = getenv(name);
    if (value == NULL || set_from_environment(all[i], value, options)) continue;
    rule(all[i], rule_text, sizeof rule_text);
    snprintf(text, sizeof text, "%s = %.80s; %s", name, value,
             all[i]->type == OPTION_FLAG ? "must be 1 or 0" : rule_text);
    return wrong(command, "%s%s", text, "");
  }
  return -1;
}

int options_parse(const struct command *command, int argc, char **argv, void *options, int *first) {
  const struct option_spec *all[MAX_OPTIONS];
  struct option longs[MAX_OPTIONS + 2];
  char shorts[2 * MAX_OPTIONS + 4];
  int32_t n = collect(command, all);
  set_defaults(all, n, options);
  int said = read_environment(command, all, n, options);
  if (said >= 0) return said;
  make_tables(all, n, longs, shorts);
  opterr = 0;
  optind = 1;
  bool help = false;
  for (int code; (code = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
    if (code == 'h') {
      help = true; /* the other words may name what is to be explained */
      continue;
    }
    if (code == ':') return wrong(command, "option %s needs a value%s", argv[optind - 1], "");
    if (code == '?') return wrong(command, "option %s is unknown%s", argv[optind - 1], "");
    int status = apply(command, chosen(all, n, code), options);
    if (status >= 0) return status;
  }
  *first = optind;
  if (help && command->explain != NULL)
    return command->explain(options, argv + optind, argc - optind);
  if (help) {
    options_print_help(command);
    return EXIT_SUCCESS;
  }
  return check_count(command, argc - optind, argv + optind);
}

static void print_option(const struct option_spec *spec) {
  char left[64];
  int used = spec->letter != 0 ? snprintf(left, sizeof left, "-%c, --%s", spec->letter, spec->name)
                               : snprintf(left, sizeof left, "    --%s", spec->name);
  if (spec->value != NULL) snprintf(left + used, sizeof left - (size_t)used, " %s", spec->value);
  printf("  %-26s %s", left, spec->help);
  if (spec->type == OPTION_INT || spec->type == OPTION_REAL)
    printf(" [%.12g to %.12g]", spec->min, spec->max);
  if (spec->fallback != NULL) printf(" (default %s)", spec->fallback);
  printf("\n");
}

void options_print_help(const struct command *command) {
  const struct option_spec *all[MAX_OPTIONS];
  int32_t n = collect(command, all);
  printf("usage: exeunt %s [OPTION...]%s%s\n\n%s\n\noptions:\n", command->name,
         command->arguments[0] != '\0' ? " " : "", command->arguments, command->help);
  for (int32_t i = 0; i < n; i++) print_option(all[i]);
  printf("  %-26s %s\n", "-h, --help", "This text.");
  char name[96];
  environment_name(command, &common[1], name, sizeof name);
  printf("\nOptions can be set in the environment too: %s for --%s.\n", name, common[1].name);
}
