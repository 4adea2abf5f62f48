/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_onnx: the walk from exit to exit.
 *
 * Values are written when an exit asks for them, so what only deeper exits read is
 * computed after the inputs that leave have left.
 *
 *     single   after each exit an If: one branch is the answer, the other the rest of
 *              the network, with its constants
 *     batch    rows that leave are put aside with their answers; the If asks whether
 *              nobody stays, and the rest of the network begins by gathering, of
 *              every value that it reads, the rows that do; in the end answers are
 *              scattered to where their inputs stood
 *
 * Without the If a batch that is empty would run on, which runtimes do not take well.
 */
#include "export/export_onnx.h"

#include <string.h>

#include "base/memory.h"
#include "export/export_onnx_walk.h"
#include "onnx/onnx_file.h"

/* Answers: their raw numbers and the exits they were taken at. */
struct answers {
  const char *logits, *exit;
};

/* Of a batch: where the inputs that are still here stood, and those that have left, an
 * array per exit. */
struct batch {
  const char *count; /* [1]: how many inputs there are */
  const char *rows;
  const char *left_rows[EX_MAX_POINTS], *logits[EX_MAX_POINTS], *exit[EX_MAX_POINTS];
  int32_t n_left;
};

/* The deepest graph lies within an If per exit but the last, which is a node, an attribute
 * and a graph to protobuf, whose readers stop at so many messages; two hold the first
 * graph, and the dimension of an output lies five further down. */
_Static_assert(2 + 3 * (EX_MAX_POINTS - 1) + 5 <= EX_ONNX_MAX_DEPTH,
               "so many exits cannot be a chain of If");

static const char input_name[] = "input";

static int64_t batch_of(const struct ex_onnx_walk *walk) {
  return walk->job->form == EX_ONNX_FORM_BATCH ? EX_ONNX_BATCH : 1;
}

static int32_t n_nodes(const struct ex_onnx_walk *walk) {
  return ex__graph_n_nodes(walk->net->graph);
}

/* ---- gates ------------------------------------------------------------------ */

static bool reads_gate(const struct ex_onnx_walk *walk, int32_t point) {
  return (walk->job->policy->class->needs & EX_POLICY_NEEDS_GATE) != 0 &&
         point < walk->net->n_points - 1;
}

static enum ex_status check_gates(const struct ex_onnx_walk *walk, struct ex_error *err) {
  for (int32_t p = 0; p < walk->net->n_points; p++)
    if (reads_gate(walk, p) && walk->net->points[p].gate < 0)
      return ex__fail(err, EX_EINVAL, "%s: exit %d has no gate; every exit but the last must",
                      walk->job->policy->class->name, (int)p);
  return EX_OK;
}

/* ---- values ----------------------------------------------------------------- */

/* Adds to `wanted` what is to be made for those that are wanted already; what is made
 * stays wanted where one of them reads it. */
static void want_inputs(const struct ex_onnx_walk *walk) {
  for (int32_t id = n_nodes(walk) - 1; id >= 0; id--) {
    const struct ex_node *node = ex__graph_node(walk->net->graph, id);
    if (!walk->wanted[id] || walk->value[id] != NULL) continue;
    for (int32_t k = 0; k < node->n_in; k++) walk->wanted[node->in[k]] = true;
  }
}

static void want_nothing(const struct ex_onnx_walk *walk) {
  memset(walk->wanted, 0, (size_t)n_nodes(walk) * sizeof *walk->wanted);
}

static enum ex_status make_node(struct ex_onnx_walk *walk, int32_t id, struct ex_error *err) {
  const ex_graph *graph = walk->net->graph;
  struct ex_onnx_step step = {
      .graph = walk->graph, .net = walk->net, .node = ex__graph_node(graph, id)};
  for (int32_t k = 0; k < step.node->n_in; k++) {
    step.in[k] = walk->value[step.node->in[k]];
    step.in_shape[k] = &ex__graph_node(graph, step.node->in[k])->shape;
  }
  return ex__onnx_step(&step, id, &walk->value[id], err);
}

int32_t ex__onnx_next_exit(const struct ex_onnx_walk *walk, int32_t point) {
  return ex__policy_next(walk->job->policy, point, walk->net->n_points - 1);
}

enum ex_status ex__onnx_make(struct ex_onnx_walk *walk, int32_t id, struct ex_error *err) {
  want_nothing(walk);
  walk->wanted[id] = true;
  want_inputs(walk);
  for (int32_t i = 0; i <= id; i++)
    if (walk->wanted[i] && walk->value[i] == NULL) EX_TRY(make_node(walk, i, err));
  return EX_OK;
}

/* ---- a batch ---------------------------------------------------------------- */

/* Indices of the rows where it is true. */
static const char *rows_where(ex_onnx_graph *graph, const char *mask) {
  static const int64_t first = 0;
  const char *indices = ex__onnx_node(graph, "NonZero", mask);
  return ex__onnx_node(graph, "Squeeze", indices, ex__onnx_integers(graph, &first, 1));
}

static const char *gather(ex_onnx_graph *graph, const char *value, const char *rows) {
  return value != NULL ? ex__onnx_node(graph, "Gather", value, rows) : NULL;
}

/* Without an exit they are of this point, all of them. */
static void put_aside(ex_onnx_graph *graph, int32_t point, const char *rows,
                      const struct answers *answers, struct batch *batch) {
  const int64_t here = point;
  batch->left_rows[batch->n_left] = rows;
  batch->logits[batch->n_left] = answers->logits;
  batch->exit[batch->n_left++] =
      answers->exit != NULL ? answers->exit
                            : ex__onnx_node(graph, "Expand", ex__onnx_integers(graph, &here, 1),
                                            ex__onnx_node(graph, "Shape", rows));
}

/* What an answer at a point is made of, and the decision there. */
static void want_point(const struct ex_onnx_walk *walk, int32_t point) {
  const struct ex_point *points = walk->net->points;
  uint32_t needs = ex__transform_needs(&walk->net->transform, point);
  walk->wanted[points[point].output] = true;
  if (reads_gate(walk, point)) walk->wanted[points[point].gate] = true;
  for (int32_t p = walk->n_summed; p < point; p++)
    if ((needs >> p & 1) != 0 && walk->carried[EX_CARRIED_OPINION + p] == NULL)
      walk->wanted[points[p].output] = true;
}

/* Of everything that a later exit reads, the rows that stay. */
static void keep(struct ex_onnx_walk *walk, int32_t point, const char *stay) {
  want_nothing(walk);
  for (int32_t p = point; p < walk->net->n_points - 1;) {
    p = ex__onnx_next_exit(walk, p);
    want_point(walk, p);
  }
  want_inputs(walk);
  for (int32_t id = 0; id < n_nodes(walk); id++)
    if (walk->wanted[id]) walk->value[id] = gather(walk->graph, walk->value[id], stay);
  for (int32_t i = 0; i < EX_N_CARRIED; i++)
    walk->carried[i] = gather(walk->graph, walk->carried[i], stay);
}

/* Rows of the input as they stood. */
static const char *scattered(ex_onnx_graph *graph, const char *const *parts, int32_t n,
                             const char *blank, const char *at) {
  const char *all = ex__onnx_node_list(graph, "Concat", parts, n);
  ex__onnx_set_int(graph, "axis", 0);
  return ex__onnx_node(graph, "ScatterND", blank, at, all);
}

/* What has left, in any order, as one array in the order of the inputs. */
static struct answers gather_answers(const struct ex_onnx_walk *walk, ex_onnx_graph *graph,
                                     const struct batch *batch) {
  static const int64_t last = -1;
  const int64_t classes = walk->net->n_outputs;
  const char *axis = ex__onnx_integers(graph, &last, 1);
  const char *width = ex__onnx_integers(graph, &classes, 1);
  const char *size = ex__onnx_node(graph, "Concat", batch->count, width);
  ex__onnx_set_int(graph, "axis", 0);
  const char *rows = ex__onnx_node_list(graph, "Concat", batch->left_rows, batch->n_left);
  ex__onnx_set_int(graph, "axis", 0);
  const char *at = ex__onnx_node(graph, "Unsqueeze", rows, axis);
  const char *no_logits = ex__onnx_node(graph, "Expand", ex__onnx_real(graph, 0), size);
  const char *no_exit = ex__onnx_node(graph, "Expand", ex__onnx_integer(graph, 0), batch->count);
  return (struct answers){scattered(graph, batch->logits, batch->n_left, no_logits, at),
                          scattered(graph, batch->exit, batch->n_left, no_exit, at)};
}

static void begin_batch(ex_onnx_graph *graph, struct batch *batch) {
  static const int64_t first = 0;
  const char *shape = ex__onnx_node(graph, "Shape", input_name);
  batch->count = ex__onnx_node(graph, "Gather", shape, ex__onnx_integers(graph, &first, 1));
  batch->rows =
      ex__onnx_node(graph, "Range", ex__onnx_integer(graph, 0),
                    ex__onnx_node(graph, "Squeeze", batch->count), ex__onnx_integer(graph, 1));
}

/* Those that leave are put aside; whether nobody stays, and in `stay` who does. */
static const char *split(const struct ex_onnx_walk *walk, int32_t point, const char *leaves,
                         const char *answer, struct batch *batch, const char **stay) {
  static const int64_t none = 0;
  ex_onnx_graph *graph = walk->graph;
  const char *leave = rows_where(graph, leaves);
  *stay = rows_where(graph, ex__onnx_node(graph, "Not", leaves));
  const struct answers left = {gather(graph, answer, leave), NULL};
  put_aside(graph, point, gather(graph, batch->rows, leave), &left, batch);
  return ex__onnx_node(graph, "Equal", ex__onnx_node(graph, "Shape", *stay),
                       ex__onnx_integers(graph, &none, 1));
}

/* ---- exits ------------------------------------------------------------------ */

static void declare(const struct ex_onnx_walk *walk, ex_onnx_graph *graph,
                    const struct answers *answers) {
  const int64_t dim[2] = {batch_of(walk), walk->net->n_outputs};
  ex__onnx_output(graph, answers->logits, EX_ONNX_FLOAT, 2, dim);
  ex__onnx_output(graph, answers->exit, EX_ONNX_INT64, 1, dim);
}

/* The answer of one input at a point, made in this graph. */
static struct answers answer_of(ex_onnx_graph *graph, int32_t point, const char *logits) {
  const int64_t exit = point;
  return (struct answers){ex__onnx_rename(graph, logits, NULL),
                          ex__onnx_rename(graph, ex__onnx_integers(graph, &exit, 1), NULL)};
}

/* At the last exit: who is here leaves. */
static struct answers end(struct ex_onnx_walk *walk, const struct ex_onnx_rule *rule, int32_t point,
                          const char *answer, struct batch *batch) {
  struct answers answers = {answer, NULL};
  if (rule->at_end != NULL) rule->at_end(walk, &answers.logits, &answers.exit);
  if (batch == NULL && answers.exit != NULL) return answers;
  if (batch == NULL) return answer_of(walk->graph, point, answer);
  put_aside(walk->graph, point, batch->rows, &answers, batch);
  return gather_answers(walk, walk->graph, batch);
}

/* At an exit before the last: an If, whose one branch is the answer and whose other is
 * where the walk goes on. */
static struct answers fork(struct ex_onnx_walk *walk, int32_t point, const char *leaves,
                           const char *answer, struct batch *batch) {
  ex_onnx_graph *here = walk->graph, *done = ex__onnx_graph_new(walk->writer, "done");
  const char *is_done = leaves, *stay = NULL;
  if (batch != NULL) is_done = split(walk, point, leaves, answer, batch, &stay);
  struct answers answers =
      batch != NULL ? gather_answers(walk, done, batch) : answer_of(done, point, answer);
  declare(walk, done, &answers);
  walk->graph = ex__onnx_graph_new(walk->writer, "go_on");
  if (batch != NULL) {
    batch->rows = gather(walk->graph, batch->rows, stay);
    keep(walk, point, stay);
  }
  answers.logits = ex__onnx_node(here, "If", is_done);
  answers.exit = ex__onnx_next_output(here);
  ex__onnx_set_graph(here, "then_branch", done);
  ex__onnx_set_graph(here, "else_branch", walk->graph);
  return answers;
}

/* Whether the rule looks at an input here, walk->looks. */
static void look(struct ex_onnx_walk *walk, int32_t point, const char *answer) {
  ex_onnx_graph *graph = walk->graph;
  const char *next = walk->carried[EX_CARRIED_NEXT];
  walk->looks = ex__onnx_row(graph, ex__onnx_finite(graph, answer));
  if (next == NULL) return;
  const char *passed = ex__onnx_node(graph, "Greater", next, ex__onnx_integer(graph, point));
  walk->looks = ex__onnx_node(graph, "And", walk->looks, ex__onnx_node(graph, "Not", passed));
}

/* Whether an input leaves before the last exit. */
static enum ex_status ask(struct ex_onnx_walk *walk, const struct ex_onnx_rule *rule, int32_t point,
                          const char *answer, const char **leaves, struct ex_error *err) {
  look(walk, point, answer);
  walk->looks_again = ex__onnx_next_exit(walk, point) < walk->net->n_points - 1;
  if (reads_gate(walk, point)) {
    EX_TRY(ex__onnx_make(walk, walk->net->points[point].gate, err));
    walk->gate = walk->value[walk->net->points[point].gate];
  }
  const char *wants = rule->leaves(walk, point, answer);
  *leaves = ex__onnx_node(walk->graph, "And", wants, walk->looks);
  ex__onnx_forget(walk, point);
  for (int32_t i = EX_CARRIED_NEXT; i < EX_CARRIED_OPINION; i++)
    if (!walk->looks_again && rule->at_end == NULL) walk->carried[i] = NULL;
  return EX_OK;
}

/* `batch` NULL: one input. */
static enum ex_status write_exits(struct ex_onnx_walk *walk, const struct ex_onnx_rule *rule,
                                  struct batch *batch, struct answers *out, struct ex_error *err) {
  ex_onnx_graph *main = walk->graph;
  int32_t last = walk->net->n_points - 1, p = -1;
  for (bool ends = false; !ends;) {
    ex_onnx_graph *here = walk->graph;
    const char *answer = "", *leaves = "";
    p = ex__onnx_next_exit(walk, p);
    ends = p == last || rule->leaves == NULL;
    EX_TRY(ex__onnx_answer(walk, p, &answer, err));
    if (!ends) EX_TRY(ask(walk, rule, p, answer, &leaves, err));
    struct answers answers =
        ends ? end(walk, rule, p, answer, batch) : fork(walk, p, leaves, answer, batch);
    if (here == main)
      *out = answers;
    else
      declare(walk, here, &answers);
  }
  walk->graph = main;
  return EX_OK;
}

/* ---- the file --------------------------------------------------------------- */

/* The answers as those who run the file see them. */
static void write_outputs(struct ex_onnx_walk *walk, const struct answers *answers) {
  ex_onnx_graph *graph = walk->graph;
  const int64_t batch = batch_of(walk);
  const struct answers named = {ex__onnx_rename(graph, answers->logits, "logits"),
                                ex__onnx_rename(graph, answers->exit, "exit")};
  const char *label = ex__onnx_rename(graph, ex__onnx_label(graph, named.logits), "label");
  const char *sure = ex__onnx_rename(graph, ex__onnx_confidence(graph, named.logits), "confidence");
  ex__onnx_output(graph, label, EX_ONNX_INT64, 1, &batch);
  declare(walk, graph, &named);
  ex__onnx_output(graph, sure, EX_ONNX_FLOAT, 1, &batch);
}

static enum ex_status write_input(struct ex_onnx_walk *walk, struct ex_error *err) {
  const struct ex_shape *shape = &walk->net->input;
  int64_t dim[EX_MAX_RANK + 1] = {batch_of(walk)};
  for (int32_t i = 0; i < shape->rank; i++) dim[i + 1] = shape->dim[i];
  ex__onnx_input(walk->graph, input_name, EX_ONNX_FLOAT, shape->rank + 1, dim);
  const char *value;
  EX_TRY(ex__onnx_normalise(walk->graph, &walk->job->model->preprocess, shape, input_name, &value,
                            err));
  for (int32_t id = 0; id < n_nodes(walk); id++)
    if (strcmp(ex__graph_node(walk->net->graph, id)->op->name, "input") == 0)
      walk->value[id] = value;
  return EX_OK;
}

static enum ex_status write_network(struct ex_onnx_walk *walk, struct ex_error *err) {
  const struct ex_onnx_rule *rule;
  struct answers answers = {"", ""};
  EX_TRY(ex__onnx_rule_find(&walk->values, &rule, err));
  EX_TRY(check_gates(walk, err));
  EX_TRY(write_input(walk, err));
  struct batch batch = {.n_left = 0}, *many = NULL;
  if (walk->job->form == EX_ONNX_FORM_BATCH) begin_batch(walk->graph, many = &batch);
  EX_TRY(write_exits(walk, rule, many, &answers, err));
  write_outputs(walk, &answers);
  return ex__values_status(&walk->values, err);
}

enum ex_status ex__export_onnx(const struct ex_export_onnx *job, void **data, size_t *size,
                               struct ex_error *err) {
  struct ex_onnx_walk walk = {.job = job,
                              .net = job->model->net,
                              .writer = ex__onnx_writer_new(),
                              .values = {.policy = job->policy}};
  size_t n = (size_t)ex__graph_n_nodes(walk.net->graph);
  walk.value = ex__calloc(n, sizeof *walk.value);
  walk.wanted = ex__calloc(n, sizeof *walk.wanted);
  if (walk.writer != NULL) walk.graph = ex__onnx_graph_new(walk.writer, "exeunt");
  enum ex_status status = EX_OK;
  if (walk.value == NULL || walk.wanted == NULL || walk.graph == NULL)
    status = ex__fail(err, EX_ENOMEM, "export: no memory for %zu nodes", n);
  if (status == EX_OK) status = write_network(&walk, err);
  if (status == EX_OK) status = ex__onnx_writer_pack(walk.writer, walk.graph, data, size, err);
  ex__onnx_writer_free(walk.writer);
  ex__free(walk.value);
  ex__free(walk.wanted);
  return status;
}
