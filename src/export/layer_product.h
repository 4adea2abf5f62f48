/* SPDX-License-Identifier: Apache-2.0
 *
 * export/layer_product: rows of weights of convolutions and linear layers, in the
 * order in which the kernels read them, for float and int8 alike.
 */
#ifndef EX_EXPORT_LAYER_PRODUCT_H
#define EX_EXPORT_LAYER_PRODUCT_H

#include "export/export_layer.h"

int32_t ex__product_rows(const struct ex_layer_step *step); /* output channels or features */
/* Weights of one row: [kernel_h][kernel_w][channels / groups], or [features]. */
int64_t ex__product_depth(const struct ex_export_plan *plan, const struct ex_layer_step *step);
/* weight [depth]; returns the bias. A batch-norm that was taken in is in both. */
double ex__product_row(const struct ex_export_plan *plan, const struct ex_layer_step *step,
                       int32_t row, double *weight);
/* All rows: weight [rows][depth], bias [rows], released with ex__free; EX_ENOMEM:
 * both are NULL. */
enum ex_status ex__product_all(const struct ex_export_plan *plan, const struct ex_layer_step *step,
                               double **weight, double **bias);
/* Inference of a batch-norm at one channel: x · factor + shift. */
void ex__norm_at(const struct ex_export_plan *plan, const struct ex_node *norm, int32_t channel,
                 double *factor, double *shift);
/* The fields of struct conv2d that say where numbers lie, as text. */
void ex__product_geometry(const struct ex_writer *writer, const struct ex_layer_step *step,
                          struct ex_text *text);

/* In layer_product_int8.c. */
enum ex_status ex__product_check(const struct ex_export_plan *plan,
                                 const struct ex_layer_step *step, struct ex_error *err);
void ex__conv2d_int8_constants(struct ex_writer *writer, const struct ex_layer_step *step);
void ex__linear_int8_constants(struct ex_writer *writer, const struct ex_layer_step *step);

#endif
