/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data_transform: statistics, and augmentation of one sample.
 *
 * The padding of a crop is 0 in stored values, before normalisation, as in
 * the transforms of torchvision that the papers used. Random numbers are drawn
 * from a stream of (seed, epoch, sample): the order of work cannot matter.
 */
#include "data/data_transform.h"

#include <math.h>

#include "base/random.h"

static ex_real element(const struct ex_samples *samples, int64_t at) {
  if (samples->dtype == EX_DTYPE_U8) return (ex_real)((const uint8_t *)samples->x)[at];
  return (ex_real)((const float *)samples->x)[at];
}

/* Sum of a run of elements less `shift`, and of their squares. Bytes are
 * summed as integers, which is exact, and scaled to [0, 1] afterwards. */
static void add_run(const struct ex_samples *samples, int64_t at, int64_t n, double shift,
                    double sums[2]) {
  if (samples->dtype == EX_DTYPE_U8) {
    const uint8_t *x = (const uint8_t *)samples->x + at;
    uint64_t sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++) {
      sum += x[i];
      square += (uint64_t)x[i] * x[i];
    }
    sums[0] += (double)sum / 255;
    sums[1] += (double)square / (255.0 * 255.0);
    return;
  }
  const float *x = (const float *)samples->x + at;
  for (int64_t i = 0; i < n; i++) {
    double value = (double)x[i] - shift;
    sums[0] += value;
    sums[1] += value * value;
  }
}

enum ex_status ex__transform_statistics(const struct ex_samples *samples, const int32_t *items,
                                        int32_t n, struct ex_preprocess *out,
                                        struct ex_error *err) {
  bool images = samples->rank == 3 && samples->dim[0] <= EX_MAX_STATISTICS;
  *out = (struct ex_preprocess){.bytes = samples->dtype == EX_DTYPE_U8,
                                .n_channels = images ? samples->dim[0] : 1};
  int64_t features = ex__samples_features(samples), run = features / out->n_channels;
  if (n < 1)
    return ex__fail(err, EX_EINVAL, "statistics of %d training samples; must be at least 1",
                    (int)n);
  for (int32_t c = 0; c < out->n_channels; c++) {
    double sums[2] = {0, 0}, count = (double)n * (double)run;
    /* Subtracting a value of the data keeps the squares of floats from cancelling. */
    double shift = out->bytes ? 0 : (double)element(samples, items[0] * features + c * run);
    for (int32_t i = 0; i < n; i++)
      add_run(samples, items[i] * features + c * run, run, shift, sums);
    double centre = sums[0] / count, variance = sums[1] / count - centre * centre;
    out->mean[c] = centre + shift;
    out->deviation[c] = variance > 1e-12 ? sqrt(variance) : 1;
    if (!isfinite(out->mean[c]) || !isfinite(out->deviation[c]))
      return ex__fail(err, EX_ENOTFINITE,
                      "training samples: channel %d holds numbers that are not finite", (int)c);
  }
  return EX_OK;
}

struct ex_augment_draw ex__augment_draw(const struct ex_augment *augment, uint64_t seed,
                                        int32_t epoch, int32_t sample) {
  struct ex_random random =
      ex__random_seed(seed, (uint64_t)(uint32_t)epoch << 32 | (uint32_t)sample);
  uint32_t places = 2 * (uint32_t)augment->crop + 1;
  struct ex_augment_draw draw;
  draw.dy = (int32_t)ex__random_below(&random, places) - augment->crop;
  draw.dx = (int32_t)ex__random_below(&random, places) - augment->crop;
  draw.mirror = ex__random_uniform(&random) < augment->flip;
  return draw;
}

static void fill_flat(const struct ex_samples *samples, int64_t at, int64_t n, ex_real *out) {
  struct ex_array array = {.dtype = samples->dtype, .data = samples->x};
  (void)ex__array_to_real(&array, at, n, out); /* samples are of types that it takes */
}

static void fill_moved(const struct ex_samples *samples, int64_t at,
                       const struct ex_augment_draw *draw, ex_real *out) {
  int32_t height = samples->dim[1], width = samples->dim[2];
  for (int32_t y = 0; y < height; y++)
    for (int32_t x = 0; x < width; x++) {
      int32_t from_y = y + draw->dy, from_x = (draw->mirror ? width - 1 - x : x) + draw->dx;
      bool inside = from_y >= 0 && from_y < height && from_x >= 0 && from_x < width;
      *out++ = inside ? element(samples, at + (int64_t)from_y * width + from_x) : 0;
    }
}

void ex__transform_fill(const struct ex_samples *samples, int32_t index,
                        const struct ex_augment_draw *draw, ex_real *out) {
  int64_t features = ex__samples_features(samples), at = index * features;
  bool moved =
      draw != NULL && samples->rank == 3 && (draw->dy != 0 || draw->dx != 0 || draw->mirror);
  if (!moved) {
    fill_flat(samples, at, features, out);
    return;
  }
  int64_t plane = (int64_t)samples->dim[1] * samples->dim[2];
  for (int32_t c = 0; c < samples->dim[0]; c++)
    fill_moved(samples, at + c * plane, draw, out + c * plane);
}
