/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/bench_exeunt: what Exeunt's workers share.
 */
#ifndef EX_BENCH_EXEUNT_H
#define EX_BENCH_EXEUNT_H

#include "base/status.h"
#include "bench_worker.h"

#define BENCH_TEXT(x) #x
#define BENCH_NUMBER(x) BENCH_TEXT(x)
#define BENCH_VERSION                                                \
  "\"version\": \"" BENCH_NUMBER(EX_VERSION_MAJOR) "." BENCH_NUMBER( \
      EX_VERSION_MINOR) "." BENCH_NUMBER(EX_VERSION_PATCH) "\""

static inline void bench_check(enum ex_status status, const struct ex_error *err) {
  if (status != EX_OK) bench_die("Exeunt: %s", err->text);
}

void bench_train(const struct bench_job *job); /* bench_exeunt_train.c */

#endif
