/* SPDX-License-Identifier: Apache-2.0
 *
 * The matrix product of the twins, over every remainder of its tiles.
 */
#include <math.h>

#include "base/random.h"
#include "graph/multiply.h"
#include "tests/testing.h"

enum { MOST = 23 };

static ex_real a[MOST * MOST], b[MOST * MOST], c[MOST * MOST], start[MOST * MOST];

static int prepare(void **state) {
  (void)state;
  struct ex_random random = ex__random_seed(3, 0);
  for (int i = 0; i < MOST * MOST; i++) {
    a[i] = (ex_real)ex__random_normal(&random);
    b[i] = (ex_real)ex__random_normal(&random);
    start[i] = (ex_real)ex__random_normal(&random);
  }
  return 0;
}

/* Where (i, k) of a lies, as it is or transposed. */
static struct ex_matrix view(bool transposed) {
  return transposed ? (struct ex_matrix){a, 1, MOST} : (struct ex_matrix){a, MOST, 1};
}

static void sums_are_right(void **state) {
  (void)state;
  for (int n = 0; n < 2 * MOST * MOST; n++) {
    int rows = n % MOST + 1, columns = n / 2 % MOST + 1, depth = n / MOST % MOST;
    struct ex_matrix left = view(n % 2);
    memcpy(c, start, sizeof c);
    ex__multiply_add(rows, columns, depth, left, b, MOST, c, MOST);
    for (int i = 0; i < MOST; i++)
      for (int j = 0; j < MOST; j++) {
        double sum = start[i * MOST + j];
        for (int k = 0; i < rows && j < columns && k < depth; k++)
          sum += (double)a[i * left.row_step + k * left.column_step] * b[k * MOST + j];
        if (!(fabs(c[i * MOST + j] - sum) < 1e-5))
          fail_msg("%d × %d × %d: c[%d][%d] = %g; must be %g", rows, columns, depth, i, j,
                   (double)c[i * MOST + j], sum);
      }
  }
}

/* The corner of a product has the bits of the product of the corner. */
static void bits_do_not_depend_on_the_rest(void **state) {
  (void)state;
  static ex_real corner[MOST * MOST];
  memcpy(c, start, sizeof c);
  ex__multiply_add(MOST, MOST, MOST, view(false), b, MOST, c, MOST);
  for (int rows = 1; rows <= MOST; rows++)
    for (int columns = 1; columns <= MOST; columns++) {
      memcpy(corner, start, sizeof corner);
      ex__multiply_add(rows, columns, MOST, view(false), b, MOST, corner, MOST);
      for (int i = 0; i < rows; i++)
        assert_memory_equal(corner + i * MOST, c + i * MOST, (size_t)columns * sizeof *c);
    }
}

static void dot_of_every_length(void **state) {
  (void)state;
  for (int n = 0; n <= MOST * MOST; n++) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)a[i] * b[i];
    assert_true(fabs(ex__dot(a, b, n) - sum) < 1e-4);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sums_are_right),
      cmocka_unit_test(bits_do_not_depend_on_the_rest),
      cmocka_unit_test(dot_of_every_length),
  };
  return cmocka_run_group_tests(tests, prepare, NULL);
}
