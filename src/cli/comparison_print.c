/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/comparison_print: claims as lines, comparisons as Markdown tables that can
 * be read as they are.
 */
#include <stdio.h>
#include <string.h>

#include "cli/catalogue.h"

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text != NULL ? text : "";
}

static void print_figure(const json_t *figure, double scale) {
  double mean = scale * json_number_value(json_object_get(figure, "difference"));
  double high = scale * json_number_value(json_array_get(json_object_get(figure, "interval"), 1));
  if (json_integer_value(json_object_get(figure, "seeds")) > 1)
    printf(" %+.2f ± %.2f |", mean, high - mean);
  else
    printf(" %+.2f |", mean);
}

static void print_head(const json_t *row) {
  const json_t *exits = json_object_get(row, "exits"), *figure;
  const json_t *area = json_object_get(row, "budgeted_area");
  size_t i;
  printf("\n%s:\n\n| run |", text_of(row, "setting"));
  json_array_foreach(exits, i, figure) { printf(" exit %zu |", i + 1); }
  printf(" budgeted curve | seeds | steps | passes | work |\n|---|");
  json_array_foreach(exits, i, figure) { printf("---|"); }
  printf("---|---|---|---|---|\n| baseline: %s, %% right |", text_of(row, "against"));
  json_array_foreach(exits, i, figure) {
    printf(" %.2f |", 100 * json_number_value(json_object_get(figure, "baseline")));
  }
  printf(" %.2f | | | | |\n", json_number_value(json_object_get(area, "baseline")));
}

static void print_row(const json_t *row) {
  const json_t *exits = json_object_get(row, "exits"), *figure;
  const json_t *passes = json_object_get(row, "passes");
  double steps = json_number_value(json_object_get(row, "steps"));
  size_t i;
  printf("| %s", text_of(row, "run"));
  if (strcmp(text_of(row, "run"), text_of(row, "entry")) != 0)
    printf(" (%s)", text_of(row, "entry"));
  printf(" |");
  json_array_foreach(exits, i, figure) { print_figure(figure, 100); }
  print_figure(json_object_get(row, "budgeted_area"), 1);
  printf(" %lld | %.0f | %.2f + %.2f | %.2f |\n",
         (long long)json_integer_value(json_object_get(json_array_get(exits, 0), "seeds")), steps,
         json_number_value(json_object_get(passes, "forward")) / steps,
         json_number_value(json_object_get(passes, "backward")) / steps,
         json_number_value(json_object_get(row, "work")));
}

/* Whether a row before this one has its setting. */
static bool is_told(const json_t *rows, size_t index) {
  for (size_t i = 0; i < index; i++)
    if (strcmp(text_of(json_array_get(rows, i), "setting"),
               text_of(json_array_get(rows, index), "setting")) == 0)
      return true;
  return false;
}

void catalogue_print_comparison(const json_t *rows) {
  size_t i, j;
  const json_t *first, *row;
  json_array_foreach(rows, i, first) {
    if (is_told(rows, i)) continue;
    print_head(first);
    json_array_foreach(rows, j, row) {
      if (strcmp(text_of(row, "setting"), text_of(first, "setting")) == 0) print_row(row);
    }
  }
  if (json_array_size(rows) > 0)
    printf("\nDifferences from the baseline in points, paired by seed, ± half of the 95 %% "
           "interval; the budgeted curve\nis the mean accuracy over its costs; passes: "
           "forward + backward, per step; work: multiply-adds of training, of the baseline's.\n");
}

void catalogue_print_claims(const json_t *claims) {
  size_t i;
  const json_t *claim;
  json_array_foreach(claims, i, claim) {
    const json_t *interval = json_object_get(claim, "interval");
    const char *says = json_string_value(json_object_get(claim, "claim"));
    if (json_object_get(claim, "why") != NULL) {
      printf("not measured: %s\n    %s\n", says, json_string_value(json_object_get(claim, "why")));
      continue;
    }
    printf("%s: %s\n    %.4f [%.4f, %.4f], must be %s %.4f\n",
           json_string_value(json_object_get(claim, "verdict")), says,
           json_number_value(json_object_get(claim, "mean")),
           json_number_value(json_array_get(interval, 0)),
           json_number_value(json_array_get(interval, 1)),
           json_string_value(json_object_get(claim, "rule")),
           json_number_value(json_object_get(claim, "bound")));
  }
}
