/* SPDX-License-Identifier: Apache-2.0
 *
 * trace/trace_internal: what the files of this room share to build a trace.
 */
#ifndef EX_TRACE_TRACE_INTERNAL_H
#define EX_TRACE_TRACE_INTERNAL_H

#include "trace/trace.h"

/* The recorded columns while they are written; a finished trace is read only. */
struct ex_trace_columns {
  ex_real *raw, *gate; /* gate NULL: none */
  int32_t *target;
};

/* Whether a trace may be so large; `source` opens the message. */
enum ex_status ex__trace_check_sizes(const char *source, int64_t n, int64_t n_points,
                                     int64_t n_outputs, struct ex_error *err);
/* Empty columns, point p behind stage p. */
enum ex_status ex__trace_new(int32_t n, int32_t n_points, int32_t n_outputs, ex_trace **out,
                             struct ex_error *err);
enum ex_status ex__trace_own_memory(ex_trace *trace, bool gates, struct ex_trace_columns *columns);
/* macs and direct_macs from the parts. */
void ex__trace_sum_costs(ex_trace *trace);
enum ex_status ex__trace_check_targets(const char *source, const int32_t *target, int32_t n,
                                       int32_t n_outputs, struct ex_error *err);

#endif
