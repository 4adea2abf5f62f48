/* SPDX-License-Identifier: Apache-2.0
 *
 * Set-up and tear-down of tests of training: made data in a folder of its own,
 * and where a checkpoint would lie.
 */
#ifndef EX_TESTS_TRAIN_FIXTURE_H
#define EX_TESTS_TRAIN_FIXTURE_H

#include "tests/train_job.h"

static char folder[64], path[96];
static struct ex_error err;
static ex_data *data;

static int set_up(void **state) {
  (void)state;
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/run.checkpoint", folder);
  data = made_data(folder);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  ex__data_free(data);
  testing_remove(folder);
  return 0;
}

#endif
