/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data_store: the inside of an ex_data, for the files of this room.
 */
#ifndef EX_DATA_DATA_STORE_H
#define EX_DATA_DATA_STORE_H

#include "data/data.h"
#include "data/data_recipe.h"
#include "data/data_samples.h"

/* A role is a list of samples of one side of the files. */
struct role {
  const struct ex_samples *samples;
  const int32_t *items; /* [n], ascending */
  int32_t n;
};

struct ex_data {
  struct ex_samples files[2]; /* training files, test files (may be empty) */
  int32_t *order, *test_order;
  struct role roles[EX_N_SPLITS];
  struct ex_augment augment;
  struct ex_data_info info;
  char **class_names;
  struct ex_preprocess preprocess; /* from the statistics of train */
  struct ex_preprocess applied;    /* to samples that are handed out */
};

#endif
