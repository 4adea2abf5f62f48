/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/server: models over HTTP, by the Open Inference Protocol version 2.
 *
 * One thread (or a few) reads requests and writes answers; each model has
 * workers of its own, which share stages among all requests (engine/pipeline.h);
 * one more thread, the keeper, loads models, closes what is too slow, and keeps
 * the past for the dashboard. docs/serving.md is the manual.
 *
 *   http.c        libmicrohttpd: bytes in, bytes out; with headers.c the only room
 *                 that knows it
 *   endpoint.c    where it listens, and the certificate it shows there
 *   route.c       which call a path means
 *   inference.c   one request for answers: infer_parse.c → pipeline → infer_answer.c;
 *                 inference_split.c sends it on to another server, by uplink.c
 *   service.c     a name, and the model that is served under it now
 *   statistics.c  what is counted; metrics.c and dashboard.c show it
 */
#ifndef EX_SERVE_SERVER_H
#define EX_SERVE_SERVER_H

#include "serve/service.h"

typedef struct ex_server ex_server;

struct ex_server_options {
  const char *address;     /* numeric: "127.0.0.1", "::1", "0.0.0.0" */
  int32_t port;            /* 0: any that is free */
  int32_t http_threads;    /* 1 … 64 */
  int32_t connections;     /* at most this many at once, 1 … 65536 */
  int64_t max_body;        /* bytes of one request's body */
  double seconds;          /* for sending a request, head and body each; a connection that is
                              idle as long is closed */
  const char *token;       /* every call but health must bear it; NULL: none */
  const char *certificate; /* PEM, text; NULL: no TLS. With `key` */
  const char *key;
  const char *certificate_file; /* their names, for errors; NULL */
  const char *key_file;
  void (*log)(const char *text); /* what nobody else is told, a line each; NULL */
  struct ex_service_options service;
};

/* The models are loaded, and may be named twice neither by name nor empty;
 * models [n] of "NAME=PATH" or "PATH", whose file name is then the name. When
 * the call returns, requests are answered. */
enum ex_status ex__server_new(const struct ex_server_options *options, const char *const *models,
                              int32_t n, ex_server **out, struct ex_error *err);
int32_t ex__server_port(const ex_server *server);
/* Every model anew, from its file, in the background; requests go on. */
void ex__server_reload(ex_server *server);
/* No longer ready; answers what has come for at most `seconds`, then frees.
 * Accepts NULL. */
void ex__server_free(ex_server *server, double seconds);

#endif
