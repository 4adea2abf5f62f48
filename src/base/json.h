/* SPDX-License-Identifier: Apache-2.0
 *
 * base/json: strict JSON from untrusted places, through jansson.
 *
 * Duplicate keys, trailing text, invalid UTF-8, nesting deeper than 64 and
 * files above `limit` are refused. The getters check type and range and name
 * the path of what is wrong.
 */
#ifndef EX_BASE_JSON_H
#define EX_BASE_JSON_H

#include <jansson.h>

#include "base/status.h"

enum ex_status ex__json_parse(const char *text, size_t size, const char *source, json_t **out,
                              struct ex_error *err);
enum ex_status ex__json_load(const char *path, size_t limit, json_t **out, struct ex_error *err);
/* Numbers with 17 significant digits (double) round-trip; sorted keys. The
 * text is released with ex__free. */
enum ex_status ex__json_dump(const json_t *json, bool pretty, char **text);

/* `where` names the document in messages; a missing key is an error. */
enum ex_status ex__json_int(const json_t *object, const char *key, const char *where, int64_t min,
                            int64_t max, int64_t *out, struct ex_error *err);
enum ex_status ex__json_real(const json_t *object, const char *key, const char *where, double min,
                             double max, double *out, struct ex_error *err);
enum ex_status ex__json_string(const json_t *object, const char *key, const char *where,
                               const char **out, struct ex_error *err); /* borrowed */
enum ex_status ex__json_array(const json_t *object, const char *key, const char *where,
                              size_t max_items, const json_t **out, struct ex_error *err);
enum ex_status ex__json_object(const json_t *object, const char *key, const char *where,
                               const json_t **out, struct ex_error *err);

#endif
