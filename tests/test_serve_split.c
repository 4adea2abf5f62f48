/* SPDX-License-Identifier: Apache-2.0
 *
 * A server that runs a network up to a cut and another that goes on behind it answer
 * as one does; and whatever becomes of the other, the first answers, and in time.
 */
#include <sched.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "serve/server_internal.h"
#include "tests/serve_fixture.h"
#include "tests/stranger.h"

enum { UPTO = 1 };

struct pair {
  struct served_fixture far;
  ex_server *near;
  int32_t port;
  char url[64];
};

static atomic_int n_logged;

static void log_line(const char *text) {
  (void)text;
  atomic_fetch_add(&n_logged, 1);
}

/* A device before the server at `url`. */
static ex_server *device(const char *url, struct ex_server_options options) {
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

static struct pair pair_new(struct ex_server_options far, struct ex_server_options near) {
  struct pair pair = {.far = served_new(&far)};
  snprintf(pair.url, sizeof pair.url, "http://127.0.0.1:%d/", (int)pair.far.port);
  pair.near = device(pair.url, near);
  pair.port = ex__server_port(pair.near);
  return pair;
}

static void pair_free(struct pair *pair) {
  ex__server_free(pair->near, 5);
  served_free(&pair->far);
}

static json_t *ask(const struct served_fixture *s, int32_t port, int32_t first, int32_t n,
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

static struct reply ask_events(const struct served_fixture *s, int32_t port, int32_t i) {
  struct ex_text text = {0};
  write_request(s->f, i, 1, "", &text);
  struct reply reply =
      http_call(port, "POST", "/v2/models/small/infer",
                "Accept: text/event-stream\r\nConnection: close\r\n", text.data, text.size);
  ex__text_clear(&text);
  return reply;
}

/* A sample that crosses. */
static int32_t a_deep_one(const struct served_fixture *s) {
  int32_t i = 0;
  while (s->alone.result[i].exit <= UPTO) i++;
  return i;
}

static int64_t parameter(const json_t *json, const char *name) {
  const json_t *value = json_object_get(json_object_get(json, "parameters"), name);
  assert_true(json_is_integer(value));
  return json_integer_value(value);
}

static double metric(int32_t port, const char *name, const char *labels) {
  char line[128];
  snprintf(line, sizeof line, "exeunt_%s{model=\"small\"%s} ", name, labels);
  struct reply reply = http_call(port, "GET", "/metrics", "", "", 0);
  const char *at = strstr(http_text(&reply), line);
  assert_non_null(at);
  double value = strtod(at + strlen(line), NULL);
  ex__text_clear(&reply.body);
  return value;
}

static int32_t deep(const struct served_fixture *s, int32_t first, int32_t n) {
  int32_t deep = 0;
  for (int32_t i = first; i < first + n; i++) deep += s->alone.result[i].exit > UPTO;
  return deep;
}

/* ---- a link that works --------------------------------------------------------- */

static void two_servers_answer_as_one(void **state) {
  (void)state;
  struct pair pair = pair_new(served_options(), served_options());
  int32_t all = deep(&pair.far, 0, N_SAMPLES);
  assert_true(all > 4 && all < N_SAMPLES - 4);
  for (int32_t n = 1; n <= 8; n += 7)
    for (int32_t i = 0; i < N_SAMPLES; i += n) {
      json_t *json = ask(&pair.far, pair.port, i, n, "");
      assert_reply_is(&pair.far, json, i, n);
      assert_int_equal(parameter(json, "upstream"), deep(&pair.far, i, n));
      assert_int_equal(parameter(json, "alone"), 0);
      json_decref(json);
    }
  assert_true(metric(pair.port, "upstream_total", ",outcome=\"answered\"") == 2 * all);
  assert_true(metric(pair.port, "upstream_bytes_total", "") > 100 * all);
  /* Each counts the samples that it answered, and the multiply-adds that it spent. */
  assert_true(metric(pair.far.port, "requests_total", ",outcome=\"answered\"") == 2 * all);
  assert_true(metric(pair.far.port, "macs_total", "") + 1 < metric(pair.port, "macs_total", ""));
  pair_free(&pair);
}

/* The guard of a device counts all inputs, where either machine decided; that of the
 * server none of them, since it sees the hard ones alone. */
static void each_input_drifts_once(void **state) {
  (void)state;
  struct ex_server_options options = served_options();
  options.service.drift_window = 10 * N_SAMPLES;
  struct pair pair = pair_new(options, options);
  int32_t expected[UPTO + 2] = {0};
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    int32_t exit = pair.far.alone.result[i].exit;
    expected[exit > UPTO ? UPTO + 1 : exit]++;
    json_decref(ask(&pair.far, pair.port, i, 1, ""));
  }
  const struct ex_drift *near = &pair.near->services[0]->drift;
  assert_int_equal(near->n, N_SAMPLES);
  assert_memory_equal(near->exit, expected, sizeof expected);
  assert_int_equal(pair.far.server->services[0]->drift.n, 0);
  pair_free(&pair);
}

/* The server could not have saved what was spent before the cut. */
static void savings_are_of_what_is_behind(void **state) {
  (void)state;
  struct pair pair = pair_new(served_options(), served_options());
  for (int32_t i = 0; i < N_SAMPLES; i += 4)
    json_decref(ask(&pair.far, pair.port, i, 1, "\"parameters\":{\"max_risk\":0},"));
  double before = metric(pair.port, "macs_total", "") - metric(pair.far.port, "macs_total", "");
  assert_true(before > 0 && metric(pair.far.port, "macs_saved_total", "") < 0.5 * before);
  pair_free(&pair);
}

static void numbers_may_cross_in_a_few_bits(void **state) {
  (void)state;
  double bytes[EX_CUT_INPUT + 1];
  for (int form = 0; form <= EX_CUT_INPUT; form++) {
    struct ex_server_options near = served_options();
    near.service.cut = (enum ex_cut_form)form;
    struct pair pair = pair_new(served_options(), near);
    int32_t same = 0;
    for (int32_t i = 0; i < N_SAMPLES; i++) {
      json_t *json = ask(&pair.far, pair.port, i, 1, "");
      assert_int_equal(parameter(json, "alone"), 0);
      same += json_integer_value(json_array_get(tensor(json, "label"), 0)) ==
              pair.far.alone.result[i].label;
      json_decref(json);
    }
    bytes[form] = metric(pair.port, "upstream_bytes_total", "");
    assert_true(same >= (form == EX_CUT_INT4 ? N_SAMPLES * 7 / 8 : N_SAMPLES - 1));
    pair_free(&pair);
  }
  assert_true(bytes[EX_CUT_INT8] < 0.6 * bytes[EX_CUT_FLOAT32]);
  assert_true(bytes[EX_CUT_INT4] < 0.8 * bytes[EX_CUT_INT8]);
}

/* The other server begins anew: its answers are those of the whole, for more work. */
static void the_input_itself_may_cross(void **state) {
  (void)state;
  struct ex_server_options near = served_options();
  near.service.cut = EX_CUT_INPUT;
  struct pair pair = pair_new(served_options(), near);
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    const struct ex_result *whole = &pair.far.alone.result[i];
    json_t *json = ask(&pair.far, pair.port, i, 1, "");
    assert_int_equal(parameter(json, "upstream"), whole->exit > UPTO);
    assert_int_equal(parameter(json, "exit"), whole->exit);
    assert_true((parameter(json, "macs") > whole->macs) == (whole->exit > UPTO));
    for (size_t c = 0; c < N_CLASSES; c++)
      assert_true((float)json_number_value(json_array_get(tensor(json, "logits"), c)) ==
                  pair.far.alone.logits[i][c]);
    json_decref(json);
  }
  pair_free(&pair);
}

static void what_is_asked_here_holds_there(void **state) {
  (void)state;
  struct pair pair = pair_new(served_options(), served_options());
  for (int32_t i = 0; i < N_SAMPLES; i += 5) {
    json_t *json = ask(&pair.far, pair.port, i, 1, "\"parameters\":{\"max_exit\":1},");
    assert_int_equal(parameter(json, "upstream"), 0);
    assert_true(parameter(json, "exit") <= UPTO);
    json_decref(json);
    json = ask(&pair.far, pair.port, i, 1, "\"parameters\":{\"max_exit\":2},");
    assert_true(parameter(json, "exit") <= 2);
    assert_int_equal(parameter(json, "upstream"), pair.far.alone.result[i].exit > UPTO);
    json_decref(json);
    json = ask(&pair.far, pair.port, i, 1, "\"parameters\":{\"max_risk\":0},"); /* to the end */
    assert_int_equal(parameter(json, "exit"), N_POINTS - 1);
    assert_int_equal(parameter(json, "upstream"), 1);
    json_decref(json);
  }
  pair_free(&pair);
}

/* What the drift guard here adds to the policy's exits holds behind the cut too. */
static void the_guard_holds_there(void **state) {
  (void)state;
  struct pair pair = pair_new(served_options(), served_options());
  struct ex_drift *drift = &pair.near->services[0]->drift;
  pthread_mutex_lock(&drift->lock);
  drift->view.later = 1;
  pthread_mutex_unlock(&drift->lock);
  for (int32_t i = 0; i < N_SAMPLES; i++) {
    int32_t later = pair.far.alone.result[i].exit + 1;
    json_t *json = ask(&pair.far, pair.port, i, 1, "");
    assert_int_equal(parameter(json, "exit"), later < N_POINTS ? later : N_POINTS - 1);
    assert_int_equal(parameter(json, "upstream"), later > UPTO);
    json_decref(json);
  }
  pair_free(&pair);
}

/* A class is meant by its number, also where another's label looks like that. */
static void classes_cross_by_number(void **state) {
  (void)state;
  struct ex_error err;
  struct fixture *f = fixture_new();
  ex_model *model = f->model;
  char text[N_CLASSES][4], *labels[N_CLASSES], **own = model->labels;
  for (int32_t c = 0; c < N_CLASSES; c++) { /* counted from 1, as people do */
    snprintf(text[c], sizeof text[c], "%d", (int)c + 1);
    labels[c] = text[c];
  }
  model->labels = labels;
  const struct ex_infer_request asked = {
      .max_exit = -1, .max_risk = NAN, .has_classes = true, .n_classes = 2, .classes = {3, 5}};
  struct ex_infer_request read;
  struct ex_text body = {0};
  const struct ex_infer_tensor tensor = {"cut", "UINT8", NULL, 1};
  ex__infer_write_call(&asked, 2, 1000, "0123456789abcdef", &tensor, &body);
  ex__text_add(&body, "x");
  assert_ok(ex__infer_parse(model, 1, body.data, body.size, (int64_t)body.size - 1, &read, &err),
            &err);
  assert_int_equal(read.n_classes, 2);
  assert_int_equal(read.classes[0], 3);
  assert_int_equal(read.classes[1], 5);
  assert_int_equal(read.later, 2);
  assert_int_equal(read.deadline_us, 1000);
  assert_string_equal(read.mark, "0123456789abcdef");
  ex__infer_clear(&read);
  ex__text_clear(&body);
  model->labels = own;
  fixture_free(f);
}

/* The answer from before the cut first, where there will be a better one. */
static void an_early_answer_comes_from_before_the_cut(void **state) {
  (void)state;
  struct pair pair = pair_new(served_options(), served_options());
  for (int32_t i = 0; i < 16; i++) {
    struct reply reply = ask_events(&pair.far, pair.port, i);
    assert_int_equal(reply.status, 200);
    bool crosses = pair.far.alone.result[i].exit > UPTO;
    assert_true((strstr(http_text(&reply), "event: early") != NULL) == crosses);
    const char *final = strstr(http_text(&reply), "event: final");
    assert_non_null(final);
    char exit[32];
    snprintf(exit, sizeof exit, "\"exit\":%d", (int)pair.far.alone.result[i].exit);
    assert_non_null(strstr(final, exit));
    ex__text_clear(&reply.body);
  }
  pair_free(&pair);
}

static void a_token_is_sent(void **state) {
  (void)state;
  for (int right = 0; right < 2; right++) {
    struct ex_server_options far = served_options(), near = served_options();
    far.token = "open sesame";
    near.service.token = right ? "open sesame" : "sesame";
    atomic_store(&n_logged, 0);
    struct pair pair = pair_new(far, near);
    for (int32_t i = 0; i < N_SAMPLES; i++) {
      json_t *json = ask(&pair.far, pair.port, i, 1, "");
      int32_t crosses = pair.far.alone.result[i].exit > UPTO;
      assert_int_equal(parameter(json, right ? "upstream" : "alone"), crosses);
      json_decref(json);
    }
    assert_int_equal(atomic_load(&n_logged), right ? 0 : 1); /* told once, not for each */
    pair_free(&pair);
  }
}

/* ---- a link that does not ---------------------------------------------------------- */

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

/* ---- what cannot be ------------------------------------------------------------------ */

static void options_are_checked(void **state) {
  (void)state;
  struct ex_error err;
  struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  const char *const models[] = {model_path};
  ex_server *server;
  options.service.upstream_seconds = 1;
  options.service.upstream = "ftp://127.0.0.1";
  assert_refused(ex__server_new(&options, models, 1, &server, &err), EX_EINVAL, &err,
                 "must begin with http:// or https://");
  options.service.upstream = "http://127.0.0.1";
  options.service.upto = N_POINTS - 1;
  assert_refused(ex__server_new(&options, models, 1, &server, &err), EX_EINVAL, &err,
                 "split after exit 3; must be in [0, 2]");
  served_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_servers_answer_as_one),
      cmocka_unit_test(each_input_drifts_once),
      cmocka_unit_test(savings_are_of_what_is_behind),
      cmocka_unit_test(numbers_may_cross_in_a_few_bits),
      cmocka_unit_test(the_input_itself_may_cross),
      cmocka_unit_test(what_is_asked_here_holds_there),
      cmocka_unit_test(the_guard_holds_there),
      cmocka_unit_test(classes_cross_by_number),
      cmocka_unit_test(an_early_answer_comes_from_before_the_cut),
      cmocka_unit_test(a_token_is_sent),
      cmocka_unit_test(a_link_that_is_down_costs_nothing),
      cmocka_unit_test(a_slow_link_is_not_waited_for),
      cmocka_unit_test(the_end_does_not_wait_for_the_link),
      cmocka_unit_test(what_is_no_answer_is_not_believed),
      cmocka_unit_test(another_model_is_refused),
      cmocka_unit_test(options_are_checked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
