/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_idiom: groups of nodes that together are one operator.
 *
 * ONNX has layer normalisation from opset 17 on and gelu from 20; files of
 * earlier ones spell them out. Found and mapped as one they are a half of the
 * nodes of an encoder less, with a backward pass of their own.
 */
#ifndef EX_ONNX_ONNX_IDIOM_H
#define EX_ONNX_ONNX_IDIOM_H

#include "onnx/onnx_exits.h"
#include "onnx/onnx_map.h"

enum ex_onnx_idiom_kind {
  EX_ONNX_IDIOM_NONE,
  EX_ONNX_IDIOM_INSIDE, /* of one that ends at a later node: nothing is left to map */
  EX_ONNX_IDIOM_GELU,   /* ends here */
  EX_ONNX_IDIOM_NORM    /* ends here: mean 0 and variance 1 along the last dimension */
};
struct ex_onnx_idiom {
  enum ex_onnx_idiom_kind kind;
  const char *input; /* of one that ends here; borrowed from the file */
  double eps;        /* of NORM, in [0, 1] */
};

/* Fills idiom [n_node], which the caller has zeroed, of a graph whose exits are placed. What an
 * exit or anybody outside reads is no part of one. */
enum ex_status ex__onnx_find_idioms(const struct ex_onnx_exits *exits, ex_onnx_eval *eval,
                                    struct ex_onnx_idiom *idiom, struct ex_error *err);
/* Maps the node of `map`, at which the idiom ends. */
enum ex_status ex__onnx_map_idiom(struct ex_onnx_map *map, const struct ex_onnx_idiom *idiom);

#endif
