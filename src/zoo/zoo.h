/* SPDX-License-Identifier: Apache-2.0
 *
 * zoo/zoo: architectures, one file each, one line each in zoo.def.
 */
#ifndef EX_ZOO_ZOO_H
#define EX_ZOO_ZOO_H

#include "base/param.h"
#include "net/builder.h"

enum { EX_MAX_ARCHITECTURE_PARAMS = 2048 }; /* bytes; asserted by a test over the registry */

struct ex_architecture {
  const char *name;    /* "msdnet" */
  const char *cite;    /* "Huang et al., ICLR 2018"; NULL: ours */
  const char *summary; /* one sentence */
  const struct ex_param *params;
  size_t params_size;
  /* Writes the network down; may fail by ex__builder_fail. */
  void (*build)(const void *params, ex_builder *builder);
};

const struct ex_architecture *ex__zoo_find(const char *name); /* NULL: none */
const struct ex_architecture *ex__zoo_at(int32_t index);      /* NULL past the last */

/* The "network" object of a recipe: {"architecture": NAME, parameter: value…},
 * for inputs of this shape and this many classes, written down and not yet
 * finished: a training method may add to it. Unknown names list the known. */
enum ex_status ex__zoo_write(const json_t *network, const struct ex_shape *input, int32_t n_outputs,
                             ex_builder **out, struct ex_error *err);
/* The same, finished: with initial weights by seed. */
enum ex_status ex__zoo_build(const json_t *network, const struct ex_shape *input, int32_t n_outputs,
                             uint64_t seed, ex_net **out, struct ex_error *err);

#endif
