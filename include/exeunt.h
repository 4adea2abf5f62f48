/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EXEUNT_H
#define EXEUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define EX_API __attribute__((visibility("default")))
#else
#define EX_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define EX_VERSION_MAJOR 0
#define EX_VERSION_MINOR 1
#define EX_VERSION_PATCH 0
/* "0.1.0": of the library that runs; the numbers above are this header's. */
EX_API const char *ex_version(void);

/* ---- status ------------------------------------------------------------ */

#define EX_STATUS_MAP(XX)                                     \
  XX(OK, 0, "ok")                                             \
  XX(EINVAL, -1, "invalid argument")                          \
  XX(ENOMEM, -2, "out of memory")                             \
  XX(EIO, -3, "input or output failed")                       \
  XX(EFORMAT, -4, "malformed file")                           \
  XX(ESHAPE, -5, "shape mismatch")                            \
  XX(ENOTFOUND, -6, "not found")                              \
  XX(EUNSUPPORTED, -7, "not supported")                       \
  XX(EDIVERGED, -8, "training diverged")                      \
  XX(EINFEASIBLE, -9, "constraint cannot be met")             \
  XX(ENOTFINITE, -10, "a number is not finite")               \
  XX(ECANCELLED, -11, "cancelled")                            \
  XX(EDEADLINE, -12, "deadline passed before the first exit") \
  XX(EBACKEND, -13, "the compute backend failed")

enum ex_status {
#define EX_XX_(name, value, text) EX_##name = value,
  EX_STATUS_MAP(EX_XX_)
#undef EX_XX_
};

EX_API const char *ex_status_name(enum ex_status status); /* "ESHAPE"; "unknown" for others */
EX_API const char *ex_status_text(enum ex_status status);

/* Filled by calls that can fail in more than one way; wherever a call takes
 * one it may be NULL. Meaningful only after that call failed. */
struct ex_error {
  enum ex_status code;
  char text[256]; /* what was given, and the rule */
};

/* ---- models ------------------------------------------------------------- */

/* A network with its exits, pre-processing, labels and, once calibrated, the
 * policy that decides when to leave. Immutable: threads and engines share it. */
typedef struct ex_model ex_model;

/* Ownership, here and for every class below:
 * 1. If a call that makes an object returns EX_OK, you must free it.
 * 2. If it fails, nothing is to be freed and the out-parameter is NULL.
 * 3. An engine borrows its model, which must outlive it.
 * 4. Every free accepts NULL. */
EX_API enum ex_status ex_model_load(const char *path, ex_model **model, struct ex_error *err);
EX_API void ex_model_free(ex_model *model);

struct ex_model_info {
  size_t size;       /* set to sizeof(struct ex_model_info) before the call */
  int32_t n_exits;   /* answer points, in order of depth */
  int32_t n_outputs; /* classes */
  int32_t rank;      /* of one input: 1 [features] or 3 [channels][height][width] */
  int32_t dim[3];
  int64_t full_macs; /* multiply-adds per sample, straight to the last exit: the stages that it
                        needs (in a row of stages: all) and its head with the earlier heads
                        that it needs (most networks: none) */
  bool calibrated;   /* it has a policy, which an engine can run */
};
EX_API enum ex_status ex_model_describe(const ex_model *model, struct ex_model_info *info);
EX_API const char *ex_model_label(const ex_model *model, int32_t label); /* NULL: out of range */
/* Multiply-adds per sample up to and including this exit, all earlier heads
 * counted; −1: out of range. */
EX_API int64_t ex_model_exit_macs(const ex_model *model, int32_t exit);

/* ---- running ------------------------------------------------------------ */

/* Runs a model: stages behind the exit at which a sample leaves are not
 * computed. One engine belongs to one thread at a time; nothing allocates
 * while it runs. The same sample leaves at the same exit with the same bits
 * alone, in any batch and with any number of threads (on one machine, and
 * unless `fast`). */
typedef struct ex_engine ex_engine;

struct ex_engine_options {
  size_t size;       /* set to sizeof(struct ex_engine_options) */
  int32_t threads;   /* 1 … 256; 0: as many as the machine has processors */
  int32_t max_batch; /* most samples of one ex_engine_run_many, 1 … 65536; 0: 64. Memory is
                        taken for all of them when the engine is made */
  bool fast;         /* admit algorithms that do not keep the bits (Winograd) */
  bool ready_input;  /* inputs are already pre-processed */
  bool untimed;      /* choose algorithms by rule instead of timing them; a few runs of each
                        stage are still timed, since deadlines are kept by them */
  bool uncalibrated; /* admit a model without a policy: then only the anytime calls serve */
};

/* Has no size, unlike the structs above: results lie in arrays. Its fields stay
 * as they are within a major version. */
struct ex_result {
  int32_t label;     /* class, lowest index on ties */
  int32_t exit;      /* from 0: the exit whose answer this is */
  int32_t stage;     /* last stage that was run; ≥ exit */
  double confidence; /* probability of `label` */
  int64_t macs;      /* multiply-adds spent on this sample, heads included */
  float *logits;     /* in: NULL, or room for [n_outputs]; out: the answer's outputs */
};

/* options may be NULL. EX_EINVAL where the model has no policy: calibrate it,
 * or set `uncalibrated` and name an exit in each request. */
EX_API enum ex_status ex_engine_new(const ex_model *model, const struct ex_engine_options *options,
                                    ex_engine **engine, struct ex_error *err);
EX_API void ex_engine_free(ex_engine *engine);

/* What the requests that follow ask for, until it is said anew. */
struct ex_request {
  size_t size; /* set to sizeof(struct ex_request) */
  /* Classes, from 0, that alone may leave early, within those that the policy was
   * calibrated for; all else goes to the last exit. NULL: the policy's own; then a
   * policy that refuses answers early, with a label outside its classes, what is none
   * of them. */
  const int32_t *classes; /* [n_classes], copied */
  int32_t n_classes;      /* 0 … 32 */
};
/* NULL: nothing in particular, as in a new engine. EX_EUNSUPPORTED where classes are
 * named and the policy's rule knows none of interest; EX_EINVAL where one is not the
 * model's, or there are too many. After an error everything is as it was. */
EX_API enum ex_status ex_engine_request(ex_engine *engine, const struct ex_request *request);

/* One sample. x [product of dim], raw values as the model was trained on (the
 * engine applies the model's pre-processing). An exit whose output is not
 * finite is passed by; EX_ENOTFINITE where the last one's is not: then label
 * is −1 and confidence NaN. EX_EINVAL, here and below, where an argument is
 * NULL or out of range, or the policy is asked for and there is none; the
 * result is then as it was, as it is after every error but EX_ENOTFINITE. */
EX_API enum ex_status ex_engine_run(ex_engine *engine, const float *x, struct ex_result *result);
/* Many samples, n in [1, max_batch]. x [n][product of dim], results [n], in
 * order; all of them are filled also where EX_ENOTFINITE tells of some. */
EX_API enum ex_status ex_engine_run_many(ex_engine *engine, const float *x, int32_t n,
                                         struct ex_result *results);

/* Anytime: begin a sample, then spend more on it as often as you like. Each
 * call runs on from where the last one stopped; nothing is computed twice.
 * Other samples may be run in between; beginning anew gives the sample up.
 * Pre-processing happens here, outside every budget. */
EX_API enum ex_status ex_engine_begin(ex_engine *engine, const float *x);
/* To exit `exit` (≥ 0), whatever the policy says, past heads and stages that its
 * answer does not need; going back gives EX_EINVAL. EX_ENOTFINITE as above; going
 * further is still possible. */
EX_API enum ex_status ex_engine_advance(ex_engine *engine, int32_t exit, struct ex_result *result);
/* Until the policy leaves (at once where it left before), or the next exit
 * would not be reached within `budget_ns` by its measured time. The answer is
 * the policy's, else the deepest so far that is finite. Without a policy only
 * the budget ends it. EX_EDEADLINE where not even one exit was reached. */
EX_API enum ex_status ex_engine_advance_until(ex_engine *engine, int64_t budget_ns,
                                              struct ex_result *result);

#ifdef __cplusplus
}
#endif
#endif
