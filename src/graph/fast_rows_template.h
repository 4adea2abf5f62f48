/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/fast_rows_template: loops over rows of numbers, for what encoders are made of besides
 * products: exponentials and what follows from them, softmax, normalisation,
 * arithmetic of two operands. Included by fast_kernels_template.h, once per instruction set.
 *
 * Sums go over LANES partial sums that are joined pairwise, so they depend on
 * the row alone. Polynomials were fitted by us at Chebyshev points; against the
 * functions in double they are off by at most 2e-7 of the largest value.
 */
typedef uint32_t bits __attribute__((vector_size(4 * LANES), may_alias));

INLINE VECTOR choose(bits where, VECTOR yes, VECTOR no) {
  return (VECTOR)((where & (bits)yes) | (~where & (bits)no));
}

/* Lanes below n. */
INLINE bits lanes_below(int32_t n) {
  bits index = {0};
  for (int32_t i = 0; i < LANES; i++) index[i] = (uint32_t)i;
  return (bits)(index < (bits)((bits){0} + (uint32_t)n));
}

INLINE void store_some(float *out, VECTOR x, int64_t n) {
  if (n >= LANES) {
    STORE(out, x);
    return;
  }
  float lane[LANES];
  STORE(lane, x);
  for (int64_t i = 0; i < n; i++) out[i] = lane[i];
}

INLINE float sum_lanes_of(VECTOR x) {
  float lane[LANES];
  STORE(lane, x);
  for (int32_t half = LANES / 2; half > 0; half /= 2)
    for (int32_t i = 0; i < half; i++) lane[i] += lane[i + half];
  return lane[0];
}

/* Zero from lane n on. */
INLINE VECTOR first_lanes(VECTOR x, int64_t n) {
  return n >= LANES ? x : (VECTOR)((bits)x & lanes_below((int32_t)n));
}

INLINE VECTOR load_up_to(const float *in, int64_t n) {
  return n >= LANES ? LOAD(in) : LOAD_SOME(in, (int32_t)n);
}

/* Coefficients from the highest power down. */
INLINE VECTOR polynomial(VECTOR x, const float *c, const int n) {
  VECTOR y = SPREAD(c[0]);
  UNROLL for (int i = 1; i < n; i++) y = FMA(y, x, SPREAD(c[i]));
  return y;
}

/* ---- functions ------------------------------------------------------------------- */

/* e^x for x in [−86.5, 89], or NaN: x = n ln 2 + r, and Taylor's series of r to the 7th. */
INLINE VECTOR exp_within(VECTOR x) {
  static const float series[] = {1.0F / 5040, 1.0F / 720, 1.0F / 120, 1.0F / 24,
                                 1.0F / 6,    0.5F,       1,          1};
  const VECTOR round = SPREAD(12582912.0F); /* 1.5 · 2^23: what is added to it becomes whole */
  VECTOR whole = FMA(x, SPREAD(1.44269504F), round), n = whole - round;
  VECTOR r = FMA(n, SPREAD(-0.693145752F), x); /* ln 2 in two parts */
  r = FMA(n, SPREAD(-1.42860677e-6F), r);
  VECTOR power = (VECTOR)(((bits)whole << 23) + (126U << 23)); /* 2^(n − 1) */
  return polynomial(r, series, 8) * power * SPREAD(2);
}

/* Below 3e-38: 0. */
INLINE VECTOR exp_of(VECTOR x) {
  const VECTOR low = SPREAD(-86.5F), high = SPREAD(89);
  VECTOR within = choose((bits)(x > high), high, x);
  within = choose((bits)(x < low), low, within);
  return choose((bits)(x < low), SPREAD(0), exp_within(within));
}

/* Below 1 a polynomial of x², above it 1 − e^−q(|x|) with q = −ln(erfc). */
INLINE VECTOR erf_of(VECTOR x) {
  static const float small[] = {7.88249733e-5F, -8.01885505e-4F, 5.18931195e-3F, -2.68543288e-2F,
                                0.112835975F,   -0.376126269F,   1.12837917F};
  static const float large[] = {-1.61406155e-6F, 4.55906215e-5F,  -5.9276953e-4F,
                                4.74022231e-3F,  -2.63647173e-2F, 0.109978245F,
                                0.631937094F,    1.13016668F,     -3.03212949e-4F};
  const bits sign = (bits){0} + 0x80000000U;
  VECTOR a = (VECTOR)((bits)x & ~sign), limit = SPREAD(4);
  VECTOR inner = x * polynomial(x * x, small, 7);
  VECTOR q = polynomial(choose((bits)(a > limit), limit, a), large, 9);
  VECTOR outer = SPREAD(1) - exp_within(SPREAD(0) - q);
  return choose((bits)(a < SPREAD(1)), inner, (VECTOR)((bits)outer | ((bits)x & sign)));
}

INLINE VECTOR gelu_of(VECTOR x) {
  VECTOR half = x * SPREAD(0.5F);
  return FMA(half, erf_of(x * SPREAD(0.707106781F)), half);
}

INLINE VECTOR tanh_of(VECTOR x) {
  static const float small[] = {-5.60768867e-3F, 2.05449067e-2F, -5.37070676e-2F,
                                0.133309573F,    -0.333332535F,  0.999999996F};
  const bits sign = (bits){0} + 0x80000000U;
  VECTOR a = (VECTOR)((bits)x & ~sign), limit = SPREAD(10);
  VECTOR inner = x * polynomial(x * x, small, 6);
  VECTOR e = exp_within(choose((bits)(a > limit), limit, a) * SPREAD(2));
  VECTOR outer = SPREAD(1) - SPREAD(2) / (e + SPREAD(1));
  return choose((bits)(x * x < SPREAD(0.4F)), inner, (VECTOR)((bits)outer | ((bits)x & sign)));
}

#define CURVE(name)                                                       \
  TARGET static void name##_row(const float *in, float *out, int64_t n) { \
    for (int64_t i = 0; i < n; i += LANES)                                \
      store_some(out + i, name##_of(load_up_to(in + i, n - i)), n - i);   \
  }
CURVE(exp)
CURVE(erf)
CURVE(gelu)
CURVE(tanh)
#undef CURVE

TARGET static void curve(enum ex_curve which, const float *in, float *out, int64_t n) {
  switch (which) {
    case EX_CURVE_EXP: exp_row(in, out, n); break;
    case EX_CURVE_ERF: erf_row(in, out, n); break;
    case EX_CURVE_GELU: gelu_row(in, out, n); break;
    case EX_CURVE_TANH: tanh_row(in, out, n); break;
    case EX_CURVE_NONE: break;
  }
}

/* ---- rows that become one number, or are measured by one ---------------------------- */

INLINE float row_sum(const float *in, int64_t n) {
  VECTOR sum = SPREAD(0);
  for (int64_t i = 0; i < n; i += LANES) sum = ADD(sum, load_up_to(in + i, n - i));
  return sum_lanes_of(sum);
}

TARGET static void row_sums(const float *in, int64_t n_rows, int64_t n, float divisor, float *out) {
  for (int64_t r = 0; r < n_rows; r++, in += n) out[r] = row_sum(in, n) / divisor;
}

/* Less the first number, so that a row far from zero loses nothing. */
TARGET static void standardise(const float *in, int64_t n_rows, int64_t n, float eps,
                               const float *factor, const float *shift, float *out) {
  for (int64_t r = 0; r < n_rows; r++, in += n, out += n) {
    VECTOR pivot = SPREAD(in[0]), sum = SPREAD(0), squares = SPREAD(0);
    for (int64_t i = 0; i < n; i += LANES)
      sum = sum + first_lanes(load_up_to(in + i, n - i) - pivot, n - i);
    VECTOR mean = SPREAD(sum_lanes_of(sum) / (float)n);
    for (int64_t i = 0; i < n; i += LANES) {
      VECTOR d = first_lanes(load_up_to(in + i, n - i) - pivot - mean, n - i);
      squares = FMA(d, d, squares);
    }
    VECTOR by = SPREAD(1.0F / sqrtf(sum_lanes_of(squares) / (float)n + eps));
    for (int64_t i = 0; i < n; i += LANES) {
      VECTOR y = (load_up_to(in + i, n - i) - pivot - mean) * by;
      if (factor != NULL) y = y * load_up_to(factor + i, n - i);
      if (shift != NULL) y = y + load_up_to(shift + i, n - i);
      store_some(out + i, y, n - i);
    }
  }
}

INLINE float row_top(const float *in, int64_t n) {
  VECTOR top = SPREAD(in[0]);
  for (int64_t i = 0; i < n; i += LANES) {
    VECTOR x = load_up_to(in + i, n - i);
    bits larger = (bits)(x > top);
    if (n - i < LANES) larger &= lanes_below((int32_t)(n - i));
    top = choose(larger, x, top);
  }
  float lane[LANES], best;
  STORE(lane, top);
  best = lane[0];
  for (int32_t i = 1; i < LANES; i++) best = lane[i] > best ? lane[i] : best;
  return best;
}

TARGET static void softmax_rows(const float *in, int64_t n_rows, int64_t n, float *out) {
  for (int64_t r = 0; r < n_rows; r++, in += n, out += n) {
    VECTOR top = SPREAD(row_top(in, n)), sum = SPREAD(0);
    for (int64_t i = 0; i < n; i += LANES) {
      VECTOR e = exp_of(load_up_to(in + i, n - i) - top);
      store_some(out + i, e, n - i);
      sum = sum + first_lanes(e, n - i);
    }
    float by = 1.0F / sum_lanes_of(sum);
    for (int64_t i = 0; i < n; i++) out[i] *= by;
  }
}

/* ---- arithmetic ------------------------------------------------------------------------ */

/* An operand is a row of neighbours, one number (step 0), or apart. */
#define OPERATION(name, value)                                                           \
  TARGET static void name##_rows(int64_t n, const float *first, int64_t first_step,      \
                                 const float *second, int64_t second_step, float *out) { \
    if (first_step == 1 && second_step == 1) {                                           \
      for (int64_t i = 0; i < n; i++) {                                                  \
        float a = first[i], b = second[i];                                               \
        out[i] = value;                                                                  \
      }                                                                                  \
    } else if (first_step == 1 && second_step == 0) {                                    \
      float b = second[0];                                                               \
      for (int64_t i = 0; i < n; i++) {                                                  \
        float a = first[i];                                                              \
        out[i] = value;                                                                  \
      }                                                                                  \
    } else {                                                                             \
      for (int64_t i = 0; i < n; i++) {                                                  \
        float a = first[i * first_step], b = second[i * second_step];                    \
        out[i] = value;                                                                  \
      }                                                                                  \
    }                                                                                    \
  }
OPERATION(plus, a + b)
OPERATION(minus, a - b)
OPERATION(times, a *b)
OPERATION(over, a / b)
OPERATION(larger_of, a > b || a != a ? a : b)
OPERATION(smaller_of, a < b || a != a ? a : b)
OPERATION(prelu, a < 0 ? a * b : a)
#undef OPERATION

/* In the order of enum ex_arithmetic_kind. */
static ex_binary_kernel *const binary_table[] = {
    plus_rows, minus_rows, times_rows, over_rows, larger_of_rows, smaller_of_rows, prelu_rows};
