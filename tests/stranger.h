/* SPDX-License-Identifier: Apache-2.0
 *
 * Another server as it should not be.
 */
#ifndef EX_TESTS_STRANGER_H
#define EX_TESTS_STRANGER_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/http_client.h"

/* Someone at a port who takes what comes and says `says` to it; NULL: nothing at all. */
struct stranger {
  int fd;
  int32_t port;
  _Atomic(const char *) says;
  atomic_int n; /* who have come */
  pthread_t thread;
};

static inline void *stranger_talk(void *context) {
  struct stranger *stranger = context;
  char heard[65536];
  int silent[64], n = 0;
  for (int fd; (fd = accept(stranger->fd, NULL, NULL)) >= 0;) {
    const char *says = stranger->says;
    atomic_fetch_add(&stranger->n, 1);
    if (says == NULL && n < 64) {
      silent[n++] = fd;
      continue;
    }
    if (recv(fd, heard, sizeof heard, 0) > 0 && says != NULL) http_send(fd, says, strlen(says));
    shutdown(fd, SHUT_WR);
    while (recv(fd, heard, sizeof heard, 0) > 0) continue;
    close(fd);
  }
  while (n > 0) close(silent[--n]);
  return NULL;
}

static inline void stranger_new(struct stranger *stranger, const char *says) {
  struct sockaddr_in at = {.sin_family = AF_INET};
  socklen_t size = sizeof at;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  atomic_init(&stranger->says, says);
  atomic_init(&stranger->n, 0);
  stranger->fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(bind(stranger->fd, (struct sockaddr *)&at, sizeof at), 0);
  assert_int_equal(listen(stranger->fd, 64), 0);
  assert_int_equal(getsockname(stranger->fd, (struct sockaddr *)&at, &size), 0);
  stranger->port = ntohs(at.sin_port);
  assert_int_equal(pthread_create(&stranger->thread, NULL, stranger_talk, stranger), 0);
}

static inline void stranger_free(struct stranger *stranger) {
  shutdown(stranger->fd, SHUT_RDWR);
  pthread_join(stranger->thread, NULL);
  close(stranger->fd);
}

#endif
