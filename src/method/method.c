/* SPDX-License-Identifier: Apache-2.0
 *
 * method/method: the registry, and the cross-entropy of one exit, which every
 * method has somewhere.
 */
#include "method/method.h"

#include <math.h>
#include <string.h>

#include "base/text.h"
#include "graph/loss.h"
#include "method/trainer.h"

#define EX_METHOD(name) extern const struct ex_method ex__method_##name;
#include "method/methods.def"
#undef EX_METHOD

static const struct ex_method *const methods[] = {
#define EX_METHOD(name) &ex__method_##name,
#include "method/methods.def"
#undef EX_METHOD
};

enum { N_METHODS = sizeof methods / sizeof methods[0] };

const struct ex_method *ex__method_at(int32_t index) {
  return index >= 0 && index < N_METHODS ? methods[index] : NULL;
}

const struct ex_method *ex__method_find(const char *name) {
  for (int32_t i = 0; i < N_METHODS; i++)
    if (strcmp(methods[i]->name, name) == 0) return methods[i];
  return NULL;
}

static enum ex_status unknown(const char *name, struct ex_error *err) {
  struct ex_text known = {0};
  for (int32_t i = 0; i < N_METHODS; i++)
    ex__text_add(&known, "%s%s", i > 0 ? ", " : "", methods[i]->name);
  ex__fail(err, EX_ENOTFOUND, "method \"%.60s\" is unknown; must be one of %s", name,
           known.data != NULL ? known.data : "none");
  ex__text_clear(&known);
  return EX_ENOTFOUND;
}

static enum ex_status set_values(const struct ex_method *method, const json_t *json, void *values,
                                 struct ex_error *err) {
  ex__param_defaults(method->params, values);
  if (json == NULL) return EX_OK;
  json_t *rest = json_copy((json_t *)(uintptr_t)json);
  if (rest == NULL) return ex__fail(err, EX_ENOMEM, "method: no memory for its parameters");
  (void)json_object_del(rest, "name"); /* it may be absent */
  enum ex_status status = ex__param_from_json(method->name, method->params, values, rest, err);
  json_decref(rest);
  return status;
}

enum ex_status ex__method_from_json(const json_t *json, int32_t n_points,
                                    const struct ex_method **out, void *values,
                                    struct ex_error *err) {
  *out = NULL;
  if (json != NULL && !json_is_object(json))
    return ex__fail(err, EX_EINVAL, "method: must be an object with a \"name\"");
  const json_t *given = json != NULL ? json_object_get(json, "name") : NULL;
  if (given != NULL && !json_is_string(given))
    return ex__fail(err, EX_EINVAL, "method: name must be a string");
  const char *name = given != NULL ? json_string_value(given) : "joint";
  const struct ex_method *method = ex__method_find(name);
  if (method == NULL) return unknown(name, err);
  EX_TRY(set_values(method, json, values, err));
  if (method->check != NULL) EX_TRY(method->check(values, n_points, err));
  *out = method;
  return EX_OK;
}

/* ---- one exit's cross-entropy -------------------------------------------- */

static int32_t count_labelled(const int32_t *target, int32_t n) {
  int32_t labelled = 0;
  for (int32_t i = 0; i < n; i++) labelled += target[i] >= 0;
  return labelled;
}

/* Rows of the smoothed one-hot target; those of unlabelled samples are zero,
 * and so is their weight. */
static void smooth_targets(const struct ex_loss_call *call, double smoothing, ex_real *soft) {
  int32_t n_outputs = call->n_outputs;
  for (int32_t i = 0; i < call->n; i++) {
    ex_real *row = soft + (int64_t)i * n_outputs;
    bool labelled = call->target[i] >= 0;
    for (int32_t c = 0; c < n_outputs; c++)
      row[c] = labelled ? (ex_real)(smoothing / n_outputs) : 0;
    if (labelled) row[call->target[i]] += (ex_real)(1 - smoothing);
  }
}

double ex__method_cross_entropy(const struct ex_loss_call *call, int32_t point, double factor,
                                double smoothing) {
  int32_t n = call->n, n_outputs = call->n_outputs, labelled = count_labelled(call->target, n);
  const ex_real *output = call->output[point];
  call->point_loss[point] = NAN;
  if (output == NULL || labelled == 0) return 0;
  ex_real *weight = call->scratch, *each = weight + n, *soft = each + n;
  for (int32_t i = 0; i < n; i++) {
    double of_class = call->weight != NULL ? (double)call->weight[i] : 1;
    weight[i] = call->target[i] >= 0 ? (ex_real)(factor * of_class / labelled) : 0;
  }
  bool smoothed = smoothing > 0;
  double loss = ex__loss_cross_entropy(output, n, n_outputs, call->target, weight, each,
                                       smoothed ? NULL : call->doutput[point]);
  double sum = 0;
  for (int32_t i = 0; i < n; i++)
    if (call->target[i] >= 0) sum += (double)each[i];
  call->point_loss[point] = sum / labelled;
  if (smoothed) {
    smooth_targets(call, smoothing, soft);
    loss =
        ex__loss_soft_cross_entropy(output, n, n_outputs, soft, weight, NULL, call->doutput[point]);
  }
  return call->doutput[point] != NULL ? loss : 0;
}

double ex__method_loss(const struct ex_method *method, const void *values, void *state,
                       const struct ex_loss_call *call) {
  if (call->phase != EX_PHASE_TRUNK) return method->loss(values, state, call);
  for (int32_t p = 0; p < call->n_points; p++) call->point_loss[p] = NAN;
  return ex__method_cross_entropy(call, call->n_points - 1, 1, 0);
}

/* ---- what methods share -------------------------------------------------- */

void ex__method_descend(struct ex_trainer *trainer, double loss) {
  trainer->note(trainer, loss);
  ex__slabs_zero(trainer->grads);
  trainer->backward(trainer, trainer->net->params, EX_ALL_POINTS, trainer->grads);
  trainer->update(trainer, trainer->grads, ex_update_everything);
}

void ex__method_clear_seeds(const struct ex_loss_call *call) {
  size_t outputs = (size_t)call->n * (size_t)call->n_outputs;
  for (int32_t p = 0; p < call->n_points; p++) {
    if (call->doutput[p] != NULL) memset(call->doutput[p], 0, outputs * sizeof(ex_real));
    if (call->dgate[p] != NULL) memset(call->dgate[p], 0, (size_t)call->n * sizeof(ex_real));
  }
}

static double work_share(const struct ex_cost *cost, int32_t point, int32_t n_points) {
  int64_t full = cost->direct_macs[n_points - 1];
  return full > 0 ? (double)cost->direct_macs[point] / (double)full
                  : (double)(point + 1) / n_points;
}

double ex__method_ramp(const struct ex_loss_call *call, int32_t point, double ceiling) {
  if (point == call->n_points - 1) return ceiling < 0 ? 1 : ceiling;
  if (ceiling < 0) ceiling = work_share(call->cost, point, call->n_points);
  return fmin(ceiling, 0.01 + (call->epoch + 1) * ceiling / call->n_epochs);
}

void ex__method_flow(struct ex_flows *flows, struct ex_flow flow) {
  if (flows->n < EX_MAX_FLOWS) flows->flow[flows->n++] = flow;
}

int32_t ex__method_feature(const ex_net *net, int32_t point) {
  int32_t head = ex__net_segment(net->points[point].stage, EX_PART_HEAD);
  for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++) {
    const struct ex_node *node = ex__graph_node(net->graph, id);
    for (int32_t i = 0; node->segment == head && i < node->n_in; i++) {
      const struct ex_node *from = ex__graph_node(net->graph, node->in[i]);
      if (from->n_in > 0 && from->segment % EX_N_PARTS == EX_PART_BODY) return node->in[i];
    }
  }
  return -1;
}
