/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy: when to leave. One rule is one file and one line in
 * policies.def.
 *
 * A rule is a const vtable over a flat struct of values, described by a table
 * of parameters: its knobs and what was fitted (thresholds per exit) alike. So
 * a fitted policy is copied by memcpy, written as JSON that a person can read,
 * and set by hand on the command line. `decide` cannot fail, allocates
 * nothing, has no clock, and never sees a later exit. Numbers that are not
 * finite mean *go on*; at the last point the engine reports them as an error.
 *
 * A rule that has `score` is memoryless in leaving: at a point that is not the
 * last allowed it leaves if and only if score ≥ the exit's threshold, whatever
 * was seen before, because the search of thresholds and the quotas of calibrate
 * rest on that. What it answers may come from scratch. A rule whose leaving has
 * a memory (patience) gives `candidate` in place of `score`.
 *
 * What a rule learns are values too: coefficients per exit in a struct ex_table.
 * `fit` learns them from a labelled trace before calibrate chooses thresholds or
 * knobs; a rule whose knob decides what is learned (a price, a budget) is fitted
 * anew for each candidate. Values have a fixed size, so features are few (at most
 * EX_MAX_LIST per exit), whatever the number of classes.
 *
 * How a sample is run, alike by the engine (ex_engine_run in engine_one.c, the
 * queues of engine_many.c) and by replay (policy_replay.c):
 *   point ← ex__policy_next(−1); then, until a decision leaves:
 *   run the bodies that the point needs and that have not run; its closure of
 *   heads that have not run; its gate, if the rule declares EX_POLICY_NEEDS_GATE;
 *   decide;
 *   point ← on GO_ON ex__policy_next(point), on GO_TO the decision's point.
 * Exits that a rule skips therefore cost nothing but what later ones need of their
 * bodies: their part of the trunk; of a whole network among several, nothing.
 */
#ifndef EX_POLICY_POLICY_H
#define EX_POLICY_POLICY_H

#include <math.h>

#include "base/param.h"
#include "trace/trace.h"

enum { EX_MAX_POLICY_VALUES = 20480, EX_MAX_POLICY_SCRATCH = 1024 }; /* bytes */

enum ex_action { EX_GO_ON, EX_LEAVE, EX_GO_TO };

struct ex_decision {
  enum ex_action action;
  int32_t point; /* LEAVE: whose answer is given (≤ the current point);
                    GO_TO: a later point, whose closure of heads is run */
};

/* What one exit shows of one sample. */
struct ex_observation {
  int32_t point, n_points, n_outputs;
  const ex_real *output, *probability; /* [n_outputs], transformed; probabilities */
  struct ex_answer answer;
  double gate; /* NaN where there is none */
};

/* What the surroundings allow; "unlimited" is the value in brackets. */
struct ex_env {
  int64_t time_left_ns;   /* [INT64_MAX] */
  int32_t max_point;      /* last point that may be run [n_points − 1] */
  int32_t target;         /* the true class, on labelled traces only [−1]: the oracle reads it */
  const int32_t *classes; /* [n_classes] of the request, which alone may leave early, within those
                             of the rule [NULL: the rule's own] */
  int32_t n_classes;
};

enum ex_policy_need {
  EX_POLICY_NEEDS_GATE = 1,   /* gates run, and are charged, for these rules alone */
  EX_POLICY_NEEDS_TARGET = 2, /* replay only, never in an engine */
  EX_POLICY_READS_CLASSES = 4 /* minds the classes of a request, and has some of interest */
};

/* What a rule is fitted on: the samples first, first + step, … of a trace whose
 * samples are all labelled. */
struct ex_policy_fit {
  const ex_trace *trace;
  int32_t first, step;
  bool ns; /* costs are the measured nanoseconds, not multiply-adds */
};

/* What a decision was taken by, for a person. */
struct ex_reading {
  const char *what; /* "entropy", "equal answers in a row"; NULL: by nothing that is a number */
  double value, threshold;
  bool below; /* leaves below the threshold; else at or above it */
};

struct ex_policy_class {
  const char *name;    /* in the command: "max-probability" */
  const char *cite;    /* paper; NULL: folklore */
  const char *summary; /* one or two sentences */
  const struct ex_param *params;
  size_t size;         /* of the values, ≤ EX_MAX_POLICY_VALUES */
  size_t scratch_size; /* per sample, zeroed before its first point, ≤ EX_MAX_POLICY_SCRATCH */
  unsigned needs;
  /* For rules with one threshold per point but the last: how sure, higher is
   * surer, NaN never leaves; where the struct ex_list of thresholds lies; the
   * threshold, in the rule's own unit, at which a sample of this score just
   * leaves; and one that nobody reaches (left out it is 0, which for a score
   * that is its own threshold is one that everybody reaches). `score` NULL: not
   * such a rule. */
  double (*score)(const void *values, const struct ex_observation *seen);
  double (*leave_at)(double score);
  size_t threshold_offset;
  double threshold_off;
  /* For rules that read classes: where the struct ex_list of the classes of interest
   * lies, by number; an empty one means all. A sample that leaves early with another
   * label is refused. */
  size_t classes_offset;
  /* Values that make sense to try, for rules that are searched by knob, from
   * the most careful (full depth) to the boldest: writes candidate `index` into
   * values; false past the last. NULL: none. */
  bool (*candidate)(void *values, int32_t n_points, int32_t index);
  /* Learns values from a trace, deterministically; those that are knobs stay as
   * they are. NULL: nothing is learned. */
  enum ex_status (*fit)(void *values, const struct ex_policy_fit *job, struct ex_error *err);
  /* Nobody can leave at this point (< n_points − 1) and nothing there is worth
   * reading, so its head need not run. NULL: every point is looked at. */
  bool (*skips)(const void *values, int32_t point, int32_t n_points);
  /* Decides without looking at the answers: every sample goes the same way, so
   * what that costs is known, not estimated. (Outputs that are not finite go on.) */
  bool same_path;
  /* What is learned depends on the knob: anew for each candidate, whose values hold
   * what was learned for the one before, as a start. A second fit with the same
   * knobs changes nothing. EX_EINFEASIBLE: neither these knobs nor bolder ones can
   * be had. */
  bool fit_each;
  /* NULL: nothing to check. Values against the net: lists of the right length, and so on. */
  enum ex_status (*check)(const void *values, int32_t n_points, int32_t n_outputs,
                          struct ex_error *err);
  struct ex_decision (*decide)(const void *values, void *scratch, const struct ex_env *env,
                               const struct ex_observation *seen);
  /* What `decide` has just gone by. NULL: the score, in the rule's own unit, where
   * it has one, else nothing that could be told in a number. */
  struct ex_reading (*read)(const void *values, const void *scratch,
                            const struct ex_observation *seen);
};

const struct ex_policy_class *ex__policy_find(const char *name); /* NULL: none */
const struct ex_policy_class *ex__policy_at(int32_t index);      /* NULL past the last */

typedef struct ex_policy ex_policy;
struct ex_policy { /* flat: copy it by assignment */
  const struct ex_policy_class *class;
  int32_t n_points, n_outputs;
  _Alignas(8) unsigned char values[EX_MAX_POLICY_VALUES];
};

/* Of a rule with a score: its thresholds, to read and to change. */
static inline const struct ex_list *ex__policy_thresholds_of(const ex_policy *policy) {
  return (const struct ex_list *)(const void *)(policy->values + policy->class->threshold_offset);
}
static inline struct ex_list *ex__policy_thresholds(ex_policy *policy) {
  return (struct ex_list *)(void *)(policy->values + policy->class->threshold_offset);
}

/* Whether a class is of interest to a rule that reads classes; to others all are. */
static inline bool ex__policy_minds(const ex_policy *policy, int32_t label) {
  const struct ex_list *list =
      (const struct ex_list *)(const void *)(policy->values + policy->class->classes_offset);
  if ((policy->class->needs & EX_POLICY_READS_CLASSES) == 0 || list->n == 0) return true;
  for (int32_t i = 0; i < list->n; i++)
    if ((int32_t)list->value[i] == label) return true;
  return false;
}

/* Defaults; an unknown name lists the known. */
enum ex_status ex__policy_init(ex_policy *policy, const char *name, int32_t n_points,
                               int32_t n_outputs, struct ex_error *err);
/* {"name": …, "values": {…}} */
json_t *ex__policy_to_json(const ex_policy *policy);
enum ex_status ex__policy_from_json(const json_t *json, int32_t n_points, int32_t n_outputs,
                                    ex_policy *out, struct ex_error *err);

/* Sets one value from text ("patience", "3"), as the command line does. */
enum ex_status ex__policy_set(ex_policy *policy, const char *name, const char *text,
                              struct ex_error *err);
/* The same from one text, "NAME=VALUE". */
enum ex_status ex__policy_assign(ex_policy *policy, const char *text, struct ex_error *err);

/* The first point after `point` (−1: none yet) whose head is to run: one that
 * the rule does not skip, or max_point, the last that is allowed. */
int32_t ex__policy_next(const ex_policy *policy, int32_t point, int32_t max_point);

/* The decision at one point, with the guards that hold for every rule: the
 * last allowed point leaves, not-finite goes on, and a rule that answers with a
 * later point or jumps back is put right. */
struct ex_decision ex__policy_decide(const ex_policy *policy, void *scratch,
                                     const struct ex_env *env, const struct ex_observation *seen);

/* What the decision that was just taken at this point went by; false: there is
 * nothing to tell. */
bool ex__policy_read(const ex_policy *policy, const void *scratch,
                     const struct ex_observation *seen, struct ex_reading *reading);

/* What a rule is shown of a recorded sample at a point; borrowed from the trace. */
static inline struct ex_observation ex__policy_observe(const ex_trace *trace, int32_t point,
                                                       int32_t sample) {
  int64_t at = ex__trace_at(trace, point, sample), outputs = at * trace->n_outputs;
  return (struct ex_observation){
      .point = point,
      .n_points = trace->n_points,
      .n_outputs = trace->n_outputs,
      .output = trace->output + outputs,
      .probability = trace->probability + outputs,
      .answer = trace->answer[at],
      .gate = trace->gate != NULL ? (double)trace->gate[at] : (double)NAN,
  };
}

/* ---- replay ------------------------------------------------------------- */

/* Where one sample left, and what it was charged. */
struct ex_outcome {
  int32_t point;          /* whose body was the last to run */
  int32_t answer;         /* the point whose answer was given, ≤ point */
  uint32_t bodies, heads; /* of stages and of points, as bits: what ran on the way */
  int64_t macs;           /* all of these, and gates where the rule reads them */
  int64_t ns;             /* the same in the trace's measured nanoseconds; 0 where not measured */
};
/* outcomes [trace->n]; env NULL: unlimited. Targets are shown to rules that
 * declare EX_POLICY_NEEDS_TARGET alone. */
void ex__policy_replay(const ex_policy *policy, const ex_trace *trace, const struct ex_env *env,
                       struct ex_outcome *outcomes);

/* How the jumps of a rule turned out, all samples together. A jump is right where
 * its goal is the first exit from there on at which the rule, going straight to it,
 * leaves; over where it passed that one, which costs bodies; under where the goal
 * does not leave either, which costs a head. env as for replay. */
struct ex_jumps {
  int64_t looked;                     /* exits that were looked at, by any rule */
  int64_t jumped, right, over, under; /* EX_GO_TO; the three sum to it */
};
void ex__policy_jumps(const ex_policy *policy, const ex_trace *trace, const struct ex_env *env,
                      struct ex_jumps *jumps);

#endif
