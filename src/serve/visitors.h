/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/visitors: who is connected, and until when each must have said what it
 * wants. A client that sends a byte now and then is never idle, and would hold
 * its connection for ever; so the time for a whole head, and for a whole body,
 * is bounded here.
 */
#ifndef EX_SERVE_VISITORS_H
#define EX_SERVE_VISITORS_H

#include <pthread.h>
#include <stdint.h>

#include "base/status.h"

struct ex_visitor {
  int socket;
  int64_t until; /* by ex__now_ns; INT64_MAX: it is being served */
  struct ex_visitor *next, *before;
};

struct ex_visitors {
  pthread_mutex_t lock;
  struct ex_visitor *first;
};

void ex__visitors_init(struct ex_visitors *visitors);
void ex__visitors_free(struct ex_visitors *visitors); /* none may be left */
/* NULL: no memory. It must leave before its socket is closed. */
struct ex_visitor *ex__visitors_enter(struct ex_visitors *visitors, int socket, int64_t until);
void ex__visitors_leave(struct ex_visitors *visitors, struct ex_visitor *visitor);
void ex__visitors_allow(struct ex_visitors *visitors, struct ex_visitor *visitor, int64_t until);
/* Shuts the sockets of those whose time is over. */
void ex__visitors_sweep(struct ex_visitors *visitors, int64_t now);

#endif
