/* SPDX-License-Identifier: Apache-2.0
 *
 * report/comparison: paired by seed, as claims are.
 */
#include "report/comparison.h"

#include <stdio.h>

#include "report/claims.h"
#include "report/expression.h"

enum { MAX_NAME = 96 };

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text != NULL ? text : "";
}

bool ex__comparison_wanted(const json_t *reproduction) {
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
  double run[EX_MAX_SEEDS], difference[EX_MAX_SEEDS];
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
    if (pair->n == EX_MAX_SEEDS) break;
    if (ex__expression_evaluate(of_run, found, &pair->run[pair->n], NULL) != EX_OK ||
        ex__expression_evaluate(of_baseline, found, &base, NULL) != EX_OK)
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
  struct ex_repeated figure = ex__repeated(pair.run, pair.n);
  struct ex_repeated gain = ex__repeated(pair.difference, pair.n);
  return json_pack("{s:f, s:f, s:f, s:[f, f], s:i}", "accuracy", figure.mean, "baseline",
                   figure.mean - gain.mean, "difference", gain.mean, "interval",
                   gain.mean - gain.half, gain.mean + gain.half, "seeds", (int)pair.n);
}

/* Multiply-adds that training executed, forward and backward, over those of the
 * baseline; NULL where they were not counted. */
static json_t *work_ratio(const json_t *evaluations, const char *run, const char *baseline) {
  char text[4 * MAX_NAME];
  double over = 0, under = 0;
  const json_t *first = json_array_get(evaluations, 0);
  const char *names[] = {run, baseline};
  double *found[] = {&over, &under};
  for (int32_t i = 0; i < 2; i++) {
    snprintf(text, sizeof text, "%.40s.training.macs.forward + %.40s.training.macs.backward",
             names[i], names[i]);
    if (ex__expression_evaluate(text, first, found[i], NULL) != EX_OK) return NULL;
  }
  return under > 0 ? json_real(over / under) : NULL;
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
  return json_pack("{s:s, s:s, s:s, s:O, s:O?, s:O?, s:o*, s:o, s:o*}", "entry", entry, "run", name,
                   "against", against, "setting", json_object_get(run, "setting"), "steps",
                   json_object_get(training, "steps"), "passes",
                   json_object_get(training, "passes"), "work",
                   work_ratio(evaluations, name, against), "exits", exits, "budgeted_area",
                   compare(evaluations, name, against, "curves.budgeted_area"));
}

json_t *ex__comparison_rows(const char *entry, const json_t *reproduction,
                            const json_t *evaluations) {
  json_t *rows = json_array();
  const char *name;
  json_t *run;
  json_object_foreach((json_t *)json_object_get(reproduction, "runs"), name, run) {
    if (json_object_get(run, "against") == NULL) continue;
    json_array_append_new(rows, row(entry, name, run, evaluations));
  }
  return rows;
}
