/* SPDX-License-Identifier: Apache-2.0
 *
 * Whatever becomes of the server behind the cut, the device answers, and in time.
 */
#include <sched.h>

#include "base/clock.h"
#include "serve/server_internal.h"
#include "tests/split_fixture.h"
#include "tests/stranger.h"

/* All samples, of which those that should cross are answered as the exit at the cut
 * does; nobody waits longer than `seconds`. */
static void check_alone(const struct served_fixture *s, int32_t port, const char *more,
                        double seconds) {
  int32_t crossed = 0;
  for (int32_t i = 0; i < N_SAMPLES; i += 3) {
    int64_t began = ex__now_ns();
    json_t *json = ask(s, port, i, 1, more);
    assert_true((double)(ex__now_ns() - began) / 1e9 < seconds);
    int32_t crosses = s->alone.result[i].exit > UPTO;
    assert_int_equal(parameter(json, "alone"), crosses);
    assert_int_equal(parameter(json, "exit"), crosses ? UPTO : s->alone.result[i].exit);
    crossed += crosses;
    json_decref(json);
  }
  assert_true(crossed > 2);
}

static void a_link_that_is_down_costs_nothing(void **state) {
  (void)state;
  struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  struct stranger gone;
  char url[64];
  stranger_new(&gone, "");
  stranger_free(&gone);
  snprintf(url, sizeof url, "http://127.0.0.1:%d", (int)gone.port);
  ex_server *near = device(url, served_options());
  int32_t port = ex__server_port(near);
  check_alone(&s, port, "", 1);
  /* Three, and one more for each pause that a slow machine sees the end of. */
  assert_true(metric(port, "upstream_total", ",outcome=\"down\"") >= 3);
  assert_true(metric(port, "upstream_total", ",outcome=\"skipped\"") > 0);
  assert_true(metric(port, "upstream_bytes_total", "") == 0);
  struct reply reply = ask_events(&s, port, a_deep_one(&s));
  assert_null(strstr(http_text(&reply), "event: early")); /* there will be no better one */
  assert_non_null(strstr(http_text(&reply), "event: final"));
  ex__text_clear(&reply.body);
  ex__server_free(near, 5);
  served_free(&s);
}

static void a_slow_link_is_not_waited_for(void **state) {
  (void)state;
  struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  struct stranger silent;
  char url[64];
  stranger_new(&silent, NULL);
  snprintf(url, sizeof url, "http://127.0.0.1:%d", (int)silent.port);
  options.service.upstream_seconds = 0.05;
  ex_server *near = device(url, options);
  check_alone(&s, ex__server_port(near), "", 1);
  assert_true(metric(ex__server_port(near), "upstream_total", ",outcome=\"late\"") >= 3);
  assert_true(metric(ex__server_port(near), "upstream_total", ",outcome=\"skipped\"") > 0);
  ex__server_free(near, 5);
  options.service.upstream_seconds = 60; /* the deadline is what holds */
  near = device(url, options);
  check_alone(&s, ex__server_port(near), "\"parameters\":{\"deadline_us\":50000},", 1);
  assert_true(metric(ex__server_port(near), "upstream_total", ",outcome=\"late\"") > 3);
  ex__server_free(near, 5);
  stranger_free(&silent);
  served_free(&s);
}

/* Shutting down takes no longer than it may, however much time the other server has. */
static void the_end_does_not_wait_for_the_link(void **state) {
  (void)state;
  struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  struct stranger silent;
  struct ex_text text = {0};
  char url[64];
  stranger_new(&silent, NULL);
  snprintf(url, sizeof url, "http://127.0.0.1:%d", (int)silent.port);
  options.service.upstream_seconds = 60;
  ex_server *near = device(url, options);
  write_request(s.f, a_deep_one(&s), 1, "", &text);
  int fd = http_connect(ex__server_port(near));
  http_send_request(fd, "POST", "/v2/models/small/infer", "", text.data, text.size);
  while (atomic_load(&silent.n) == 0) sched_yield();
  int64_t began = ex__now_ns();
  ex__server_free(near, 0.1);
  assert_true((double)(ex__now_ns() - began) / 1e9 < 5);
  close(fd);
  ex__text_clear(&text);
  stranger_free(&silent);
  served_free(&s);
}

#define SAID(size, body) "HTTP/1.1 200 OK\r\nContent-Length: " #size "\r\n\r\n" body

static void what_is_no_answer_is_not_believed(void **state) {
  (void)state;
  static const char *const sayings[] = {
      "",
      "nonsense\r\n\r\n",
      SAID(2, "{}"),
      SAID(15, "{\"outputs\":[42]}"),
      SAID(1000000000, "{"),
      "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
      /* no such class */
      "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"outputs\":[{\"name\":\"label\",\"data\":[10]},"
      "{\"name\":\"exit\",\"data\":[3]},{\"name\":\"macs\",\"data\":[1]},{\"name\":\"confidence\","
      "\"data\":[0.5]},{\"name\":\"logits\",\"data\":[0,0,0,0,0,0,0,0,0,0]}]}",
      /* no such exit */
      "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"outputs\":[{\"name\":\"label\",\"data\":[1]},"
      "{\"name\":\"exit\",\"data\":[4]},{\"name\":\"macs\",\"data\":[1]},{\"name\":\"confidence\","
      "\"data\":[0.5]},{\"name\":\"logits\",\"data\":[0,0,0,0,0,0,0,0,0,0]}]}",
      /* too few logits */
      "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"outputs\":[{\"name\":\"label\",\"data\":[1]},"
      "{\"name\":\"exit\",\"data\":[3]},{\"name\":\"macs\",\"data\":[1]},{\"name\":\"confidence\","
      "\"data\":[0.5]},{\"name\":\"logits\",\"data\":[0,0,0]}]}",
      /* more work than there is */
      "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"outputs\":[{\"name\":\"label\",\"data\":[1]},"
      "{\"name\":\"exit\",\"data\":[3]},{\"name\":\"macs\",\"data\":[99999999999]},"
      "{\"name\":\"confidence\",\"data\":[0.5]},"
      "{\"name\":\"logits\",\"data\":[0,0,0,0,0,0,0,0,0,0]}]}",
  };
  struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  for (size_t i = 0; i < sizeof sayings / sizeof *sayings; i++) {
    struct stranger stranger;
    char url[64];
    stranger_new(&stranger, sayings[i]);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", (int)stranger.port);
    options.service.upstream_seconds = 2;
    ex_server *near = device(url, options);
    int32_t port = ex__server_port(near);
    check_alone(&s, port, "", 4);
    bool moved = strstr(sayings[i], "302") != NULL; /* which is refused each time */
    assert_true((metric(port, "upstream_total", ",outcome=\"down\"") >= 3) == !moved);
    assert_true((metric(port, "upstream_total", ",outcome=\"skipped\"") > 0) == !moved);
    ex__server_free(near, 5);
    stranger_free(&stranger);
  }
  served_free(&s);
}

/* Another rule would go on otherwise: both machines must serve the same model. */
static void another_model_is_refused(void **state) {
  (void)state;
  static const enum ex_cut_form forms[] = {EX_CUT_INT8, EX_CUT_INPUT};
  const char *const set[] = {"thresholds=0.5,0.5,0.5"};
  for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
    struct ex_server_options near = served_options();
    near.service.set = set;
    near.service.n_set = 1;
    near.service.cut = forms[f];
    atomic_store(&n_logged, 0);
    struct pair pair = pair_new(served_options(), near);
    int32_t alone = 0;
    for (int32_t i = 0; i < N_SAMPLES; i++) {
      json_t *json = ask(&pair.far, pair.port, i, 1, "");
      assert_int_equal(parameter(json, "upstream"), 0);
      alone += (int32_t)parameter(json, "alone");
      json_decref(json);
    }
    assert_true(alone > 0);
    assert_int_equal(atomic_load(&n_logged), 1);
    assert_true(metric(pair.port, "upstream_total", ",outcome=\"refused\"") == alone);
    assert_true(metric(pair.far.port, "requests_total", ",outcome=\"wrong\"") == alone);
    pair_free(&pair);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_link_that_is_down_costs_nothing),
      cmocka_unit_test(a_slow_link_is_not_waited_for),
      cmocka_unit_test(the_end_does_not_wait_for_the_link),
      cmocka_unit_test(what_is_no_answer_is_not_believed),
      cmocka_unit_test(another_model_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
