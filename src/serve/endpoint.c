/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/endpoint.h"

#include <arpa/inet.h>
#include <string.h>

/* PEM (RFC 7468): a line -----BEGIN LABEL----- opens what is there. The labels of
 * private keys differ in their first words. */
static bool holds(const char *pem, const char *end_of_label) {
  for (const char *line = strstr(pem, "-----BEGIN "); line != NULL;
       line = strstr(line + 1, "-----BEGIN ")) {
    size_t size = strcspn(line, "\r\n"), end = strlen(end_of_label);
    if (size > end && strncmp(line + size - end, end_of_label, end) == 0) return true;
  }
  return false;
}

static enum ex_status read_papers(const struct ex_server_options *options, struct ex_endpoint *out,
                                  struct ex_error *err) {
  out->certificate = options->certificate_file != NULL ? options->certificate_file : "certificate";
  out->key = options->key_file != NULL ? options->key_file : "key";
  if (!holds(options->certificate, " CERTIFICATE-----"))
    return ex__fail(err, EX_EINVAL, "%s: holds no CERTIFICATE; must be PEM", out->certificate);
  if (holds(options->key, " ENCRYPTED PRIVATE KEY-----"))
    return ex__fail(err, EX_EINVAL, "%s: the key is encrypted; must need no password", out->key);
  if (!holds(options->key, " PRIVATE KEY-----"))
    return ex__fail(err, EX_EINVAL, "%s: holds no PRIVATE KEY; must be PEM", out->key);
  return EX_OK;
}

enum ex_status ex__endpoint_read(const struct ex_server_options *options, struct ex_endpoint *out,
                                 struct ex_error *err) {
  *out = (struct ex_endpoint){0};
  if (options->certificate != NULL) EX_TRY(read_papers(options, out, err));
  uint16_t port = htons((uint16_t)options->port);
  if (inet_pton(AF_INET, options->address, &out->of.v4.sin_addr) == 1) {
    out->of.v4.sin_family = AF_INET;
    out->of.v4.sin_port = port;
    return EX_OK;
  }
  if (inet_pton(AF_INET6, options->address, &out->of.v6.sin6_addr) == 1) {
    out->is_v6 = true;
    out->of.v6.sin6_family = AF_INET6;
    out->of.v6.sin6_port = port;
    return EX_OK;
  }
  return ex__fail(err, EX_EINVAL,
                  "address \"%.60s\"; must be numeric, such as 127.0.0.1, 0.0.0.0, ::1",
                  options->address);
}

enum ex_status ex__endpoint_fail(const struct ex_endpoint *endpoint,
                                 const struct ex_server_options *options, const char *why,
                                 struct ex_error *err) {
  if (endpoint->certificate == NULL)
    return ex__fail(err, EX_EIO, "cannot listen on %s, port %d: %s", options->address,
                    (int)options->port, why);
  return ex__fail(err, EX_EIO, "cannot listen on %s, port %d with %.60s and %.60s: %s",
                  options->address, (int)options->port, endpoint->certificate, endpoint->key, why);
}
