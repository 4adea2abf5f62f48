/* SPDX-License-Identifier: Apache-2.0
 *
 * train/train_schedule: all schedules go by step, not by epoch, and are closed
 * forms of the step, so a resumed run needs nothing but its position.
 *
 * One-cycle is Smith and Topin, "Super-Convergence" (2018), in the shape of
 * PyTorch's OneCycleLR: two cosine halves, from max/25 up to max, then down to
 * max/250,000. Cosine is PyTorch's CosineAnnealingLR down to 0 over the phase.
 */
#include "train/train_schedule.h"

#include <math.h>

static const double pi = 3.14159265358979323846;
static const double START_DIVISOR = 25, END_DIVISOR = 1e4; /* PyTorch's defaults */

static double half_cosine(double from, double to, double share) {
  return to + (from - to) / 2 * (1 + cos(pi * share));
}

static struct ex_pace one_cycle(const struct ex_train_options *options, struct ex_pace pace,
                                int64_t step, int64_t n_steps) {
  double top = (double)options->warmup * (double)n_steps - 1, end = (double)n_steps - 1;
  double high = pace.learning_rate, start = high / START_DIVISOR, low = start / END_DIVISOR;
  bool rising = (double)step <= top;
  double from = rising ? 0 : top, to = rising ? top : end;
  double share = to > from ? ((double)step - from) / (to - from) : 1;
  pace.learning_rate = rising ? half_cosine(start, high, share) : half_cosine(high, low, share);
  if (options->cycle_momentum) {
    double least = options->momentum_low, most = options->momentum_high;
    pace.momentum = rising ? half_cosine(most, least, share) : half_cosine(least, most, share);
  }
  return pace;
}

struct ex_pace ex__schedule_pace(const struct ex_train_options *options, int64_t step,
                                 int64_t n_steps) {
  struct ex_pace pace = {.learning_rate = options->learning_rate,
                         .momentum =
                             options->optimiser == EX_ADAMW ? options->beta1 : options->momentum};
  switch ((enum ex_schedule)options->schedule) {
    case EX_SCHEDULE_CONSTANT: return pace;
    case EX_SCHEDULE_STEP:
      for (int32_t i = 0; i < options->milestones.n; i++)
        if ((double)step >= options->milestones.value[i] * (double)n_steps)
          pace.learning_rate *= options->factor;
      return pace;
    case EX_SCHEDULE_COSINE:
      pace.learning_rate = half_cosine(pace.learning_rate, 0, (double)step / (double)n_steps);
      return pace;
    case EX_SCHEDULE_ONE_CYCLE: return one_cycle(options, pace, step, n_steps);
  }
  return pace;
}
