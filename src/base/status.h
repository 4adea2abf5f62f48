/* SPDX-License-Identifier: Apache-2.0
 *
 * base/status: how a failure travels.
 *
 * Every fallible call returns `enum ex_status`. A call made once per object
 * also fills a `struct ex_error` with what was given and the rule it broke
 * (value + rule). The library never aborts, exits or prints.
 */
#ifndef EX_BASE_STATUS_H
#define EX_BASE_STATUS_H

#include "exeunt.h"

/* ex__fail(err, code, format, …) writes the formatted text and `code` into
 * `err` (which may be NULL) and is `code`, so that a caller can write
 * `return ex__fail(err, EX_ESHAPE, …)`. It is a macro only so that the
 * compiler sees which code is returned, and does not warn that an output
 * might be used after a failure; `code` is evaluated twice. */
#define ex__fail(err, code, ...) (ex__note(err, code, __VA_ARGS__), ex__same(code))

__attribute__((format(printf, 3, 4))) void ex__note(struct ex_error *err, enum ex_status code,
                                                    const char *format, ...);
static inline enum ex_status ex__same(enum ex_status code) { return code; }

/* Prefixes the text of an error that is being passed on with its context and
 * ": " (`ex__wrap(err, status, "%s", path)` gives "model.safetensors: …");
 * returns err->code, or `code` where err is NULL. */
__attribute__((format(printf, 3, 4))) enum ex_status ex__wrap(struct ex_error *err,
                                                              enum ex_status code,
                                                              const char *format, ...);

/* Returns from the calling function with the status of a failed call. */
#define EX_TRY(call)                                    \
  do {                                                  \
    enum ex_status ex_try_status_ = (call);             \
    if (ex_try_status_ != EX_OK) return ex_try_status_; \
  } while (0)

/* As EX_TRY, but jumps to `label` with the status in `status`. */
#define EX_TRY_GOTO(status, call, label) \
  do {                                   \
    (status) = (call);                   \
    if ((status) != EX_OK) goto label;   \
  } while (0)

#endif
