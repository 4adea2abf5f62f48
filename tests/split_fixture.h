/* SPDX-License-Identifier: Apache-2.0
 *
 * A device and the server behind its cut, in this process, with the small network of
 * the engine's tests.
 */
#ifndef EX_TESTS_SPLIT_FIXTURE_H
#define EX_TESTS_SPLIT_FIXTURE_H

#include <stdatomic.h>

#include "tests/serve_fixture.h"

enum { UPTO = 1 };

struct pair {
  struct served_fixture far;
  ex_server *near;
  int32_t port;
  char url[64];
};

static atomic_int n_logged;

static inline void log_line(const char *text) {
  (void)text;
  atomic_fetch_add(&n_logged, 1);
}

/* A device before the server at `url`. */
static inline ex_server *device(const char *url, struct ex_server_options options) {
  struct ex_error err;
  ex_server *server;
  const char *const models[] = {model_path};
  options.service.upstream = url;
  options.service.upto = UPTO;
  if (!(options.service.upstream_seconds > 0)) options.service.upstream_seconds = 5;
  options.service.log = log_line;
  assert_ok(ex__server_new(&options, models, 1, &server, &err), &err);
  return server;
}

static inline struct pair pair_new(struct ex_server_options far, struct ex_server_options near) {
  struct pair pair = {.far = served_new(&far)};
  snprintf(pair.url, sizeof pair.url, "http://127.0.0.1:%d/", (int)pair.far.port);
  pair.near = device(pair.url, near);
  pair.port = ex__server_port(pair.near);
  return pair;
}

static inline void pair_free(struct pair *pair) {
  ex__server_free(pair->near, 5);
  served_free(&pair->far);
}

static inline json_t *ask(const struct served_fixture *s, int32_t port, int32_t first, int32_t n,
                          const char *more) {
  struct ex_text text = {0};
  write_request(s->f, first, n, more, &text);
  struct reply reply = http_call(port, "POST", "/v2/models/small/infer", "", text.data, text.size);
  ex__text_clear(&text);
  if (reply.status != 200) fail_msg("%d: %s", reply.status, http_text(&reply));
  json_t *json = parse(&reply);
  ex__text_clear(&reply.body);
  return json;
}

static inline struct reply ask_events(const struct served_fixture *s, int32_t port, int32_t i) {
  struct ex_text text = {0};
  write_request(s->f, i, 1, "", &text);
  struct reply reply =
      http_call(port, "POST", "/v2/models/small/infer",
                "Accept: text/event-stream\r\nConnection: close\r\n", text.data, text.size);
  ex__text_clear(&text);
  return reply;
}

/* A sample that crosses. */
static inline int32_t a_deep_one(const struct served_fixture *s) {
  int32_t i = 0;
  while (s->alone.result[i].exit <= UPTO) i++;
  return i;
}

static inline int64_t parameter(const json_t *json, const char *name) {
  const json_t *value = json_object_get(json_object_get(json, "parameters"), name);
  assert_true(json_is_integer(value));
  return json_integer_value(value);
}

static inline double metric(int32_t port, const char *name, const char *labels) {
  char line[128];
  snprintf(line, sizeof line, "exeunt_%s{model=\"small\"%s} ", name, labels);
  struct reply reply = http_call(port, "GET", "/metrics", "", "", 0);
  const char *at = strstr(http_text(&reply), line);
  assert_non_null(at);
  double value = strtod(at + strlen(line), NULL);
  ex__text_clear(&reply.body);
  return value;
}

static inline int32_t deep(const struct served_fixture *s, int32_t first, int32_t n) {
  int32_t deep = 0;
  for (int32_t i = first; i < first + n; i++) deep += s->alone.result[i].exit > UPTO;
  return deep;
}

#endif
