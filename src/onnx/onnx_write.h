/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_write: builds an ONNX file, without showing protobuf to those above.
 *
 * A writer owns its graphs and every name it gives out. Memory that is short is
 * remembered: names are then "", and ex__onnx_writer_pack fails, so callers need not
 * look between.
 */
#ifndef EX_ONNX_ONNX_WRITE_H
#define EX_ONNX_ONNX_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "base/real.h"
#include "base/status.h"

/* Of the files that are written. */
enum { EX_ONNX_WRITE_OPSET = 13, EX_ONNX_WRITE_IR = 8 };

enum ex_onnx_element { EX_ONNX_FLOAT = 1, EX_ONNX_INT64 = 7 }; /* numbers of the format */

typedef struct ex_onnx_writer ex_onnx_writer;
typedef struct ex_onnx_graph ex_onnx_graph; /* the file's, or a branch of an If */

ex_onnx_writer *ex__onnx_writer_new(void);         /* NULL: no memory */
void ex__onnx_writer_free(ex_onnx_writer *writer); /* accepts NULL */
ex_onnx_graph *ex__onnx_graph_new(ex_onnx_writer *writer, const char *name);
/* The file with this main graph; *data is the caller's (ex__free). EX_EUNSUPPORTED
 * where it is larger than the format allows, 2 GiB. */
enum ex_status ex__onnx_writer_pack(ex_onnx_writer *writer, ex_onnx_graph *graph, void **data,
                                    size_t *size, struct ex_error *err);

/* Dimensions of an input or output: EX_ONNX_BATCH is one that stays free. */
enum { EX_ONNX_BATCH = -1 };
void ex__onnx_input(ex_onnx_graph *graph, const char *name, enum ex_onnx_element element,
                    int32_t rank, const int64_t *dim);
/* `value` must be made in this graph. */
void ex__onnx_output(ex_onnx_graph *graph, const char *value, enum ex_onnx_element element,
                     int32_t rank, const int64_t *dim);

/* Appends a node and returns the name of its output; inputs are names, of which the
 * first NULL and those behind it are left out. */
#define ex__onnx_node(graph, op, ...) \
  ex__onnx_node_of(graph, op, (const char *const[]){__VA_ARGS__, NULL})
const char *ex__onnx_node_of(ex_onnx_graph *graph, const char *op, const char *const *in);
const char *ex__onnx_node_list(ex_onnx_graph *graph, const char *op, const char *const *in,
                               int32_t n_in);
/* The same value under a name of the caller's choice; NULL: of the writer's. */
const char *ex__onnx_rename(ex_onnx_graph *graph, const char *value, const char *name);
/* Of the node that was appended last: one more output, and its attributes. */
const char *ex__onnx_next_output(ex_onnx_graph *graph);
void ex__onnx_set_int(ex_onnx_graph *graph, const char *name, int64_t value);
void ex__onnx_set_ints(ex_onnx_graph *graph, const char *name, const int64_t *values, int32_t n);
void ex__onnx_set_real(ex_onnx_graph *graph, const char *name, double value);
void ex__onnx_set_graph(ex_onnx_graph *graph, const char *name, ex_onnx_graph *branch);

/* Constants; each returns its name. */
const char *ex__onnx_reals(ex_onnx_graph *graph, const ex_real *values, int32_t rank,
                           const int64_t *dim);
const char *ex__onnx_real(ex_onnx_graph *graph, double value); /* a scalar */
const char *ex__onnx_integers(ex_onnx_graph *graph, const int64_t *values, int32_t n);
const char *ex__onnx_integer(ex_onnx_graph *graph, int64_t value); /* a scalar */
/* Constants of zeros, which the caller fills in; *values NULL: memory was short. */
const char *ex__onnx_blank_reals(ex_onnx_graph *graph, int32_t rank, const int64_t *dim,
                                 float **values);
const char *ex__onnx_blank_integers(ex_onnx_graph *graph, int32_t rank, const int64_t *dim,
                                    int64_t **values);

#endif
