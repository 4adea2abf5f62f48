/* SPDX-License-Identifier: Apache-2.0
 *
 * A client that sends exactly the bytes it is given and reads what comes back.
 */
#ifndef EX_TESTS_HTTP_CLIENT_H
#define EX_TESTS_HTTP_CLIENT_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/text.h"
#include "tests/testing.h"

struct reply {
  int status;      /* 0: closed without an answer */
  char head[4096]; /* status line and headers */
  struct ex_text body;
};

static inline int http_connect(int32_t port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct timeval limit = {.tv_sec = 20};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
  return fd;
}

/* A server that has had enough may close while we still send. */
static inline void http_send(int fd, const void *data, size_t size) {
  for (const char *at = data; size > 0;) {
    ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
    if (n <= 0) return;
    at += n;
    size -= (size_t)n;
  }
}

static inline const char *http_header(const struct reply *reply, const char *name) {
  size_t n = strlen(name);
  for (const char *line = reply->head; line != NULL; line = strchr(line + 1, '\n'))
    if (strncasecmp(line + 1, name, n) == 0 && line[1 + n] == ':') return line + n + 3;
  return NULL;
}

/* Head, then as many bytes as it says; without a length, until the end. */
static inline void http_read(int fd, struct reply *reply) {
  char byte;
  size_t n = 0;
  *reply = (struct reply){0};
  while (n + 1 < sizeof reply->head && recv(fd, &byte, 1, 0) == 1) {
    reply->head[n++] = byte;
    if (n >= 4 && memcmp(reply->head + n - 4, "\r\n\r\n", 4) == 0) break;
  }
  if (sscanf(reply->head, "HTTP/1.1 %d", &reply->status) != 1) return;
  const char *length = http_header(reply, "Content-Length");
  long left = length != NULL ? strtol(length, NULL, 10) : -1;
  for (; left != 0 && recv(fd, &byte, 1, 0) == 1; left--)
    ex__text_add_bytes(&reply->body, &byte, 1);
}

/* `extra` are whole header lines. */
static inline void http_send_request(int fd, const char *method, const char *path,
                                     const char *extra, const void *body, size_t size) {
  char head[1024];
  int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n",
                   method, path, extra, size);
  http_send(fd, head, (size_t)n);
  http_send(fd, body, size);
}

/* One request on a connection of its own. */
static inline struct reply http_call(int32_t port, const char *method, const char *path,
                                     const char *extra, const void *body, size_t size) {
  struct reply reply;
  int fd = http_connect(port);
  http_send_request(fd, method, path, extra, body, size);
  http_read(fd, &reply);
  close(fd);
  return reply;
}

/* The body as text; "" where there is none. */
static inline const char *http_text(const struct reply *reply) {
  return reply->body.data != NULL ? reply->body.data : "";
}

#endif
