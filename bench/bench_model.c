/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/bench_model: writes a network of the zoo, untrained, as a model file:
 * the one source of every network that the bench compares.
 *
 *   bench_model NETWORK CHANNELSxHEIGHTxWIDTH CLASSES SEED OUT.safetensors
 *
 * NETWORK is the "network" object of a recipe. Norms get statistics that fit
 * the weights before them, spread by chance: with those that a new network
 * has (0 and 1) a mistake in them would not show, and signals of a deep one
 * would grow without bound.
 */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/random.h"
#include "bench_worker.h"
#include "net/model.h"
#include "zoo/zoo.h"

/* Second moment that a norm with ReLU leaves to the next convolution, about. */
static const double MOMENT = 0.7;

static const struct ex_tensor_info *tensor_of(const ex_net *net, const struct ex_node *node,
                                              const char *suffix, ex_real **data) {
  for (int32_t i = 0; i < node->n_tensors; i++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, node->tensor[i]);
    const char *dot = strrchr(info->name, '.');
    if (dot == NULL || strcmp(dot + 1, suffix) != 0) continue;
    const ex_slabs *slabs = info->role == EX_ROLE_BUFFER ? net->buffers : net->params;
    *data = ex__slabs_tensor(slabs, net->graph, node->tensor[i]);
    return info;
  }
  return NULL;
}

/* Variance of output channel c of the convolution, whose inputs have the second moment MOMENT. */
static double variance_after(const struct ex_tensor_info *info, const ex_real *weight, int32_t c) {
  int64_t n = ex__shape_count(&info->shape) / info->shape.dim[0];
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)weight[c * n + i] * (double)weight[c * n + i];
  return MOMENT * sum;
}

static void spread_norm(const ex_net *net, const struct ex_node *node, struct ex_random *random) {
  ex_real *scale, *shift, *mean, *variance, *weight = NULL;
  const struct ex_tensor_info *conv =
      tensor_of(net, ex__graph_node(net->graph, node->in[0]), "weight", &weight);
  const struct ex_tensor_info *info = tensor_of(net, node, "weight", &scale);
  tensor_of(net, node, "bias", &shift);
  tensor_of(net, node, "running_mean", &mean);
  tensor_of(net, node, "running_var", &variance);
  for (int32_t c = 0; c < info->shape.dim[0]; c++) {
    double expected = conv != NULL ? variance_after(conv, weight, c) : 1;
    scale[c] = (ex_real)(0.75 + 0.5 * ex__random_uniform(random));
    shift[c] = (ex_real)(0.1 * ex__random_normal(random));
    mean[c] = (ex_real)(0.1 * sqrt(expected) * ex__random_normal(random));
    variance[c] = (ex_real)(expected * (0.75 + 0.5 * ex__random_uniform(random)));
  }
}

static void spread_norms(const ex_net *net, uint64_t seed) {
  for (int32_t id = 0; id < ex__graph_n_nodes(net->graph); id++) {
    const struct ex_node *node = ex__graph_node(net->graph, id);
    struct ex_random random = ex__random_seed(seed, (uint64_t)id);
    if (strcmp(node->op->name, "batch_norm") == 0) spread_norm(net, node, &random);
  }
}

static enum ex_status write_model(const char *network, const struct ex_shape *input,
                                  int32_t classes, uint64_t seed, const char *path,
                                  struct ex_error *err) {
  const struct ex_preprocess none = {.n_channels = 1, .mean = {0}, .deviation = {1}};
  json_t *json;
  ex_net *net;
  ex_model *model;
  EX_TRY(ex__json_parse(network, strlen(network), "NETWORK", &json, err));
  enum ex_status status = ex__zoo_build(json, input, classes, seed, &net, err);
  json_decref(json);
  EX_TRY(status);
  spread_norms(net, seed);
  status = ex__model_new(net, &none, NULL, &model, err);
  if (status != EX_OK) {
    ex_net_free(net);
    return status;
  }
  status = ex__model_write(model, path, err);
  ex_model_free(model);
  return status;
}

int main(int argc, char **argv) {
  struct ex_shape input = {.rank = 3};
  struct ex_error err;
  int classes, dim[3];
  unsigned long long seed;
  if (argc != 6 || sscanf(argv[2], "%dx%dx%d", &dim[0], &dim[1], &dim[2]) != 3 ||
      sscanf(argv[3], "%d", &classes) != 1 || sscanf(argv[4], "%llu", &seed) != 1) {
    fprintf(stderr, "usage: bench_model NETWORK CHANNELSxHEIGHTxWIDTH CLASSES SEED OUT\n");
    return 2;
  }
  for (int i = 0; i < 3; i++) input.dim[i] = dim[i];
  if (write_model(argv[1], &input, classes, seed, argv[5], &err) == EX_OK) return 0;
  fprintf(stderr, "bench_model: %s\n", err.text);
  return 1;
}
