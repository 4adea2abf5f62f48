/* SPDX-License-Identifier: Apache-2.0
 *
 * net/model_entries: the optional entries of a model's metadata, each a JSON
 * object and a field of the same name.
 */
#ifndef EX_NET_MODEL_ENTRIES_H
#define EX_NET_MODEL_ENTRIES_H

#include <stddef.h>

#include "net/model.h"

struct ex_model_entry {
  const char *key;
  size_t offset; /* of the json_t * in ex_model */
};

extern const struct ex_model_entry ex__model_entries[]; /* ends with a NULL key */

static inline json_t **ex__model_entry(ex_model *model, const struct ex_model_entry *entry) {
  return (json_t **)(void *)((char *)model + entry->offset);
}

#endif
