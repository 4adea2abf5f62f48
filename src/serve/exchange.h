/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/exchange: one request and its answer, between http.c, which moves the
 * bytes, and route.c, which knows what they mean.
 */
#ifndef EX_SERVE_EXCHANGE_H
#define EX_SERVE_EXCHANGE_H

#include "serve/inference.h"

struct ex_server;

enum ex_verb { EX_VERB_GET, EX_VERB_POST, EX_VERB_OTHER };

enum ex_call {
  EX_CALL_NONE, /* no such path: 404 */
  EX_CALL_SERVER,
  EX_CALL_LIVE,
  EX_CALL_READY,
  EX_CALL_MODEL,
  EX_CALL_MODEL_READY,
  EX_CALL_INFER,
  EX_CALL_INDEX,
  EX_CALL_LOAD,
  EX_CALL_METRICS,
  EX_CALL_DASHBOARD,
  EX_CALL_ASSET,
  EX_CALL_DATA
};

struct ex_exchange {
  struct ex_server *server;
  enum ex_verb verb;
  enum ex_call call;
  ex_service *service;   /* that the path names; NULL */
  bool wants_events;     /* Accept: text/event-stream */
  int64_t header_length; /* Inference-Header-Content-Length; −1: none */
  int64_t began_ns;
  int64_t since;     /* of EX_CALL_DATA */
  const char *asset; /* of EX_CALL_ASSET */
  char asset_name[64];
  char *body;
  size_t body_size, body_capacity;

  int status; /* of HTTP */
  const char *type;
  struct ex_text answer;
  int64_t answer_header_length; /* as header_length, of the answer */
  int32_t retry_seconds;        /* 0: no Retry-After */
  ex_inference *inference;
  struct ex_exchange *next_load; /* the keeper's list of those that wait for a load */
  enum ex_status loaded;
  struct ex_error load_error;
};

/* Sets call and service; true: this verb may be used on it. */
bool ex__route_find(struct ex_exchange *exchange, const char *path);
/* Calls that are answered at once: status, type and answer. */
void ex__route_answer(struct ex_exchange *exchange);
/* Of EX_CALL_INFER: parses; false: it is answered with what is wrong. */
bool ex__route_prepare(struct ex_exchange *exchange);
/* Is the whole answered later, with the connection suspended meanwhile? */
static inline bool ex__call_waits(enum ex_call call) {
  return call == EX_CALL_INFER || call == EX_CALL_LOAD;
}
/* After the news, or where there was no room (`started` false). */
void ex__route_reply(struct ex_exchange *exchange, bool started);
/* Appends an event of a stream: early or final answer. */
void ex__route_event(struct ex_exchange *exchange, enum ex_inference_news news,
                     struct ex_text *text);
/* Of http.c: an exchange that waits goes on; afterwards it may be gone. */
void ex__exchange_resume(struct ex_exchange *exchange);
/* {"error": …} with an HTTP status. */
void ex__exchange_fail(struct ex_exchange *exchange, int status, const char *message);

#endif
