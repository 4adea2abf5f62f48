/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/store: what took long to make, kept below FOLDER/runs/ under the digest of
 * all that it depends on. What was interrupted is made again; commands that are
 * started side by side share the work.
 */
#ifndef EX_CLI_STORE_H
#define EX_CLI_STORE_H

#include <jansson.h>

#include "base/status.h"

enum { STORE_PATH = 512 };

/* Makes the result of `store_get`. `model` is a file name of this entry's own, for a
 * network to be left or used in passing. Sets *result to a new reference; or to NULL, with
 * EX_OK, where it waits for another process and may not. */
typedef enum ex_status (*store_maker)(void *context, const char *model, json_t **result,
                                      struct ex_error *err);

struct store_job {
  const char *folder; /* runs/ is made below it */
  const json_t *of; /* all that the result depends on; believed only where the same to the letter */
  bool wait;        /* for another process that makes it */
  store_maker make;
  void *context;
};

/* *result: a new reference; NULL where another process is at it and `wait` is false. model,
 * [STORE_PATH], may be NULL: the name that the maker was given. */
enum ex_status store_get(const struct store_job *job, json_t **result, char *model,
                         struct ex_error *err);

#endif
