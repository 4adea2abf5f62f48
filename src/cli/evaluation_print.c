/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/evaluation_print: few lines, the ones that decide: how good, how much
 * work by three measures, who leaves where, and whether the promise was kept.
 */
#include "cli/evaluation_print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/console.h"

static double number(const json_t *object, const char *key) {
  return json_number_value(json_object_get(object, key));
}

static void print_head(const json_t *json) {
  const json_t *full = json_object_get(json, "full");
  char a[24], b[24];
  printf("accuracy   %.2f %% (full depth %.2f %%) on %.0f samples, rule %s\n",
         100 * number(json, "accuracy"), 100 * number(full, "accuracy"), number(json, "n"),
         json_string_value(json_object_get(json_object_get(json, "policy"), "name")));
  printf("work       %.3f of full depth by the table (%s of %s multiply-adds), %.3f executed\n",
         number(json, "mean_macs") / number(full, "macs"),
         console_macs(number(json, "mean_macs"), a), console_macs(number(full, "macs"), b),
         number(json, "executed_macs") / number(full, "macs"));
  if (number(json, "mean_ns") > 0)
    printf("wall clock %s per input, %.2fx faster than full depth (%s), one at a time\n",
           console_ns(number(json, "mean_ns"), a), number(full, "ns") / number(json, "mean_ns"),
           console_ns(number(full, "ns"), b));
}

/* As information: a time belongs to the machine that took it. */
static void print_latency(const json_t *json) {
  const json_t *promise = json_object_get(json, "promise");
  const char *kind = json_string_value(json_object_get(promise, "constraint"));
  if (kind == NULL || strcmp(kind, "latency") != 0 || !(number(promise, "latency_us") > 0)) return;
  printf("latency    %.1f us per input; asked for at most %.1f, the bound was %.1f on the machine "
         "that calibrated\n",
         number(promise, "latency_us"), number(promise, "value"),
         number(promise, "latency_us_bound"));
}

/* A risk that was certified, beside what came of it here. */
static void print_risk(const json_t *json) {
  const json_t *promise = json_object_get(json, "promise");
  const char *of = json_string_value(json_object_get(promise, "risk_of"));
  if (of == NULL) return;
  printf("risk       %s %.4f; promised at most %g ", of, number(promise, "risk"),
         number(promise, "risk_bound"));
  if (json_is_number(json_object_get(promise, "confidence")))
    printf("with %g %% confidence\n", 100 * number(promise, "confidence"));
  else
    printf("on average\n");
}

/* Classes of interest, for rules that know some. */
static void print_interest(const json_t *json) {
  const json_t *interest = json_object_get(json, "interest"), *label;
  const json_t *others = json_object_get(interest, "others");
  double full = number(json_object_get(json, "full"), "macs");
  size_t i;
  if (!json_is_object(interest)) return;
  printf("interest   ");
  json_array_foreach(json_object_get(interest, "classes"), i, label) {
    printf("%s%s", i > 0 ? ", " : "", json_string_value(label));
  }
  printf(" (%.0f samples): %.1f %% right and early, %.1f %% right at the last exit; %.0f %% of the "
         "work\n",
         number(interest, "n"), 100 * number(interest, "early_right"),
         100 * number(interest, "late_right"), 100 * number(interest, "mean_macs") / full);
  printf(
      "others     %.1f %% leave early as one of these (which is right %.1f %% of the time); %.1f %% "
      "are refused early; %.0f %% of the work\n",
      100 * number(others, "false_alarms"), 100 * number(interest, "precision"),
      100 * number(others, "refused"), 100 * number(others, "mean_macs") / full);
}

static void print_exits(const json_t *json) {
  printf("\nexit   leave  right of those  right of all   multiply-adds     ECE\n");
  size_t i;
  const json_t *exit;
  json_array_foreach(json_object_get(json, "exits"), i, exit) {
    char macs[16];
    printf("%4zu %6.1f %%        %6.2f %%      %6.2f %%  %14s  %6.4f\n", i + 1,
           100 * number(exit, "share"), 100 * number(exit, "accuracy_left"),
           100 * number(exit, "accuracy"), console_macs(number(exit, "macs"), macs),
           number(exit, "ece"));
  }
}

static void print_notes(const json_t *json) {
  size_t i;
  const json_t *note;
  json_array_foreach(json_object_get(json, "notes"), i, note) {
    printf("note: %s\n", json_string_value(note));
  }
}

int evaluation_print(const json_t *json) {
  print_head(json);
  print_latency(json);
  print_risk(json);
  print_interest(json);
  print_exits(json);
  print_notes(json);
  return EXIT_SUCCESS;
}
