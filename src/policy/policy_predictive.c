/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/policy_predictive: at an exit that does not answer, predict which one will,
 * and go straight there (Li et al., "Predictive Exit", AAAI 2023; code
 * Swifter-Li/CNN-with-Early-Exit-and-DVFS). The heads between do not run.
 *
 * With z the outputs of exit l, a sample leaves there if
 *
 *     max_c |z_c| ≥ beta A_l,   A_l = |mean over samples of mean_c z_c|,
 *
 * the mean signed, its modulus taken last. The last exit always answers. Else
 * `engine` says how many exits further to look:
 *
 * `neighbours`, the paper's: u ← z, then at round i = 1, 2, …, rmax each u_c becomes
 * u_{c−1} + u_c + u_{c+1} (0 beyond the ends), until max_c |u_c| > beta A_{l+i}. It
 * adds outputs of classes whose numbers are neighbours, so it depends on how the
 * classes are numbered: a heuristic, and kept as it is.
 *
 * `learned`, ours: for each exit and jump a ridge regression, from largest
 * probability, margin and entropy here, of log(max |z| / A) there; it goes to the
 * first exit at which this reaches log beta.
 *
 * Nothing in training ties the mean output to anything, so that A may differ a lot
 * from exit to exit and one beta suit none of them. Hence a second `measure`, ours, for
 * the learned engine: −log(1 − largest probability) in place of max |z|, and A = 1.
 *
 * Both end with rmax where nothing is predicted, and at the last exit where the jump
 * passes it; whether a round that leads there reaches its threshold makes no
 * difference, so A of the last exit is not needed. `rmax` = 1 looks at every exit
 * from `start` on.
 *
 * Reconstructed: means are over a held-out split, which need not be labelled, of
 * outputs after the network's exit transform (the identity, mostly: then they are the
 * raw outputs that the paper speaks of). A signed mean may come out near 0, and would
 * let everybody leave; A_l is held at a hundredth of the mean of max |z|, and
 * `guarded` tells where that was needed.
 */
#include <math.h>
#include <string.h>

#include "policy/policy.h"

enum { RMAX = 8, N_FEATURES = 4 }; /* RMAX * N_FEATURES = EX_MAX_LIST */

enum engine { NEIGHBOURS, LEARNED };
enum measure { OUTPUTS, CONFIDENCE };

struct predictive {
  int32_t engine, measure;
  double beta;
  int32_t start, rmax;
  struct ex_list normaliser, guarded; /* per exit but the last: A; 1 where it was too small */
  struct ex_table jump;               /* per exit but the last: [RMAX][N_FEATURES] */
};

static const char *const engines[] = {"neighbours", "learned", NULL};
static const char *const measures[] = {"outputs", "confidence", NULL};
static const double OFF = 1e9, FLOOR = 0.01, RIDGE = 1e-3, TINY = 1e-12;

#define FIELD(name) offsetof(struct predictive, name)
static const struct ex_param params[] = {
    {"engine", EX_PARAM_ENUM, FIELD(engine), 0, 0, "neighbours", engines,
     "What predicts the exit to go to: the paper's sums of neighbouring outputs, or a regression "
     "learned from the trace (ours)."},
    {"measure", EX_PARAM_ENUM, FIELD(measure), 0, 0, "outputs", measures,
     "What an exit is judged by: the paper's largest output by modulus, or minus the logarithm of "
     "what the largest probability lacks to 1 (ours; neighbours have outputs alone)."},
    {"beta", EX_PARAM_REAL, FIELD(beta), 0, 1e9, "1e9", NULL,
     "Leave where the measure is at least this many times the exit's normaliser; 0: everybody at "
     "once; 1e9: nobody leaves early."},
    {"start", EX_PARAM_INT, FIELD(start), 0, EX_MAX_POINTS - 1, "0", NULL,
     "Exit, from 0, that is looked at first."},
    {"rmax", EX_PARAM_INT, FIELD(rmax), 1, RMAX, "8", NULL,
     "Exits that one jump may take; 1: every exit is looked at."},
    {"normaliser", EX_PARAM_LIST, FIELD(normaliser), 0, 1e300, "", NULL,
     "Fitted: modulus of the mean output of each exit but the last; 1 for confidence."},
    {"guarded", EX_PARAM_LIST, FIELD(guarded), 0, 1, "", NULL,
     "Fitted: 1 at exits whose mean output is too near 0 to be a measure, and was raised."},
    {"jump", EX_PARAM_TABLE, FIELD(jump), -1e6, 1e6, "", NULL,
     "Fitted: per exit, four coefficients for each length of a jump."},
    {.name = NULL},
};

/* ---- what is seen --------------------------------------------------------- */

/* Eight maxima side by side, which compilers make one vector of. */
static ex_real largest(const ex_real *x, int32_t n) {
  enum { LANES = 8 };
  ex_real most[LANES] = {0}, all = 0;
  int32_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int32_t k = 0; k < LANES; k++) {
      ex_real size = (ex_real)fabs((double)x[i + k]);
      most[k] = size > most[k] ? size : most[k];
    }
  for (; i < n; i++) {
    ex_real size = (ex_real)fabs((double)x[i]);
    all = size > all ? size : all;
  }
  for (int32_t k = 0; k < LANES; k++) all = most[k] > all ? most[k] : all;
  return all;
}

static bool by_outputs(const struct predictive *rule) {
  return rule->engine == NEIGHBOURS || rule->measure == OUTPUTS;
}

static double measure(const struct predictive *rule, const ex_real *z, int32_t n_outputs,
                      const struct ex_answer *answer) {
  if (by_outputs(rule)) return (double)largest(z, n_outputs);
  return -log(fmax(1 - answer->max_probability, TINY));
}

static void features(const struct ex_answer *answer, int32_t n_outputs, double x[N_FEATURES]) {
  x[0] = 1;
  x[1] = answer->max_probability;
  x[2] = answer->margin;
  x[3] = n_outputs > 1 ? answer->entropy / log(n_outputs) : 0;
}

/* ---- learning ------------------------------------------------------------- */

static const ex_real *output_of(const ex_trace *trace, int32_t point, int32_t sample) {
  return trace->output + ex__trace_at(trace, point, sample) * trace->n_outputs;
}

static void fit_normaliser(const struct ex_policy_fit *job, int32_t point,
                           struct predictive *rule) {
  const ex_trace *trace = job->trace;
  double sum = 0, size = 0;
  rule->guarded.value[point] = 0;
  rule->normaliser.value[point] = 1;
  if (!by_outputs(rule)) return;
  for (int32_t i = job->first; i < trace->n; i += job->step) {
    if (trace->answer[ex__trace_at(trace, point, i)].label < 0) continue; /* not finite */
    const ex_real *z = output_of(trace, point, i);
    double mean = 0;
    for (int32_t c = 0; c < trace->n_outputs; c++) mean += (double)z[c] / trace->n_outputs;
    sum += mean;
    size += (double)largest(z, trace->n_outputs);
  }
  int32_t n = (trace->n - job->first + job->step - 1) / job->step;
  double normaliser = fabs(sum) / n, floor = FLOOR * size / n;
  rule->guarded.value[point] = normaliser < floor;
  if (normaliser < floor) normaliser = floor;
  if (normaliser > 0) rule->normaliser.value[point] = normaliser; /* else all were 0 */
}

static bool finite_everywhere(const ex_trace *trace, int32_t sample) {
  for (int32_t p = 0; p < trace->n_points; p++)
    if (trace->answer[ex__trace_at(trace, p, sample)].label < 0) return false;
  return true;
}

/* a x = b for each of the RMAX right sides, a symmetric and positive definite. */
static void solve(double a[N_FEATURES][N_FEATURES], double b[RMAX][N_FEATURES]) {
  for (int32_t k = 0; k < N_FEATURES; k++)
    for (int32_t i = k + 1; i < N_FEATURES; i++) {
      double factor = a[i][k] / a[k][k];
      for (int32_t j = k; j < N_FEATURES; j++) a[i][j] -= factor * a[k][j];
      for (int32_t r = 0; r < RMAX; r++) b[r][i] -= factor * b[r][k];
    }
  for (int32_t r = 0; r < RMAX; r++)
    for (int32_t k = N_FEATURES - 1; k >= 0; k--) {
      for (int32_t j = k + 1; j < N_FEATURES; j++) b[r][k] -= a[k][j] * b[r][j];
      b[r][k] /= a[k][k];
    }
}

/* log(measure / A) at the exits point + 1 … but the last, from what `point` shows. */
static void fit_jump(const struct ex_policy_fit *job, int32_t point, struct predictive *rule) {
  const ex_trace *trace = job->trace;
  double a[N_FEATURES][N_FEATURES] = {{0}}, b[RMAX][N_FEATURES] = {{0}}, x[N_FEATURES];
  for (int32_t i = job->first; i < trace->n; i += job->step) {
    if (!finite_everywhere(trace, i)) continue;
    features(&trace->answer[ex__trace_at(trace, point, i)], trace->n_outputs, x);
    for (int32_t j = 0; j < N_FEATURES; j++)
      for (int32_t k = 0; k < N_FEATURES; k++) a[j][k] += x[j] * x[k];
    for (int32_t r = 0; r < RMAX && point + r + 1 < trace->n_points - 1; r++) {
      int32_t there = point + r + 1;
      double value = measure(rule, output_of(trace, there, i), trace->n_outputs,
                             &trace->answer[ex__trace_at(trace, there, i)]);
      double wanted = log(fmax(value / rule->normaliser.value[there], TINY));
      for (int32_t j = 0; j < N_FEATURES; j++) b[r][j] += x[j] * wanted;
    }
  }
  double n = a[0][0];
  a[0][0] += TINY;
  for (int32_t j = 1; j < N_FEATURES; j++) a[j][j] += RIDGE * n + TINY;
  solve(a, b);
  memcpy(rule->jump.value[point], b, sizeof b);
}

static enum ex_status fit(void *values, const struct ex_policy_fit *job, struct ex_error *err) {
  struct predictive *rule = values;
  int32_t n_exits = job->trace->n_points - 1;
  (void)err;
  rule->normaliser.n = rule->guarded.n = rule->jump.n_rows = n_exits;
  rule->jump.n_columns = n_exits > 0 ? RMAX * N_FEATURES : 0;
  for (int32_t p = 0; p < n_exits; p++) fit_normaliser(job, p, rule);
  for (int32_t p = 0; p < n_exits; p++) fit_jump(job, p, rule);
  return EX_OK;
}

static enum ex_status check(const void *values, int32_t n_points, int32_t n_outputs,
                            struct ex_error *err) {
  const struct predictive *rule = values;
  (void)n_outputs;
  if (rule->start >= n_points)
    return ex__fail(err, EX_EINVAL, "predictive: start = %d; must be below %d, the number of exits",
                    (int)rule->start, (int)n_points);
  if (rule->normaliser.n == 0 && rule->jump.n_rows == 0) return EX_OK;
  if (rule->normaliser.n != n_points - 1 || rule->jump.n_rows != n_points - 1 ||
      rule->jump.n_columns != RMAX * N_FEATURES)
    return ex__fail(err, EX_EINVAL,
                    "predictive: normaliser has %d numbers and jump %d rows of %d; must have %d, "
                    "one per exit but the last, and rows of %d",
                    (int)rule->normaliser.n, (int)rule->jump.n_rows, (int)rule->jump.n_columns,
                    (int)n_points - 1, RMAX * N_FEATURES);
  for (int32_t p = 0; p < rule->normaliser.n; p++)
    if (!(rule->normaliser.value[p] > 0))
      return ex__fail(err, EX_EINVAL, "predictive: normaliser of exit %d = %g; must be above 0",
                      (int)p, rule->normaliser.value[p]);
  return EX_OK;
}

/* ---- predicting ----------------------------------------------------------- */

/* most[i] ← the largest |u| after round i + 1, where that is larger, over outputs
 * first … first + BLOCK − 1 and some to either side, which the rounds need. */
enum { BLOCK = 240, WIDTH = BLOCK + 2 * RMAX };
static void add_neighbours(const ex_real *z, int32_t n, int32_t first, int32_t rounds,
                           ex_real most[RMAX]) {
  ex_real buffer[2][WIDTH] = {{0}}, *from = buffer[0], *to = buffer[1];
  int32_t offset = first - RMAX, low = offset < 0 ? -offset : 0;
  int32_t high = n - offset < WIDTH ? n - offset : WIDTH;
  memcpy(from + low, z + offset + low, (size_t)(high - low) * sizeof *z);
  for (int32_t r = 1; r <= rounds; r++) {
    int32_t begin = low > r ? low : r, end = high < WIDTH - r ? high : WIDTH - r;
    for (int32_t i = begin; i < end; i++) to[i] = from[i - 1] + from[i] + from[i + 1];
    ex_real size = largest(to + begin, end - begin);
    if (size > most[r - 1]) most[r - 1] = size;
    ex_real *swap = from;
    from = to;
    to = swap;
  }
}

/* How far to go: `limit` where none of the exits before is predicted. */
static int32_t by_neighbours(const struct predictive *rule, const struct ex_observation *seen,
                             int32_t limit) {
  ex_real most[RMAX] = {0};
  for (int32_t first = 0; first < seen->n_outputs; first += BLOCK)
    add_neighbours(seen->output, seen->n_outputs, first, limit - 1, most);
  for (int32_t i = 1; i < limit; i++)
    if ((double)most[i - 1] > rule->beta * rule->normaliser.value[seen->point + i]) return i;
  return limit;
}

static int32_t by_regression(const struct predictive *rule, const struct ex_observation *seen,
                             int32_t limit) {
  const double *c = rule->jump.value[seen->point];
  double x[N_FEATURES], wanted = log(rule->beta);
  features(&seen->answer, seen->n_outputs, x);
  for (int32_t i = 1; i < limit; i++, c += N_FEATURES)
    if (c[0] * x[0] + c[1] * x[1] + c[2] * x[2] + c[3] * x[3] >= wanted) return i;
  return limit;
}

/* ---- deciding ------------------------------------------------------------- */

static const double CANDIDATES = 200;

/* From nobody to everybody: off, then a thousand times the normaliser to a twentieth. */
static bool candidate(void *values, int32_t n_points, int32_t index) {
  struct predictive *rule = values;
  (void)n_points;
  if (index > CANDIDATES) return false;
  rule->beta = index == 0 ? OFF : 1000 * pow(5e-5, (index - 1) / (CANDIDATES - 1));
  return true;
}

static bool skips(const void *values, int32_t point, int32_t n_points) {
  const struct predictive *rule = values;
  (void)n_points;
  return point < rule->start || rule->beta >= OFF || rule->normaliser.n == 0;
}

static double times_normaliser(const struct predictive *rule, const struct ex_observation *seen) {
  return rule->normaliser.n == 0 ? NAN
                                 : measure(rule, seen->output, seen->n_outputs, &seen->answer) /
                                       rule->normaliser.value[seen->point];
}

static struct ex_decision decide(const void *values, void *scratch, const struct ex_env *env,
                                 const struct ex_observation *seen) {
  const struct predictive *rule = values;
  (void)scratch;
  (void)env;
  int32_t ahead = seen->n_points - 1 - seen->point;
  if (ahead == 0 || rule->normaliser.n == 0) return (struct ex_decision){EX_GO_ON, seen->point};
  if (times_normaliser(rule, seen) >= rule->beta)
    return (struct ex_decision){EX_LEAVE, seen->point};
  int32_t limit = rule->rmax < ahead ? rule->rmax : ahead;
  int32_t jump =
      rule->engine == LEARNED ? by_regression(rule, seen, limit) : by_neighbours(rule, seen, limit);
  return (struct ex_decision){EX_GO_TO, seen->point + jump};
}

static struct ex_reading read(const void *values, const void *scratch,
                              const struct ex_observation *seen) {
  const struct predictive *rule = values;
  (void)scratch;
  return (struct ex_reading){"measure by the normaliser", times_normaliser(rule, seen), rule->beta,
                             false};
}

extern const struct ex_policy_class ex__policy_predictive;
const struct ex_policy_class ex__policy_predictive = {
    .name = "predictive",
    .cite = "Predictive Exit (Li et al., AAAI 2023)",
    .summary = "Where an exit does not answer, predicts which one will and goes straight there; "
               "the heads between do not run. For networks with many exits.",
    .params = params,
    .size = sizeof(struct predictive),
    .candidate = candidate,
    .fit = fit,
    .skips = skips,
    .check = check,
    .decide = decide,
    .read = read,
};
