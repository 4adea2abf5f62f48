/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/open: what several commands open: recipes by path or built-in name, a
 * model with the data it was made from, a policy by its words.
 */
#ifndef EX_CLI_OPEN_H
#define EX_CLI_OPEN_H

#include "cli/command.h"
#include "net/model.h"
#include "policy/policy.h"
#include "train/recipe.h"

/* A file where there is one of that name, else a built-in recipe
 * ("fashion-mnist"), with `set` applied. */
enum ex_status open_recipe(const char *name, const struct assignments *set,
                           struct ex_recipe *recipe, struct ex_error *err);
/* Whether `name` is a recipe (JSON) and not a model, by content or by name. */
bool names_recipe(const char *name);

/* The data of the recipe file `data` (NULL: of the recipe in the model), which
 * must fit the model's input and classes, normalised as the model says. */
enum ex_status open_model_data(const ex_model *model, const char *data, ex_data **out,
                               struct ex_error *err);
/* That data are what a net takes and knows. */
enum ex_status open_check_fit(const ex_net *net, const ex_data *data, struct ex_error *err);
/* The policy of that name (NULL: the model's, else its recipe's, else
 * max-probability) with values set by KEY=VALUE. */
enum ex_status open_policy(const ex_model *model, const char *name, const struct assignments *set,
                           ex_policy *out, struct ex_error *err);
/* Programs of a model for its stored plan; see ex__compiled_new. The plan lives
 * as long as the caller keeps it. */
enum ex_status open_compiled(const ex_model *model, int32_t threads, ex_plan **plan,
                             ex_compiled **out, struct ex_error *err);

/* Contents of a built-in file ("recipes/fashion-mnist.json"), NUL-terminated,
 * by name; NULL: none. embedded.c is made from the tree by CMake. */
const char *embedded_find(const char *name);
const char *embedded_at(int32_t index); /* its name; NULL past the last */
/* Of the tree that the command was built from; "+" behind it where files had
 * been changed, "" where it was no clone. */
const char *embedded_commit(void);

#endif
