/* SPDX-License-Identifier: Apache-2.0
 * serve/server_internal: what the files of this room share. */
#ifndef EX_SERVE_SERVER_INTERNAL_H
#define EX_SERVE_SERVER_INTERNAL_H

#include "serve/exchange.h"
#include "serve/server.h"
#include "serve/visitors.h"

enum { EX_MAX_SERVICES = 64 };

typedef struct ex_http ex_http;

struct ex_server {
  struct ex_server_options options;
  ex_service *services[EX_MAX_SERVICES];
  int32_t n_services;
  atomic_bool draining, closed; /* no longer ready; nothing may begin to wait */
  atomic_int exchanges;         /* that were begun and are not completed */
  atomic_int suspended;         /* connections that wait for a worker */
  atomic_llong body_bytes;
  ex_http *http;
  struct ex_visitors visitors;
  pthread_mutex_t past_lock;
  pthread_t keeper;
  bool has_keeper;
  pthread_mutex_t lock; /* of what follows */
  pthread_cond_t changed;
  bool stop, reload;
  struct ex_exchange *loads; /* that wait for the keeper */
};

/* server.c: the keeper will load the model and resume the exchange; false: it has gone. */
bool ex__server_load(struct ex_server *server, struct ex_exchange *exchange);

/* http.c */
enum ex_status ex__http_start(struct ex_server *server, ex_http **out, struct ex_error *err);
int32_t ex__http_port(const ex_http *http);
void ex__http_close_door(ex_http *http); /* takes no more connections */
void ex__http_stop(ex_http *http);       /* accepts NULL; no exchange may be under way */

#endif
