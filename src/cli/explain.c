/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/explain: prints parts of the registers; nothing here knows one by name.
 */
#include "cli/explain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/console.h"
#include "method/method.h"
#include "policy/policy.h"
#include "zoo/zoo.h"

void explain_table(const char *heading, const struct ex_param *table) {
  struct ex_text text = {0};
  printf("\n%s:\n", heading);
  if (ex__param_help(table, &text) == EX_OK)
    printf("%s", text.data != NULL ? text.data : "  (none)\n");
  ex__text_clear(&text);
}

static void print_part(const char *name, const char *summary, const char *cite) {
  printf("%s: %s\n", name, summary);
  if (cite != NULL) printf("After %s.\n", cite);
}

static void print_line(const char *name, const char *summary) {
  const char *end = strstr(summary, ". "); /* the first sentence is enough for a list */
  int length = end != NULL ? (int)(end - summary) + 1 : (int)strlen(summary);
  printf("  %-22s %.*s\n", name, length, summary);
}

void explain_methods(void) {
  printf("\nmethods (`exeunt train --method NAME --help` explains one):\n");
  for (int32_t i = 0; ex__method_at(i) != NULL; i++)
    print_line(ex__method_at(i)->name, ex__method_at(i)->summary);
}

void explain_policies(void) {
  printf("\nexit rules (--policy NAME --help explains one):\n");
  for (int32_t i = 0; ex__policy_at(i) != NULL; i++)
    print_line(ex__policy_at(i)->name, ex__policy_at(i)->summary);
}

void explain_architectures(void) {
  printf("\narchitectures (`exeunt inspect NAME --help` explains one):\n");
  for (int32_t i = 0; ex__zoo_at(i) != NULL; i++)
    print_line(ex__zoo_at(i)->name, ex__zoo_at(i)->summary);
}

int explain_method(const struct command *command, const char *name) {
  const struct ex_method *method = ex__method_find(name);
  if (method == NULL) {
    int status = console_misuse(command, "method \"%.40s\" is unknown", name);
    explain_methods();
    return status;
  }
  print_part(method->name, method->summary, method->cite);
  explain_table("parameters (-s method.KEY=VALUE, or in the recipe's \"method\")", method->params);
  return EXIT_SUCCESS;
}

int explain_policy(const struct command *command, const char *name) {
  const struct ex_policy_class *class = ex__policy_find(name);
  if (class == NULL) {
    int status = console_misuse(command, "exit rule \"%.40s\" is unknown", name);
    explain_policies();
    return status;
  }
  print_part(class->name, class->summary, class->cite);
  explain_table("values (-s KEY=VALUE, or in \"values\" of the recipe's \"policy\")",
                class->params);
  return EXIT_SUCCESS;
}

int explain_architecture(const char *name) {
  const struct ex_architecture *architecture = ex__zoo_find(name);
  print_part(architecture->name, architecture->summary, architecture->cite);
  explain_table("parameters (-s network.KEY=VALUE, or in the recipe's \"network\")",
                architecture->params);
  return EXIT_SUCCESS;
}

int explain_with_policy(const struct command *command, const char *policy) {
  if (policy != NULL) return explain_policy(command, policy);
  options_print_help(command);
  explain_policies();
  return EXIT_SUCCESS;
}
