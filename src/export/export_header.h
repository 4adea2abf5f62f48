/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_header: the header file: sizes as macros, the calls, an example.
 */
#ifndef EX_EXPORT_EXPORT_HEADER_H
#define EX_EXPORT_EXPORT_HEADER_H

#include "export/export_plan.h"

/* bytes [n_stages]: of the constants of each stage. */
void ex__header_write(const struct ex_export_plan *plan, const int64_t *bytes,
                      struct ex_text *text);

#endif
