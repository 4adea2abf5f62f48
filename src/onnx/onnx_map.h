/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_map: one node of ONNX as operators of graph/.
 *
 * A value of ONNX has a batch dimension, of graph/ it has not, and has one or
 * three dimensions. In memory one sample is the same row of numbers in both. So
 * what ONNX calls [1, a, b, …] lies in a value of graph/ of shape [a], [a][1][b],
 * [a][b][c] or [a][b][the rest], and operators that care for more dimensions
 * are told them.
 */
#ifndef EX_ONNX_ONNX_MAP_H
#define EX_ONNX_ONNX_MAP_H

#include "net/builder.h"
#include "onnx/onnx_eval.h"

enum { EX_ONNX_BATCH = 2, EX_ONNX_OTHER_BATCH = 3 };

/* Shape of a value at batch 1. The batch may lie in any dimension, which it may
 * share: [heads · batch] has `heads` there. One sample is the same row of numbers
 * wherever its batch lies. */
struct ex_onnx_sample {
  int32_t rank; /* ≥ 1 */
  int32_t axis; /* of the batch */
  int64_t dim[EX_ONNX_MAX_RANK];
};

/* Numbers of the file for tensor `slot` of a node. */
struct ex_onnx_weights {
  int32_t value, slot;
  int64_t count;
  ex_real *number; /* [count], owned */
};

struct ex_onnx_map {
  struct ex_onnx_call *call; /* the node, its inputs for a batch of EX_ONNX_BATCH */
  ex_builder *builder;
  ex_onnx_eval *eval;
  size_t index; /* of the node */
  struct ex_onnx_weights *weights;
  int32_t n_weights, capacity;
  json_t *names; /* of layers so far */
};

/* Table of what can be mapped. */
struct ex_onnx_mapping {
  const char *op;
  enum ex_status (*map)(struct ex_onnx_map *map);
};
extern const struct ex_onnx_mapping ex__onnx_map_layers[], ex__onnx_map_elements[],
    ex__onnx_map_places[];

/* Shape of a tensor that depends on the input. */
struct ex_onnx_sample ex__onnx_sample(const struct ex_onnx_tensor *tensor);
/* Of input k, which depends on the model's input. */
struct ex_onnx_sample ex__onnx_map_sample(const struct ex_onnx_map *map, int32_t k);
/* That the batch is the first dimension of input 0, and shares it with nothing. */
enum ex_status ex__onnx_map_first(const struct ex_onnx_map *map);
/* Whether input k depends on the model's input (else it is a constant, or absent). */
bool ex__onnx_map_depends(const struct ex_onnx_map *map, int32_t k);
/* Value of graph/ for input k, which depends on the model's input. */
int32_t ex__onnx_map_in(const struct ex_onnx_map *map, int32_t k);
/* The node's output `k` is `value`; it is given the shape that it has in ONNX. */
enum ex_status ex__onnx_map_out(struct ex_onnx_map *map, int32_t k, int32_t value);
/* Shape of the node's output. */
struct ex_onnx_sample ex__onnx_map_shape(const struct ex_onnx_map *map, int32_t k);
/* The shape in graph/ that a sample lies in. */
enum ex_status ex__onnx_map_place(const struct ex_onnx_map *map,
                                  const struct ex_onnx_sample *sample, struct ex_list *shape);
/* A reshape to it, where the value has another. */
enum ex_status ex__onnx_map_reshape(struct ex_onnx_map *map, int32_t *value,
                                    const struct ex_onnx_sample *sample);

/* Adds an operator. One with parameters is named after constant input
 * `k_weight`, else after the node (−1). */
enum ex_status ex__onnx_map_add(struct ex_onnx_map *map, const char *op, const void *attr,
                                int32_t k_weight, const int32_t *in, int32_t n_in, int32_t *value);
/* Gives tensor `slot` of the node that makes `value` the numbers of constant
 * input k; or `count` numbers that are copied from `number`. */
enum ex_status ex__onnx_map_weigh(struct ex_onnx_map *map, int32_t value, int32_t slot, int32_t k);
enum ex_status ex__onnx_map_weigh_numbers(struct ex_onnx_map *map, int32_t value, int32_t slot,
                                          const double *number, int64_t count);
/* Constant input k, with its numbers. */
enum ex_status ex__onnx_map_constant(struct ex_onnx_map *map, int32_t k,
                                     const struct ex_onnx_tensor **out);

#define map_fail(map, ...) ex__fail((map)->call->err, EX_EUNSUPPORTED, __VA_ARGS__)

#endif
