/* SPDX-License-Identifier: Apache-2.0
 *
 * net/model: the model file: one file for life.
 *
 * A safetensors file, written stage by stage. `__metadata__` holds strings:
 * "format" (an integer; a newer one is refused), "exeunt" (JSON: net, task,
 * pre-processing, labels) and, where they exist, "policy", "cost", "plan",
 * "receipt", "recipe", "provenance" (JSON each). The weight digest lies over
 * the tensors alone, so cost and plan can be renewed without voiding a
 * receipt. No code is run from a file; everything in it is checked.
 */
#ifndef EX_NET_MODEL_H
#define EX_NET_MODEL_H

#include "base/param.h"
#include "data/preprocess.h"
#include "net/net.h"

enum { EX_MODEL_FORMAT = 1 };

typedef struct ex_model ex_model;
struct ex_model {
  ex_net *net;
  struct ex_preprocess preprocess;
  char **labels;      /* [net->n_outputs] */
  json_t *policy;     /* what policy/ wrote: {name, params, state}; NULL: none yet */
  json_t *cost;       /* ex__cost_to_json; NULL: not measured */
  json_t *plan;       /* ex__plan_to_json; NULL */
  json_t *receipt;    /* what calibrate/ wrote; NULL */
  json_t *recipe;     /* that it was trained by; NULL */
  json_t *provenance; /* versions, seeds, dates, digests of data; NULL */
};

/* Takes the net when it succeeds; copies labels (NULL: "0", "1", …). */
enum ex_status ex__model_new(ex_net *net, const struct ex_preprocess *preprocess,
                             const char *const *labels, ex_model **out, struct ex_error *err);
void ex_model_free(ex_model *model); /* accepts NULL; frees the net too */
enum ex_status ex__model_read(const char *path, ex_model **out, struct ex_error *err);
/* From memory (fuzzing); `source` names it in messages. */
enum ex_status ex__model_parse(const void *data, size_t size, const char *source, ex_model **out,
                               struct ex_error *err);
/* Whole or not at all. */
enum ex_status ex__model_write(const ex_model *model, const char *path, struct ex_error *err);

/* Classes of a model from "7,8" or "Sneaker,Bag", numbers and labels as one likes:
 * class [*n ≤ EX_MAX_LIST]. EX_ENOTFOUND names one that is not there, and the known. */
enum ex_status ex__model_classes(const ex_model *model, const char *text,
                                 int32_t class[EX_MAX_LIST], int32_t *n, struct ex_error *err);

#endif
