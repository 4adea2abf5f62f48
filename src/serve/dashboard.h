/* SPDX-License-Identifier: Apache-2.0
 * serve/dashboard: the page that one leaves open, and the figures it asks for. */
#ifndef EX_SERVE_DASHBOARD_H
#define EX_SERVE_DASHBOARD_H

#include "serve/exchange.h"

/* A file of src/serve/assets/ by its name there; NULL: none. NUL-terminated. */
const char *ex__asset_find(const char *name);
/* Its content type, by the ending of its name. */
const char *ex__asset_type(const char *name);
/* Of all models, the seconds from exchange->since on. */
void ex__dashboard_data(struct ex_exchange *exchange);

#endif
