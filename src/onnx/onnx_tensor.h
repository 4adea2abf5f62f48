/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_tensor: a value of the evaluator: type, shape, and perhaps numbers.
 *
 * Numbers of every floating type are held as double, of every integer type and
 * of booleans as int64_t (uint64 by its bits), and brought back to what the
 * type can hold after each operator: so an operator is written once for all
 * types. A tensor of the file is unpacked when its numbers are first wanted;
 * one that depends on the model's input may have a shape and no numbers.
 */
#ifndef EX_ONNX_ONNX_TENSOR_H
#define EX_ONNX_ONNX_TENSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "onnx/onnx_file.h"

enum { EX_ONNX_MAX_RANK = 8 };

struct ex_onnx_tensor {
  int32_t type; /* ONNX__TENSOR_PROTO__DATA_TYPE__… */
  int32_t rank;
  int64_t dim[EX_ONNX_MAX_RANK];   /* each ≥ 0 */
  int64_t count;                   /* their product */
  int32_t tag, axis;               /* the caller's own; 0 when made */
  bool depends;                    /* on the numbers of the model's input */
  bool unknown;                    /* it has no numbers: they depend on the model's input */
  double *real;                    /* [count] of a floating type; or NULL */
  int64_t *whole;                  /* [count] of another; or NULL */
  const Onnx__TensorProto *source; /* where they are unpacked from; or NULL */
};

bool ex__onnx_is_real(int32_t type);
const char *ex__onnx_type_name(int32_t type); /* "float32"; "?" for one that is unknown */
/* Sets type and shape; at most EX_ONNX_MAX_RANK dimensions and EX_ONNX_MAX_COUNT
 * elements, and a type of numbers. */
enum { EX_ONNX_MAX_COUNT = 1 << 28 };
enum ex_status ex__onnx_tensor_shape(struct ex_onnx_tensor *tensor, int32_t type, int32_t rank,
                                     const int64_t *dim, struct ex_error *err);
/* Gives it room for its numbers, zeroed, out of *budget elements. */
enum ex_status ex__onnx_tensor_alloc(struct ex_onnx_tensor *tensor, int64_t *budget,
                                     struct ex_error *err);
/* A view of a tensor of the file, which must outlive it. All but the numbers
 * themselves is checked: type, shape, and that there are as many as that says. */
enum ex_status ex__onnx_tensor_from(const Onnx__TensorProto *proto, struct ex_onnx_tensor *out,
                                    struct ex_error *err);
/* Unpacks the numbers where that has not been done. */
enum ex_status ex__onnx_tensor_load(struct ex_onnx_tensor *tensor, int64_t *budget,
                                    struct ex_error *err);
/* Gives numbers back that can be unpacked again: a large network is wanted a layer at a time. */
void ex__onnx_tensor_unload(struct ex_onnx_tensor *tensor, int64_t *budget);
/* A file that holds one tensor, as the test data of ONNX do; owns its numbers. */
enum ex_status ex__onnx_tensor_read(const char *path, struct ex_onnx_tensor *out,
                                    struct ex_error *err);
/* Brings every number to one that the type can hold. */
void ex__onnx_tensor_settle(struct ex_onnx_tensor *tensor);
void ex__onnx_tensor_clear(struct ex_onnx_tensor *tensor);
/* "[2, 3]" into text. */
const char *ex__onnx_shape_text(const struct ex_onnx_tensor *tensor, char text[128]);

double ex__onnx_round_half(double x); /* to the nearest float16 */

#endif
