/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data: the samples of a recipe in their four roles.
 *
 * The roles are fixed when the data are opened and never mix: `train` is
 * fitted to, `select` chooses (best epoch, exit thresholds, temperature),
 * `certify` bounds and never chooses, `test` is looked at once. The first
 * three are cut from the training files, stratified by seed; test are the test
 * files. Statistics for normalisation see `train` alone.
 *
 * An ex_data is immutable once it is shared between threads.
 */
#ifndef EX_DATA_DATA_H
#define EX_DATA_DATA_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/real.h"
#include "base/status.h"
#include "data/data_samples.h"
#include "data/preprocess.h"

typedef struct ex_data ex_data;

enum ex_split { EX_SPLIT_TRAIN, EX_SPLIT_SELECT, EX_SPLIT_CERTIFY, EX_SPLIT_TEST, EX_N_SPLITS };
const char *ex__split_name(enum ex_split split); /* "train", … */

/* What is known of every sample. Borrowed from the ex_data. */
struct ex_data_info {
  int32_t rank; /* 1 [features] or 3 [channels][height][width] */
  int32_t dim[3];
  int64_t features;               /* product of dim: numbers per sample */
  int32_t n_classes;              /* 0: nothing is labelled */
  const char *const *class_names; /* [n_classes]; always there: "0", "1", … where unknown */
  const struct ex_preprocess *preprocess; /* from the statistics of train */
};

/* Reads what the recipe's "data" object names (docs/data.md); paths in it are
 * relative to `folder` (NULL: the current one). */
enum ex_status ex__data_open(const json_t *recipe, const char *folder, ex_data **out,
                             struct ex_error *err);
/* Of samples in memory that are read as they are, without pre-processing: those of
 * train and of select. Both are taken, and empty afterwards, in failure too. Labels
 * are classes below n_classes, or −1. */
enum ex_status ex__data_of(struct ex_samples *train, struct ex_samples *select,
                           const char *const *class_names, int32_t n_classes, ex_data **out,
                           struct ex_error *err);
/* Keeps n of the split's samples, spread evenly; all where it has no more. Before
 * the data are shared. */
void ex__data_thin(ex_data *data, enum ex_split split, int32_t n);
void ex__data_free(ex_data *data); /* accepts NULL */

/* For a finished model: from here on samples are normalised as it says, and not by
 * the statistics of these data's train. Before the data are shared; n_channels must
 * divide the features. */
void ex__data_preprocess_as(ex_data *data, const struct ex_preprocess *preprocess);

const struct ex_data_info *ex__data_info(const ex_data *data);
int32_t ex__data_size(const ex_data *data, enum ex_split split); /* samples; 0 where it has none */
/* Class of sample `index` of the split, −1 where it is not labelled. */
int32_t ex__data_label(const ex_data *data, enum ex_split split, int32_t index);

/* x [features] of one sample as stored (bytes 0…255 or floats): for pictures. */
void ex__data_raw(const ex_data *data, enum ex_split split, int32_t index, ex_real *x);
/* Samples items[0 … n) of the split, normalised: x [n][features], y [n] (may
 * be NULL). */
void ex__data_read(const ex_data *data, enum ex_split split, const int32_t *items, int32_t n,
                   ex_real *x, int32_t *y);
/* The same for consecutive samples first … first + n. */
void ex__data_read_range(const ex_data *data, enum ex_split split, int32_t first, int32_t n,
                         ex_real *x, int32_t *y);

/* Training: the order of an epoch, and its samples augmented as the recipe
 * says. Both depend on (seed, epoch, sample) only. order [size of train] */
void ex__data_shuffle(const ex_data *data, uint64_t seed, int32_t epoch, int32_t *order);
void ex__data_read_augmented(const ex_data *data, uint64_t seed, int32_t epoch,
                             const int32_t *items, int32_t n, ex_real *x, int32_t *y);

/* Mean 1 over the labelled training samples, inversely to the class's
 * frequency; 0 for a class without samples. weights [n_classes] */
void ex__data_class_weights(const ex_data *data, ex_real *weights);

/* SHA-256 over shape, type and the stored samples and labels of a split. */
enum ex_status ex__data_digest(const ex_data *data, enum ex_split split, char text[EX_DIGEST_TEXT]);

#endif
