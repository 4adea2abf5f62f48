/* SPDX-License-Identifier: Apache-2.0
 *
 * The protocol, over sockets: what the network answers alone is what comes back.
 */
#include "tests/serve_fixture.h"

static void expect(const struct served_fixture *s, const char *method, const char *path, int status,
                   const char *part) {
  struct reply reply = http_call(s->port, method, path, "", "", 0);
  if (reply.status != status || strstr(http_text(&reply), part) == NULL)
    fail_msg("%s %s: %d %s", method, path, reply.status, http_text(&reply));
  ex__text_clear(&reply.body);
}

static void paths_are_known(void **state) {
  (void)state;
  const struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  expect(&s, "GET", "/v2", 200, "\"name\":\"exeunt\"");
  expect(&s, "GET", "/v2/health/live", 200, "true");
  expect(&s, "GET", "/v2/health/ready", 200, "true");
  expect(&s, "GET", "/v2/models/small", 200, "\"shape\":[-1,1,12,12]");
  expect(&s, "GET", "/v2/models/small/versions/1", 200, "\"logits\"");
  expect(&s, "GET", "/v2/models/small/versions/1/ready", 200,
         "{\"name\":\"small\",\"ready\":true}");
  expect(&s, "GET", "/v2/models/small/versions/2", 404, "error");
  expect(&s, "GET", "/v2/models/large", 404, "error");
  expect(&s, "GET", "/v2/models/small/infer", 405, "error");
  expect(&s, "POST", "/v2/models/small", 405, "error");
  expect(&s, "DELETE", "/v2", 405, "error");
  served_free(&s);
}

static void answers_are_the_engines(void **state) {
  (void)state;
  const struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  for (int32_t i = 0; i < N_SAMPLES; i += i < 8 ? 1 : 7) {
    int32_t n = i < 8 ? 1 : i + 7 < N_SAMPLES ? 7 : N_SAMPLES - i;
    struct reply reply = post_infer(&s, i, n, "\"id\":\"a \\\"b\\\"\",", "");
    assert_int_equal(reply.status, 200);
    json_t *json = parse(&reply);
    assert_reply_is(&s, json, i, n);
    assert_string_equal(json_string_value(json_object_get(json, "id")), "a \"b\"");
    const json_t *parameters = json_object_get(json, "parameters");
    if (n == 1)
      assert_int_equal(json_integer_value(json_object_get(parameters, "exit")),
                       s.alone.result[i].exit);
    json_decref(json);
    ex__text_clear(&reply.body);
  }
  served_free(&s);
}

static void binary_tensors_both_ways(void **state) {
  (void)state;
  const struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  enum { N = 3 };
  struct ex_text body = {0};
  char extra[80];
  ex__text_add(&body,
               "{\"parameters\":{\"binary_data_output\":true},\"outputs\":[{\"name\":\"logits\"},"
               "{\"name\":\"macs\"},{\"name\":\"label\",\"parameters\":{\"binary_data\":false}}],"
               "\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":[%d,1,%d,%d],"
               "\"parameters\":{\"binary_data_size\":%zu}}]}",
               N, SIDE, SIDE, N * sizeof s.f->x[0]);
  snprintf(extra, sizeof extra, "Inference-Header-Content-Length: %zu\r\n", body.size);
  ex__text_add_bytes(&body, s.f->x, N * sizeof s.f->x[0]);
  struct reply reply =
      http_call(s.port, "POST", "/v2/models/small/infer", extra, body.data, body.size);
  assert_int_equal(reply.status, 200);
  size_t head = strtoul(http_header(&reply, "Inference-Header-Content-Length"), NULL, 10);
  assert_int_equal(reply.body.size, head + N * (sizeof s.alone.logits[0] + 8));
  assert_memory_equal(reply.body.data + head, s.alone.logits, N * sizeof s.alone.logits[0]);
  for (int32_t i = 0; i < N; i++)
    assert_memory_equal(reply.body.data + head + N * sizeof s.alone.logits[0] + 8 * (size_t)i,
                        &s.alone.result[i].macs, 8);
  ex__text_clear(&reply.body);
  ex__text_clear(&body);
  served_free(&s);
}

static void parameters_are_minded(void **state) {
  (void)state;
  const struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  static const struct {
    const char *more;
    int status;
    const char *part;
  } cases[] = {
      {"\"parameters\":{\"max_exit\":0},", 200, "\"parameters\":{\"exit\":0,"},
      {"\"parameters\":{\"max_exit\":4},", 400, "max_exit"},
      {"\"parameters\":{\"max_exit\":\"0\"},", 400, "max_exit"},
      {"\"parameters\":{\"deadline_us\":0},", 504, "deadline"},
      {"\"parameters\":{\"deadline_us\":60000000},", 200, "\"outputs\""},
      {"\"parameters\":{\"classes\":\"1\"},", 400, "knows no classes"},
      {"\"parameters\":{\"classes\":[99]},", 400, "is unknown"},
      {"\"parameters\":7,", 400, "must be an object"},
      {"\"outputs\":[{\"name\":\"boxes\"}],", 400, "boxes"},
      {"\"outputs\":[{\"name\":\"exit\"},{\"name\":\"exit\"}],", 400, "twice"},
      {"\"id\":5,", 400, "id must"},
      {"\"id\":\"\xff\",", 400, "error"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct reply reply = post_infer(&s, 0, 1, cases[i].more, "");
    if (reply.status != cases[i].status || strstr(http_text(&reply), cases[i].part) == NULL)
      fail_msg("%s: %d %s", cases[i].more, reply.status, http_text(&reply));
    ex__text_clear(&reply.body);
  }
  served_free(&s);
}

static void what_does_not_fit_is_refused(void **state) {
  (void)state;
  const struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  static const char *const bodies[] = {
      "",
      "[]",
      "{}",
      "{\"inputs\":[]}",
      "{\"inputs\":[7]}",
      "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1,1,12,12],\"data\":[1]}]}",
      "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"BF8\",\"shape\":[1,1,12,12],\"data\":[]}]}",
      "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":[33,1,12,12],\"data\":[]}]}",
      "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":[-1,1,12,12],\"data\":[]}]}",
      "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":[1,1,12,13],\"data\":[]}]}",
      "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":[32,1,12,12],\"data\":[1]}]}",
      "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":[1,12,12]}]}",
      "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":[1,12,12],"
      "\"parameters\":{\"binary_data_size\":9223372036854775807}}]}",
      "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":[1,12,12],"
      "\"parameters\":{\"binary_data_size\":576}}]}",
  };
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
    struct reply reply =
        http_call(s.port, "POST", "/v2/models/small/infer", "", bodies[i], strlen(bodies[i]));
    if (reply.status != 400 || strstr(http_text(&reply), "{\"error\":\"") == NULL)
      fail_msg("%s: %d %s", bodies[i], reply.status, http_text(&reply));
    ex__text_clear(&reply.body);
  }
  served_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(paths_are_known),
      cmocka_unit_test(answers_are_the_engines),
      cmocka_unit_test(binary_tensors_both_ways),
      cmocka_unit_test(parameters_are_minded),
      cmocka_unit_test(what_does_not_fit_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
