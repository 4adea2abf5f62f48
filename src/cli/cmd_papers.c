/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_papers: the catalogue: which paper, which part, what is ours, what
 * we claim and what came out. Entries are papers/NAME.json, built in; results
 * are read from results/NAME.json where `reproduce` left them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/catalogue.h"
#include "cli/console.h"

struct options {
  struct common_options common;
  bool markdown;
};

static const struct option_spec table[] = {
    {"markdown", 0, OPTION_FLAG, offsetof(struct options, markdown), NULL, 0, 0, NULL,
     "Prints docs/papers.md, with the results found below results/."},
    {0},
};

static const char *text_of(const json_t *entry, const char *key) {
  const char *text = json_string_value(json_object_get(entry, key));
  return text != NULL ? text : "";
}

static void print_names(FILE *to, const json_t *names, const char *before) {
  size_t i;
  const json_t *name;
  json_array_foreach(names, i, name) {
    fprintf(to, "%s%s", i > 0 ? ", " : before, json_string_value(name));
  }
}

static void print_parts(const json_t *entry) {
  const char *kind;
  json_t *names;
  json_object_foreach(json_object_get(entry, "parts"), kind, names) {
    printf("  %s: ", kind);
    print_names(stdout, names, "");
    printf("\n");
  }
}

static void print_claims(const json_t *entry, const json_t *result) {
  size_t i;
  const json_t *claim;
  json_array_foreach(json_object_get(json_object_get(entry, "reproduction"), "claims"), i, claim) {
    const json_t *found = json_array_get(json_object_get(result, "claims"), i);
    const char *verdict = json_string_value(json_object_get(found, "verdict"));
    printf("  [%s] %s\n", verdict != NULL ? verdict : "not run", text_of(claim, "says"));
  }
}

static void print_entry(const json_t *entry) {
  json_t *result = catalogue_result(text_of(entry, "name"));
  printf("%s\n%s. %s\n\n%s\n\n", text_of(entry, "title"), text_of(entry, "authors"),
         text_of(entry, "venue"), text_of(entry, "contributes"));
  printf("parts\n");
  print_parts(entry);
  printf("\nours, not the authors'\n  %s\n\nclaims of `exeunt reproduce %s`\n",
         text_of(entry, "ours"), text_of(entry, "name"));
  print_claims(entry, result);
  json_decref(result);
}

static void print_list_line(const json_t *entry) {
  printf("%-12s %-10s %s\n", text_of(entry, "name"), text_of(entry, "venue"),
         text_of(entry, "title"));
}

static void print_markdown_entry(const json_t *entry) {
  json_t *result = catalogue_result(text_of(entry, "name"));
  printf("\n## %s\n\n%s. *%s*. %s.\n\n%s\n\n", text_of(entry, "name"), text_of(entry, "authors"),
         text_of(entry, "title"), text_of(entry, "venue"), text_of(entry, "contributes"));
  const char *kind;
  json_t *names;
  json_object_foreach(json_object_get(entry, "parts"), kind, names) {
    printf("- %s: `", kind);
    print_names(stdout, names, "");
    printf("`\n");
  }
  printf("- ours, not the authors': %s\n\n", text_of(entry, "ours"));
  catalogue_print_result(entry, result);
  json_decref(result);
}

static int print_one(const struct options *options, const char *name) {
  struct ex_error err = {0};
  json_t *entry;
  if (catalogue_find(name, &entry, &err) != EX_OK) return console_fail(&command_papers, &err);
  if (options->common.json) return console_json(&command_papers, entry);
  if (options->markdown)
    print_markdown_entry(entry);
  else
    print_entry(entry);
  json_decref(entry);
  return EXIT_SUCCESS;
}

static void print_markdown_head(void) {
  printf("# The papers\n\nMade by `exeunt papers --markdown` from `papers/*.json` and "
         "`results/*.json`; do not edit.\nA claim is checked by `exeunt reproduce NAME`.\n");
  json_t *training = catalogue_result("training");
  if (training == NULL) return;
  printf("\n## All training methods\n\nMade by `exeunt reproduce --all-training`, %s, commit "
         "%.12s.%s\n",
         text_of(training, "date"), text_of(training, "commit"),
         json_is_true(json_object_get(training, "quick")) ? " A quick run." : "");
  catalogue_print_comparison(json_object_get(training, "comparison"));
  json_decref(training);
}

static int print_all(const struct options *options) {
  json_t *all = json_array();
  if (options->markdown) print_markdown_head();
  for (int32_t i = 0; catalogue_at(i) != NULL; i++) {
    json_t *entry;
    if (catalogue_find(catalogue_at(i), &entry, NULL) != EX_OK) continue;
    if (options->markdown)
      print_markdown_entry(entry);
    else if (!options->common.json)
      print_list_line(entry);
    json_array_append_new(all, entry);
  }
  if (options->common.json) return console_json(&command_papers, all);
  json_decref(all);
  return EXIT_SUCCESS;
}

static int run(const void *given, char *const *arguments, int32_t n) {
  const struct options *options = given;
  return n == 1 ? print_one(options, arguments[0]) : print_all(options);
}

const struct command command_papers = {
    .name = "papers",
    .arguments = "[NAME]",
    .summary = "the catalogue: papers, parts, claims, results",
    .help = "Lists the papers that are implemented, or shows one: which part of Exeunt does it,\n"
            "what is our reconstruction, the claims of its reproduction and how they came out.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 0,
    .max_arguments = 1,
    .run = run,
};
