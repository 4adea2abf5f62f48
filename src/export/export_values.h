/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_values: the values of an exit rule by name, for all that write rules
 * down in another language.
 *
 * They are read where they lie, as the rule's table of parameters describes them: that
 * allocates nothing and cannot fail. A name that the rule does not have, or has with
 * another type, is a mistake in the source; it reads as 0, is remembered, and is told by
 * ex__values_status, which who writes a rule asks at the end.
 */
#ifndef EX_EXPORT_EXPORT_VALUES_H
#define EX_EXPORT_EXPORT_VALUES_H

#include "policy/policy.h"

struct ex_rule_values {
  const ex_policy *policy;
  const char *wrong; /* the first name that was not there; NULL: none so far */
};

/* An integer, a real number, or a boolean as 0 or 1. */
double ex__value_number(struct ex_rule_values *values, const char *name);
/* Whether this is what was chosen; also false where there is no such choice. */
bool ex__value_is(struct ex_rule_values *values, const char *name, const char *choice);
const struct ex_list *ex__value_list(struct ex_rule_values *values, const char *name);
const struct ex_table *ex__value_table(struct ex_rule_values *values, const char *name);
/* Of a list with a number per exit but the last, or one for all: that of an exit; `none`
 * where nothing was set. */
double ex__value_of_exit(struct ex_rule_values *values, const char *name, int32_t point,
                         double none);

/* EX_EBACKEND: a value was asked for that the rule does not have. */
enum ex_status ex__values_status(const struct ex_rule_values *values, struct ex_error *err);

#endif
