/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/visitors: a list and a lock. Shutting a socket makes libmicrohttpd see
 * its end and close it; the number stays the visitor's until then.
 */
#include "serve/visitors.h"

#include <sys/socket.h>

#include "base/memory.h"

void ex__visitors_init(struct ex_visitors *visitors) {
  pthread_mutex_init(&visitors->lock, NULL);
  visitors->first = NULL;
}

void ex__visitors_free(struct ex_visitors *visitors) { pthread_mutex_destroy(&visitors->lock); }

struct ex_visitor *ex__visitors_enter(struct ex_visitors *visitors, int socket, int64_t until) {
  struct ex_visitor *visitor = ex__calloc(1, sizeof *visitor);
  if (visitor == NULL) return NULL;
  visitor->socket = socket;
  visitor->until = until;
  pthread_mutex_lock(&visitors->lock);
  visitor->next = visitors->first;
  if (visitor->next != NULL) visitor->next->before = visitor;
  visitors->first = visitor;
  pthread_mutex_unlock(&visitors->lock);
  return visitor;
}

void ex__visitors_leave(struct ex_visitors *visitors, struct ex_visitor *visitor) {
  if (visitor == NULL) return;
  pthread_mutex_lock(&visitors->lock);
  if (visitor->next != NULL) visitor->next->before = visitor->before;
  if (visitor->before != NULL)
    visitor->before->next = visitor->next;
  else
    visitors->first = visitor->next;
  pthread_mutex_unlock(&visitors->lock);
  ex__free(visitor);
}

void ex__visitors_allow(struct ex_visitors *visitors, struct ex_visitor *visitor, int64_t until) {
  if (visitor == NULL) return;
  pthread_mutex_lock(&visitors->lock);
  visitor->until = until;
  pthread_mutex_unlock(&visitors->lock);
}

void ex__visitors_sweep(struct ex_visitors *visitors, int64_t now) {
  pthread_mutex_lock(&visitors->lock);
  for (struct ex_visitor *visitor = visitors->first; visitor != NULL; visitor = visitor->next)
    if (visitor->until < now) shutdown(visitor->socket, SHUT_RDWR);
  pthread_mutex_unlock(&visitors->lock);
}
