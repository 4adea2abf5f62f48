/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX's own test data (Debian's libonnx-testdata): every model is run by the
 * evaluator and compared with the outputs that belong to it, to 1e-3 relative
 * and 1e-7 absolute (1e-5 where PyTorch's models sum many products in float).
 * What can be imported is imported too, its further inputs as constants, and
 * the network's outputs are compared with the same.
 *
 * Prints a table: passed, skipped, failed, imported; then why what was skipped
 * was, by operator or reason. A model is skipped only where it says by itself
 * that something is not supported. Run with a word, it lists the cases that
 * bear it in their name, each with its result.
 *
 * Skipped (status 77) where the data are not installed.
 */
#include <dirent.h>
#include <math.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "net/net_run.h"
#include "onnx/onnx_eval.h"
#include "onnx/onnx_import.h"
#include "tests/testing.h"

#define DATA "/usr/share/libonnx-testdata/data/"

enum { MAX_TENSORS = 32, MAX_REASONS = 400, LEAST_PASSED = 500, LEAST_IMPORTED = 200 };

enum outcome { PASSED, SKIPPED, FAILED, N_OUTCOMES };

struct reason {
  char text[160];
  int32_t n;
};

static struct reason reasons[MAX_REASONS];
static int32_t n_reasons;
static const char *listed; /* names of cases to list; NULL: none */

struct test_case {
  char folder[512];
  bool pytorch;
  ex_onnx *onnx;
  struct ex_onnx_tensor in[MAX_TENSORS], out[MAX_TENSORS];
  const char *in_name[MAX_TENSORS];
  int32_t n_in, n_out;
  struct ex_error err;
};

/* ---- comparing -------------------------------------------------------------------- */

static bool near(const struct test_case *c, double x, double expected) {
  if (isnan(expected) || isnan(x)) return isnan(expected) && isnan(x);
  if (isinf(expected)) return x == expected;
  double tolerance = c->pytorch ? 1e-5 : 1e-7;
  return fabs(x - expected) <= tolerance + 1e-3 * fabs(expected);
}

static bool same_tensor(struct test_case *c, const struct ex_onnx_tensor *ours,
                        const struct ex_onnx_tensor *theirs) {
  char a[128], b[128];
  bool alike = ours->type == theirs->type && ours->rank == theirs->rank;
  for (int32_t i = 0; alike && i < ours->rank; i++) alike = ours->dim[i] == theirs->dim[i];
  if (!alike) {
    snprintf(c->err.text, sizeof c->err.text, "%s %s; must be %s %s",
             ex__onnx_type_name(ours->type), ex__onnx_shape_text(ours, a),
             ex__onnx_type_name(theirs->type), ex__onnx_shape_text(theirs, b));
    return false;
  }
  for (int64_t i = 0; i < ours->count; i++) {
    bool ok = ours->real != NULL ? near(c, ours->real[i], theirs->real[i])
                                 : ours->whole[i] == theirs->whole[i];
    if (ok) continue;
    snprintf(c->err.text, sizeof c->err.text, "element %lld is %.9g; must be %.9g", (long long)i,
             ex__onnx_at(ours, i), ex__onnx_at(theirs, i));
    return false;
  }
  return true;
}

/* ---- loading ------------------------------------------------------------------------ */

static bool is_initializer(const Onnx__GraphProto *graph, const char *name) {
  for (size_t i = 0; i < graph->n_initializer; i++)
    if (strcmp(graph->initializer[i]->name, name) == 0) return true;
  return false;
}

static enum ex_status read_tensors(struct test_case *c, const char *what, int32_t n,
                                   const int32_t *type, struct ex_onnx_tensor *out) {
  for (int32_t i = 0; i < n; i++) {
    char path[640];
    snprintf(path, sizeof path, "%s/test_data_set_0/%s_%d.pb", c->folder, what, (int)i);
    if (access(path, F_OK) != 0)
      return ex__fail(&c->err, EX_EUNSUPPORTED, "an input or output without data");
    EX_TRY(ex__onnx_tensor_read(path, &out[i], &c->err));
    if (out[i].type != type[i])
      return ex__fail(&c->err, EX_EUNSUPPORTED, "data of %s for %s",
                      ex__onnx_type_name(out[i].type), ex__onnx_type_name(type[i]));
  }
  return EX_OK;
}

static bool is_tensor(const Onnx__ValueInfoProto *value) {
  return value->type != NULL && value->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE &&
         value->type->tensor_type->elem_type != ONNX__TENSOR_PROTO__DATA_TYPE__STRING;
}

static enum ex_status load(struct test_case *c) {
  char path[640];
  snprintf(path, sizeof path, "%s/model.onnx", c->folder);
  EX_TRY(ex__onnx_read(path, &c->onnx, &c->err));
  const Onnx__GraphProto *graph = c->onnx->proto->graph;
  int32_t in_type[MAX_TENSORS] = {0}, out_type[MAX_TENSORS] = {0};
  for (size_t i = 0; i < graph->n_input; i++) {
    if (is_initializer(graph, graph->input[i]->name)) continue;
    if (!is_tensor(graph->input[i]) || c->n_in == MAX_TENSORS)
      return ex__fail(&c->err, EX_EUNSUPPORTED, "inputs that are no tensors of numbers");
    in_type[c->n_in] = graph->input[i]->type->tensor_type->elem_type;
    c->in_name[c->n_in++] = graph->input[i]->name;
  }
  for (size_t i = 0; i < graph->n_output; i++) {
    if (!is_tensor(graph->output[i]) || graph->n_output > MAX_TENSORS)
      return ex__fail(&c->err, EX_EUNSUPPORTED, "outputs that are no tensors of numbers");
    out_type[i] = graph->output[i]->type->tensor_type->elem_type;
  }
  c->n_out = (int32_t)graph->n_output;
  EX_TRY(read_tensors(c, "input", c->n_in, in_type, c->in));
  return read_tensors(c, "output", c->n_out, out_type, c->out);
}

static void copy_tensor(const struct ex_onnx_tensor *from, struct ex_onnx_tensor *to) {
  struct ex_error err;
  int64_t budget = INT64_MAX;
  assert_ok(ex__onnx_tensor_shape(to, from->type, from->rank, from->dim, &err), &err);
  assert_ok(ex__onnx_tensor_alloc(to, &budget, &err), &err);
  for (int64_t i = 0; i < from->count; i++) ex__onnx_copy(to, i, from, i);
}

/* ---- the evaluator ---------------------------------------------------------------------- */

static enum ex_status evaluate(struct test_case *c, ex_onnx_eval *eval) {
  for (int32_t i = 0; i < c->n_in; i++) {
    struct ex_onnx_tensor tensor;
    copy_tensor(&c->in[i], &tensor);
    EX_TRY(ex__onnx_eval_input(eval, c->in_name[i], &tensor, &c->err));
  }
  return ex__onnx_eval_run(eval, &c->err);
}

static enum outcome judge(struct test_case *c) {
  struct ex_onnx_limits limits = EX_ONNX_LIMITS;
  ex_onnx_eval *eval;
  if (ex__onnx_eval_new(c->onnx, &limits, &eval, &c->err) != EX_OK)
    return c->err.code == EX_EUNSUPPORTED ? SKIPPED : FAILED;
  enum ex_status status = evaluate(c, eval);
  enum outcome outcome = status == EX_OK ? PASSED : status == EX_EUNSUPPORTED ? SKIPPED : FAILED;
  for (int32_t i = 0; outcome == PASSED && i < c->n_out; i++) {
    struct ex_onnx_tensor *found = ex__onnx_eval_find(eval, c->onnx->proto->graph->output[i]->name);
    if (found == NULL || ex__onnx_eval_load(eval, found, &c->err) != EX_OK ||
        !same_tensor(c, found, &c->out[i]))
      outcome = FAILED;
  }
  ex__onnx_eval_free(eval);
  return outcome;
}

/* ---- the network -------------------------------------------------------------------------- */

/* Inputs behind the first become constants: only one may differ by sample. */
static void fix_inputs(struct test_case *c) {
  Onnx__GraphProto *graph = c->onnx->proto->graph;
  for (int32_t i = 1; i < c->n_in; i++) {
    char path[640];
    void *bytes = malloc(1 << 24);
    ProtobufCMessage *message;
    snprintf(path, sizeof path, "%s/test_data_set_0/input_%d.pb", c->folder, (int)i);
    FILE *file = fopen(path, "rb");
    assert_true(file != NULL && bytes != NULL);
    size_t size = fread(bytes, 1, 1 << 24, file);
    fclose(file);
    assert_ok(ex__onnx_unpack(&onnx__tensor_proto__descriptor, bytes, size, &message, &c->err),
              &c->err);
    free(bytes);
    Onnx__TensorProto *tensor = (Onnx__TensorProto *)message;
    if (tensor->name != NULL &&
        tensor->name != onnx__tensor_proto__descriptor.fields[0].default_value)
      free(tensor->name);
    tensor->name = strdup(c->in_name[i]);
    graph->initializer =
        realloc(graph->initializer, (graph->n_initializer + 1) * sizeof(Onnx__TensorProto *));
    assert_non_null(graph->initializer);
    graph->initializer[graph->n_initializer++] = tensor;
  }
}

static enum ex_status run_sample(const ex_net *net, const double *x, ex_real *y,
                                 struct ex_error *err) {
  const struct ex_compile_options options = {
      .backend = EX_BACKEND_FAST, .threads = 1, .max_batch = 1};
  ex_compiled *compiled;
  ex_lane *lane;
  EX_TRY(ex__compiled_new(net, &options, &compiled, err));
  assert_ok(ex__lane_new(compiled, &lane, err), err);
  int64_t n = ex__shape_count(&net->input);
  ex_real *plain = ex__alloc((size_t)n, sizeof *plain);
  ex_real *state = ex__alloc((size_t)ex__compiled_state_size(compiled) + 1, sizeof *state);
  for (int64_t i = 0; i < n; i++) plain[i] = (ex_real)x[i];
  ex__lane_input(lane, plain, state);
  ex__lane_body(lane, 0, &state, 1);
  ex__lane_head(lane, 0, &state, 1, y);
  ex__free(plain);
  ex__free(state);
  ex__lane_free(lane);
  ex__compiled_free(compiled);
  return EX_OK;
}

/* Softmax is not part of an exit. */
static void soften(ex_real *y, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += exp((double)y[i]);
  for (int64_t i = 0; i < n; i++) y[i] = (ex_real)(exp((double)y[i]) / sum);
}

static bool same_outputs(struct test_case *c, const ex_net *net, bool softmax) {
  const struct ex_onnx_tensor *in = &c->in[0], *out = &c->out[0];
  int64_t n_in = ex__shape_count(&net->input), n_out = net->n_outputs;
  ex_real *y = ex__alloc((size_t)n_out, sizeof *y);
  bool same = in->count / n_in * n_out == out->count;
  if (!same) snprintf(c->err.text, sizeof c->err.text, "network: another number of outputs");
  for (int64_t s = 0; same && s < in->count / n_in; s++) {
    same = run_sample(net, in->real + s * n_in, y, &c->err) == EX_OK;
    if (same && softmax) soften(y, n_out);
    for (int64_t i = 0; same && i < n_out; i++) {
      double x = (double)y[i], expected = out->real[s * n_out + i];
      same = fabs(x - expected) <= 1e-5 + 1e-3 * fabs(expected) || x == expected ||
             (isnan(x) && isnan(expected));
      if (!same)
        snprintf(c->err.text, sizeof c->err.text,
                 "network: sample %lld, output %lld is %.9g; must be %.9g", (long long)s,
                 (long long)i, x, expected);
    }
  }
  ex__free(y);
  return same;
}

/* PASSED: it was imported and gives the same. */
static enum outcome judge_network(struct test_case *c) {
  const struct ex_onnx_options options = {.samples = 0};
  struct ex_onnx_report report;
  ex_net *net;
  if (c->n_in < 1 || c->n_out != 1 || c->in[0].rank < 2 || c->in[0].type != ONNX(FLOAT) ||
      c->out[0].type != ONNX(FLOAT))
    return SKIPPED;
  fix_inputs(c);
  enum ex_status status = ex__onnx_import(c->onnx, &options, &net, &report, &c->err);
  if (status != EX_OK) return SKIPPED;
  enum outcome outcome = same_outputs(c, net, report.softmax) ? PASSED : FAILED;
  ex_net_free(net);
  return outcome;
}

/* ---- all of them ---------------------------------------------------------------------------- */

/* `node 3 (Loop): the operator is not supported` counts as `Loop: the operator…`. */
static void count_reason(const char *text) {
  const char *open = strchr(text, '('), *close = open != NULL ? strstr(open, "): ") : NULL;
  char reason[160];
  if (strncmp(text, "node ", 5) == 0 && close != NULL)
    snprintf(reason, sizeof reason, "%.*s: %.100s", (int)(close - open - 1), open + 1, close + 3);
  else
    snprintf(reason, sizeof reason, "%.159s",
             strstr(text, ".onnx: ") != NULL ? strstr(text, ".onnx: ") + 7 : text);
  int32_t i = 0;
  while (i < n_reasons && strcmp(reasons[i].text, reason) != 0) i++;
  if (i == MAX_REASONS) return;
  if (i == n_reasons) snprintf(reasons[n_reasons++].text, sizeof reason, "%.159s", reason);
  reasons[i].n++;
}

static void close_case(struct test_case *c) {
  ex__onnx_free(c->onnx);
  for (int32_t i = 0; i < MAX_TENSORS; i++) {
    ex__onnx_tensor_clear(&c->in[i]);
    ex__onnx_tensor_clear(&c->out[i]);
  }
}

static void run_case(const char *set, const char *name, int32_t count[N_OUTCOMES],
                     int32_t *imported) {
  static const char *const words[] = {"passed", "skipped", "FAILED"};
  struct test_case *c = calloc(1, sizeof *c);
  assert_non_null(c);
  snprintf(c->folder, sizeof c->folder, DATA "%s/%s", set, name);
  c->pytorch = strncmp(set, "pytorch", 7) == 0;
  enum ex_status status = load(c);
  enum outcome outcome = status == EX_EUNSUPPORTED ? SKIPPED : FAILED;
  if (status == EX_OK) outcome = judge(c);
  if (outcome == SKIPPED) count_reason(c->err.text);
  bool list = listed != NULL && strstr(name, listed) != NULL;
  if (outcome == FAILED || list)
    printf("%-8s %s/%s%s%s\n", words[outcome], set, name, outcome != PASSED ? ": " : "",
           outcome != PASSED ? c->err.text : "");
  if (outcome == PASSED) {
    enum outcome network = judge_network(c);
    *imported += network == PASSED;
    if (network == FAILED) outcome = FAILED;
    if (network == FAILED || list)
      printf("  network %s: %s/%s: %s\n", words[network], set, name,
             network == PASSED ? "" : c->err.text);
  }
  count[outcome]++;
  close_case(c);
  free(c);
}

static int by_count(const void *a, const void *b) {
  const struct reason *x = a, *y = b;
  return x->n != y->n ? y->n - x->n : strcmp(x->text, y->text);
}

static int by_name(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

static void the_suite(void **state) {
  static const char *const sets[] = {"node", "pytorch-converted", "pytorch-operator", "simple"};
  int32_t total[N_OUTCOMES] = {0}, imported = 0;
  (void)state;
  printf("%-20s %8s %8s %8s %20s\n", "set", "passed", "skipped", "failed", "imported as network");
  for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
    int32_t count[N_OUTCOMES] = {0}, networks = 0;
    char folder[256];
    struct dirent **entry;
    snprintf(folder, sizeof folder, DATA "%s", sets[s]);
    int n = scandir(folder, &entry, NULL, by_name);
    assert_true(n > 2);
    for (int i = 0; i < n; i++) {
      if (entry[i]->d_name[0] != '.') run_case(sets[s], entry[i]->d_name, count, &networks);
      free(entry[i]);
    }
    free(entry);
    printf("%-20s %8d %8d %8d %20d\n", sets[s], (int)count[PASSED], (int)count[SKIPPED],
           (int)count[FAILED], (int)networks);
    for (int k = 0; k < N_OUTCOMES; k++) total[k] += count[k];
    imported += networks;
  }
  printf("%-20s %8d %8d %8d %20d\n\nskipped because\n", "all", (int)total[PASSED],
         (int)total[SKIPPED], (int)total[FAILED], (int)imported);
  qsort(reasons, (size_t)n_reasons, sizeof *reasons, by_count);
  for (int32_t i = 0; i < n_reasons; i++) printf("%5d  %s\n", (int)reasons[i].n, reasons[i].text);
  assert_int_equal(total[FAILED], 0);
  assert_true(total[PASSED] >= LEAST_PASSED);
  assert_true(imported >= LEAST_IMPORTED);
}

int main(int argc, char **argv) {
  listed = argc > 1 ? argv[1] : NULL;
  if (access(DATA "node", F_OK) != 0) {
    printf("libonnx-testdata is not installed; skipped\n");
    return 77;
  }
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_suite)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
