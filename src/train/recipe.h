/* SPDX-License-Identifier: Apache-2.0
 *
 * train/recipe: a recipe is a JSON object that says all of an experiment:
 *
 *   input    {"shape": [c, h, w] or [features], "classes": n}; optional where
 *            data can be opened, and must then agree with them
 *   data     docs/data.md
 *   network  {"architecture": NAME, parameter: value, …}
 *   method   {"name": NAME, parameter: value, …}; default joint
 *   train    the table ex__train_params
 *   policy   {"name": NAME, "values": {…}}; for calibrate; optional
 *
 * A part that is missing takes its defaults; an unknown key is an error.
 */
#ifndef EX_TRAIN_RECIPE_H
#define EX_TRAIN_RECIPE_H

#include "train/train.h"

struct ex_recipe {
  json_t *json; /* the document, its relative data root made absolute */
  char *folder; /* of the file; NULL: the current one */
  const struct ex_method *method;
  _Alignas(8) unsigned char method_values[EX_MAX_METHOD_VALUES];
  struct ex_train_options train;
};

/* `assignments` [n]: "train.epochs=3", a dotted path and a JSON value (or a
 * bare word) that replace what the document says. */
enum ex_status ex__recipe_read(const char *path, const char *const *assignments, int32_t n,
                               struct ex_recipe *out, struct ex_error *err);
/* The same from a parsed document (copied); `source` names it in messages. */
enum ex_status ex__recipe_parse(const json_t *json, const char *source, const char *folder,
                                const char *const *assignments, int32_t n, struct ex_recipe *out,
                                struct ex_error *err);
void ex__recipe_free(struct ex_recipe *recipe);

enum ex_status ex__recipe_open_data(const struct ex_recipe *recipe, ex_data **out,
                                    struct ex_error *err);
/* `data` may be NULL where the recipe has an "input". */
enum ex_status ex__recipe_build_net(const struct ex_recipe *recipe, const ex_data *data,
                                    uint64_t seed, ex_net **out, struct ex_error *err);

#endif
