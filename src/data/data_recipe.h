/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data_recipe: the "data" object of a recipe, checked, as a struct.
 */
#ifndef EX_DATA_DATA_RECIPE_H
#define EX_DATA_DATA_RECIPE_H

#include <jansson.h>

#include "base/param.h"
#include "base/status.h"
#include "data/data_samples.h"
#include "data/data_transform.h"

enum { EX_MAX_DATA_FILES = 64 };

enum ex_data_format {
  EX_DATA_IDX,
  EX_DATA_CIFAR_10,
  EX_DATA_CIFAR_100,
  EX_DATA_CIFAR_100_COARSE,
  EX_DATA_FOLDER,
  EX_DATA_NPY,
  EX_DATA_SAFETENSORS
};

/* One side (train or test) of the files; names are borrowed from the JSON.
 * `labels` are files of their own for IDX and .npy, else NULL. */
struct ex_data_files {
  int32_t n; /* 0: absent */
  const char *inputs[EX_MAX_DATA_FILES], *labels[EX_MAX_DATA_FILES];
};

struct ex_data_recipe {
  enum ex_data_format format;
  const char *root; /* before every relative path; NULL: none */
  struct ex_data_files train, test;
  int32_t shape[3];      /* of pictures in folders */
  const json_t *classes; /* array of names, or NULL */
  struct ex_data_split {
    int32_t select, certify, test; /* samples cut from the training files; -1: a twelfth */
    int32_t seed;
    int32_t labels_per_class; /* of train; 0: all */
    int32_t keep_unlabelled;  /* the other samples stay, without their labels */
  } split;
  struct ex_augment augment;
};

/* The tables of the objects "split" and "augment", for help and docs. */
extern const struct ex_param ex__data_split_params[], ex__data_augment_params[];

enum ex_status ex__data_recipe_parse(const json_t *json, struct ex_data_recipe *out,
                                     struct ex_error *err);

#endif
