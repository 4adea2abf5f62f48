/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/manual: the man page, from the same tables as the help; scdoc's form.
 */
#ifndef EX_CLI_MANUAL_H
#define EX_CLI_MANUAL_H

/* `exeunt --manual | scdoc` gives exeunt(1). */
void manual_print(void);

#endif
