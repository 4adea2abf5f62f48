/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_rule: exit rules as C. A rule that has no line in the table of
 * export_rule.c is refused by name.
 */
#ifndef EX_EXPORT_EXPORT_RULE_H
#define EX_EXPORT_EXPORT_RULE_H

#include "export/export_plan.h"
#include "export/export_values.h"

struct ex_export_rule {
  const char *name;   /* of the rule in policies.def */
  const char *kernel; /* its part of the loop, "rule_patience": struct memory and leaves() */
  /* NULL: any values. Refuses what the kernel cannot do. */
  enum ex_status (*check)(struct ex_rule_values *values, struct ex_error *err);
  /* The constants that the kernel reads; NULL: none. */
  void (*constants)(struct ex_rule_values *values, struct ex_text *text);
};

enum ex_status ex__export_rule_find(struct ex_rule_values *values,
                                    const struct ex_export_rule **out, struct ex_error *err);

#endif
