/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls over a link that is down, silent, or cannot even be looked up: each ends, once,
 * and in time, and what is made of it.
 */
#include <netdb.h>
#include <sched.h>
#include <time.h>

#include "base/clock.h"
#include "serve/uplink.h"
#include "tests/stranger.h"

enum { MOST = 64 };
static const int64_t ms = 1000000;
static const char answer[] = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";

/* A resolver whose own server is out of reach, in the place of the system's. */
static atomic_int n_lookups, n_lookups_ended;
__attribute__((visibility("default"))) int getaddrinfo(const char *name, const char *port,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **out) {
  (void)name, (void)port, (void)hints;
  *out = NULL;
  atomic_fetch_add(&n_lookups, 1);
  sleep(2);
  atomic_fetch_add(&n_lookups_ended, 1);
  return EAI_AGAIN;
}

static void nap(int64_t ns) {
  const struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
  nanosleep(&time, NULL);
}

static atomic_int n_logged;
static char logged[512];

static void log_line(const char *text) {
  snprintf(logged, sizeof logged, "%s", text);
  atomic_fetch_add(&n_logged, 1);
}

struct asked {
  struct ex_uplink_call call; /* first */
  int64_t ended_ns;
  enum ex_uplink_end end;
  atomic_int n; /* ends */
};

static void done(struct ex_uplink_call *call, enum ex_uplink_end end, const char *reply,
                 size_t size) {
  struct asked *asked = (struct asked *)call;
  (void)reply, (void)size;
  asked->end = end;
  asked->ended_ns = ex__now_ns();
  atomic_fetch_add(&asked->n, 1);
}

static ex_uplink *uplink_to(const char *host, int32_t port, double seconds) {
  struct ex_error err;
  ex_uplink *uplink;
  char url[64];
  snprintf(url, sizeof url, "http://%s:%d/", host, (int)port);
  const struct ex_uplink_options options = {
      .url = url, .seconds = seconds, .most = MOST, .log = log_line};
  atomic_store(&n_logged, 0);
  assert_ok(ex__uplink_new(&options, &uplink, &err), &err);
  return uplink;
}

static void send_one(ex_uplink *uplink, struct asked *asked, int64_t until_ns) {
  *asked = (struct asked){.call = {.json_size = 2, .until_ns = until_ns, .done = done}};
  ex__text_add(&asked->call.body, "{}");
  ex__uplink_send(uplink, &asked->call);
}

static void await(struct asked *asked) {
  int64_t began = ex__now_ns();
  while (atomic_load(&asked->n) == 0) {
    assert_true(ex__now_ns() - began < 10000 * ms);
    sched_yield();
  }
  assert_int_equal(atomic_load(&asked->n), 1);
  ex__text_clear(&asked->call.body);
}

static enum ex_uplink_end ask(ex_uplink *uplink, int64_t own_ns) {
  struct asked asked;
  send_one(uplink, &asked, own_ns == INT64_MAX ? INT64_MAX : ex__now_ns() + own_ns);
  await(&asked);
  return asked.end;
}

static int32_t closed_port(void) {
  struct stranger gone;
  stranger_new(&gone, "");
  stranger_free(&gone);
  return gone.port;
}

/* What one call waits for must not keep the others, nor the end, waiting. */
static void a_name_that_is_looked_up_is_not_waited_for(void **state) {
  (void)state;
  ex_uplink *uplink = uplink_to("nowhere.invalid", 80, 0.1);
  struct asked asked[2];
  int64_t began = ex__now_ns();
  for (int i = 0; i < 2; i++) send_one(uplink, &asked[i], INT64_MAX);
  for (int i = 0; i < 2; i++) {
    await(&asked[i]);
    assert_int_equal(asked[i].end, EX_UPLINK_LATE);
    assert_true(asked[i].ended_ns - began < 1000 * ms);
  }
  ex__uplink_free(uplink);
  assert_true(ex__now_ns() - began < 1500 * ms);
  assert_true(atomic_load(&n_lookups) > 0);
  while (atomic_load(&n_lookups_ended) < atomic_load(&n_lookups)) nap(10 * ms);
}

/* Many that fail together are one failure of the link, after which a second is waited. */
static void a_crowd_of_failures_is_one_pause(void **state) {
  (void)state;
  static struct asked asked[MOST];
  ex_uplink *uplink = uplink_to("127.0.0.1", closed_port(), 5);
  for (int i = 0; i < MOST; i++) send_one(uplink, &asked[i], INT64_MAX);
  for (int i = 0; i < MOST; i++) await(&asked[i]);
  assert_int_equal(asked[0].end, EX_UPLINK_DOWN);
  assert_int_equal(ask(uplink, INT64_MAX), EX_UPLINK_SKIPPED);
  nap(1200 * ms);
  for (int i = 0; i < 2; i++) send_one(uplink, &asked[i], INT64_MAX);
  for (int i = 0; i < 2; i++) await(&asked[i]);
  assert_int_equal(asked[0].end, EX_UPLINK_DOWN); /* one is tried */
  assert_int_equal(asked[1].end, EX_UPLINK_SKIPPED);
  assert_int_equal(atomic_load(&n_logged), 1);
  ex__uplink_free(uplink);
}

/* After an answer all begins anew. */
static void an_answer_forgives_failures(void **state) {
  (void)state;
  struct stranger stranger;
  stranger_new(&stranger, "");
  ex_uplink *uplink = uplink_to("127.0.0.1", stranger.port, 5);
  for (int pass = 0; pass < 2; pass++) {
    atomic_store(&stranger.says, "");
    for (int i = 0; i < 3; i++) assert_int_equal(ask(uplink, INT64_MAX), EX_UPLINK_DOWN);
    assert_int_equal(ask(uplink, INT64_MAX), EX_UPLINK_SKIPPED);
    nap(1200 * ms);
    atomic_store(&stranger.says, answer);
    assert_int_equal(ask(uplink, INT64_MAX), EX_UPLINK_ANSWERED);
  }
  assert_int_equal(atomic_load(&n_logged), 4); /* that it does not answer, and does again */
  ex__uplink_free(uplink);
  stranger_free(&stranger);
}

/* Also calls whose own time is short come to know that nobody answers. */
static void a_silent_link_is_found_down(void **state) {
  (void)state;
  struct stranger silent;
  stranger_new(&silent, NULL);
  ex_uplink *uplink = uplink_to("127.0.0.1", silent.port, 0.3);
  int n = 0;
  int64_t began = ex__now_ns();
  while (ask(uplink, 20 * ms) == EX_UPLINK_LATE) n++;
  assert_true(ex__now_ns() - began >= 300 * ms && n < 40);
  assert_non_null(strstr(logged, "does not answer"));
  ex__uplink_free(uplink);
  stranger_free(&silent);
}

/* Whoever answered a moment ago is not down because a few calls had no time. */
static void an_answer_ends_the_silence(void **state) {
  (void)state;
  struct stranger stranger;
  stranger_new(&stranger, answer);
  ex_uplink *uplink = uplink_to("127.0.0.1", stranger.port, 0.5);
  assert_int_equal(ask(uplink, INT64_MAX), EX_UPLINK_ANSWERED);
  atomic_store(&stranger.says, NULL);
  nap(600 * ms);
  for (int i = 0; i < 4; i++) assert_int_equal(ask(uplink, 20 * ms), EX_UPLINK_LATE);
  assert_int_equal(atomic_load(&n_logged), 0);
  ex__uplink_free(uplink);
  stranger_free(&stranger);
}

static void a_link_that_was_stopped_keeps_nobody(void **state) {
  (void)state;
  struct stranger silent;
  static struct asked asked[MOST];
  stranger_new(&silent, NULL);
  ex_uplink *uplink = uplink_to("127.0.0.1", silent.port, 60);
  for (int i = 0; i < MOST; i++) send_one(uplink, &asked[i], INT64_MAX);
  assert_int_equal(ask(uplink, INT64_MAX), EX_UPLINK_SKIPPED); /* there is no room for it */
  while (atomic_load(&silent.n) == 0) sched_yield();
  ex__uplink_stop(uplink);
  for (int i = 0; i < MOST; i++) {
    await(&asked[i]);
    assert_int_equal(asked[i].end, EX_UPLINK_DOWN);
  }
  assert_int_equal(ask(uplink, INT64_MAX), EX_UPLINK_SKIPPED);
  assert_int_equal(atomic_load(&n_logged), 0); /* it says nothing of the other server */
  ex__uplink_free(uplink);
  ex__uplink_stop(NULL);
  ex__uplink_free(NULL);
  stranger_free(&silent);
}

static void what_is_told_is_one_line(void **state) {
  (void)state;
  struct stranger stranger;
  stranger_new(&stranger, "HTTP/1.1 400 Bad Request\r\nContent-Length: 13\r\n\r\n"
                          "no\n\033[2Jlonger");
  ex_uplink *uplink = uplink_to("127.0.0.1", stranger.port, 5);
  assert_int_equal(ask(uplink, INT64_MAX), EX_UPLINK_REFUSED);
  assert_non_null(strstr(logged, "refuses: no  [2Jlonger"));
  ex__uplink_free(uplink);
  stranger_free(&stranger);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_name_that_is_looked_up_is_not_waited_for),
      cmocka_unit_test(a_crowd_of_failures_is_one_pause),
      cmocka_unit_test(an_answer_forgives_failures),
      cmocka_unit_test(a_silent_link_is_found_down),
      cmocka_unit_test(an_answer_ends_the_silence),
      cmocka_unit_test(a_link_that_was_stopped_keeps_nobody),
      cmocka_unit_test(what_is_told_is_one_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
