/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/comparison: paired by seed, as claims are.
 */
#include "cli/comparison.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/claims.h"
#include "cli/expression.h"

enum { MAX_NAME = 96 };

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text != NULL ? text : "";
}

bool comparison_wanted(const json_t *reproduction) {
  const char *name;
  json_t *run;
  json_object_foreach((json_t *)json_object_get(reproduction, "runs"), name, run) {
    if (json_object_get(run, "against") != NULL) return true;
  }
  return false;
}

/* ---- rows ----------------------------------------------------------------- */

struct pair { /* figures of a run and of its baseline, by seed */
  int32_t n;
  double run[MAX_SEEDS], difference[MAX_SEEDS];
};

/* `path` below a run ("exits.0.accuracy"), for the seeds that have both. */
static void read_pair(const json_t *evaluations, const char *run, const char *baseline,
                      const char *path, struct pair *pair) {
  char of_run[MAX_NAME], of_baseline[MAX_NAME];
  snprintf(of_run, sizeof of_run, "%.40s.%.40s", run, path);
  snprintf(of_baseline, sizeof of_baseline, "%.40s.%.40s", baseline, path);
  pair->n = 0;
  size_t seed;
  const json_t *found;
  json_array_foreach(evaluations, seed, found) {
    double base;
    if (pair->n == MAX_SEEDS) break;
    if (expression_evaluate(of_run, found, &pair->run[pair->n], NULL) != EX_OK ||
        expression_evaluate(of_baseline, found, &base, NULL) != EX_OK)
      continue;
    pair->difference[pair->n] = pair->run[pair->n] - base;
    pair->n++;
  }
}

/* NULL where no seed has the figure. */
static json_t *compare(const json_t *evaluations, const char *run, const char *baseline,
                       const char *path) {
  struct pair pair;
  read_pair(evaluations, run, baseline, path, &pair);
  if (pair.n == 0) return NULL;
  struct estimate figure = claims_estimate(pair.run, pair.n);
  struct estimate gain = claims_estimate(pair.difference, pair.n);
  return json_pack("{s:f, s:f, s:f, s:[f, f], s:i}", "accuracy", figure.mean, "baseline",
                   figure.mean - gain.mean, "difference", gain.mean, "interval",
                   gain.mean - gain.half, gain.mean + gain.half, "seeds", (int)pair.n);
}

static json_t *row(const char *entry, const char *name, const json_t *run,
                   const json_t *evaluations) {
  const json_t *first = json_object_get(json_array_get(evaluations, 0), name);
  const json_t *training = json_object_get(first, "training");
  const char *against = text_of(run, "against");
  json_t *exits = json_array();
  for (size_t i = 0; i < json_array_size(json_object_get(first, "exits")); i++) {
    char path[40];
    snprintf(path, sizeof path, "exits.%zu.accuracy", i);
    json_t *exit = compare(evaluations, name, against, path);
    if (exit != NULL) json_array_append_new(exits, exit);
  }
  return json_pack("{s:s, s:s, s:s, s:O, s:O?, s:O?, s:o, s:o*}", "entry", entry, "run", name,
                   "against", against, "setting", json_object_get(run, "setting"), "steps",
                   json_object_get(training, "steps"), "passes",
                   json_object_get(training, "passes"), "exits", exits, "budgeted_area",
                   compare(evaluations, name, against, "curves.budgeted_area"));
}

json_t *comparison_rows(const char *entry, const json_t *reproduction, const json_t *evaluations) {
  json_t *rows = json_array();
  const char *name;
  json_t *run;
  json_object_foreach((json_t *)json_object_get(reproduction, "runs"), name, run) {
    if (json_object_get(run, "against") == NULL) continue;
    json_array_append_new(rows, row(entry, name, run, evaluations));
  }
  return rows;
}

/* ---- tables --------------------------------------------------------------- */

static void print_figure(const json_t *figure, double scale) {
  const json_t *interval = json_object_get(figure, "interval");
  double half = json_number_value(json_array_get(interval, 1)) -
                json_number_value(json_object_get(figure, "difference"));
  printf(" %+.2f ± %.2f |", scale * json_number_value(json_object_get(figure, "difference")),
         scale * half);
}

static void print_head(const json_t *row) {
  const json_t *exits = json_object_get(row, "exits"), *figure;
  const json_t *area = json_object_get(row, "budgeted_area");
  size_t i;
  printf("\n%s:\n\n| run |", text_of(row, "setting"));
  json_array_foreach(exits, i, figure) { printf(" exit %zu |", i + 1); }
  printf(" budgeted curve | seeds | steps | forward | backward |\n|---|");
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
  printf(" %lld | %.0f | %.2f | %.2f |\n",
         (long long)json_integer_value(json_object_get(json_array_get(exits, 0), "seeds")), steps,
         json_number_value(json_object_get(passes, "forward")) / steps,
         json_number_value(json_object_get(passes, "backward")) / steps);
}

/* Whether a row before this one has its setting. */
static bool is_told(const json_t *rows, size_t index) {
  for (size_t i = 0; i < index; i++)
    if (strcmp(text_of(json_array_get(rows, i), "setting"),
               text_of(json_array_get(rows, index), "setting")) == 0)
      return true;
  return false;
}

void comparison_print(const json_t *rows) {
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
           "interval; the budgeted curve\nis the mean accuracy over its costs; forward and "
           "backward: passes per step.\n");
}
