/* SPDX-License-Identifier: Apache-2.0
 *
 * report/report_html: the page that a person looks at: one file, no script,
 * nothing fetched. The headline says in words what was won; every section
 * begins with how to read it.
 *
 * Whatever comes from outside (labels, names in a receipt) is escaped, and a
 * content security policy forbids the browser to run or fetch anything, should
 * an escape ever be forgotten.
 */
#include <string.h>

#include "base/file.h"
#include "report/report_page.h"
#include "report/svg.h"

/* Narrow no-break space, between a number and its unit. */
#define THIN "\xe2\x80\xaf"
#define DASH "\xe2\x80\x93"

/* ---- numbers for people --------------------------------------------------- */

void ex__page_number(struct ex_text *text, double value, int decimals) {
  if (isfinite(value))
    ex__text_add(text, "%s%.*f", value < 0 ? "\xe2\x88\x92" : "", decimals, fabs(value));
  else
    ex__text_add(text, DASH);
}

void ex__page_percent(struct ex_text *text, double share, int decimals) {
  ex__page_number(text, 100 * share, decimals);
  if (isfinite(share)) ex__text_add(text, THIN "%%");
}

/* Three digits: 1.23, 12.3, 123. */
static void three_digits(struct ex_text *text, double value, double factor,
                         const char *const *units, int n_units) {
  int unit = 0;
  if (!isfinite(value)) {
    ex__text_add(text, DASH);
    return;
  }
  while (unit + 1 < n_units && fabs(value) >= 0.9995 * factor) {
    value /= factor;
    unit++;
  }
  int decimals = fabs(value) < 9.995 ? 2 : fabs(value) < 99.95 ? 1 : 0;
  if (units[unit][0] == '\0' && value == floor(value)) decimals = 0;
  ex__text_add(text, "%.*f%s%s", decimals, value, units[unit][0] != '\0' ? THIN : "", units[unit]);
}

void ex__page_macs(struct ex_text *text, double macs) {
  static const char *const units[] = {"", "k", "M", "G", "T"};
  three_digits(text, macs, 1000, units, 5);
}

void ex__page_ns(struct ex_text *text, double ns) {
  static const char *const units[] = {"ns", "µs", "ms", "s"};
  three_digits(text, ns, 1000, units, 4);
}

void ex__page_count(struct ex_text *text, double n) {
  if (!(n >= 0 && n < 1e15)) {
    ex__text_add(text, DASH);
    return;
  }
  long long whole = (long long)n, power = 1;
  while (whole / power >= 1000) power *= 1000;
  ex__text_add(text, "%lld", whole / power);
  for (power /= 1000; power >= 1; power /= 1000)
    ex__text_add(text, ",%03lld", whole / power % 1000);
}

/* ---- headline --------------------------------------------------------------- */

static const char *drop_words(double drop) {
  if (drop <= -0.005) return "more accurate than full depth";
  if (drop < 0.005) return "as accurate as full depth";
  return NULL;
}

static void headline(struct page *page) {
  struct ex_text *text = &page->text;
  const json_t *json = page->json;
  double accuracy = ex__number_at(json, "accuracy");
  double full = ex__number_at(json, "full/accuracy");
  double work = ex__number_at(json, "mean_macs") / ex__number_at(json, "full/macs");
  double drop = 100 * (full - accuracy);
  ex__text_add(text, "<h1>");
  ex__page_percent(text, work, 0);
  ex__text_add(text, " of the work, ");
  ex__page_percent(text, accuracy, 1);
  if (drop_words(drop) != NULL)
    ex__text_add(text, " right: %s</h1>\n", drop_words(drop));
  else {
    ex__text_add(text, " right: ");
    ex__page_number(text, drop, 2);
    ex__text_add(text, " points below full depth</h1>\n");
  }
  ex__text_add(text, "<p class=\"lead\">Full depth answers ");
  ex__page_percent(text, full, 2);
  ex__text_add(text, " right with ");
  ex__page_macs(text, ex__number_at(json, "full/macs"));
  ex__text_add(text, " multiply-adds for every one of the ");
  ex__page_count(text, ex__number_at(json, "n"));
  ex__text_add(text, " samples. Leaving early where it is sure, the same network answers ");
  ex__page_percent(text, accuracy, 2);
  ex__text_add(text, " right with ");
  ex__page_macs(text, ex__number_at(json, "mean_macs"));
  ex__text_add(text, " on average.</p>\n");
}

static void saving_open(struct page *page, double saving) {
  struct ex_text *text = &page->text;
  ex__text_add(text, "<li><b>");
  ex__page_percent(text, saving, 0);
  ex__text_add(text,
               "</b><span class=\"meter\" aria-hidden=\"true\"><i style=\"width:%.1f%%\"></i>"
               "</span>",
               100 * (saving > 0 ? saving : 0));
}

static void saving_of_time(struct page *page) {
  struct ex_text *text = &page->text;
  const json_t *json = page->json;
  double mean = ex__number_at(json, "mean_ns"), full = ex__number_at(json, "full/ns");
  saving_open(page, ex__number_at(json, "savings/wall_clock"));
  if (!isfinite(mean)) {
    ex__text_add(text, "of the time: not measured</li>\n");
    return;
  }
  ex__text_add(text, "less time on the clock<br><small>");
  ex__page_ns(text, mean);
  ex__text_add(text, " instead of ");
  ex__page_ns(text, full);
  ex__text_add(text, " for a sample alone: %.2f times as fast</small></li>\n", full / mean);
}

static void savings(struct page *page) {
  struct ex_text *text = &page->text;
  const json_t *json = page->json;
  ex__text_add(text, "<ul class=\"savings\" aria-label=\"Three savings\">\n");
  saving_open(page, ex__number_at(json, "savings/table"));
  ex__text_add(text, "less work by the cost table<br><small>");
  ex__page_macs(text, ex__number_at(json, "mean_macs"));
  ex__text_add(text, " of ");
  ex__page_macs(text, ex__number_at(json, "full/macs"));
  ex__text_add(text, " multiply-adds, heads included</small></li>\n");
  saving_open(page, ex__number_at(json, "savings/executed"));
  ex__text_add(text, "less work by the programs’ own count<br><small>");
  ex__page_macs(text, ex__number_at(json, "executed_macs"));
  ex__text_add(text, " executed: what was skipped did not run</small></li>\n");
  saving_of_time(page);
  ex__text_add(text, "</ul>\n");
}

static void notes(struct page *page) {
  struct ex_text *text = &page->text;
  const json_t *array = json_object_get(page->json, "notes");
  if (json_array_size(array) == 0) return;
  ex__text_add(text, "<section><h2>Worth knowing</h2><ul class=\"notes\">\n");
  for (size_t i = 0; i < json_array_size(array); i++) {
    const char *sentence = json_string_value(json_array_get(array, i));
    ex__text_add(text, "<li>");
    ex__html_escape(text, sentence != NULL ? sentence : "");
    ex__text_add(text, "</li>\n");
  }
  ex__text_add(text, "</ul></section>\n");
}

/* ---- the page --------------------------------------------------------------- */

void ex__page_open(struct ex_text *text, const char *title) {
  ex__text_add(text,
               "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
               "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
               "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
               "style-src 'unsafe-inline'; img-src data:\">\n<title>%s</title>\n<style>\n",
               title);
  for (const char *const *line = ex__report_style; *line != NULL; line++)
    ex__text_add_bytes(text, *line, strlen(*line));
  ex__text_add(text, "\n</style>\n</head>\n<body>\n<header>\n");
}

static void head(struct page *page) {
  struct ex_text *text = &page->text;
  ex__page_open(text, "Exeunt: evaluation");
  ex__text_add(text, "<p class=\"eyebrow\">Exeunt · evaluation on the ");
  const char *split = json_string_value(json_object_get(page->json, "split"));
  ex__html_escape(text, split != NULL ? split : "");
  ex__text_add(text, " split · exit rule ");
  const char *rule =
      json_string_value(json_object_get(json_object_get(page->json, "policy"), "name"));
  ex__html_escape(text, rule != NULL ? rule : "");
  ex__text_add(text, "</p>\n");
  headline(page);
  savings(page);
  ex__text_add(text, "</header>\n<main>\n");
}

static void foot(struct page *page) {
  struct ex_text *text = &page->text;
  const ex_trace *trace = page->evaluation->trace;
  ex__text_add(text, "</main>\n<footer>Exeunt %s", ex_version());
  if (trace->weights[0] != '\0') {
    ex__text_add(text, "<br>weights ");
    ex__html_escape(text, trace->weights);
  }
  if (trace->samples[0] != '\0') {
    ex__text_add(text, "<br>samples ");
    ex__html_escape(text, trace->samples);
  }
  ex__text_add(text, "</footer>\n</body>\n</html>\n");
}

static enum ex_status write_page(struct page *page) {
  head(page);
  notes(page);
  ex__page_curves(page);
  ex__page_leaving(page);
  ex__page_interest(page);
  EX_TRY(ex__page_pictures(page));
  ex__page_calibration(page);
  ex__page_costs(page);
  ex__page_time(page);
  ex__page_receipt(page);
  ex__page_more(page);
  foot(page);
  return ex__text_status(&page->text);
}

enum ex_status ex__report_html(const ex_evaluation *evaluation, const ex_model *model,
                               const ex_data *data, enum ex_split split, const char *path,
                               struct ex_error *err) {
  struct page page = {.evaluation = evaluation,
                      .json = evaluation->json,
                      .exits = json_object_get(evaluation->json, "exits"),
                      .n_exits = evaluation->trace->n_points,
                      .model = model,
                      .data = data,
                      .split = split};
  enum ex_status status = write_page(&page);
  if (status != EX_OK)
    ex__fail(err, status, "%s: no memory for the report", path);
  else
    status = ex__file_write_whole(path, page.text.data, page.text.size, err);
  ex__text_clear(&page.text);
  return status;
}
