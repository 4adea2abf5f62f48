/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data_samples: what a reader returns: inputs of one shape and, where they
 * are known, labels. Bytes stay bytes until a batch is made, so Fashion-MNIST
 * takes 55 MB and not 220.
 */
#ifndef EX_DATA_DATA_SAMPLES_H
#define EX_DATA_DATA_SAMPLES_H

#include <stdint.h>

#include "base/status.h"
#include "data/array.h"

enum { EX_MAX_CLASSES = 1 << 16 };

struct ex_samples {
  int64_t n;
  int32_t rank; /* 1 [features] or 3 [channels][height][width] */
  int32_t dim[3];
  enum ex_dtype dtype; /* EX_DTYPE_U8 or EX_DTYPE_F32 */
  void *x;             /* [n][dim…], in dtype */
  int32_t *y;          /* [n], a class or -1 (not labelled); NULL: none is labelled */
  int32_t n_classes;   /* 0 where nothing is labelled */
  char **class_names;  /* [n_classes]; NULL where the files do not say */
};

int64_t ex__samples_features(const struct ex_samples *samples); /* product of dim */
void ex__samples_free(struct ex_samples *samples);              /* and empties it */
/* Appends `more` (which is emptied) to `samples` (which may be empty): the
 * same shape, type and class names, or EX_ESHAPE. */
enum ex_status ex__samples_append(struct ex_samples *samples, struct ex_samples *more,
                                  const char *source, struct ex_error *err);

/* Takes x from an array [n], [n][features], [n][height][width] or
 * [n][channels][height][width] (copied) and y from one of integers [n], or
 * none. The sources name the files in messages. */
enum ex_status ex__samples_from_arrays(const struct ex_array *x, const char *x_source,
                                       const struct ex_array *y, const char *y_source,
                                       struct ex_samples *out, struct ex_error *err);

/* IDX files; `labels` may be NULL. */
enum ex_status ex__samples_read_idx(const char *images, const char *labels, struct ex_samples *out,
                                    struct ex_error *err);
/* .npy files; `labels` may be NULL. */
enum ex_status ex__samples_read_npy(const char *inputs, const char *labels, struct ex_samples *out,
                                    struct ex_error *err);
/* The arrays `x` and, if it is there, `y` of a safetensors file. */
enum ex_status ex__samples_read_safetensors(const char *path, struct ex_samples *out,
                                            struct ex_error *err);

enum ex_cifar { EX_CIFAR_10, EX_CIFAR_100_FINE, EX_CIFAR_100_COARSE };
/* One binary file (data_batch_1.bin, train.bin, …) of 3 × 32 × 32 images. */
enum ex_status ex__samples_read_cifar(const char *path, enum ex_cifar kind, struct ex_samples *out,
                                      struct ex_error *err);

/* FOLDER/CLASS/picture.png: classes are the sub-folders in order of name; or,
 * where `class_names` is given (by the recipe, or by the first of several
 * folders), they must be among these, which then give the labels. Pictures are fitted to channels × height × width. */
enum ex_status ex__samples_read_folder(const char *path, const int32_t dim[3],
                                       const char *const *class_names, int32_t n_classes,
                                       struct ex_samples *out, struct ex_error *err);

#endif
