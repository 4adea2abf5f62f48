/* SPDX-License-Identifier: Apache-2.0
 *
 * A server that runs a network up to a cut and another that goes on behind it answer
 * as one does.
 */
#include "serve/server_internal.h"
#include "tests/split_fixture.h"

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
      cmocka_unit_test(options_are_checked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
