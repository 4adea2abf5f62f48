/* SPDX-License-Identifier: Apache-2.0
 *
 * report/report_leaving: who leaves where, and where time went. The bars are
 * cells of tables: they bend to any width, and are read aloud as numbers.
 */
#include "report/report_page.h"
#include "report/svg.h"

/* Later exits are darker; exit p of n has this opacity. */
static double shade(int32_t p, int32_t n) { return n > 1 ? 0.28 + 0.72 * p / (n - 1) : 1; }

static void bar_cell(struct page *page, double share, double opacity) {
  ex__text_add(&page->text,
               "<td class=\"bar\"><div class=\"stack\"><i style=\"width:%.2f%%;opacity:%.2f\"></i>"
               "</div></td>",
               100 * (share > 0 ? share : 0), opacity);
}

static void exit_rows(struct page *page) {
  struct ex_text *text = &page->text;
  double full = ex__number_at(page->json, "full/macs");
  for (int32_t p = 0; p < page->n_exits; p++) {
    ex__text_add(text, "<tr%s><th scope=\"row\">Exit %d%s</th>",
                 ex__page_exit_on(page, p) ? "" : " class=\"off\"", (int)p + 1,
                 ex__page_exit_on(page, p) ? "" : ", off");
    bar_cell(page, ex__page_exit(page, p, "share"), shade(p, page->n_exits));
    ex__text_add(text, "<td>");
    ex__page_percent(text, ex__page_exit(page, p, "share"), 1);
    ex__text_add(text, "</td><td>");
    ex__page_percent(text, ex__page_exit(page, p, "accuracy_left"), 1);
    ex__text_add(text, "</td><td>");
    ex__page_percent(text, ex__page_exit(page, p, "macs") / full, 0);
    ex__text_add(text, "</td></tr>\n");
  }
}

static void stack_cell(struct page *page, const json_t *shares) {
  struct ex_text *text = &page->text;
  ex__text_add(text, "<td class=\"bar\"><div class=\"stack\">");
  for (int32_t p = 0; p < page->n_exits; p++) {
    double share = json_number_value(json_array_get(shares, (size_t)p));
    if (share > 0)
      ex__text_add(text, "<i style=\"width:%.2f%%;opacity:%.2f\" title=\"exit %d: %.1f %%\"></i>",
                   100 * share, shade(p, page->n_exits), (int)p + 1, 100 * share);
  }
  ex__text_add(text, "</div></td>");
}

static void class_rows(struct page *page) {
  struct ex_text *text = &page->text;
  double full = ex__number_at(page->json, "full/macs");
  size_t c;
  const json_t *classes = json_object_get(page->json, "per_class"), *class;
  for (c = 0; c < json_array_size(classes); c++) {
    class = json_array_get(classes, c);
    const char *label = json_string_value(json_object_get(class, "label"));
    const json_t *shares = json_object_get(class, "exits");
    ex__text_add(text, "<tr><th scope=\"row\">");
    ex__html_escape(text, label != NULL ? label : "");
    ex__text_add(text, "</th>");
    stack_cell(page, shares);
    ex__text_add(text, "<td>");
    ex__page_percent(text, json_number_value(json_array_get(shares, 0)), 0);
    ex__text_add(text, "</td><td>");
    ex__page_percent(text, ex__number_at(class, "mean_macs") / full, 0);
    ex__text_add(text, "</td><td>");
    ex__page_percent(text, ex__number_at(class, "accuracy"), 1);
    ex__text_add(text, "</td></tr>\n");
  }
}

static void legend(struct page *page) {
  ex__text_add(&page->text, "<ul class=\"legend\">");
  for (int32_t p = 0; p < page->n_exits; p++)
    ex__text_add(&page->text, "<li><i style=\"opacity:%.2f\"></i>exit %d</li>",
                 shade(p, page->n_exits), (int)p + 1);
  ex__text_add(&page->text, "</ul>\n");
}

void ex__page_leaving(struct page *page) {
  struct ex_text *text = &page->text;
  ex__text_add(
      text, "<section><h2>Who leaves where</h2><p>Easy samples leave early. <em>Right</em> is the "
            "share of right answers among those that left there; <em>work</em> is what leaving "
            "there costs, all heads on the way included, as a share of full depth.</p>"
            "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Exit</th>"
            "<th scope=\"col\"></th><th scope=\"col\">Leave</th><th scope=\"col\">Right</th>"
            "<th scope=\"col\">Work</th></tr></thead><tbody>\n");
  exit_rows(page);
  ex__text_add(text,
               "</tbody></table></div><h3>By class</h3><div class=\"scroll\"><table><thead><tr>"
               "<th scope=\"col\">Class</th><th scope=\"col\"></th><th scope=\"col\">At exit 1</th>"
               "<th scope=\"col\">Work</th><th scope=\"col\">Right</th></tr></thead><tbody>\n");
  class_rows(page);
  ex__text_add(text, "</tbody></table></div>");
  legend(page);
  ex__text_add(text, "</section>\n");
}

/* ---- time ----------------------------------------------------------------- */

static void time_row(struct page *page, const char *name, double ns, double total, double opacity) {
  struct ex_text *text = &page->text;
  if (!(ns > 0)) return;
  ex__text_add(text, "<tr><th scope=\"row\">%s</th>", name);
  bar_cell(page, ns / total, opacity);
  ex__text_add(text, "<td>");
  ex__page_ns(text, ns);
  ex__text_add(text, "</td><td>");
  ex__page_percent(text, ns / total, 1);
  ex__text_add(text, "</td></tr>\n");
}

/* One sample at a time: the measured time of each part, times the share of the
 * samples that run it. */
static void parts_alone(struct page *page) {
  double total = 0;
  for (int32_t p = 0; p < page->n_exits; p++) {
    total += ex__page_exit(page, p, "body_share") * ex__page_exit(page, p, "body_ns") +
             ex__page_exit(page, p, "head_share") * ex__page_exit(page, p, "head_ns");
  }
  for (int32_t p = 0; p < page->n_exits; p++) {
    double body = ex__page_exit(page, p, "body_share"), head = ex__page_exit(page, p, "head_share");
    char name[64];
    snprintf(name, sizeof name, "Stages to exit %d", (int)p + 1);
    time_row(page, name, body * ex__page_exit(page, p, "body_ns"), total, 1);
    snprintf(name, sizeof name, "Head of exit %d", (int)p + 1);
    time_row(page, name, head * ex__page_exit(page, p, "head_ns"), total, 0.5);
  }
}

static void parts_together(struct page *page) {
  const json_t *ledger = json_object_get(page->json, "ledger");
  static const struct {
    const char *key, *name;
  } parts[] = {
      {"body_ns", "Stages"},
      {"head_ns", "Heads"},
      {"gate_ns", "Gates"},
      {"input_ns", "Pre-processing"},
      {"decide_ns", "Softmax and deciding"},
      {"queue_ns", "Queues and waiting"},
  };
  double total = ex__number_at(ledger, "total_ns");
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    time_row(page, parts[i].name, ex__number_at(ledger, parts[i].key), total, i == 0 ? 1 : 0.5);
}

static void latencies(struct page *page) {
  struct ex_text *text = &page->text;
  const json_t *json = page->json;
  double threads = ex__number_at(json, "threads");
  if (!isfinite(ex__number_at(json, "mean_ns"))) return;
  ex__text_add(text, "<p>One sample alone takes ");
  ex__page_ns(text, ex__number_at(json, "mean_ns"));
  ex__text_add(text, " on average; half are done in ");
  ex__page_ns(text, ex__number_at(json, "p50_ns"));
  ex__text_add(text, ", 95&#8239;%% in ");
  ex__page_ns(text, ex__number_at(json, "p95_ns"));
  ex__text_add(text, ", 99&#8239;%% in ");
  ex__page_ns(text, ex__number_at(json, "p99_ns"));
  ex__text_add(text, ". Full depth takes ");
  ex__page_ns(text, ex__number_at(json, "full/ns"));
  ex__text_add(text, " (%.0f thread%s, measured by turns in one run).</p>\n", threads,
               threads == 1 ? "" : "s");
}

static const char time_head[] =
    "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Part</th><th scope=\"col\"></th>"
    "<th scope=\"col\">Per sample</th><th scope=\"col\">Share</th></tr></thead><tbody>\n";

void ex__page_time(struct page *page) {
  struct ex_text *text = &page->text;
  ex__text_add(text, "<section><h2>Where time went</h2>\n");
  latencies(page);
  if (ex__page_exit(page, 0, "body_ns") > 0) {
    ex__text_add(text, "<h3>One at a time</h3>%s", time_head);
    parts_alone(page);
    ex__text_add(text, "</tbody></table></div>\n");
  }
  if (ex__number_at(page->json, "ledger/total_ns") > 0) {
    ex__text_add(text, "<h3>Many at a time, all workers together</h3>%s", time_head);
    parts_together(page);
    ex__text_add(text, "</tbody></table></div>\n");
  }
  ex__text_add(text, "</section>\n");
}
