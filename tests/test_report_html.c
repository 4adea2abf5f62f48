/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTML page: whole, self-contained, with nothing hostile let through.
 */
#include <ctype.h>

#include "base/file.h"
#include "tests/evaluation_fixture.h"

static const char hostile[] =
    "[\"<script>alert(1)</script>\", \"\\\"onload='x' & co\", \"a</svg><b>\\n%s %n\"]";

static struct fixture f;
static char *page;
static struct ex_error err;

static void render(void) {
  char path[96];
  size_t size;
  void *data;
  assert_ok(fixture_evaluate(&f, 4, &err), &err);
  snprintf(path, sizeof path, "%s/report.html", f.folder);
  assert_ok(ex__report_html(f.evaluation, f.model, f.data, EX_SPLIT_TEST, path, &err), &err);
  assert_ok(ex__file_read(path, 1 << 24, &data, &size, &err), &err);
  page = data;
  assert_int_equal(strlen(page), size);
}

static void write_page(int32_t rank) {
  fixture_open(&f, rank, hostile);
  fixture_thresholds(&f);
  render();
}

static void close_page(void) {
  ex__free(page);
  page = NULL;
  fixture_close(&f);
}

static int set_up(void **state) {
  (void)state;
  write_page(3);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  close_page();
  return 0;
}

static int32_t count(const char *part) {
  int32_t n = 0;
  for (const char *at = page; (at = strstr(at, part)) != NULL; at++) n++;
  return n;
}

static void self_contained(void **state) {
  (void)state;
  assert_int_equal(strncmp(page, "<!doctype html>\n<html lang=\"en\">", 31), 0);
  assert_int_equal(count("http:") + count("https:") + count("url(") + count("@import"), 0);
  assert_int_equal(count("<script") + count("<link") + count("<iframe"), 0);
  for (const char *at = page; (at = strstr(at, "src=\"")) != NULL; at++)
    assert_int_equal(strncmp(at, "src=\"data:image/png;base64,", 27), 0);
  assert_int_equal(count("prefers-color-scheme:dark"), 1);
  assert_int_equal(count("name=\"viewport\""), 1);
}

static void hostile_labels_are_text(void **state) {
  (void)state;
  assert_int_equal(count("<script>alert"), 0);
  assert_int_equal(count("\"onload"), 0);
  assert_int_equal(count("</svg><b>"), 0);
  assert_true(count("&lt;script&gt;alert(1)&lt;/script&gt;") > 1);
  assert_true(count("&quot;onload=&#39;x&#39; &amp; co") > 1);
  assert_true(count("a&lt;/svg&gt;&lt;b&gt; %s %n") > 1);
}

static void says_what_the_evaluation_says(void **state) {
  (void)state;
  char text[64];
  double accuracy = json_number_value(json_object_get(f.evaluation->json, "accuracy"));
  snprintf(text, sizeof text, "%.2f\xe2\x80\xaf%%", 100 * accuracy);
  assert_true(count(text) >= 1);
  assert_true(count("by the cost table") == 1 && count("own count") == 1 &&
              count("on the clock") == 1);
  assert_int_equal(count("<svg"), 2 + N_POINTS); /* curves twice, one reliability per exit */
  assert_int_equal(count("<svg"), count("role=\"img\"><title>"));
  assert_true(count("<img ") >= 8);
  assert_int_equal(count("<img "), count("alt=\""));
  assert_int_equal(count("nan") + count("inf"), 0);
}

/* Every opened element is closed, in order; void elements apart. */
static void elements_are_balanced(void **state) {
  (void)state;
  static const char *const voids[] = {"meta", "br", "img", "!doctype"};
  char stack[64][16];
  int32_t depth = 0;
  for (const char *at = page; (at = strchr(at, '<')) != NULL;) {
    char name[16] = "";
    bool closing = *++at == '/';
    at += closing;
    for (size_t i = 0; i < 15 && (isalnum((unsigned char)at[i]) || at[i] == '!'); i++)
      name[i] = at[i];
    const char *end = strchr(at, '>');
    assert_non_null(end);
    bool lone = end[-1] == '/';
    for (size_t i = 0; i < sizeof voids / sizeof *voids; i++)
      lone = lone || strcmp(name, voids[i]) == 0;
    if (lone) continue;
    if (closing) {
      assert_true(depth > 0);
      assert_string_equal(stack[--depth], name);
    } else {
      assert_true(depth < 64);
      strcpy(stack[depth++], name);
    }
  }
  assert_int_equal(depth, 0);
}

static void features_have_no_pictures(void **state) {
  (void)state;
  close_page();
  write_page(1);
  assert_int_equal(count("<img "), 0);
  elements_are_balanced(state);
}

static void classes_of_interest_have_their_section(void **state) {
  assert_int_equal(count("Classes of interest"), 0);
  assert_ok(ex__policy_init(&f.policy, "classy", N_POINTS, N_CLASSES, &err), &err);
  assert_ok(ex__policy_set(&f.policy, "classes", "0", &err), &err);
  ex__free(page);
  render();
  assert_int_equal(count("Classes of interest"), 1);
  assert_int_equal(count("<h2>Classes of interest</h2><p>&lt;script&gt;alert(1)"), 1);
  assert_int_equal(count("nan") + count("inf"), 0);
  elements_are_balanced(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(self_contained),
      cmocka_unit_test(hostile_labels_are_text),
      cmocka_unit_test(says_what_the_evaluation_says),
      cmocka_unit_test(elements_are_balanced),
      cmocka_unit_test(features_have_no_pictures),
      cmocka_unit_test(classes_of_interest_have_their_section),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
