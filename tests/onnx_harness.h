/* SPDX-License-Identifier: Apache-2.0
 *
 * Importing what onnx_fixture.h wrote down: accepted, or refused for a reason that
 * is told.
 */
#ifndef EX_TESTS_ONNX_HARNESS_H
#define EX_TESTS_ONNX_HARNESS_H

#include "tests/onnx_fixture.h"

static const struct ex_onnx_options checked = {.samples = 2, .seed = 1};
static struct ex_onnx_report report;
static struct ex_error err;
static ex_net *net;

static inline void refused(enum ex_status code, const char *part) {
  assert_refused(fixture_import(&checked, &net, &report, &err), code, &err, part);
  assert_null(net);
}

static inline void accepted(void) {
  assert_ok(fixture_import(&checked, &net, &report, &err), &err);
  assert_int_equal(report.samples, 2);
  assert_true(report.largest > 0);
}

/* x [batch][4] → Gemm → y [batch][3]. */
static inline Onnx__NodeProto *small(void) {
  fixture_begin(13);
  fixture_input("x", DIMS(-1, 4));
  fixture_output("y");
  fixture_floats("fc.weight", DIMS(3, 4));
  fixture_floats("fc.bias", DIMS(3));
  Onnx__NodeProto *node = fixture_node("Gemm", "x fc.weight fc.bias", "y");
  fixture_int(node, "transB", 1);
  return node;
}

#endif
