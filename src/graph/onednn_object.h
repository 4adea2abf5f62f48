/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/onednn_object: the insides of the shim, for onednn*.c alone.
 *
 * oneDNN 2 describes an operation by a struct of its own kind
 * (dnnl_convolution_desc_t, …) that is turned into a primitive descriptor;
 * oneDNN 3 makes the descriptor at once and hides memory descriptors behind
 * pointers. Both differences end in these files.
 */
#ifndef EX_GRAPH_ONEDNN_OBJECT_H
#define EX_GRAPH_ONEDNN_OBJECT_H

#include <dnnl.h>

#include "graph/onednn.h"

#if DNNL_VERSION_MAJOR != 2
#error "graph/onednn*.c speak oneDNN 2; configure with -DEX_ONEDNN=OFF to build without it"
#endif

struct ex_dnn_layout {
  dnnl_memory_desc_t desc;
  struct ex_dnn_layout *next; /* of the same context */
};

struct ex_dnn_op {
  ex_dnn *dnn;
  dnnl_primitive_desc_t desc;
  dnnl_primitive_t primitive;
  const ex_dnn_layout *layout[EX_DNN_N_ARGS]; /* NULL: no such argument */
  const char *implementation;
  size_t scratch, workspace; /* bytes */
  int32_t n_arguments;
  struct ex_dnn_op *next;
};

struct ex_dnn {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  struct ex_dnn_layout *layouts;
  struct ex_dnn_op *ops;
};

/* oneDNN's status as ours; `what` names the call. */
enum ex_status ex__dnn_check(dnnl_status_t status, const char *what, struct ex_error *err);
#define DNN_TRY(call, err) EX_TRY(ex__dnn_check((call), #call, (err)))

/* Keeps a copy of a memory descriptor in the context; NULL when memory is short. */
const ex_dnn_layout *ex__dnn_keep(ex_dnn *dnn, const dnnl_memory_desc_t *desc);
/* Dense fp32 of these dimensions. */
dnnl_memory_desc_t ex__dnn_desc(int32_t rank, const int64_t *dim, dnnl_format_tag_t tag);

/* Attributes with the user's scratchpad and what is fused. */
enum ex_status ex__dnn_attr(const struct ex_dnn_post *post, dnnl_primitive_attr_t *out,
                            struct ex_error *err);

/* Makes an operation from a descriptor of oneDNN 2: takes the first
 * implementation that `admit` accepts (NULL: the first), and asks it for the
 * layouts of the arguments in `args`. */
struct ex_dnn_request {
  const void *op_desc;
  const struct ex_dnn_post *post; /* or NULL */
  const ex_dnn_op *hint;          /* or NULL */
  bool (*admit)(const char *implementation, const void *context);
  const void *context;
  const enum ex_dnn_arg *args;
  int32_t n_args, threads;
  const char *what; /* for errors */
};
enum ex_status ex__dnn_make(ex_dnn *dnn, const struct ex_dnn_request *request,
                            const ex_dnn_op **out, struct ex_error *err);
/* The same once a primitive descriptor exists, which it takes over. */
enum ex_status ex__dnn_finish(ex_dnn *dnn, dnnl_primitive_desc_t desc,
                              const struct ex_dnn_request *request, const ex_dnn_op **out,
                              struct ex_error *err);

#endif
