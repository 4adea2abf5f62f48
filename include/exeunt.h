/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EXEUNT_H
#define EXEUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define EX_API __attribute__((visibility("default")))
#else
#define EX_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define EX_VERSION_MAJOR 0
#define EX_VERSION_MINOR 1
#define EX_VERSION_PATCH 0

/* ---- status ------------------------------------------------------------ */

#define EX_STATUS_MAP(XX)                                     \
  XX(OK, 0, "ok")                                             \
  XX(EINVAL, -1, "invalid argument")                          \
  XX(ENOMEM, -2, "out of memory")                             \
  XX(EIO, -3, "input or output failed")                       \
  XX(EFORMAT, -4, "malformed file")                           \
  XX(ESHAPE, -5, "shape mismatch")                            \
  XX(ENOTFOUND, -6, "not found")                              \
  XX(EUNSUPPORTED, -7, "not supported")                       \
  XX(EDIVERGED, -8, "training diverged")                      \
  XX(EINFEASIBLE, -9, "constraint cannot be met")             \
  XX(ENOTFINITE, -10, "a number is not finite")               \
  XX(ECANCELLED, -11, "cancelled")                            \
  XX(EDEADLINE, -12, "deadline passed before the first exit") \
  XX(EBACKEND, -13, "the compute backend failed")

enum ex_status {
#define XX(name, value, text) EX_##name = value,
  EX_STATUS_MAP(XX)
#undef XX
};

EX_API const char *ex_status_name(enum ex_status status); /* "ESHAPE"; "unknown" for others */
EX_API const char *ex_status_text(enum ex_status status);

struct ex_error {
  enum ex_status code;
  char text[256]; /* what was given, and the rule */
};

#ifdef __cplusplus
}
#endif
#endif
