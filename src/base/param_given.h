/* SPDX-License-Identifier: Apache-2.0
 *
 * base/param_given: what a text or a JSON value says, before it is checked
 * against the parameter that it is meant for.
 */
#ifndef EX_BASE_PARAM_GIVEN_H
#define EX_BASE_PARAM_GIVEN_H

#include "base/param.h"

enum ex_given_kind {
  GIVEN_NOTHING, /* nothing that could be meant */
  GIVEN_INT,
  GIVEN_REAL,
  GIVEN_BOOL,
  GIVEN_WORD,
  GIVEN_LIST,
  GIVEN_TABLE
};

struct ex_given {
  enum ex_given_kind kind;
  int64_t integer;
  double real;
  const char *word; /* borrowed from what was read */
  struct ex_list list;
  struct ex_table table;
};

/* The type of the parameter says how a text is read; its bounds are not looked at. */
void ex__given_from_text(const struct ex_param *param, const char *text, struct ex_given *given);
void ex__given_from_json(const struct ex_param *param, const json_t *json, struct ex_given *given);

/* New arrays; NULL when memory is short. */
json_t *ex__list_to_json(const struct ex_list *list);
json_t *ex__table_to_json(const struct ex_table *table);

#endif
