/* SPDX-License-Identifier: Apache-2.0
 *
 * What every test includes: cmocka with the headers it wants before it, and
 * a check that an error says the right thing and not merely that it failed.
 */
#ifndef EX_TESTS_TESTING_H
#define EX_TESTS_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/status.h"

/* The call was refused with `code`, and its text contains `part`. */
#define assert_refused(call, expected_code, err, part)                                   \
  do {                                                                                   \
    enum ex_status refused_status_ = (call);                                             \
    assert_string_equal(ex_status_name(refused_status_), ex_status_name(expected_code)); \
    if (strstr((err)->text, (part)) == NULL)                                             \
      fail_msg("error text \"%s\" lacks \"%s\"", (err)->text, (part));                   \
  } while (0)

#define assert_ok(call, err)                                                              \
  do {                                                                                    \
    enum ex_status ok_status_ = (call);                                                   \
    if (ok_status_ != EX_OK) fail_msg("%s: %s", ex_status_name(ok_status_), (err)->text); \
  } while (0)

/* A new empty folder; the test removes it with testing_remove. */
static inline void testing_folder(char path[64]) {
  strcpy(path, "/tmp/exeunt-test-XXXXXX");
  assert_non_null(mkdtemp(path));
}

static inline void testing_remove(const char *path) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", path);
  assert_int_equal(system(command), 0);
}

#endif
