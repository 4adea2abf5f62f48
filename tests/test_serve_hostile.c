/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests that mean no good are answered or dropped, and never the end: after
 * each the server still answers as before.
 */
#include <time.h>

#include "tests/serve_fixture.h"

static void assert_still_serving(const struct served_fixture *s) {
  struct reply reply = post_infer(s, 0, 1, "", "");
  assert_int_equal(reply.status, 200);
  json_t *json = parse(&reply);
  assert_reply_is(s, json, 0, 1);
  json_decref(json);
  ex__text_clear(&reply.body);
}

/* Sends bytes as they are; the status, 0 where it was dropped. */
static int send_raw(int32_t port, const char *bytes, size_t size) {
  struct reply reply;
  int fd = http_connect(port);
  http_send(fd, bytes, size);
  shutdown(fd, SHUT_WR);
  http_read(fd, &reply);
  close(fd);
  ex__text_clear(&reply.body);
  return reply.status;
}

static void malformed_requests(void **state) {
  (void)state;
  const struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  static const struct {
    const char *bytes;
    int status, or ; /* either will do */
  } cases[] = {
      {"\x01\x02 / HTTP/1.1\r\n\r\n", 400, 0},
      {"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505, 0},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", 400, 0},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 413, 400},
      {"POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
       "Content-Length: 5\r\n\r\n0\r\n\r\n",
       400, 0},
      {"POST /v2/repository/index HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
       "content-length: 3\r\n\r\n{}x",
       400, 0},
      {"POST /v2/repository/index HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
       "Transfer-Encoding: identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
       400, 0},
      {"POST /v2/repository/index HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n"
       "\r\n2\r\n{}\r\n0\r\n\r\n",
       501, 0},
      {"GET /v2 HTTP/1.1\r\n\r\n", 400, 0},
      {"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 404, 0},
      {"GET /v2/models/%00%ff%2f HTTP/1.1\r\nHost: a\r\n\r\n", 404, 0},
      {"POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
       "ZZ\r\nabc\r\n",
       400, 0},
      {"POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{\"inp", 0, 0},
      {"POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
       "Inference-Header-Content-Length: 99\r\n\r\n{}",
       400, 0},
      {"POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
       "Inference-Header-Content-Length: -1\r\n\r\n{}",
       400, 0},
      {"POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
       "Content-Encoding: gzip\r\n\r\n\x1f\x8b",
       415, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int status = send_raw(s.port, cases[i].bytes, strlen(cases[i].bytes));
    if (status != cases[i].status && status != cases[i].or)
      fail_msg("%s: %d", cases[i].bytes, status);
    assert_still_serving(&s);
  }
  served_free(&s);
}

static void too_much(void **state) {
  (void)state;
  struct ex_server_options options = served_options();
  options.max_body = 16384;
  struct served_fixture s = served_new(&options);
  struct ex_text text = {0};
  ex__text_add(&text, "GET /v2 HTTP/1.1\r\nHost: a\r\nX: ");
  for (int i = 0; i < 20000; i++) ex__text_add_bytes(&text, "aaaaaaaaaa", 10);
  ex__text_add(&text, "\r\n\r\n");
  int status = send_raw(s.port, text.data, text.size);
  assert_true(status == 431 || status == 0);
  assert_still_serving(&s);
  ex__text_clear(&text);
  ex__text_add(&text, "POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 100; i++) ex__text_add(&text, "400\r\n%01024d\r\n", 0);
  assert_int_equal(send_raw(s.port, text.data, text.size), 0); /* never ended: dropped */
  assert_still_serving(&s);
  ex__text_clear(&text);
  char *nested = ex__alloc(16000, 1);
  memset(nested, '[', 16000);
  struct reply reply = http_call(s.port, "POST", "/v2/models/small/infer", "", nested, 16000);
  assert_int_equal(reply.status, 400);
  ex__text_clear(&reply.body);
  ex__free(nested);
  static char large[20000];
  reply = http_call(s.port, "POST", "/v2/models/small/infer", "", large, sizeof large);
  assert_true(reply.status == 413 || reply.status == 0);
  ex__text_clear(&reply.body);
  assert_still_serving(&s);
  served_free(&s);
}

static void slow_clients_are_dropped(void **state) {
  (void)state;
  struct ex_server_options options = served_options();
  options.seconds = 1;
  struct served_fixture s = served_new(&options);
  static const char *const begins[] = {
      "GET /v2 HTTP/1.1\r\nX: ",
      "POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"};
  for (size_t i = 0; i < 2; i++) {
    int fd = http_connect(s.port), n = 0;
    char byte;
    http_send(fd, begins[i], strlen(begins[i]));
    for (; n < 60; n++) { /* a byte each 100 ms: never idle, never done */
      nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
      if (send(fd, "a", 1, MSG_NOSIGNAL) != 1) break;
      if (recv(fd, &byte, 1, MSG_DONTWAIT) == 0) break;
    }
    assert_true(n < 60);
    close(fd);
    assert_still_serving(&s);
  }
  served_free(&s);
}

static void clients_that_go_are_no_harm(void **state) {
  (void)state;
  const struct ex_server_options options = served_options();
  struct served_fixture s = served_new(&options);
  struct ex_text text = {0};
  char head[200];
  write_request(s.f, 0, 8, "", &text);
  for (int i = 0; i < 40; i++) {
    int fd = http_connect(s.port);
    int n =
        snprintf(head, sizeof head,
                 "POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\n%sContent-Length: %zu\r\n\r\n",
                 i % 2 == 0 ? "Accept: text/event-stream\r\n" : "", text.size);
    http_send(fd, head, (size_t)n);
    http_send(fd, text.data, i % 4 < 2 ? text.size : text.size / 2);
    const struct linger hard = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd); /* a reset, not an end */
  }
  ex__text_clear(&text);
  assert_still_serving(&s);
  served_free(&s);
}

/* More than a hundred clients at once, most of which are refused and ask again. */
static void a_crowd_is_answered(void **state) {
  (void)state;
  enum { CROWD = 128, ROUNDS = 12 };
  struct ex_server_options options = served_options();
  options.connections = 2 * CROWD;
  options.service.queue = 4;
  struct served_fixture s = served_new(&options);
  struct ex_text body = {0}, whole = {0};
  int fd[CROWD], answered = 0, refused = 0;
  write_request(s.f, 0, 1, "", &body);
  ex__text_add(&whole,
               "POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s",
               body.size, body.data);
  for (int i = 0; i < CROWD; i++) fd[i] = http_connect(s.port);
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < CROWD; i++) http_send(fd[i], whole.data, whole.size);
    for (int i = 0; i < CROWD; i++) {
      struct reply reply;
      http_read(fd[i], &reply);
      assert_true(reply.status == 200 || reply.status == 503);
      answered += reply.status == 200;
      refused += reply.status == 503;
      ex__text_clear(&reply.body);
    }
  }
  assert_int_equal(answered + refused, CROWD * ROUNDS);
  assert_true(answered > 0);
  for (int i = 0; i < CROWD; i++) close(fd[i]);
  ex__text_clear(&body);
  ex__text_clear(&whole);
  served_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(malformed_requests),       cmocka_unit_test(too_much),
      cmocka_unit_test(slow_clients_are_dropped), cmocka_unit_test(clients_that_go_are_no_harm),
      cmocka_unit_test(a_crowd_is_answered),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
