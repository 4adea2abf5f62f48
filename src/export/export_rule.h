/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_rule: exit rules as C. A rule that has no line in the table of
 * export_rule.c is refused by name.
 */
#ifndef EX_EXPORT_EXPORT_RULE_H
#define EX_EXPORT_EXPORT_RULE_H

#include "base/text.h"
#include "export/export_values.h"

struct ex_export_rule {
  const char *name;   /* of the rule in policies.def */
  const char *kernel; /* its part of the loop, "rule_patience": struct memory and decide() */
  /* The constants that the kernel reads, besides EXITS and OUTPUTS; NULL: none. */
  void (*constants)(struct ex_rule_values *values, struct ex_text *text);
  /* NULL: any values. The first line of a rule that suits is taken. */
  bool (*suits)(struct ex_rule_values *values);
  /* May answer with an exit before the present one: it is asked at the last exit too, and
   * answers are kept in the work memory. */
  bool looks_back;
};

/* EX_EUNSUPPORTED lists the rules that there are. */
enum ex_status ex__export_rule_find(struct ex_rule_values *values,
                                    const struct ex_export_rule **out, struct ex_error *err);

#endif
