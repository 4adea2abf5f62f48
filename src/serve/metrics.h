/* SPDX-License-Identifier: Apache-2.0
 * serve/metrics: what is counted, as Prometheus reads it (text format 0.0.4). */
#ifndef EX_SERVE_METRICS_H
#define EX_SERVE_METRICS_H

#include "base/text.h"
#include "serve/service.h"

/* Of all services [n]. */
void ex__metrics_write(ex_service *const *services, int32_t n, struct ex_text *text);

#endif
