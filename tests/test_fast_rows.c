/* SPDX-License-Identifier: Apache-2.0
 *
 * Loops over rows, of every instruction set that this processor has, against
 * plain ones in double: functions on all of their range, rows of every length
 * around the registers' widths, rows far from zero, infinities and NaN.
 */
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "graph/fast_kernels.h"
#include "tests/testing.h"

#ifdef EX_NO_ONEDNN
int main(void) { return 77; } /* this build has no fast backend */
#else

enum { LONGEST = 67, N_ROWS = 3, N_POINTS = 20001 };

/* Those that run here; the last entry is NULL. */
static const struct ex_kernels *const *sets(void) {
  static const struct ex_kernels *found[4];
  int n = 0;
  found[n++] = &ex__kernels_base;
#if defined(__x86_64__)
  if (ex__kernels() != &ex__kernels_base) found[n++] = &ex__kernels_avx2;
  if (ex__kernels() == &ex__kernels_avx512) found[n++] = &ex__kernels_avx512;
#endif
  found[n] = NULL;
  return found;
}

static double gelu(double x) { return 0.5 * x * erfc(-x * sqrt(0.5)); }

static void functions_are_near_those_in_double(void **state) {
  static const struct {
    enum ex_curve which;
    double (*exact)(double x);
    double from, to, relative, absolute;
  } cases[] = {
      {EX_CURVE_EXP, exp, -86, 88, 3e-7, 0},       {EX_CURVE_ERF, erf, -6, 6, 2e-7, 2e-7},
      {EX_CURVE_ERF, erf, -1e-3, 1e-3, 3e-7, 0},   {EX_CURVE_TANH, tanh, -12, 12, 2e-7, 2e-7},
      {EX_CURVE_TANH, tanh, -1e-3, 1e-3, 3e-7, 0}, {EX_CURVE_GELU, gelu, -8, 8, 3e-7, 5e-7}};
  (void)state;
  float in[N_POINTS], out[N_POINTS];
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    for (int i = 0; i < N_POINTS; i++)
      in[i] = (float)(cases[c].from + (cases[c].to - cases[c].from) * i / (N_POINTS - 1));
    for (const struct ex_kernels *const *set = sets(); *set != NULL; set++) {
      (*set)->curve(cases[c].which, in, out, N_POINTS);
      for (int i = 0; i < N_POINTS; i++) {
        double exact = cases[c].exact((double)in[i]);
        double bound = cases[c].relative * fabs(exact) + cases[c].absolute;
        if (!(fabs((double)out[i] - exact) <= bound))
          fail_msg("%s, function %d of %.9g: %.9g; must be %.9g", (*set)->name, (int)cases[c].which,
                   (double)in[i], (double)out[i], exact);
      }
    }
  }
}

static void ends_of_the_range(void **state) {
  (void)state;
  const float in[] = {NAN, INFINITY, -INFINITY, 200, -200};
  static const float exp_of[] = {NAN, INFINITY, 0, INFINITY, 0}, one[] = {NAN, 1, -1, 1, -1};
  float out[5];
  for (const struct ex_kernels *const *set = sets(); *set != NULL; set++) {
    (*set)->curve(EX_CURVE_EXP, in, out, 5);
    for (int i = 1; i < 5; i++) assert_true(out[i] == exp_of[i]);
    assert_true(isnan(out[0]));
    for (enum ex_curve which = EX_CURVE_ERF; which <= EX_CURVE_TANH; which++) {
      (*set)->curve(which, in, out, 5);
      assert_true(isnan(out[0]));
      for (int i = 1; i < 5 && which != EX_CURVE_GELU; i++) assert_true(out[i] == one[i]);
    }
  }
}

static void fill(float *x, int n, double offset) {
  struct ex_random random = ex__random_seed(3, 0);
  for (int i = 0; i < n; i++) x[i] = (float)(offset + ex__random_normal(&random));
}

/* Also that nothing is written behind the rows. */
static void near(const struct ex_kernels *set, int n, const float *out, const double *exact) {
  for (int i = 0; i < N_ROWS * n; i++)
    if (!(fabs((double)out[i] - exact[i]) <= 2e-6 * fmax(1, fabs(exact[i]))))
      fail_msg("%s, rows of %d: element %d is %.9g; must be %.9g", set->name, n, i, (double)out[i],
               exact[i]);
  assert_true(out[N_ROWS * n] == 77);
}

static void standardised_rows(void **state) {
  (void)state;
  static const double offsets[] = {0, 1000};
  float in[N_ROWS * LONGEST], out[N_ROWS * LONGEST + 1], factor[LONGEST], shift[LONGEST];
  double exact[N_ROWS * LONGEST];
  fill(factor, LONGEST, 2);
  fill(shift, LONGEST, 0);
  for (int n = 1; n <= LONGEST; n++)
    for (int k = 0; k < 2; k++) {
      fill(in, N_ROWS * n, offsets[k]);
      for (int r = 0; r < N_ROWS; r++) {
        double mean = 0, square = 0;
        for (int i = r * n; i < (r + 1) * n; i++) mean += (double)in[i] / n;
        for (int i = r * n; i < (r + 1) * n; i++) square += pow((double)in[i] - mean, 2) / n;
        for (int i = 0; i < n; i++)
          exact[r * n + i] = ((double)in[r * n + i] - mean) / sqrt(square + 0.01) *
                                 (k == 0 ? (double)factor[i] : 1) +
                             (k == 0 ? (double)shift[i] : 0);
      }
      for (const struct ex_kernels *const *set = sets(); *set != NULL; set++) {
        out[N_ROWS * n] = 77;
        (*set)->standardise(in, N_ROWS, n, 0.01F, k == 0 ? factor : NULL, k == 0 ? shift : NULL,
                            out);
        near(*set, n, out, exact);
      }
    }
}

static void softmax_and_sums_of_rows(void **state) {
  (void)state;
  float in[N_ROWS * LONGEST], out[N_ROWS * LONGEST + 1], sums[N_ROWS];
  double exact[N_ROWS * LONGEST], total[N_ROWS];
  for (int n = 2; n <= LONGEST; n++) {
    fill(in, N_ROWS * n, -100);
    in[1] = -INFINITY; /* what a mask leaves out */
    for (int r = 0; r < N_ROWS; r++) {
      double sum = 0;
      total[r] = 0;
      for (int i = r * n; i < (r + 1) * n; i++) sum += exp((double)in[i] + 100);
      for (int i = r * n; i < (r + 1) * n; i++) exact[i] = exp((double)in[i] + 100) / sum;
      for (int i = r * n; i < (r + 1) * n; i++) total[r] += exact[i] / n;
    }
    for (const struct ex_kernels *const *set = sets(); *set != NULL; set++) {
      out[N_ROWS * n] = 77;
      (*set)->softmax_rows(in, N_ROWS, n, out);
      near(*set, n, out, exact);
      assert_true(out[1] == 0);
      (*set)->row_sums(out, N_ROWS, n, (float)n, sums);
      for (int r = 0; r < N_ROWS; r++) assert_true(fabs((double)sums[r] - total[r]) < 1e-7);
    }
  }
}

static void a_nan_is_seen(void **state) {
  (void)state;
  float in[LONGEST], out[LONGEST];
  for (int at = 0; at < LONGEST; at++) {
    fill(in, LONGEST, 0);
    in[at] = NAN;
    for (const struct ex_kernels *const *set = sets(); *set != NULL; set++) {
      (*set)->softmax_rows(in, 1, LONGEST, out);
      for (int i = 0; i < LONGEST; i++) assert_true(isnan(out[i]));
      (*set)->standardise(in, 1, LONGEST, 0, NULL, NULL, out);
      for (int i = 0; i < LONGEST; i++) assert_true(isnan(out[i]));
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(functions_are_near_those_in_double),
      cmocka_unit_test(ends_of_the_range),
      cmocka_unit_test(standardised_rows),
      cmocka_unit_test(softmax_and_sums_of_rows),
      cmocka_unit_test(a_nan_is_seen),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
