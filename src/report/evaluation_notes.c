/* SPDX-License-Identifier: Apache-2.0
 *
 * report/evaluation_notes: sentences on what a reader should know before
 * believing the figures: an exit that costs more than it saves, wall clock
 * that does not follow the multiply-adds, a promise that was missed.
 *
 * Sentences count exits from 1, as people do; fields of the JSON from 0.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "report/evaluation_facts.h"

double ex__number_at(const json_t *object, const char *path) {
  char key[64];
  for (; object != NULL && *path != '\0'; path += *path == '/') {
    size_t length = strcspn(path, "/");
    snprintf(key, sizeof key, "%.*s", (int)length, path);
    object = json_object_get(object, key);
    path += length;
  }
  return json_is_number(object) ? json_number_value(object) : NAN;
}

struct notes {
  json_t *array;
  bool ok;
};

__attribute__((format(printf, 2, 3))) static void add(struct notes *notes, const char *format,
                                                      ...) {
  struct ex_text sentence = {0};
  va_list args;
  va_start(args, format);
  ex__text_add_list(&sentence, format, args);
  va_end(args);
  if (sentence.failed || json_array_append_new(notes->array, json_string(sentence.data)) != 0)
    notes->ok = false;
  ex__text_clear(&sentence);
}

static void note_exit(struct notes *notes, const json_t *exit, int exit_number, double full_macs) {
  double saved = ex__number_at(exit, "saved_macs"), share = ex__number_at(exit, "share");
  double ece = ex__number_at(exit, "ece");
  bool on = json_is_true(json_object_get(exit, "on"));
  if (!on)
    add(notes, "Exit %d is switched off: nobody leaves there, and its head does not run.",
        exit_number);
  else if (saved < 0)
    add(notes,
        "Exit %d costs more than it saves: without it the same rule would spend %.1f %% of full "
        "depth less.",
        exit_number, -100 * saved / full_macs);
  else if (share == 0)
    add(notes, "Nobody left at exit %d.", exit_number);
  if (on && ece > 0.1)
    add(notes,
        "The confidence of exit %d is off by %.0f points on average (expected calibration error); "
        "its thresholds are not probabilities.",
        exit_number, 100 * ece);
}

static void note_exits(struct notes *notes, const json_t *evaluation) {
  const json_t *exits = json_object_get(evaluation, "exits");
  double full_macs = ex__number_at(evaluation, "full/macs");
  for (size_t p = 0; p + 1 < json_array_size(exits); p++)
    note_exit(notes, json_array_get(exits, p), (int)p + 1, full_macs);
}

static void note_savings(struct notes *notes, const struct ex_evaluation_facts *facts,
                         const json_t *evaluation) {
  double table = ex__number_at(evaluation, "savings/table");
  double wall = ex__number_at(evaluation, "savings/wall_clock");
  double mean = ex__number_at(evaluation, "mean_macs");
  double executed = ex__number_at(evaluation, "executed_macs");
  if (wall < 0.75 * table)
    add(notes,
        "Wall clock saves %.0f %% where multiply-adds save %.0f %%: what an exit costs in time is "
        "not in proportion to its multiply-adds here.",
        100 * wall, 100 * table);
  if (!(fabs(executed - mean) <= 1e-6 * mean))
    add(notes,
        "The programs executed %.0f multiply-adds per sample where the cost table says %.0f: the "
        "savings by table are not to be believed.",
        executed, mean);
  if (facts->n_timed == 0)
    add(notes, "Wall clock was not measured.");
  else if (facts->n_timed < facts->trace->n)
    add(notes, "Wall clock was measured on %d samples out of %d, spread evenly.",
        (int)facts->n_timed, (int)facts->trace->n);
  if (facts->n_differ > 0)
    add(notes,
        "%d samples left elsewhere than in replay: algorithms that do not keep the bits were "
        "admitted.",
        (int)facts->n_differ);
}

static void note_risk(struct notes *notes, const json_t *promise) {
  double risk = ex__number_at(promise, "risk"), bound = ex__number_at(promise, "risk_bound");
  double confidence = ex__number_at(promise, "confidence");
  const char *of = json_string_value(json_object_get(promise, "risk_of"));
  if (of == NULL || !(risk > bound)) return;
  if (isnan(confidence))
    add(notes,
        "The risk on this split (%s), %.4f, is above the %g that was promised on average over "
        "certify splits.",
        of, risk, bound);
  else
    add(notes,
        "The risk on this split (%s), %.4f, is above the %g that was promised with %g %% "
        "confidence.",
        of, risk, bound, 100 * confidence);
}

static void note_promise(struct notes *notes, const struct ex_evaluation_facts *facts,
                         const json_t *evaluation) {
  const json_t *promise = json_object_get(evaluation, "promise");
  double drop = ex__number_at(promise, "drop");
  double bound = ex__number_at(promise, "drop_bound");
  if (facts->receipt == NULL && facts->env.classes != NULL) {
    add(notes, "A request for classes narrows the rule: what its receipt promises is not meant.");
    return;
  }
  if (facts->receipt == NULL) {
    add(notes, "There is no receipt for this rule: nothing was promised.");
    return;
  }
  if (json_is_false(json_object_get(facts->receipt, "met")))
    add(notes, "Calibration could not show that its constraint is met.");
  if (drop > bound)
    add(notes,
        "The drop on this split, %.2f points, is above the bound of %.2f points that was promised "
        "with 90 %% confidence.",
        drop, bound);
  note_risk(notes, promise);
}

static void note_overthinking(struct notes *notes, const json_t *evaluation) {
  double accuracy = ex__number_at(evaluation, "accuracy");
  double full = ex__number_at(evaluation, "full/accuracy");
  double destructive = ex__number_at(evaluation, "overthinking/destructive");
  if (accuracy > full)
    add(notes, "Leaving early is more accurate than full depth here, by %.2f points.",
        100 * (accuracy - full));
  if (destructive > 0)
    add(notes, "Of the errors of full depth, %.0f %% were answered right by an earlier exit.",
        100 * destructive);
}

bool ex__evaluation_notes(const struct ex_evaluation_facts *facts, json_t *evaluation) {
  struct notes notes = {json_array(), true};
  note_exits(&notes, evaluation);
  note_savings(&notes, facts, evaluation);
  note_promise(&notes, facts, evaluation);
  note_overthinking(&notes, evaluation);
  return ex__put(evaluation, "notes", notes.array) && notes.ok;
}
