/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_onnx_learned: exit rules that learned from samples as ONNX nodes. Their
 * sums of confidences are one product with a constant, whose columns are as many sums as
 * an exit asks for. A rule that goes to a later exit carries the number of that exit; the
 * exits between do not look at the input, though its row goes through them.
 */
#include <math.h>

#include "export/export_numbers.h"
#include "export/export_onnx_walk.h"
#include "policy/confidences.h"
#include "policy/routing.h"

static const char *at_least(ex_onnx_graph *graph, const char *value, double number) {
  return ex__onnx_node(graph, "GreaterOrEqual", value, ex__onnx_real(graph, number));
}

static const char *cast(ex_onnx_graph *graph, const char *value, enum ex_onnx_element to) {
  const char *name = ex__onnx_node(graph, "Cast", value);
  ex__onnx_set_int(graph, "to", to);
  return name;
}

static const char *side_by_side(ex_onnx_graph *graph, const char *const *columns, int32_t n) {
  const char *name = ex__onnx_node_list(graph, "Concat", columns, n);
  ex__onnx_set_int(graph, "axis", 1);
  return name;
}

static const char *largest_of_row(ex_onnx_graph *graph, const char *value) {
  static const int64_t axis = 1;
  const char *name = ex__onnx_node(graph, "ReduceMax", value);
  ex__onnx_set_ints(graph, "axes", &axis, 1);
  ex__onnx_set_int(graph, "keepdims", 0);
  return name;
}

/* The n largest probabilities, in order. */
static const char *largest(struct ex_onnx_walk *walk, const char *answer, int64_t n) {
  ex_onnx_graph *graph = walk->graph;
  const char *name = ex__onnx_node(graph, "TopK", ex__onnx_along_classes(graph, "Softmax", answer),
                                   ex__onnx_integers(graph, &n, 1));
  ex__onnx_next_output(graph); /* where they are */
  return name;
}

/* A constant [rows][columns], or [columns] for rows = 0. */
static const char *matrix_of(ex_onnx_graph *graph, const double *values, int32_t rows,
                             int32_t columns) {
  const int64_t dim[] = {rows, columns};
  int32_t n = rows > 0 ? rows * columns : columns;
  float *to;
  const char *name = ex__onnx_blank_reals(graph, rows > 0 ? 2 : 1, rows > 0 ? dim : dim + 1, &to);
  for (int32_t i = 0; to != NULL && i < n; i++) to[i] = (float)values[i];
  return name;
}

static const char *row_of(ex_onnx_graph *graph, const double *values, int32_t n) {
  return matrix_of(graph, values, 0, n);
}

/* ---- sums of confidences ------------------------------------------------------ */

enum { MOST_SUMS = EX_MAX_LIST };

/* Sums of what policy/confidences.h reads, for the `top` largest probabilities. */
struct sums {
  int32_t n, top;
  double bias[MOST_SUMS];
  const double *weight[MOST_SUMS]; /* each [ex__n_confidences(top)] */
};

/* [batch][sums->n]. The margin is the largest probability less the second, so its weight
 * is one of theirs. */
static const char *add_up(struct ex_onnx_walk *walk, const char *answer, const struct sums *sums) {
  ex_onnx_graph *graph = walk->graph;
  int32_t n = sums->n, top = sums->top < walk->net->n_outputs ? sums->top : walk->net->n_outputs;
  const char *features[] = {
      largest(walk, answer, top),
      ex__onnx_column(graph, ex__onnx_entropy(graph, answer)),
  };
  const int64_t dim[] = {top + 1, n};
  float *to;
  const char *weight = ex__onnx_blank_reals(graph, 2, dim, &to);
  for (int32_t i = 0; to != NULL && i < n; i++) {
    const double *w = sums->weight[i];
    to[i] = (float)(w[0] + w[1]);
    if (top > 1) to[n + i] = (float)-w[1];
    for (int32_t t = 2; t < top; t++) to[t * n + i] = (float)w[3 + t - 2];
    to[top * n + i] = (float)w[2];
  }
  return ex__onnx_node(graph, "Gemm", side_by_side(graph, features, 2), weight,
                       row_of(graph, sums->bias, n));
}

/* ---- bands of confidence -------------------------------------------------------- */

/* pcee: the last band that begins at or below the confidence says whether it leaves. */
static const char *by_bands(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  ex_onnx_graph *graph = walk->graph;
  const struct ex_table *edge = ex__value_table(&walk->values, "edge");
  const struct ex_table *right = ex__value_table(&walk->values, "right");
  double accuracy = ex__value_number(&walk->values, "accuracy"), number[EX_MAX_LIST];
  int64_t leaves[EX_MAX_LIST];
  int32_t n = edge->n_columns;
  for (int32_t i = 0; i < n; i++) {
    number[i] = i;
    leaves[i] = right->value[point][i] >= accuracy;
  }
  const char *confidence = ex__onnx_column(graph, ex__onnx_confidence(graph, answer));
  const char *begun =
      ex__onnx_node(graph, "GreaterOrEqual", confidence, row_of(graph, edge->value[point], n));
  const char *numbers =
      ex__onnx_node(graph, "Mul", cast(graph, begun, EX_ONNX_FLOAT), row_of(graph, number, n));
  const char *band = cast(graph, largest_of_row(graph, numbers), EX_ONNX_INT64);
  return ex__onnx_node(graph, "Greater",
                       ex__onnx_node(graph, "Gather", ex__onnx_integers(graph, leaves, n), band),
                       ex__onnx_integer(graph, 0));
}

/* window: who is outside leaves. */
static const char *by_window(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  ex_onnx_graph *graph = walk->graph;
  double low, high;
  ex__window_of(&walk->values, point, &low, &high);
  const char *confidence = ex__onnx_confidence(graph, answer);
  const char *below = ex__onnx_node(graph, "Less", confidence, ex__onnx_real(graph, low));
  const char *above = ex__onnx_node(graph, "Greater", confidence, ex__onnx_real(graph, high));
  return ex__onnx_node(graph, "Or", below, above);
}

/* ---- scores --------------------------------------------------------------------- */

static const char *by_budget(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  return ex__onnx_node(walk->graph, "GreaterOrEqual", ex__onnx_confidence(walk->graph, answer),
                       ex__onnx_threshold(walk, point, 2));
}

/* lte: a chance of being wrong. */
static const char *by_shared_layer(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  (void)point;
  ex_onnx_graph *graph = walk->graph;
  const struct ex_list *weights = ex__value_list(&walk->values, "weights");
  const struct sums sums = {.n = 1,
                            .top = (int32_t)ex__value_number(&walk->values, "top"),
                            .bias = {weights->value[0]},
                            .weight = {weights->value + 1}};
  const char *wrong = ex__onnx_node(graph, "Sigmoid", add_up(walk, answer, &sums));
  return ex__onnx_node(graph, "Less", ex__onnx_row(graph, wrong),
                       ex__onnx_real(graph, ex__value_number(&walk->values, "uncertainty")));
}

/* Probabilities as eenet reads them, [batch][*n]. */
static const char *eenet_features(struct ex_onnx_walk *walk, const char *answer, int32_t *n) {
  ex_onnx_graph *graph = walk->graph;
  struct ex_eenet_reads reads = ex__eenet_reads(&walk->values);
  *n = reads.top > 0 ? reads.top : walk->net->n_outputs + 1;
  if (reads.top > 0) return largest(walk, answer, reads.top);
  const char *features[] = {ex__onnx_along_classes(graph, "Softmax", answer),
                            ex__onnx_column(graph, ex__onnx_confidence(graph, answer))};
  return side_by_side(graph, features, 2);
}

/* eenet: a score of the probabilities, the entropy, and the scores of the exits before. Its
 * entropy is 1 − entropy / log(classes): a part of its weight belongs to the intercept. */
static const char *by_scores(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  enum { PAST = EX_CARRIED_RULE };
  ex_onnx_graph *graph = walk->graph;
  const double *row = ex__value_table(&walk->values, "score")->value[point];
  int32_t past = ex__eenet_reads(&walk->values).past, n, n_past = point < past ? point : past;
  const char *features[3] = {eenet_features(walk, answer, &n),
                             ex__onnx_column(graph, ex__onnx_entropy(graph, answer)),
                             walk->carried[PAST]};
  double weight[EX_MAX_LIST],
      per_nat = walk->net->n_outputs > 1 ? 1 / log(walk->net->n_outputs) : 0;
  int32_t all = n + 1 + (features[2] != NULL ? n_past : 0);
  for (int32_t i = 0; i < all; i++) weight[i] = row[1 + i];
  weight[n] = -row[1 + n] * per_nat;
  const char *weights = matrix_of(graph, weight, all, 1);
  const char *sum =
      ex__onnx_node(graph, "Gemm", side_by_side(graph, features, features[2] != NULL ? 3 : 2),
                    weights, ex__onnx_real(graph, row[0] + row[1 + n]));
  const char *score = ex__onnx_node(graph, "Sigmoid", sum);
  if (point < past && walk->looks_again) {
    const char *known = ex__onnx_node(graph, "Where", ex__onnx_column(graph, walk->looks), score,
                                      ex__onnx_real(graph, 0));
    const char *scores[] = {walk->carried[PAST], known};
    walk->carried[PAST] = scores[0] != NULL ? side_by_side(graph, scores, 2) : known;
  }
  return ex__onnx_node(graph, "GreaterOrEqual", ex__onnx_row(graph, score),
                       ex__onnx_threshold(walk, point, 2));
}

/* ---- jumps ------------------------------------------------------------------------ */

/* Of booleans [batch][n], n ≥ 1, the first that is true [batch]; n: none. */
static const char *first_of(ex_onnx_graph *graph, const char *fires, int32_t n) {
  const char *numbers = cast(graph, fires, EX_ONNX_FLOAT);
  const char *some =
      ex__onnx_node(graph, "Greater", largest_of_row(graph, numbers), ex__onnx_real(graph, 0));
  return ex__onnx_node(graph, "Where", some, ex__onnx_label(graph, numbers),
                       ex__onnx_integer(graph, n));
}

static void go_to(struct ex_onnx_walk *walk, int32_t point, const char *first, int32_t from) {
  if (!walk->looks_again) return;
  const char *before = ex__onnx_recall(walk, EX_CARRIED_NEXT, EX_ONNX_INT64, 0);
  const char *next = ex__onnx_node(walk->graph, "Add", first,
                                   ex__onnx_integer(walk->graph, (int64_t)point + from));
  ex__onnx_remember(walk, EX_CARRIED_NEXT, next, before);
}

/* How far a jump goes at most; to go no further than 1 is to look at every exit. */
static int32_t furthest(struct ex_onnx_walk *walk, int32_t point) {
  int32_t ahead = walk->net->n_points - 1 - point;
  int32_t most = (int32_t)ex__value_number(&walk->values, "rmax");
  return most < ahead ? most : ahead;
}

static const char *by_measure(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  ex_onnx_graph *graph = walk->graph;
  const char *measure = ex__predictive_by_probability(&walk->values)
                            ? ex__onnx_confidence(graph, answer)
                            : largest_of_row(graph, ex__onnx_node(graph, "Abs", answer));
  return at_least(graph, measure, ex__predictive_leaves_at(&walk->values, point));
}

static const char *by_regressions(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  enum { N = 4 };
  const double *c = ex__value_table(&walk->values, "jump")->value[point];
  double wanted = log(ex__value_number(&walk->values, "beta"));
  double weight[MOST_SUMS][N - 1];
  struct sums sums = {.n = furthest(walk, point) - 1, .top = 2};
  const int32_t classes = walk->net->n_outputs;
  for (int32_t i = 0; i < sums.n; i++, c += N) {
    sums.bias[i] = c[0];
    weight[i][0] = c[1];
    weight[i][1] = c[2];
    weight[i][2] = classes > 1 ? c[3] / log(classes) : 0;
    sums.weight[i] = weight[i];
  }
  if (sums.n > 0) {
    const char *fires = at_least(walk->graph, add_up(walk, answer, &sums), wanted);
    go_to(walk, point, first_of(walk->graph, fires, sums.n), 1);
  }
  return by_measure(walk, point, answer);
}

/* Each output becomes the sum of itself and its neighbours, again and again. */
static const char *by_neighbours(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  static const int64_t kernel[] = {1, 1, 3}, pads[] = {1, 1};
  static const ex_real ones[] = {1, 1, 1};
  ex_onnx_graph *graph = walk->graph;
  double beta = ex__value_number(&walk->values, "beta"), above[MOST_SUMS];
  const char *columns[MOST_SUMS], *sums;
  int32_t n = furthest(walk, point) - 1;
  if (n > 0) sums = ex__onnx_column(graph, answer);
  for (int32_t i = 0; i < n; i++) {
    sums = ex__onnx_node(graph, "Conv", sums, ex__onnx_reals(graph, ones, 3, kernel));
    ex__onnx_set_ints(graph, "pads", pads, 2);
    const char *sizes = ex__onnx_row(graph, ex__onnx_node(graph, "Abs", sums));
    columns[i] = ex__onnx_column(graph, largest_of_row(graph, sizes));
    above[i] = beta * ex__value_of_exit(&walk->values, "normaliser", point + 1 + i, 1);
  }
  if (n > 0) {
    const char *fires =
        ex__onnx_node(graph, "Greater", side_by_side(graph, columns, n), row_of(graph, above, n));
    go_to(walk, point, first_of(graph, fires, n), 1);
  }
  return by_measure(walk, point, answer);
}

/* ---- gates ------------------------------------------------------------------------ */

/* adaptive: leave or go on. */
static const char *by_gate(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  const double *row = ex__value_table(&walk->values, "gates")->value[point];
  const struct sums sums = {
      .n = 1, .top = (int32_t)ex__value_number(&walk->values, "top"), .weight = {row + 1}};
  return at_least(walk->graph, ex__onnx_row(walk->graph, add_up(walk, answer, &sums)), row[0]);
}

/* What the answer before adds to each gate: its probability where it was the same, and
 * where it was another. `weight`: two of each of n gates. */
static const char *of_answer_before(struct ex_onnx_walk *walk, const char *answer,
                                    const double *const *weight, int32_t n) {
  enum { LABEL = EX_CARRIED_RULE, PROBABILITY };
  ex_onnx_graph *graph = walk->graph;
  const char *label = ex__onnx_label(graph, answer), *zero = ex__onnx_real(graph, 0);
  const char *before = ex__onnx_recall(walk, LABEL, EX_ONNX_INT64, -1);
  const char *sure = ex__onnx_recall(walk, PROBABILITY, EX_ONNX_FLOAT, 0);
  const char *same = ex__onnx_node(graph, "Equal", label, before);
  const char *features[] = {
      ex__onnx_column(graph, ex__onnx_node(graph, "Where", same, sure, zero)),
      ex__onnx_column(graph, ex__onnx_node(graph, "Where", same, zero, sure))};
  double numbers[2 * MOST_SUMS] = {0};
  for (int32_t i = 0; i < n; i++) {
    numbers[i] = weight[i][0];
    numbers[n + i] = weight[i][1];
  }
  ex__onnx_remember(walk, LABEL, label, before);
  if (walk->looks_again)
    ex__onnx_remember(walk, PROBABILITY, ex__onnx_confidence(graph, answer), sure);
  return ex__onnx_node(graph, "MatMul", side_by_side(graph, features, 2),
                       matrix_of(graph, numbers, 2, n));
}

/* adaptive: the first gate that fires says leave, or how far to go; none: to the last. */
static const char *by_chain_of_gates(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  ex_onnx_graph *graph = walk->graph;
  const struct ex_table *gates = ex__value_table(&walk->values, "gates");
  struct sums sums = {.n = walk->net->n_points - 1 - point,
                      .top = (int32_t)ex__value_number(&walk->values, "top")};
  double fires_at[MOST_SUMS];
  const double *before[MOST_SUMS];
  for (int32_t i = 0; i < sums.n; i++) {
    const double *row = gates->value[ex__route_row(walk->net->n_points, point, i)];
    fires_at[i] = row[0];
    sums.weight[i] = row + 1;
    before[i] = row + 1 + ex__n_confidences(sums.top);
  }
  const char *sum = ex__onnx_node(graph, "Add", add_up(walk, answer, &sums),
                                  of_answer_before(walk, answer, before, sums.n));
  const char *fires = ex__onnx_node(graph, "GreaterOrEqual", sum, row_of(graph, fires_at, sums.n));
  const char *first = first_of(graph, fires, sums.n);
  go_to(walk, point, first, 0);
  return ex__onnx_node(graph, "Equal", first, ex__onnx_integer(graph, 0));
}

/* ---- classes of interest ------------------------------------------------------------ */

static const char *by_class(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  ex_onnx_graph *graph = walk->graph;
  const int64_t n = walk->net->n_outputs, column[] = {n, 1};
  bool refuses = ex__value_is(&walk->values, "others", "refuse");
  double below = refuses ? ex__value_of_exit(&walk->values, "refusal", point, 0) : 0;
  float *leaves_at, *refused_below, *of_interest;
  const char *from = ex__onnx_blank_reals(graph, 1, &n, &leaves_at);
  for (int32_t c = 0; leaves_at != NULL && c < n; c++)
    leaves_at[c] = (float)ex__classy_leaves_at(&walk->values, point, c);
  const char *label = ex__onnx_label(graph, answer);
  const char *leaves = ex__onnx_node(graph, "GreaterOrEqual", ex__onnx_confidence(graph, answer),
                                     ex__onnx_node(graph, "Gather", from, label));
  if (below == 0) return leaves;
  const char *to = ex__onnx_blank_reals(graph, 1, &n, &refused_below);
  const char *which = ex__onnx_blank_reals(graph, 2, column, &of_interest);
  for (int32_t c = 0; refused_below != NULL && of_interest != NULL && c < n; c++) {
    of_interest[c] = ex__classy_minds(&walk->values, c);
    refused_below[c] = of_interest[c] > 0 ? 0 : (float)below;
  }
  const char *mass =
      ex__onnx_node(graph, "MatMul", ex__onnx_along_classes(graph, "Softmax", answer), which);
  const char *refused = ex__onnx_node(graph, "Less", ex__onnx_row(graph, mass),
                                      ex__onnx_node(graph, "Gather", to, label));
  return ex__onnx_node(graph, "Or", leaves, refused);
}

const struct ex_onnx_rule ex__onnx_learned_rules[] = {
    {"pcee", NULL, by_bands, NULL},
    {"lte", NULL, by_shared_layer, NULL},
    {"window", NULL, by_window, NULL},
    {"eenet", NULL, by_scores, NULL},
    {"predictive", ex__predictive_learned, by_regressions, NULL},
    {"predictive", NULL, by_neighbours, NULL},
    {"adaptive", ex__adaptive_any, by_chain_of_gates, NULL},
    {"adaptive", NULL, by_gate, NULL},
    {"latency-aware", NULL, by_budget, NULL},
    {"classy", NULL, by_class, NULL},
    {.name = NULL},
};
