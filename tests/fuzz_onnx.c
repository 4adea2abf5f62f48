/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX files: read, imported, and computed on zeros, within small limits. What
 * is imported has passed ex__net_check, and its weights are finite.
 */
#include <math.h>

#include "onnx/onnx_eval.h"
#include "onnx/onnx_import.h"
#include "tests/fuzzing.h"

enum { ELEMENTS = 1 << 16, WORK = 1 << 20 };

static double checksum;

static void import(const ex_onnx *onnx) {
  const struct ex_onnx_options options = {.elements = ELEMENTS, .work = WORK};
  struct ex_onnx_report report;
  struct ex_error err;
  ex_net *net;
  if (ex__onnx_import(onnx, &options, &net, &report, &err) != EX_OK) {
    FUZZ_REQUIRE(net == NULL && err.text[0] != '\0');
    return;
  }
  FUZZ_REQUIRE(ex__net_check(net, &err) == EX_OK);
  for (int32_t i = 0; i < ex__graph_n_tensors(net->graph); i++) {
    const struct ex_tensor_info *info = ex__graph_tensor(net->graph, i);
    const ex_real *x =
        ex__slabs_tensor(info->role == EX_ROLE_BUFFER ? net->buffers : net->params, net->graph, i);
    for (int64_t k = 0; k < ex__shape_count(&info->shape); k++) FUZZ_REQUIRE(isfinite(x[k]));
  }
  ex_net_free(net);
}

/* Zeros for every input whose shape is told; free sizes are 2. */
static void give_zeros(ex_onnx_eval *eval, const Onnx__GraphProto *graph,
                       struct ex_onnx_limits *limits) {
  struct ex_error err;
  for (size_t i = 0; i < graph->n_input; i++) {
    const Onnx__TypeProto *type = graph->input[i]->type;
    int64_t dim[EX_ONNX_MAX_RANK];
    struct ex_onnx_tensor tensor;
    if (graph->input[i]->name == NULL || type == NULL ||
        type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ||
        type->tensor_type->shape == NULL || type->tensor_type->shape->n_dim > EX_ONNX_MAX_RANK)
      continue;
    int32_t rank = (int32_t)type->tensor_type->shape->n_dim;
    for (int32_t k = 0; k < rank; k++) {
      const Onnx__TensorShapeProto__Dimension *one = type->tensor_type->shape->dim[k];
      bool told = one->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
      dim[k] = told && one->dim_value > 0 ? one->dim_value : 2;
    }
    if (ex__onnx_tensor_shape(&tensor, type->tensor_type->elem_type, rank, dim, &err) != EX_OK ||
        ex__onnx_tensor_alloc(&tensor, &limits->elements, &err) != EX_OK)
      continue;
    (void)ex__onnx_eval_input(eval, graph->input[i]->name, &tensor, &err);
  }
}

static void compute(const ex_onnx *onnx) {
  struct ex_onnx_limits limits = {ELEMENTS, WORK};
  struct ex_error err;
  ex_onnx_eval *eval;
  if (ex__onnx_eval_new(onnx, &limits, &eval, &err) != EX_OK) return;
  const Onnx__GraphProto *graph = onnx->proto->graph;
  give_zeros(eval, graph, &limits);
  if (ex__onnx_eval_run(eval, &err) == EX_OK)
    for (size_t i = 0; i < graph->n_output; i++) {
      struct ex_onnx_tensor *out =
          graph->output[i]->name != NULL ? ex__onnx_eval_find(eval, graph->output[i]->name) : NULL;
      if (out == NULL || ex__onnx_eval_load(eval, out, &err) != EX_OK) continue;
      for (int64_t k = 0; k < out->count; k++) checksum += ex__onnx_at(out, k);
    }
  ex__onnx_eval_free(eval);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct ex_error err;
  ex_onnx *onnx;
  if (ex__onnx_parse(data, size, &onnx, &err) != EX_OK) return 0;
  import(onnx);
  compute(onnx);
  ex__onnx_free(onnx);
  return 0;
}
