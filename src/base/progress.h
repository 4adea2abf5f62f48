/* SPDX-License-Identifier: Apache-2.0
 *
 * base/progress: how long work reports itself. The library calls back and
 * never prints; the command draws the line. A callback that returns false
 * asks for a stop at the next safe point (EX_ECANCELLED).
 */
#ifndef EX_BASE_PROGRESS_H
#define EX_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct ex_progress_event {
  const char *task;    /* "epoch 3/4", "evaluate" */
  int64_t done, total; /* in `unit` */
  const char *unit;    /* "images" */
  double seconds;      /* since the task began */
  const char *note;    /* free text such as the loss so far; may be NULL */
  bool finished;       /* a line worth keeping: the epoch's summary is in note */
};

struct ex_progress {
  bool (*report)(void *context, const struct ex_progress_event *event); /* NULL: silent */
  void *context;
};

#endif
