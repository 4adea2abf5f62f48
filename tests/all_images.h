/* SPDX-License-Identifier: Apache-2.0
 *
 * All test images of Fashion-MNIST, for tests that want every one of them.
 */
#ifndef EX_TESTS_ALL_IMAGES_H
#define EX_TESTS_ALL_IMAGES_H

#include "data/data.h"
#include "engine/engine.h"
#include "tests/testing.h"

#define ALL_IMAGES_ROOT "/usr/share/datasets/fashion-mnist/"

enum { N_ALL_IMAGES = 10000 };

/* They are the training split as well, which nobody reads. Ends the test as skipped
 * where they are not installed. */
static inline ex_data *all_images_open(void) {
  static const char images[] = ALL_IMAGES_ROOT "t10k-images-idx3-ubyte.gz";
  static const char labels[] = ALL_IMAGES_ROOT "t10k-labels-idx1-ubyte.gz";
  struct ex_error err;
  ex_data *data;
  if (access(images, R_OK) != 0) exit(77);
  json_t *recipe =
      json_pack("{s:s, s:{s:s, s:s}, s:{s:s, s:s}}", "format", "idx", "train", "inputs", images,
                "labels", labels, "test", "inputs", images, "labels", labels);
  assert_ok(ex__data_open(recipe, NULL, &data, &err), &err);
  json_decref(recipe);
  assert_int_equal(ex__data_size(data, EX_SPLIT_TEST), N_ALL_IMAGES);
  return data;
}

/* Every head of every image, by the programs that engines use. */
static inline ex_trace *all_images_record(const ex_model *model, const ex_data *data) {
  const struct ex_compile_options options = {
      .backend = EX_BACKEND_FAST, .threads = 1, .max_batch = EX_MICRO_BATCH};
  const struct ex_progress silent = {0};
  struct ex_error err;
  ex_compiled *compiled;
  ex_trace *trace;
  assert_ok(ex__compiled_new(model->net, &options, &compiled, &err), &err);
  assert_ok(ex__trace_record(compiled, data, EX_SPLIT_TEST, 2, &silent, &trace, &err), &err);
  ex__compiled_free(compiled);
  return trace;
}

#endif
