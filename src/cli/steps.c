/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/steps: the engine's own decisions, while it takes them; nothing is run a
 * second time or guessed from outside.
 */
#include "cli/steps.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/console.h"

enum { TOP = 3 };

struct watching {
  const ex_model *model;
  json_t *steps;
};

/* The surest labels, best first; the lower label on ties. */
static json_t *top_of(const ex_model *model, const struct ex_observation *seen) {
  json_t *top = json_array();
  int32_t taken[TOP];
  for (int32_t rank = 0; rank < TOP && rank < seen->n_outputs; rank++) {
    int32_t best = -1;
    for (int32_t c = 0; c < seen->n_outputs; c++) {
      bool before = false;
      for (int32_t r = 0; r < rank; r++) before = before || taken[r] == c;
      if (!before && (best < 0 || seen->probability[c] > seen->probability[best])) best = c;
    }
    taken[rank] = best;
    json_array_append_new(top, json_pack("{s:i, s:s, s:f}", "label", (int)best, "name",
                                         model->labels[best], "probability",
                                         (double)seen->probability[best]));
  }
  return top;
}

static json_t *finite(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static void watch(void *context, const struct ex_engine_step *step) {
  static const char *const actions[] = {"goes on", "leaves", "jumps"};
  struct watching *watching = context;
  json_t *json =
      json_pack("{s:i, s:o, s:s, s:I, s:I, s:I}", "exit", (int)step->seen->point, "top",
                top_of(watching->model, step->seen), "action", actions[step->decision.action],
                "macs", (json_int_t)step->macs, "next_macs", (json_int_t)step->next_macs,
                "last_macs", (json_int_t)step->last_macs);
  if (step->seen->point < step->seen->n_points - 1)
    json_object_set_new(json, "next", json_integer(step->next));
  if (step->decision.action == EX_LEAVE && step->decision.point != step->seen->point)
    json_object_set_new(json, "answers_with", json_integer(step->decision.point));
  if (step->has_reading)
    json_object_set_new(json, "reading",
                        json_pack("{s:s, s:o, s:o, s:b}", "what", step->reading.what, "value",
                                  finite(step->reading.value), "threshold",
                                  finite(step->reading.threshold), "below",
                                  (int)step->reading.below));
  json_array_append_new(watching->steps, json);
}

enum ex_status steps_run(ex_engine *engine, const ex_model *model, const float *x,
                         struct ex_result *result, json_t **steps) {
  struct watching watching = {model, json_array()};
  *steps = watching.steps;
  return ex__engine_watch(engine, x, watch, &watching, result);
}

/* ---- for a person --------------------------------------------------------- */

static double number(const json_t *object, const char *key) {
  return json_number_value(json_object_get(object, key));
}

static void print_answers(const json_t *step) {
  size_t i;
  const json_t *top;
  printf("  exit %d  ", (int)number(step, "exit") + 1);
  json_array_foreach(json_object_get(step, "top"), i, top) {
    printf("%s%s %.1f %%", i > 0 ? ", " : "", json_string_value(json_object_get(top, "name")),
           100 * number(top, "probability"));
  }
  printf("\n");
}

static void print_reading(const json_t *step) {
  const json_t *reading = json_object_get(step, "reading");
  if (reading == NULL) return;
  printf("%s %.4g, leaves %s %.4g: ", json_string_value(json_object_get(reading, "what")),
         number(reading, "value"),
         json_is_true(json_object_get(reading, "below")) ? "below" : "from",
         number(reading, "threshold"));
}

static void print_step(const json_t *step) {
  char spent[16], next[16], last[16];
  const json_t *to = json_object_get(step, "next");
  bool leaves = strcmp(json_string_value(json_object_get(step, "action")), "leaves") == 0;
  console_macs(number(step, "macs"), spent);
  console_macs(number(step, "next_macs"), next);
  console_macs(number(step, "last_macs"), last);
  print_answers(step);
  printf("          ");
  print_reading(step);
  printf("%s, %s multiply-adds spent", json_string_value(json_object_get(step, "action")), spent);
  if (to != NULL)
    printf("; exit %d %s %s more", (int)json_integer_value(to) + 1,
           leaves ? "would have taken" : "takes", next);
  if (number(step, "last_macs") != number(step, "next_macs")) printf(", full depth %s", last);
  printf("\n");
}

void steps_print(const json_t *steps) {
  size_t i;
  const json_t *step;
  json_array_foreach(steps, i, step) { print_step(step); }
}
