/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_ops_product: products of matrices, of floating numbers, of
 * integers, and of quantised numbers; quantising itself.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "onnx/onnx_broadcast.h"

/* ---- MatMul ------------------------------------------------------------------------ */

/* Shapes with a row or column added where there is a single dimension. */
struct product {
  int64_t rows, depth, columns;
  struct ex_onnx_broadcast batch; /* the dimensions before the last two */
  int32_t rank;                   /* of the result */
  int64_t dim[EX_ONNX_MAX_RANK];
};

static enum ex_status product_of(struct ex_onnx_call *call, int32_t ka, int32_t kb,
                                 struct product *out) {
  const struct ex_onnx_tensor *a = call->in[ka], *b = call->in[kb];
  memset(out, 0, sizeof *out);
  if (a->rank < 1 || b->rank < 1)
    return onnx_fail(call, EX_ESHAPE, "inputs of no dimension; must be of one at least");
  out->rows = a->rank > 1 ? a->dim[a->rank - 2] : 1;
  out->depth = a->dim[a->rank - 1];
  out->columns = b->rank > 1 ? b->dim[b->rank - 1] : 1;
  int64_t other = b->rank > 1 ? b->dim[b->rank - 2] : b->dim[0];
  if (other != out->depth)
    return onnx_fail(call, EX_ESHAPE, "%" PRId64 " columns by %" PRId64 " rows", out->depth, other);
  int32_t rank_a = a->rank > 2 ? a->rank - 2 : 0, rank_b = b->rank > 2 ? b->rank - 2 : 0;
  struct ex_onnx_broadcast *at = &out->batch;
  EX_TRY(ex__onnx_broadcast_dims(call, rank_a, a->dim, rank_b, b->dim, &at->rank, at->dim));
  int64_t own[EX_ONNX_MAX_RANK];
  ex__onnx_steps(a->dim, rank_a, own);
  for (int32_t i = 0; i < rank_a; i++)
    if (a->dim[i] != 1) at->step[0][at->rank - rank_a + i] = own[i];
  ex__onnx_steps(b->dim, rank_b, own);
  for (int32_t i = 0; i < rank_b; i++)
    if (b->dim[i] != 1) at->step[1][at->rank - rank_b + i] = own[i];
  memcpy(out->dim, at->dim, sizeof out->dim);
  out->rank = at->rank;
  if (a->rank > 1) out->dim[out->rank++] = out->rows;
  if (b->rank > 1) out->dim[out->rank++] = out->columns;
  return EX_OK;
}

static void multiply_real(const struct product *p, const double *a, const double *b, double *c) {
  for (int64_t row = 0; row < p->rows; row++, c += p->columns)
    for (int64_t k = 0; k < p->depth; k++) {
      double x = a[row * p->depth + k];
      for (int64_t column = 0; column < p->columns; column++)
        c[column] += x * b[k * p->columns + column];
    }
}

static void multiply_whole(const struct product *p, const int64_t *a, const int64_t *b,
                           int64_t *c) {
  for (int64_t row = 0; row < p->rows; row++, c += p->columns)
    for (int64_t k = 0; k < p->depth; k++) {
      uint64_t x = (uint64_t)a[row * p->depth + k];
      for (int64_t column = 0; column < p->columns; column++)
        c[column] = (int64_t)((uint64_t)c[column] + x * (uint64_t)b[k * p->columns + column]);
    }
}

static enum ex_status matmul(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *a = call->in[0], *b = call->in[1];
  struct product p;
  bool numbers;
  if (a->type != b->type) return onnx_fail(call, EX_EFORMAT, "inputs must be of one type");
  EX_TRY(product_of(call, 0, 1, &p));
  EX_TRY(ex__onnx_out(call, 0, a->type, p.rank, p.dim, &numbers));
  if (!numbers) return EX_OK;
  EX_TRY(ex__onnx_spend(call, (double)call->out[0].count * (double)p.depth));
  int64_t size = p.rows * p.columns;
  for (int64_t i = 0; size > 0 && i < call->out[0].count / size; i++) {
    int64_t x = ex__onnx_where(&p.batch, 0) * p.rows * p.depth;
    int64_t y = ex__onnx_where(&p.batch, 1) * p.depth * p.columns;
    if (a->real != NULL)
      multiply_real(&p, a->real + x, b->real + y, call->out[0].real + i * size);
    else
      multiply_whole(&p, a->whole + x, b->whole + y, call->out[0].whole + i * size);
    ex__onnx_advance(&p.batch);
  }
  return EX_OK;
}

/* ---- Gemm ---------------------------------------------------------------------------- */

static enum ex_status gemm_bias(struct ex_onnx_call *call, double beta) {
  const struct ex_onnx_tensor *c = call->in[2];
  struct ex_onnx_tensor *out = &call->out[0];
  int64_t rows = c->rank > 1 ? c->dim[c->rank - 2] : 1;
  int64_t columns = c->rank > 0 ? c->dim[c->rank - 1] : 1;
  bool fits = c->rank <= 2 && c->type == out->type && (rows == 1 || rows == out->dim[0]) &&
              (columns == 1 || columns == out->dim[1]);
  if (!fits) return onnx_fail(call, EX_ESHAPE, "input 2 does not go with the product");
  if (call->unknown) return EX_OK;
  for (int64_t i = 0; i < out->count; i++) {
    int64_t row = i / out->dim[1], column = i % out->dim[1];
    int64_t at = (rows > 1 ? row * columns : 0) + (columns > 1 ? column : 0);
    out->real[i] += beta * c->real[at];
  }
  return EX_OK;
}

static enum ex_status gemm(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *a = call->in[0], *b = call->in[1];
  bool turn_a = ex__onnx_int(call, "transA", 0) != 0, turn_b = ex__onnx_int(call, "transB", 0) != 0;
  double alpha = ex__onnx_float(call, "alpha", 1), beta = ex__onnx_float(call, "beta", 1);
  bool numbers;
  if (a->rank != 2 || b->rank != 2 || a->type != b->type)
    return onnx_fail(call, EX_ESHAPE, "inputs 0 and 1 must be matrices of one type");
  EX_TRY(ex__onnx_want_real(call, 0));
  int64_t dim[2] = {a->dim[turn_a], b->dim[!turn_b]}, depth = a->dim[!turn_a];
  if (b->dim[turn_b] != depth)
    return onnx_fail(call, EX_ESHAPE, "%" PRId64 " columns by %" PRId64 " rows", depth,
                     b->dim[turn_b]);
  EX_TRY(ex__onnx_out(call, 0, a->type, 2, dim, &numbers));
  if (numbers) {
    EX_TRY(ex__onnx_spend(call, (double)call->out[0].count * (double)depth));
    int64_t row_a = turn_a ? 1 : depth, depth_a = turn_a ? dim[0] : 1;
    int64_t depth_b = turn_b ? 1 : dim[1], column_b = turn_b ? depth : 1;
    for (int64_t i = 0; i < call->out[0].count; i++) {
      const double *x = a->real + i / dim[1] * row_a, *y = b->real + i % dim[1] * column_b;
      double sum = 0;
      for (int64_t k = 0; k < depth; k++) sum += x[k * depth_a] * y[k * depth_b];
      call->out[0].real[i] = alpha * sum;
    }
  }
  return ex__onnx_has(call, 2) ? gemm_bias(call, beta) : EX_OK;
}

/* ---- quantised numbers ----------------------------------------------------------------- */

static void type_range(int32_t type, double *low, double *high) {
  bool is_signed = type == ONNX(INT8);
  *low = is_signed ? -128 : 0;
  *high = is_signed ? 127 : 255;
}

/* Scale and zero point of each element of a tensor: one, or one per index of an axis. */
struct scale {
  const struct ex_onnx_tensor *scale, *zero; /* zero may be NULL */
  int64_t n, inner;                          /* values; elements behind the axis */
};

static enum ex_status find_scale(struct ex_onnx_call *call, const struct ex_onnx_tensor *of,
                                 int32_t k_scale, int32_t k_zero, int64_t axis, struct scale *out) {
  int32_t at;
  *out = (struct scale){call->in[k_scale], ex__onnx_has(call, k_zero) ? call->in[k_zero] : NULL,
                        call->in[k_scale]->count, 1};
  EX_TRY(ex__onnx_want_real(call, k_scale));
  if (out->zero != NULL && out->zero->count != out->n)
    return onnx_fail(call, EX_ESHAPE, "scales and zero points must be as many");
  if (out->n == 1) return EX_OK;
  EX_TRY(ex__onnx_axis(call, axis, of->rank, &at));
  if (of->dim[at] != out->n)
    return onnx_fail(call, EX_ESHAPE, "%" PRId64 " scales for %" PRId64 " elements of the axis",
                     out->n, of->dim[at]);
  out->inner = ex__onnx_product(of->dim, at + 1, of->rank);
  return EX_OK;
}

static int64_t scale_at(const struct scale *scale, int64_t i) {
  return scale->n == 1 ? 0 : i / scale->inner % scale->n;
}

static double zero_at(const struct scale *scale, int64_t i) {
  return scale->zero != NULL ? ex__onnx_at(scale->zero, scale_at(scale, i)) : 0;
}

static double saturate(double x, int32_t type) {
  double low, high;
  type_range(type, &low, &high);
  return x < low ? low : x > high ? high : isnan(x) ? 0 : x;
}

/* In float, as everybody does it: in double, halves would fall on the other side. */
static double rounded_quotient(double x, double scale) {
  return nearbyint((double)((float)x / (float)scale));
}

static enum ex_status quantise(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  struct scale scale;
  bool numbers;
  EX_TRY(find_scale(call, in, 1, 2, ex__onnx_int(call, "axis", 1), &scale));
  int32_t type = scale.zero != NULL ? scale.zero->type : ONNX(UINT8);
  if (type != ONNX(INT8) && type != ONNX(UINT8))
    return onnx_fail(call, EX_EUNSUPPORTED, "zero points of %s", ex__onnx_type_name(type));
  EX_TRY(ex__onnx_out(call, 0, type, in->rank, in->dim, &numbers));
  for (int64_t i = 0; numbers && i < in->count; i++) {
    double x = rounded_quotient(ex__onnx_at(in, i), scale.scale->real[scale_at(&scale, i)]);
    call->out[0].whole[i] = (int64_t)saturate(x + zero_at(&scale, i), type);
  }
  return EX_OK;
}

static enum ex_status dequantise(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  struct scale scale;
  bool numbers;
  EX_TRY(find_scale(call, in, 1, 2, ex__onnx_int(call, "axis", 1), &scale));
  EX_TRY(ex__onnx_out(call, 0, call->in[1]->type, in->rank, in->dim, &numbers));
  for (int64_t i = 0; numbers && i < in->count; i++)
    call->out[0].real[i] =
        (ex__onnx_at(in, i) - zero_at(&scale, i)) * scale.scale->real[scale_at(&scale, i)];
  return EX_OK;
}

static enum ex_status dynamic_quantise(struct ex_onnx_call *call) {
  const struct ex_onnx_tensor *in = call->in[0];
  double low = 0, high = 0;
  bool numbers;
  EX_TRY(ex__onnx_want_real(call, 0));
  EX_TRY(ex__onnx_out(call, 0, ONNX(UINT8), in->rank, in->dim, &numbers));
  EX_TRY(ex__onnx_out(call, 1, ONNX(FLOAT), 0, NULL, &numbers));
  EX_TRY(ex__onnx_out(call, 2, ONNX(UINT8), 0, NULL, &numbers));
  if (!numbers) return EX_OK;
  for (int64_t i = 0; i < in->count; i++) {
    low = fmin(low, in->real[i]);
    high = fmax(high, in->real[i]);
  }
  double scale = (double)(float)((high - low) / 255);
  double zero = saturate(nearbyint(-low / scale), ONNX(UINT8));
  call->out[1].real[0] = scale;
  call->out[2].whole[0] = (int64_t)zero;
  for (int64_t i = 0; i < in->count; i++)
    call->out[0].whole[i] =
        (int64_t)saturate(rounded_quotient(in->real[i], scale) + zero, ONNX(UINT8));
  return EX_OK;
}

/* The product of whole numbers less their zero points into `sum`, one batch. */
static void shifted_product(const struct product *p, const struct ex_onnx_tensor *a, int64_t x,
                            const struct ex_onnx_tensor *zero_a, const struct ex_onnx_tensor *b,
                            int64_t y, const struct ex_onnx_tensor *zero_b, int64_t *sum) {
  for (int64_t row = 0; row < p->rows; row++)
    for (int64_t column = 0; column < p->columns; column++) {
      int64_t za = zero_a == NULL ? 0 : zero_a->whole[zero_a->count > 1 ? row : 0];
      int64_t zb = zero_b == NULL ? 0 : zero_b->whole[zero_b->count > 1 ? column : 0], total = 0;
      for (int64_t k = 0; k < p->depth; k++)
        total +=
            (a->whole[x + row * p->depth + k] - za) * (b->whole[y + k * p->columns + column] - zb);
      sum[row * p->columns + column] = total;
    }
}

static enum ex_status check_zero(struct ex_onnx_call *call, int32_t k, int64_t n) {
  if (!ex__onnx_has(call, k)) return EX_OK;
  EX_TRY(ex__onnx_want_whole(call, k));
  if (call->in[k]->count == 1 || call->in[k]->count == n) return EX_OK;
  return onnx_fail(call, EX_ESHAPE, "input %d must hold one zero point, or one per row or column",
                   (int)k);
}

static enum ex_status check_bytes(struct ex_onnx_call *call, int32_t k) {
  int32_t type = call->in[k]->type;
  if (type == ONNX(INT8) || type == ONNX(UINT8)) return EX_OK;
  return onnx_fail(call, EX_EUNSUPPORTED, "input %d is %s; must be int8 or uint8", (int)k,
                   ex__onnx_type_name(type));
}

/* Inputs a and b with their zero points. */
static enum ex_status whole_product(struct ex_onnx_call *call, int32_t kb, int32_t zero_a,
                                    int32_t zero_b, int32_t type) {
  struct product p;
  bool numbers;
  EX_TRY(check_bytes(call, 0));
  EX_TRY(check_bytes(call, kb));
  EX_TRY(product_of(call, 0, kb, &p));
  EX_TRY(check_zero(call, zero_a, p.rows));
  EX_TRY(check_zero(call, zero_b, p.columns));
  EX_TRY(ex__onnx_out(call, 0, type, p.rank, p.dim, &numbers));
  if (!numbers) return EX_OK;
  EX_TRY(ex__onnx_spend(call, (double)call->out[0].count * (double)p.depth));
  int64_t size = p.rows * p.columns;
  for (int64_t i = 0; size > 0 && i < call->out[0].count / size; i++) {
    shifted_product(&p, call->in[0], ex__onnx_where(&p.batch, 0) * p.rows * p.depth,
                    ex__onnx_has(call, zero_a) ? call->in[zero_a] : NULL, call->in[kb],
                    ex__onnx_where(&p.batch, 1) * p.depth * p.columns,
                    ex__onnx_has(call, zero_b) ? call->in[zero_b] : NULL,
                    call->out[0].whole + i * size);
    ex__onnx_advance(&p.batch);
  }
  return EX_OK;
}

static enum ex_status matmul_integer(struct ex_onnx_call *call) {
  return whole_product(call, 1, 2, 3, ONNX(INT32));
}

static enum ex_status quantised_matmul(struct ex_onnx_call *call) {
  static const int32_t scales[] = {1, 4, 6};
  for (int32_t i = 0; i < 3; i++) {
    EX_TRY(ex__onnx_want_real(call, scales[i]));
    if (call->in[scales[i]]->count != 1 || call->in[scales[i] + 1]->count != 1)
      return onnx_fail(call, EX_EUNSUPPORTED, "a scale per row or column");
  }
  EX_TRY(check_bytes(call, 7));
  EX_TRY(whole_product(call, 3, 2, 5, call->in[7]->type));
  if (call->unknown) return EX_OK;
  double scale = call->in[1]->real[0] * call->in[4]->real[0] / call->in[6]->real[0];
  for (int64_t i = 0; i < call->out[0].count; i++) {
    double x = nearbyint((double)call->out[0].whole[i] * scale) + (double)call->in[7]->whole[0];
    call->out[0].whole[i] = (int64_t)saturate(x, call->in[7]->type);
  }
  return EX_OK;
}

extern const struct ex_onnx_op ex__onnx_ops_product[];
const struct ex_onnx_op ex__onnx_ops_product[] = {
    {"MatMul", 2, 2, 1, matmul},
    {"Gemm", 2, 3, 1, gemm},
    {"QuantizeLinear", 2, 3, 1, quantise},
    {"DequantizeLinear", 2, 3, 1, dequantise},
    {"DynamicQuantizeLinear", 1, 1, 3, dynamic_quantise},
    {"MatMulInteger", 2, 4, 1, matmul_integer},
    {"QLinearMatMul", 8, 8, 1, quantised_matmul},
    {NULL, 0, 0, 0, NULL},
};
