/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/endpoint: where the server listens, and the certificate that it shows
 * there. What can be wrong with either is told before anything is opened; no
 * library of HTTP or TLS is known here.
 */
#ifndef EX_SERVE_ENDPOINT_H
#define EX_SERVE_ENDPOINT_H

#include <netinet/in.h>

#include "serve/server.h"

struct ex_endpoint {
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } of;
  bool is_v6;
  const char *certificate, *key; /* what errors call them; NULL: no TLS */
};

/* Checks address, port, certificate and key, the last two as far as text can tell:
 * whether they fit each other is seen only by who uses them. */
enum ex_status ex__endpoint_read(const struct ex_server_options *options, struct ex_endpoint *out,
                                 struct ex_error *err);
/* That listening failed, and `why`; always EX_EIO. */
enum ex_status ex__endpoint_fail(const struct ex_endpoint *endpoint,
                                 const struct ex_server_options *options, const char *why,
                                 struct ex_error *err);

#endif
