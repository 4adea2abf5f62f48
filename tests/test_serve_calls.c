/* SPDX-License-Identifier: Apache-2.0
 *
 * What a server does beside answering: counts, refuses, loads anew, tells early,
 * looks in the shadow, and asks for a token.
 */
#include "tests/serve_fixture.h"

/* The value of a metric's line; −1: it is not there. */
static double metric(const struct served_fixture *s, const char *line) {
  struct reply reply = http_call(s->port, "GET", "/metrics", "", "", 0);
  assert_int_equal(reply.status, 200);
  const char *at = strstr(http_text(&reply), line);
  double value = at != NULL ? strtod(at + strlen(line), NULL) : -1;
  ex__text_clear(&reply.body);
  return value;
}

static void ask(const struct served_fixture *s, int32_t first, int32_t n, const char *more,
                int status) {
  struct reply reply = post_infer(s, first, n, more, "");
  if (reply.status != status) fail_msg("%s: %d %s", more, reply.status, http_text(&reply));
  ex__text_clear(&reply.body);
}

static void counts_add_up(void **state) {
  (void)state;
  struct ex_server_options options = served_options();
  options.service.shadow = 0.5;
  struct served_fixture s = served_new(&options);
  int64_t macs = 0;
  double exits[N_POINTS] = {0};
  for (int32_t i = 0; i < N_SAMPLES; i += 8) {
    ask(&s, i, 8, "", 200);
    for (int32_t j = i; j < i + 8; j++) {
      macs += s.alone.result[j].macs;
      exits[s.alone.result[j].exit]++;
    }
  }
  ask(&s, 0, 1, "\"id\":1,", 400);
  ask(&s, 0, 1, "\"parameters\":{\"deadline_us\":0},", 504);
  struct ex_model_info info = {.size = sizeof info};
  ex_model_describe(s.f->model, &info);
  assert_true(metric(&s, "exeunt_macs_total{model=\"small\"} ") == (double)macs);
  assert_true(metric(&s, "exeunt_macs_saved_total{model=\"small\"} ") ==
              (double)(N_SAMPLES * info.full_macs - macs));
  for (int32_t p = 0; p < N_POINTS; p++) {
    char line[64];
    snprintf(line, sizeof line, "exeunt_exits_total{model=\"small\",exit=\"%d\"} ", (int)p);
    assert_true(metric(&s, line) == exits[p]);
  }
  assert_true(metric(&s, "exeunt_requests_total{model=\"small\",outcome=\"answered\"} ") == 8);
  assert_true(metric(&s, "exeunt_requests_total{model=\"small\",outcome=\"wrong\"} ") == 1);
  assert_true(metric(&s, "exeunt_requests_total{model=\"small\",outcome=\"late\"} ") == 1);
  assert_true(metric(&s, "exeunt_request_duration_seconds_count{model=\"small\"} ") == 8);
  assert_true(metric(&s, "exeunt_request_duration_seconds_bucket{model=\"small\",le=\"+Inf\"} ") ==
              8);
  assert_true(metric(&s, "exeunt_batched_inputs_total{model=\"small\",stage=\"0\"} ") ==
              N_SAMPLES + 1); /* the late one was taken too */
  /* Of the half in the shadow those that left early went on; the rest was at the end. */
  while (metric(&s, "exeunt_queue_depth{model=\"small\"} ") > 0) continue;
  int32_t early = 0, disagree = 0, full[N_SAMPLES];
  for (int32_t i = 0; i < N_SAMPLES; i++)
    full[i] = s.f->trace->answer[ex__trace_at(s.f->trace, N_POINTS - 1, i)].label;
  for (int32_t i = 1; i < N_SAMPLES; i += 2) {
    bool left = s.alone.result[i].exit < N_POINTS - 1;
    early += left;
    disagree += left && full[i] != s.alone.result[i].label;
  }
  assert_true(early > 0 && disagree > 0);
  assert_true(metric(&s, "exeunt_shadow_total{model=\"small\"} ") == early);
  assert_true(metric(&s, "exeunt_shadow_disagreements_total{model=\"small\"} ") == disagree);
  served_free(&s);
}

static void no_room_is_said(void **state) {
  (void)state;
  struct ex_server_options options = served_options();
  options.service.queue = 4;
  struct served_fixture s = served_new(&options);
  ask(&s, 0, 5, "", 400); /* never fits */
  int fd[16], rejected = 0, answered = 0;
  struct ex_text text = {0};
  char head[160];
  write_request(s.f, 0, 4, "", &text);
  for (int round = 0; round < 50 && rejected == 0; round++) {
    for (int i = 0; i < 16; i++) {
      fd[i] = http_connect(s.port);
      int n =
          snprintf(head, sizeof head,
                   "POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
                   text.size);
      http_send(fd[i], head, (size_t)n);
      http_send(fd[i], text.data, text.size - 1);
    }
    for (int i = 0; i < 16; i++) http_send(fd[i], text.data + text.size - 1, 1);
    for (int i = 0; i < 16; i++) {
      struct reply reply;
      http_read(fd[i], &reply);
      assert_true(reply.status == 200 || reply.status == 503);
      if (reply.status == 503) {
        rejected++;
        assert_non_null(http_header(&reply, "Retry-After"));
      } else {
        answered++;
      }
      ex__text_clear(&reply.body);
      close(fd[i]);
    }
  }
  ex__text_clear(&text);
  assert_true(rejected > 0 && answered > 0);
  assert_true(metric(&s, "exeunt_rejected_total{model=\"small\"} ") == rejected);
  served_free(&s);
}

static void models_are_loaded_anew(void **state) {
  (void)state;
  const struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  static const char load[] = "/v2/repository/models/small/load";
  for (int i = 0; i < 3; i++) {
    struct reply reply = http_call(s.port, "POST", load, "", "", 0);
    assert_int_equal(reply.status, 200);
    ex__text_clear(&reply.body);
    ask(&s, 0, 8, "", 200);
  }
  assert_true(metric(&s, "exeunt_loads_total{model=\"small\",outcome=\"loaded\"} ") == 3);
  FILE *file = fopen(model_path, "r+b"); /* broken: the old one is served on */
  assert_int_equal(fwrite("broken", 1, 6, file), 6);
  fclose(file);
  struct reply reply = http_call(s.port, "POST", load, "", "", 0);
  assert_int_equal(reply.status, 400);
  assert_non_null(strstr(http_text(&reply), model_path));
  ex__text_clear(&reply.body);
  ask(&s, 0, 8, "", 200);
  reply = http_call(s.port, "POST", "/v2/repository/index", "", "", 0);
  assert_non_null(
      strstr(http_text(&reply), "{\"name\":\"small\",\"version\":\"1\",\"state\":\"READY\""));
  ex__text_clear(&reply.body);
  served_free(&s);
}

static void *keep_asking(void *context) {
  const struct served_fixture *s = context;
  for (int i = 0; i < 60; i++) ask(s, i % 32, 8, "", 200);
  return NULL;
}

static void loading_drops_nothing(void **state) {
  (void)state;
  const struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  pthread_t client;
  assert_int_equal(pthread_create(&client, NULL, keep_asking, &s), 0);
  for (int i = 0; i < 4; i++) {
    struct reply reply = http_call(s.port, "POST", "/v2/repository/models/small/load", "", "", 0);
    assert_int_equal(reply.status, 200);
    ex__text_clear(&reply.body);
  }
  pthread_join(client, NULL);
  assert_true(metric(&s, "exeunt_requests_total{model=\"small\",outcome=\"answered\"} ") == 60);
  served_free(&s);
}

/* A request whose last byte comes as the server is told to stop is answered yet. */
static void stopping_answers_what_has_come(void **state) {
  (void)state;
  const struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  struct ex_text text = {0};
  char head[200];
  write_request(s.f, 0, 16, "", &text);
  int fd = http_connect(s.port);
  int n = snprintf(head, sizeof head,
                   "POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
                   text.size);
  http_send(fd, head, (size_t)n);
  http_send(fd, text.data, text.size - 1);
  for (int i = 0; i < 3; i++) ask(&s, 0, 1, "", 200); /* meanwhile the head was read */
  http_send(fd, text.data + text.size - 1, 1);
  served_free(&s);
  struct reply reply;
  http_read(fd, &reply);
  assert_int_equal(reply.status, 200);
  ex__text_clear(&reply.body);
  ex__text_clear(&text);
  close(fd);
}

static void early_answers_come_first(void **state) {
  (void)state;
  const struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  int32_t n_early = 0;
  for (int32_t i = 0; i < 16; i++) {
    struct ex_text text = {0};
    write_request(s.f, i, 1, "", &text);
    struct reply reply;
    char head[200];
    int fd = http_connect(s.port);
    int n = snprintf(head, sizeof head,
                     "POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                     "Accept: text/event-stream\r\nContent-Length: %zu\r\n\r\n",
                     text.size);
    http_send(fd, head, (size_t)n);
    http_send(fd, text.data, text.size);
    http_read(fd, &reply);
    close(fd);
    ex__text_clear(&text);
    assert_int_equal(reply.status, 200);
    const char *early = strstr(http_text(&reply), "event: early\ndata: {");
    const char *final = strstr(http_text(&reply), "event: final\ndata: {");
    assert_non_null(final);
    assert_non_null(strstr(final, "\"parameters\":{\"exit\":3,"));
    if (s.alone.result[i].exit < N_POINTS - 1) {
      char exit[40];
      snprintf(exit, sizeof exit, "\"parameters\":{\"exit\":%d,", (int)s.alone.result[i].exit);
      assert_true(early != NULL && early < final);
      assert_non_null(strstr(early, exit));
      n_early++;
    } else {
      assert_null(early);
    }
    ex__text_clear(&reply.body);
  }
  assert_true(n_early > 0);
  served_free(&s);
}

static void risk_that_is_not_certified_goes_deep(void **state) {
  (void)state;
  const struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  struct reply reply = post_infer(&s, 0, 8, "\"parameters\":{\"max_risk\":0.01},", "");
  json_t *json = parse(&reply);
  for (size_t i = 0; i < 8; i++)
    assert_int_equal(json_integer_value(json_array_get(tensor(json, "exit"), i)), N_POINTS - 1);
  json_decref(json);
  ex__text_clear(&reply.body);
  served_free(&s);
}

static void tokens_are_asked_for(void **state) {
  (void)state;
  struct ex_server_options options = served_options();
  options.token = "secret";
  struct served_fixture s = served_new(&options);
  static const struct {
    const char *path, *extra;
    int status;
  } cases[] = {{"/v2/health/live", "", 200},
               {"/v2", "", 401},
               {"/metrics", "", 401},
               {"/v2/nosuch", "", 401},
               {"/v2", "Authorization: Bearer secret\r\n", 200},
               {"/v2", "Authorization: Bearer secre\r\n", 401},
               {"/v2", "Authorization: Bearer secretsecret\r\n", 401},
               {"/v2", "Authorization: Bearer \r\n", 401},
               {"/v2", "Authorization: Basic secret\r\n", 401}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct reply reply = http_call(s.port, "GET", cases[i].path, cases[i].extra, "", 0);
    if (reply.status != cases[i].status)
      fail_msg("%s %s: %d", cases[i].path, cases[i].extra, reply.status);
    ex__text_clear(&reply.body);
  }
  struct reply reply = post_infer(&s, 0, 1, "", "");
  assert_int_equal(reply.status, 401);
  ex__text_clear(&reply.body);
  served_free(&s);
}

static void the_page_is_whole(void **state) {
  (void)state;
  struct ex_server_options options = served_options();
  options.token = "secret"; /* the page is for all, its figures are not */
  struct served_fixture s = served_new(&options);
  struct reply reply = http_call(s.port, "GET", "/", "", "", 0);
  assert_int_equal(reply.status, 200);
  assert_non_null(http_header(&reply, "Content-Security-Policy"));
  for (const char *at = http_text(&reply); (at = strstr(at, "assets/")) != NULL;) {
    char path[80] = "/";
    size_t n = strcspn(at, "\"");
    assert_true(n < sizeof path - 1);
    memcpy(path + 1, at, n);
    struct reply asset = http_call(s.port, "GET", path, "", "", 0);
    assert_int_equal(asset.status, 200);
    assert_true(asset.body.size > 100);
    ex__text_clear(&asset.body);
    at += n;
  }
  ex__text_clear(&reply.body);
  static const char *const outside[] = {"/assets/", "/assets/nosuch", "/assets/../server.c"};
  for (size_t i = 0; i < 3; i++) {
    reply = http_call(s.port, "GET", outside[i], "Authorization: Bearer secret\r\n", "", 0);
    assert_int_equal(reply.status, 404);
    ex__text_clear(&reply.body);
  }
  static const char *const since[] = {"", "?since=0", "?since=-5", "?since=999999999999",
                                      "?since=x"};
  for (size_t i = 0; i < 5; i++) {
    char path[60];
    snprintf(path, sizeof path, "/dashboard/data%s", since[i]);
    reply = http_call(s.port, "GET", path, "Authorization: Bearer secret\r\n", "", 0);
    json_t *json = parse(&reply);
    const json_t *model = json_array_get(json_object_get(json, "models"), 0);
    assert_int_equal(json_array_size(json_object_get(model, "exits")), N_POINTS);
    json_decref(json);
    ex__text_clear(&reply.body);
  }
  reply = http_call(s.port, "GET", "/dashboard/data", "", "", 0);
  assert_int_equal(reply.status, 401);
  ex__text_clear(&reply.body);
  served_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(counts_add_up),
      cmocka_unit_test(no_room_is_said),
      cmocka_unit_test(models_are_loaded_anew),
      cmocka_unit_test(loading_drops_nothing),
      cmocka_unit_test(stopping_answers_what_has_come),
      cmocka_unit_test(early_answers_come_first),
      cmocka_unit_test(risk_that_is_not_certified_goes_deep),
      cmocka_unit_test(tokens_are_asked_for),
      cmocka_unit_test(the_page_is_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
