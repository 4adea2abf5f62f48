/* SPDX-License-Identifier: Apache-2.0
 *
 * A server of this process, with the small network of the engine's tests, and
 * what that network answers alone.
 */
#ifndef EX_TESTS_SERVE_FIXTURE_H
#define EX_TESTS_SERVE_FIXTURE_H

#include "base/json.h"
#include "serve/server.h"
#include "tests/engine_fixture.h"
#include "tests/http_client.h"

static const char model_path[] = "small.safetensors";

struct served_fixture {
  struct fixture *f;
  struct answers alone;
  ex_server *server;
  int32_t port;
};

static inline void fixture_write_model(const struct fixture *f, const ex_policy *policy) {
  struct ex_error err;
  ex_model *model;
  assert_ok(ex__model_new(f->model->net, &f->model->preprocess, NULL, &model, &err), &err);
  model->policy = ex__policy_to_json(policy);
  assert_ok(ex__model_write(model, model_path, &err), &err);
  model->net = NULL; /* the fixture's own */
  json_decref(model->policy);
  model->policy = NULL;
  for (int32_t c = 0; c < N_CLASSES; c++) ex__free(model->labels[c]);
  ex__free(model->labels);
  ex__free(model);
}

static inline struct ex_server_options served_options(void) {
  return (struct ex_server_options){.address = "127.0.0.1",
                                    .http_threads = 1,
                                    .connections = 64,
                                    .max_body = 1 << 20,
                                    .seconds = 10,
                                    .service = {.workers = 2, .queue = 32}};
}

static inline struct served_fixture served_new(const struct ex_server_options *options) {
  struct served_fixture s = {.f = fixture_new()};
  struct ex_error err;
  ex_policy policy = fixture_max_probability(s.f);
  ex_engine *engine = fixture_engine(s.f, &policy, 1, true);
  fixture_run(s.f, engine, 1, &s.alone);
  ex_engine_free(engine);
  fixture_write_model(s.f, &policy);
  const char *const models[] = {model_path};
  assert_ok(ex__server_new(options, models, 1, &s.server, &err), &err);
  s.port = ex__server_port(s.server);
  return s;
}

static inline void served_free(struct served_fixture *s) {
  ex__server_free(s->server, 5);
  fixture_free(s->f);
}

/* A request for the answers to n samples from the first on; `more` is further JSON
 * members with a comma behind. */
static inline void write_request(const struct fixture *f, int32_t first, int32_t n,
                                 const char *more, struct ex_text *text) {
  ex__text_add(text,
               "{%s\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":[%d,1,%d,%d],"
               "\"data\":[",
               more, (int)n, SIDE, SIDE);
  for (int32_t i = 0; i < n * FEATURES; i++)
    ex__text_add(text, i > 0 ? ",%.9g" : "%.9g", (double)f->x[first + i / FEATURES][i % FEATURES]);
  ex__text_add(text, "]}]}");
}

static inline struct reply post_infer(const struct served_fixture *s, int32_t first, int32_t n,
                                      const char *more, const char *extra) {
  struct ex_text text = {0};
  write_request(s->f, first, n, more, &text);
  struct reply reply =
      http_call(s->port, "POST", "/v2/models/small/infer", extra, text.data, text.size);
  ex__text_clear(&text);
  return reply;
}

/* A tensor's data in a reply's JSON; owned by it. */
static inline const json_t *tensor(const json_t *json, const char *name) {
  const json_t *outputs = json_object_get(json, "outputs");
  for (size_t i = 0; i < json_array_size(outputs); i++) {
    const json_t *output = json_array_get(outputs, i);
    if (strcmp(json_string_value(json_object_get(output, "name")), name) == 0)
      return json_object_get(output, "data");
  }
  return NULL;
}

static inline json_t *parse(const struct reply *reply) {
  struct ex_error err;
  json_t *json;
  assert_ok(ex__json_parse(http_text(reply), reply->body.size, "reply", &json, &err), &err);
  return json;
}

static inline void assert_reply_is(const struct served_fixture *s, const json_t *json,
                                   int32_t first, int32_t n) {
  for (int32_t i = 0; i < n; i++) {
    const struct ex_result *expected = &s->alone.result[first + i];
    size_t at = (size_t)i;
    assert_int_equal(json_integer_value(json_array_get(tensor(json, "label"), at)),
                     expected->label);
    assert_int_equal(json_integer_value(json_array_get(tensor(json, "exit"), at)), expected->exit);
    assert_int_equal(json_integer_value(json_array_get(tensor(json, "macs"), at)), expected->macs);
    for (int32_t c = 0; c < N_CLASSES; c++)
      assert_true((float)json_number_value(
                      json_array_get(tensor(json, "logits"), at * N_CLASSES + (size_t)c)) ==
                  s->alone.logits[first + i][c]);
  }
}

#endif
