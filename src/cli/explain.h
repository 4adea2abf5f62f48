/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/explain: what a part is and which values it takes, from the same tables
 * that check them: methods, exit rules, architectures.
 */
#ifndef EX_CLI_EXPLAIN_H
#define EX_CLI_EXPLAIN_H

#include "base/param.h"
#include "cli/command.h"

/* Each explains the part of that name and returns the exit status; an unknown
 * name is an error that lists the known. */
int explain_method(const struct command *command, const char *name);
int explain_policy(const struct command *command, const char *name);
int explain_architecture(const char *name); /* which is known */

/* A heading, and a line for each parameter: default, bounds, meaning. */
void explain_table(const char *heading, const struct ex_param *table);
/* A line for each: name and what it does. */
void explain_methods(void);
void explain_policies(void);
void explain_architectures(void);

/* Help of a command with --policy: of the rule where one is named, else the
 * general help and the list of rules. */
int explain_with_policy(const struct command *command, const char *policy);

#endif
