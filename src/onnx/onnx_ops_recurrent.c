/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_ops_recurrent: RNN, GRU and LSTM with their usual activations, all
 * sequences of one length.
 *
 * Gates of a step lie one behind the other: z, r, h of a GRU; i, o, f, c of an
 * LSTM, whose peepholes are those of i, o, f.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "onnx/onnx_eval.h"

enum { IN_X, IN_W, IN_R, IN_B, IN_LENGTHS, IN_H, IN_C, IN_P };
enum { MOST_GATES = 4 };

struct recurrent {
  int64_t gates, directions, length, batch, input, hidden;
  bool batch_first, reset_last; /* reset_last: GRU's linear_before_reset */
  double clip;
  const double *w, *r, *bias, *peephole; /* of a direction; the last two may be NULL */
  double *from_x, *from_h;               /* [gates · hidden] of a step */
  double *h, *c, *next;                  /* [hidden] */
};

static double limited(const struct recurrent *n, double x) {
  return n->clip > 0 ? fmax(-n->clip, fmin(n->clip, x)) : x;
}

static double logistic(const struct recurrent *n, double x) {
  return 1 / (1 + exp(-limited(n, x)));
}

static void times(const double *matrix, int64_t rows, int64_t columns, const double *x,
                  const double *bias, double *y) {
  for (int64_t i = 0; i < rows; i++) {
    double sum = bias != NULL ? bias[i] : 0;
    for (int64_t k = 0; k < columns; k++) sum += matrix[i * columns + k] * x[k];
    y[i] = sum;
  }
}

static void step_plain(struct recurrent *n) {
  for (int64_t i = 0; i < n->hidden; i++) n->h[i] = tanh(limited(n, n->from_x[i] + n->from_h[i]));
}

static void step_gru(struct recurrent *n) {
  int64_t m = n->hidden;
  const double *reset = n->from_h + m;
  const double *bias = n->bias != NULL ? n->bias + 3 * m + 2 * m : NULL;
  double *candidate = n->from_h + 2 * m;
  for (int64_t i = 0; i < 2 * m; i++) n->from_h[i] = logistic(n, n->from_x[i] + n->from_h[i]);
  if (n->reset_last) {
    for (int64_t i = 0; i < m; i++) candidate[i] *= reset[i];
  } else {
    for (int64_t i = 0; i < m; i++) n->next[i] = reset[i] * n->h[i];
    times(n->r + 2 * m * m, m, m, n->next, bias, candidate);
  }
  for (int64_t i = 0; i < m; i++) {
    double z = n->from_h[i], fresh = tanh(limited(n, n->from_x[2 * m + i] + candidate[i]));
    n->h[i] = (1 - z) * fresh + z * n->h[i];
  }
}

static void step_lstm(struct recurrent *n) {
  int64_t m = n->hidden;
  const double *p = n->peephole;
  for (int64_t i = 0; i < m; i++) {
    double in = n->from_x[i] + n->from_h[i], out = n->from_x[m + i] + n->from_h[m + i];
    double keep = n->from_x[2 * m + i] + n->from_h[2 * m + i];
    double fresh = tanh(limited(n, n->from_x[3 * m + i] + n->from_h[3 * m + i]));
    if (p != NULL) in += p[i] * n->c[i];
    if (p != NULL) keep += p[2 * m + i] * n->c[i];
    n->c[i] = logistic(n, keep) * n->c[i] + logistic(n, in) * fresh;
    if (p != NULL) out += p[m + i] * n->c[i];
    n->h[i] = logistic(n, out) * tanh(limited(n, n->c[i]));
  }
}

static void step(struct recurrent *n, const double *x) {
  int64_t rows = n->gates * n->hidden;
  times(n->w, rows, n->input, x, n->bias, n->from_x);
  times(n->r, rows, n->hidden, n->h, n->bias != NULL ? n->bias + rows : NULL, n->from_h);
  if (n->gates == 1)
    step_plain(n);
  else if (n->gates == 3)
    step_gru(n);
  else
    step_lstm(n);
}

/* Where the state of direction d for sample b lies. */
static int64_t state_at(const struct recurrent *n, int64_t d, int64_t b) {
  return (n->batch_first ? b * n->directions + d : d * n->batch + b) * n->hidden;
}

static void run_sequence(struct ex_onnx_call *call, struct recurrent *n, int64_t d, int64_t b,
                         bool backward) {
  size_t bytes = (size_t)n->hidden * sizeof *n->h;
  int64_t state = state_at(n, d, b);
  memset(n->h, 0, bytes);
  memset(n->c, 0, bytes);
  if (ex__onnx_has(call, IN_H)) memcpy(n->h, call->in[IN_H]->real + state, bytes);
  if (ex__onnx_has(call, IN_C)) memcpy(n->c, call->in[IN_C]->real + state, bytes);
  for (int64_t i = 0; i < n->length; i++) {
    int64_t t = backward ? n->length - 1 - i : i;
    int64_t x = (n->batch_first ? b * n->length + t : t * n->batch + b) * n->input;
    int64_t y = n->batch_first ? (b * n->length + t) * n->directions + d
                               : (t * n->directions + d) * n->batch + b;
    step(n, call->in[IN_X]->real + x);
    if (call->out[0].real != NULL) memcpy(call->out[0].real + y * n->hidden, n->h, bytes);
  }
  if (call->out[1].real != NULL) memcpy(call->out[1].real + state, n->h, bytes);
  if (call->out[2].real != NULL) memcpy(call->out[2].real + state, n->c, bytes);
}

/* ---- shapes ------------------------------------------------------------------------- */

static enum ex_status want_count(struct ex_onnx_call *call, int32_t k, int64_t n) {
  if (!ex__onnx_has(call, k)) return EX_OK;
  EX_TRY(ex__onnx_want_real(call, k));
  if (call->in[k]->count == n) return EX_OK;
  return onnx_fail(call, EX_ESHAPE, "input %d has %" PRId64 " numbers; must have %" PRId64, (int)k,
                   call->in[k]->count, n);
}

static enum ex_status check_lengths(struct ex_onnx_call *call, int64_t length) {
  const int64_t *list;
  int64_t n;
  if (!ex__onnx_has(call, IN_LENGTHS)) return EX_OK;
  EX_TRY(ex__onnx_list(call, IN_LENGTHS, &list, &n));
  for (int64_t i = 0; i < n; i++)
    if (list[i] != length)
      return onnx_fail(call, EX_EUNSUPPORTED, "sequences of several lengths; must be of one");
  return EX_OK;
}

static enum ex_status describe(struct ex_onnx_call *call, int64_t gates, struct recurrent *n) {
  const struct ex_onnx_tensor *x = call->in[IN_X], *w = call->in[IN_W];
  if (x->rank != 3 || w->rank != 3 || w->dim[2] != x->dim[2] || w->dim[1] % gates != 0)
    return onnx_fail(call, EX_ESHAPE, "input and weights do not go together");
  if (ex__onnx_attribute(call->node, "activations") != NULL ||
      ex__onnx_int(call, "input_forget", 0) != 0)
    return onnx_fail(call, EX_EUNSUPPORTED, "other activations than the usual ones");
  bool first = ex__onnx_int(call, "layout", 0) != 0;
  *n = (struct recurrent){.gates = gates,
                          .directions = w->dim[0],
                          .length = x->dim[first ? 1 : 0],
                          .batch = x->dim[first ? 0 : 1],
                          .input = x->dim[2],
                          .hidden = w->dim[1] / gates,
                          .batch_first = first,
                          .reset_last = ex__onnx_int(call, "linear_before_reset", 0) != 0,
                          .clip = ex__onnx_float(call, "clip", 0)};
  int64_t rows = n->directions * n->gates * n->hidden;
  for (int32_t k = IN_X; k <= IN_R; k++) EX_TRY(ex__onnx_want_real(call, k));
  EX_TRY(want_count(call, IN_R, rows * n->hidden));
  EX_TRY(want_count(call, IN_B, 2 * rows));
  EX_TRY(want_count(call, IN_H, n->directions * n->batch * n->hidden));
  EX_TRY(want_count(call, IN_C, n->directions * n->batch * n->hidden));
  EX_TRY(want_count(call, IN_P, 3 * n->directions * n->hidden));
  return check_lengths(call, n->length);
}

static enum ex_status make_outputs(struct ex_onnx_call *call, const struct recurrent *n,
                                   bool *numbers) {
  int64_t y[4] = {n->length, n->directions, n->batch, n->hidden};
  int64_t last[3] = {n->directions, n->batch, n->hidden};
  if (n->batch_first) {
    y[0] = n->batch, y[1] = n->length, y[2] = n->directions;
    last[0] = n->batch, last[1] = n->directions;
  }
  int32_t type = call->in[IN_X]->type;
  EX_TRY(ex__onnx_out(call, 0, type, 4, y, numbers));
  EX_TRY(ex__onnx_out(call, 1, type, 3, last, numbers));
  if (call->n_out > 2) EX_TRY(ex__onnx_out(call, 2, type, 3, last, numbers));
  return EX_OK;
}

static enum ex_status run(struct ex_onnx_call *call, int64_t gates) {
  struct recurrent n;
  char text[32];
  bool numbers;
  EX_TRY(describe(call, gates, &n));
  const char *direction = ex__onnx_string(call, "direction", "forward", text);
  if (n.directions != (strcmp(direction, "bidirectional") == 0 ? 2 : 1))
    return onnx_fail(call, EX_ESHAPE, "weights for %" PRId64 " directions", n.directions);
  EX_TRY(make_outputs(call, &n, &numbers));
  if (!numbers) return EX_OK;
  int64_t rows = n.gates * n.hidden;
  EX_TRY(ex__onnx_spend(call, (double)(n.directions * n.batch) * (double)n.length * (double)rows *
                                  (double)(n.input + n.hidden)));
  double *room = ex__calloc((size_t)(2 * rows + 3 * n.hidden) + 1, sizeof *room);
  if (room == NULL) return onnx_fail(call, EX_ENOMEM, "no memory");
  n.from_x = room;
  n.from_h = room + rows;
  n.h = room + 2 * rows;
  n.c = n.h + n.hidden;
  n.next = n.c + n.hidden;
  for (int64_t d = 0; d < n.directions; d++) {
    n.w = call->in[IN_W]->real + d * rows * n.input;
    n.r = call->in[IN_R]->real + d * rows * n.hidden;
    n.bias = ex__onnx_has(call, IN_B) ? call->in[IN_B]->real + d * 2 * rows : NULL;
    n.peephole = ex__onnx_has(call, IN_P) ? call->in[IN_P]->real + d * 3 * n.hidden : NULL;
    bool backward = d == 1 || strcmp(direction, "reverse") == 0;
    for (int64_t b = 0; b < n.batch; b++) run_sequence(call, &n, d, b, backward);
  }
  ex__free(room);
  return EX_OK;
}

static enum ex_status plain(struct ex_onnx_call *call) { return run(call, 1); }
static enum ex_status gru(struct ex_onnx_call *call) { return run(call, 3); }
static enum ex_status lstm(struct ex_onnx_call *call) { return run(call, MOST_GATES); }

extern const struct ex_onnx_op ex__onnx_ops_recurrent[];
const struct ex_onnx_op ex__onnx_ops_recurrent[] = {
    {"RNN", 3, 6, 2, plain},
    {"GRU", 3, 6, 2, gru},
    {"LSTM", 3, 8, 3, lstm},
    {NULL, 0, 0, 0, NULL},
};
