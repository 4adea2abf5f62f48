/* SPDX-License-Identifier: Apache-2.0
 *
 * Distillation within a network: gradients at the logits against central
 * differences with the teacher held still, closed forms, the rise of the
 * temperature, samples without labels.
 */
#include <math.h>

#include "base/random.h"
#include "method/teaching.h"
#include "tests/testing.h"

enum { N = 5, POINTS = 3, CLASSES = 4, SIZE = N * CLASSES, LAST = POINTS - 1 };

static struct ex_error err;

struct made {
  const struct ex_method *method;
  double state[1]; /* the temperature */
  _Alignas(16) char values[EX_MAX_METHOD_VALUES];
  ex_real z[POINTS][SIZE], dz[POINTS][SIZE], scratch[N * (CLASSES + 2)];
  const ex_real *output[POINTS];
  ex_real *doutput[POINTS];
  double point_loss[POINTS];
  int32_t target[N];
  struct ex_loss_call call;
};

static void make(struct made *m, const char *name) {
  *m = (struct made){.method = ex__method_find(name), .target = {2, 0, -1, 3, -1}};
  ex__param_defaults(m->method->params, m->values);
  struct ex_random random = ex__random_seed(3, 1);
  for (int32_t p = 0; p < POINTS; p++) {
    for (int32_t i = 0; i < SIZE; i++) m->z[p][i] = 2 * ex__random_normal(&random);
    m->output[p] = m->z[p];
    m->doutput[p] = m->dz[p];
  }
  m->call = (struct ex_loss_call){.n = N,
                                  .n_points = POINTS,
                                  .n_outputs = CLASSES,
                                  .output = m->output,
                                  .target = m->target,
                                  .n_epochs = 1,
                                  .scratch = m->scratch,
                                  .doutput = m->doutput,
                                  .point_loss = m->point_loss};
  if (m->method->start != NULL) m->method->start(m->values, NULL, 1, m->state);
}

static void set(struct made *m, const char *name, const char *text) {
  assert_ok(ex__param_set(m->method->name, m->method->params, m->values, name, text, &err), &err);
}

static double loss_at(struct made *m, double temperature) {
  memset(m->dz, 0, sizeof m->dz);
  m->state[0] = temperature;
  return m->method->loss(m->values, m->state, &m->call);
}

/* The sum of terms with the weights that the method means, teachers still. */
static double loss_of_terms(const struct made *m, const ex_real *const *teacher, double temperature,
                            double label, double teach, bool later) {
  double terms[POINTS + POINTS * (POINTS - 1) / 2], sum = 0;
  assert_int_equal(ex__teaching_n_terms(POINTS), sizeof terms / sizeof *terms);
  ex__teaching_terms(&m->call, teacher, temperature, terms);
  for (int32_t k = 0; k < POINTS; k++) sum += label * terms[k];
  for (int32_t t = later ? 1 : LAST; t < POINTS; t++)
    for (int32_t s = 0; s < t; s++) sum += teach * terms[ex__teaching_pair(POINTS, t, s)];
  return sum;
}

static void gradients_are_those_with_the_teacher_still(void **state) {
  (void)state;
  const double step = 1e-5, temperature = 2.5, label = 1.3 * 0.7, teach = 1.3 * 0.3;
  for (int later = 0; later < 2; later++) {
    struct made m;
    ex_real still[POINTS][SIZE];
    const ex_real *teacher[POINTS] = {still[0], still[1], still[2]};
    make(&m, "distillation");
    set(&m, "alpha", "0.3");
    set(&m, "scale", "1.3");
    set(&m, "teachers", later ? "later" : "last");
    memcpy(still, m.z, sizeof still);
    double loss = loss_at(&m, temperature), size = 0;
    assert_true(fabs(loss - loss_of_terms(&m, teacher, temperature, label, teach, later)) < 1e-12);
    for (int32_t p = 0; p < POINTS; p++)
      for (int32_t i = 0; i < SIZE; i++) {
        m.z[p][i] = still[p][i] + step;
        double above = loss_of_terms(&m, teacher, temperature, label, teach, later);
        m.z[p][i] = still[p][i] - step;
        double below = loss_of_terms(&m, teacher, temperature, label, teach, later);
        m.z[p][i] = still[p][i];
        double numeric = (above - below) / (2 * step);
        size += numeric * numeric;
        assert_true(fabs(numeric - m.dz[p][i]) < 1e-9);
      }
    assert_true(size > 0.01);
  }
}

/* The last exit's gradient is that of its labels alone, to the last bit. */
static void no_gradient_goes_to_the_teacher(void **state) {
  (void)state;
  struct made with, without;
  make(&with, "distillation");
  make(&without, "distillation");
  set(&without, "alpha", "0");
  set(&without, "scale", "1");
  loss_at(&with, 3);
  loss_at(&without, 3);
  assert_memory_equal(with.dz[LAST], without.dz[LAST], sizeof with.dz[LAST]);
  assert_memory_not_equal(with.dz[0], without.dz[0], sizeof with.dz[0]);
}

static void without_a_teacher_it_is_joint(void **state) {
  (void)state;
  struct made m, joint;
  make(&m, "distillation");
  make(&joint, "joint");
  set(&m, "alpha", "0");
  assert_true(loss_at(&m, 4) == loss_at(&joint, 1));
  assert_memory_equal(m.dz, joint.dz, sizeof m.dz);
  for (int32_t p = 0; p < POINTS; p++) assert_true(m.point_loss[p] == joint.point_loss[p]);
}

/* By default labels weigh what they do in joint, whatever the teacher's share. */
static void labels_weigh_what_they_do_in_joint(void **state) {
  (void)state;
  static const char *const alpha[] = {"0.25", "0.5", "0.75"};
  struct made joint;
  make(&joint, "joint");
  loss_at(&joint, 1);
  for (int32_t a = 0; a < 3; a++) {
    struct made m;
    make(&m, "distillation");
    set(&m, "alpha", alpha[a]);
    loss_at(&m, 3);
    for (int32_t i = 0; i < SIZE; i++) assert_true(fabs(m.dz[LAST][i] - joint.dz[LAST][i]) < 1e-15);
  }
}

static void a_student_like_its_teacher_learns_nothing(void **state) {
  (void)state;
  const double t = 3;
  struct made m;
  make(&m, "distillation");
  set(&m, "alpha", "1");
  for (int32_t p = 0; p < LAST; p++) memcpy(m.z[p], m.z[LAST], sizeof m.z[p]);
  double entropy = 0;
  for (int32_t i = 0; i < N; i++) {
    double total = 0;
    for (int32_t c = 0; c < CLASSES; c++) total += exp(m.z[LAST][i * CLASSES + c] / t);
    for (int32_t c = 0; c < CLASSES; c++) {
      double q = exp(m.z[LAST][i * CLASSES + c] / t) / total;
      entropy -= q * log(q) / N;
    }
  }
  assert_true(fabs(loss_at(&m, t) - LAST * t * t * entropy) < 1e-12);
  for (int32_t p = 0; p < POINTS; p++)
    for (int32_t i = 0; i < SIZE; i++) assert_true(fabs(m.dz[p][i]) < 1e-15);
}

/* As T grows, T (p^T − q^T) → the difference of centred logits / classes. */
static void a_hot_teacher_compares_logits(void **state) {
  (void)state;
  struct made m;
  make(&m, "distillation");
  set(&m, "alpha", "1");
  loss_at(&m, 1e3);
  for (int32_t i = 0; i < N; i++) {
    double mean[POINTS] = {0};
    for (int32_t p = 0; p < POINTS; p++)
      for (int32_t c = 0; c < CLASSES; c++) mean[p] += m.z[p][i * CLASSES + c] / CLASSES;
    for (int32_t c = 0; c < CLASSES; c++) {
      int32_t at = i * CLASSES + c;
      double limit = (m.z[0][at] - mean[0] - m.z[LAST][at] + mean[LAST]) / CLASSES / N;
      assert_true(fabs(m.dz[0][at] - limit) < 5e-3);
    }
  }
}

/* ---- temperature ----------------------------------------------------------- */

/* N rows of (sure, 0, …, 0) over `classes`, until the temperature rests. */
static double rest_at(double sure, int32_t classes, double confidence, double limit,
                      int32_t *rises) {
  ex_real z[2 * 10] = {0}, scratch[2 * 12];
  const ex_real *output[1] = {z};
  const struct ex_loss_call call = {
      .n = 2, .n_points = 1, .n_outputs = classes, .output = output, .scratch = scratch};
  const struct ex_temperature annealing = {1, confidence, 1.05, limit, 1};
  z[0] = z[classes] = sure;
  double t = 1;
  for (*rises = 0; *rises < 1000; ++*rises) {
    double next = ex__teaching_anneal(&call, t, &annealing);
    assert_true(next >= t);
    if (next == t) break;
    t = next;
  }
  return t;
}

static void temperature_rises_until_the_teacher_is_unsure(void **state) {
  (void)state;
  int32_t rises;
  /* exp(c/T) / (exp(c/T) + 9) falls to 0.5 at T = 10 / ln 9 = 4.551. */
  double t = rest_at(10, 10, 0.5, 100, &rises);
  assert_int_equal(rises, 32);
  assert_true(fabs(t - pow(1.05, 32)) < 1e-12);
  /* Two classes are never below a half: the limit ends it. */
  assert_true(rest_at(10, 2, 0.5, 20, &rises) == 20);
  assert_true(rest_at(10, 2, 0.75, 20, &rises) < 10);
  /* At the bound itself it rests. */
  assert_true(rest_at(0, 2, 0.5, 20, &rises) == 1);
  assert_true(rest_at(NAN, 10, 0.5, 20, &rises) == 1);
}

static void temperature_moves_after_the_loss(void **state) {
  (void)state;
  struct made m;
  make(&m, "distillation");
  assert_true(m.state[0] == 1);
  double cold = loss_at(&m, 1);
  assert_true(fabs(m.state[0] - 1.05) < 1e-15); /* logits of ± 2: sure enough */
  set(&m, "anneal", "false");
  assert_true(loss_at(&m, 1) == cold);
  assert_true(m.state[0] == 1);
}

/* ---- labels ----------------------------------------------------------------- */

static void unlabelled_samples_are_taught(void **state) {
  (void)state;
  struct made m;
  make(&m, "distillation");
  loss_at(&m, 2);
  for (int32_t c = 0; c < CLASSES; c++) {
    assert_true(m.dz[0][2 * CLASSES + c] != 0);
    assert_true(m.dz[LAST][2 * CLASSES + c] == 0);
  }
  /* Labels are a mean over the three samples that have one. */
  double total = 0;
  for (int32_t c = 0; c < CLASSES; c++) total += exp(m.z[LAST][c]);
  assert_true(fabs(m.dz[LAST][0] - exp(m.z[LAST][0]) / total / 3) < 1e-15);
  for (int32_t i = 0; i < N; i++) m.target[i] = -1;
  double loss = loss_at(&m, 2);
  assert_true(isfinite(loss) && loss > 0);
  assert_true(isnan(m.point_loss[0]));
  for (int32_t i = 0; i < SIZE; i++) assert_true(m.dz[LAST][i] == 0 && isfinite(m.dz[0][i]));
}

static void a_frozen_exit_may_teach(void **state) {
  (void)state;
  struct made m;
  make(&m, "distillation");
  double label = loss_of_terms(&m, m.output, 2, 1, 0, false);
  double all = loss_at(&m, 2);
  m.doutput[LAST] = NULL;
  double heads = loss_at(&m, 2);
  assert_true(label > 0 && fabs(all - heads - m.point_loss[LAST]) < 1e-12);
  assert_true(m.dz[0][0] != 0 && m.dz[LAST][0] == 0);
}

static void limits_are_checked(void **state) {
  (void)state;
  struct made m;
  make(&m, "distillation");
  set(&m, "temperature", "4");
  set(&m, "temperature-limit", "3");
  assert_refused(m.method->check(m.values, POINTS, &err), EX_EINVAL, &err, "at least the first");
  set(&m, "anneal", "false");
  assert_ok(m.method->check(m.values, POINTS, &err), &err);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_are_those_with_the_teacher_still),
      cmocka_unit_test(no_gradient_goes_to_the_teacher),
      cmocka_unit_test(without_a_teacher_it_is_joint),
      cmocka_unit_test(labels_weigh_what_they_do_in_joint),
      cmocka_unit_test(a_student_like_its_teacher_learns_nothing),
      cmocka_unit_test(a_hot_teacher_compares_logits),
      cmocka_unit_test(temperature_rises_until_the_teacher_is_unsure),
      cmocka_unit_test(temperature_moves_after_the_loss),
      cmocka_unit_test(unlabelled_samples_are_taught),
      cmocka_unit_test(a_frozen_exit_may_teach),
      cmocka_unit_test(limits_are_checked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
