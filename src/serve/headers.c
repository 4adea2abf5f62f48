/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/headers.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "serve/server_internal.h"

static const char *header(struct MHD_Connection *mhd, const char *name) {
  return MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, name);
}

/* Takes as long whatever the difference is. */
static bool same_secret(const char *given, const char *secret) {
  size_t n = strlen(given), m = strlen(secret);
  unsigned different = n != m;
  for (size_t i = 0; i < n; i++) different |= (unsigned char)(given[i] ^ secret[m > 0 ? i % m : 0]);
  return different == 0;
}

static bool is_allowed(const struct ex_exchange *exchange, struct MHD_Connection *mhd) {
  const char *token = exchange->server->options.token;
  enum ex_call call = exchange->call;
  if (token == NULL || call == EX_CALL_LIVE || call == EX_CALL_READY) return true;
  if (call == EX_CALL_DASHBOARD || call == EX_CALL_ASSET) return true; /* no secrets in them */
  const char *given = header(mhd, "Authorization");
  return given != NULL && strncmp(given, "Bearer ", 7) == 0 && same_secret(given + 7, token);
}

/* Headers that say where a body ends. */
static enum MHD_Result count_ends(void *context, enum MHD_ValueKind kind, const char *name,
                                  const char *value) {
  (void)kind, (void)value;
  int *n = context;
  *n += strcasecmp(name, "Content-Length") == 0 || strcasecmp(name, "Transfer-Encoding") == 0;
  return MHD_YES;
}

/* A proxy that sees another end than we do would take for a body what we take for the
 * next request (RFC 9112, 6.3 and 11.2). */
static bool refuse_framing(struct ex_exchange *exchange, struct MHD_Connection *mhd) {
  const char *coding = header(mhd, "Transfer-Encoding");
  int n = 0;
  MHD_get_connection_values(mhd, MHD_HEADER_KIND, count_ends, &n);
  if (n > 1)
    ex__exchange_fail(exchange, 400,
                      "more than one Content-Length or Transfer-Encoding; must be one of them");
  else if (coding != NULL && strcasecmp(coding, "chunked") != 0)
    ex__exchange_fail(exchange, 501, "Transfer-Encoding; must be chunked");
  return exchange->status != 0;
}

bool ex__headers_refuse(struct ex_exchange *exchange, struct MHD_Connection *mhd, bool right_verb) {
  const char *length = header(mhd, "Content-Length");
  const char *json_length = header(mhd, "Inference-Header-Content-Length");
  const char *accept = header(mhd, "Accept");
  const char *encoding = header(mhd, "Content-Encoding");
  int64_t bytes = 0;
  const char *since = MHD_lookup_connection_value(mhd, MHD_GET_ARGUMENT_KIND, "since");
  if (since != NULL && !ex__text_to_int(since, &exchange->since)) exchange->since = 0;
  exchange->header_length = -1;
  exchange->wants_events = accept != NULL && strstr(accept, "text/event-stream") != NULL;
  if (refuse_framing(exchange, mhd)) return true;
  if (!is_allowed(exchange, mhd))
    ex__exchange_fail(exchange, 401, "a bearer token must be sent");
  else if (exchange->call == EX_CALL_NONE)
    ex__exchange_fail(exchange, 404, "no such path or model");
  else if (!right_verb)
    ex__exchange_fail(exchange, 405, "this method is not for this path");
  else if (length != NULL &&
           (!ex__text_to_int(length, &bytes) || bytes > exchange->server->options.max_body))
    ex__exchange_fail(exchange, 413, "the body is larger than this server takes");
  else if (encoding != NULL && strcmp(encoding, "identity") != 0)
    ex__exchange_fail(exchange, 415, "a Content-Encoding; the body must come as it is");
  else if (json_length != NULL &&
           (!ex__text_to_int(json_length, &exchange->header_length) || exchange->header_length < 0))
    ex__exchange_fail(exchange, 400, "Inference-Header-Content-Length must be a number of bytes");
  else if (atomic_load(&exchange->server->draining) && ex__call_waits(exchange->call))
    ex__exchange_fail(exchange, 503, "the server is shutting down");
  return exchange->status != 0;
}
