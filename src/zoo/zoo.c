/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/zoo: the register of architectures, made from zoo.def, and building one
 * from the "network" object of a recipe.
 */
#include "zoo/zoo.h"

#include <string.h>

#include "base/json.h"
#include "base/text.h"

#define EX_ARCHITECTURE(name) extern const struct ex_architecture ex__architecture_##name;
#include "zoo/zoo.def"
#undef EX_ARCHITECTURE

static const struct ex_architecture *const architectures[] = {
#define EX_ARCHITECTURE(name) &ex__architecture_##name,
#include "zoo/zoo.def"
#undef EX_ARCHITECTURE
};
enum { N_ARCHITECTURES = sizeof architectures / sizeof *architectures };

const struct ex_architecture *ex__zoo_at(int32_t index) {
  return index >= 0 && index < N_ARCHITECTURES ? architectures[index] : NULL;
}

const struct ex_architecture *ex__zoo_find(const char *name) {
  for (int32_t i = 0; i < N_ARCHITECTURES; i++)
    if (strcmp(architectures[i]->name, name) == 0) return architectures[i];
  return NULL;
}

static enum ex_status unknown(const char *name, struct ex_error *err) {
  struct ex_text known = {0};
  for (int32_t i = 0; i < N_ARCHITECTURES; i++)
    ex__text_add(&known, "%s%s", i > 0 ? ", " : "", architectures[i]->name);
  ex__fail(err, EX_EINVAL, "network: architecture = \"%.40s\"; must be one of %s", name,
           known.data != NULL ? known.data : "those of the zoo");
  ex__text_clear(&known);
  return EX_EINVAL;
}

/* The parameters are the object without its "architecture". */
static enum ex_status read_params(const struct ex_architecture *architecture, const json_t *network,
                                  void *params, struct ex_error *err) {
  ex__param_defaults(architecture->params, params);
  json_t *rest = json_copy((json_t *)(uintptr_t)network);
  if (rest == NULL) return ex__fail(err, EX_ENOMEM, "network: no memory");
  json_object_del(rest, "architecture");
  enum ex_status status =
      ex__param_from_json(architecture->name, architecture->params, params, rest, err);
  json_decref(rest);
  return status;
}

enum ex_status ex__zoo_write(const json_t *network, const struct ex_shape *input, int32_t n_outputs,
                             ex_builder **out, struct ex_error *err) {
  *out = NULL;
  const char *name;
  EX_TRY(ex__json_string(network, "architecture", "network", &name, err));
  const struct ex_architecture *architecture = ex__zoo_find(name);
  if (architecture == NULL) return unknown(name, err);
  _Alignas(max_align_t) unsigned char params[EX_MAX_ARCHITECTURE_PARAMS] = {0};
  EX_TRY(read_params(architecture, network, params, err));
  EX_TRY(ex__builder_new(input, n_outputs, out, err));
  architecture->build(params, *out);
  return EX_OK;
}

enum ex_status ex__zoo_build(const json_t *network, const struct ex_shape *input, int32_t n_outputs,
                             uint64_t seed, ex_net **out, struct ex_error *err) {
  ex_builder *builder;
  *out = NULL;
  EX_TRY(ex__zoo_write(network, input, n_outputs, &builder, err));
  enum ex_status status = ex__builder_finish(builder, seed, out, err);
  if (status == EX_OK) return EX_OK;
  return ex__wrap(err, status, "%s", json_string_value(json_object_get(network, "architecture")));
}
