/* SPDX-License-Identifier: Apache-2.0
 *
 * base/param: parameters are data with bounds.
 *
 * A part (method, exit rule, architecture, operator, optimiser) declares a
 * table of `struct ex_param`; one mechanism then checks values, reads them
 * from `k=v` text and JSON, writes them, and prints help and documentation.
 * Values live in the part's own struct at `offset`, so code reads plain
 * fields and never looks a name up while it works.
 */
#ifndef EX_BASE_PARAM_H
#define EX_BASE_PARAM_H

#include <jansson.h>
#include <stddef.h>

#include "base/status.h"

enum { EX_MAX_LIST = 32 };

enum ex_param_type {
  EX_PARAM_INT,  /* int32_t */
  EX_PARAM_REAL, /* double */
  EX_PARAM_BOOL, /* int32_t, 0 or 1 */
  EX_PARAM_ENUM, /* int32_t, index into `choices` */
  EX_PARAM_LIST, /* struct ex_list, of real numbers; per exit, per stage, … */
  EX_PARAM_TABLE /* struct ex_table, of real numbers; what was fitted, a row per exit */
};

struct ex_list {
  int32_t n; /* 0: not given; what that means is in `help` */
  double value[EX_MAX_LIST];
};

struct ex_table {
  int32_t n_rows, n_columns; /* 0: not given */
  double value[EX_MAX_LIST][EX_MAX_LIST];
};

struct ex_param {
  const char *name; /* lower case, words joined by '-' */
  enum ex_param_type type;
  size_t offset;              /* of the field in the part's struct */
  double min, max;            /* inclusive; for lists and tables, of each element */
  const char *fallback;       /* the default, as text ("0.9", "true", "1,2,4", "1,2;3,4") */
  const char *const *choices; /* enum only, NULL-terminated */
  const char *help;           /* one sentence: meaning, unit */
};

/* A table ends with an entry whose name is NULL; an empty table may be NULL. */

/* Sets every field to its default. */
void ex__param_defaults(const struct ex_param *table, void *values);
/* Sets one parameter from text; EX_EINVAL names part, value and rule:
 * `pabee: patience = 0; must be an integer in [1, 64]`. */
enum ex_status ex__param_set(const char *part, const struct ex_param *table, void *values,
                             const char *name, const char *text, struct ex_error *err);
/* Sets from a JSON object; unknown names are errors that list the known ones. */
enum ex_status ex__param_from_json(const char *part, const struct ex_param *table, void *values,
                                   const json_t *object, struct ex_error *err);
/* A new object with every value; NULL when memory is short. */
json_t *ex__param_to_json(const struct ex_param *table, const void *values);
/* Whether a table keeps its own rules: names and order of bounds, a default
 * within them, a sentence of help. A mistake here is one in the source, so it
 * is for the tests that go over every registered part. */
enum ex_status ex__param_check_table(const char *part, const struct ex_param *table,
                                     struct ex_error *err);
/* One line per parameter: name, default, bounds, help; appended to a buffer. */
struct ex_text;
enum ex_status ex__param_help(const struct ex_param *table, struct ex_text *text);

#endif
