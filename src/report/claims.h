/* SPDX-License-Identifier: Apache-2.0
 *
 * report/claims: what repeated runs say: means with their 95 % intervals, and
 * verdicts on the claims of a catalogue entry.
 */
#ifndef EX_REPORT_CLAIMS_H
#define EX_REPORT_CLAIMS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { EX_MAX_SEEDS = 16 };

struct ex_repeated {
  double mean, half; /* of the two-sided 95 % interval (Student's t); 0 of one value */
};
struct ex_repeated ex__repeated(const double *value, int32_t n); /* 1 ≤ n ≤ EX_MAX_SEEDS */

/* The claims of a reproduction over `evaluations`, per seed {run: evaluation}: a
 * new array of {claim, value, rule, bound, mean, interval, per_seed, verdict}, or
 * with {why} where something was not measured. A claim is evaluated for every
 * seed that has all its runs. `counts`: false for a quick run, whose verdicts say
 * that they do not count. */
json_t *ex__claims_check(const json_t *reproduction, const json_t *evaluations, bool counts);

#endif
