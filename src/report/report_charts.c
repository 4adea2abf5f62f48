/* SPDX-License-Identifier: Apache-2.0
 *
 * report/report_charts: accuracy against work, and confidence against being
 * right.
 *
 * The large chart is drawn twice, for wide and for narrow screens, because
 * letters that shrink with a drawing cannot be read on a phone; the style
 * sheet shows one of them.
 */
#include "report/report_page.h"
#include "report/svg.h"

enum { MAX_CURVE = 64 };

struct curve {
  double point[MAX_CURVE][2]; /* cost, accuracy */
  int32_t n;
};

static struct curve curve_of(const json_t *array) {
  struct curve curve = {.n = 0};
  for (size_t i = 0; i < json_array_size(array) && curve.n < MAX_CURVE; i++) {
    const json_t *pair = json_array_get(array, i);
    curve.point[curve.n][0] = json_number_value(json_array_get(pair, 0));
    curve.point[curve.n++][1] = json_number_value(json_array_get(pair, 1));
  }
  return curve;
}

struct chart {
  struct curve anytime, budgeted;
  double policy[2], full[2];
  struct ex_plot plot;
  bool narrow;
};

static void widen(const double point[2], double *lowest, double *highest, double *dearest) {
  if (point[1] < *lowest) *lowest = point[1];
  if (point[1] > *highest) *highest = point[1];
  if (point[0] > *dearest) *dearest = point[0];
}

/* The ranges that hold everything, ending at ticks. */
static void fit(struct chart *chart) {
  double lowest = 1, highest = 0, dearest = 0;
  for (int32_t i = 0; i < chart->anytime.n; i++)
    widen(chart->anytime.point[i], &lowest, &highest, &dearest);
  for (int32_t i = 0; i < chart->budgeted.n; i++)
    widen(chart->budgeted.point[i], &lowest, &highest, &dearest);
  widen(chart->policy, &lowest, &highest, &dearest);
  widen(chart->full, &lowest, &highest, &dearest);
  double step = ex__nice_step(highest - lowest, 5);
  chart->plot.y_min = fmax(0, floor(lowest / step - 0.2) * step);
  chart->plot.y_max = fmin(1, ceil(highest / step + 0.2) * step);
  if (!(chart->plot.y_max > chart->plot.y_min)) chart->plot.y_min = chart->plot.y_max - 0.1;
  chart->plot.x_min = 0;
  chart->plot.x_max = dearest > 0 ? 1.06 * dearest : 1;
}

static void draw_curves(struct page *page, const struct chart *chart) {
  struct ex_text *text = &page->text;
  const struct ex_plot *plot = &chart->plot;
  ex__svg_line(text, plot, chart->anytime.point, chart->anytime.n, "anytime");
  ex__svg_line(text, plot, chart->budgeted.point, chart->budgeted.n, "budgeted");
  for (int32_t i = 0; i < chart->budgeted.n; i++)
    ex__svg_dot(text, plot, chart->budgeted.point[i], 2.2, "budgeted",
                "A budget of %.2f M multiply-adds per sample: %.2f %% right",
                chart->budgeted.point[i][0] / 1e6, 100 * chart->budgeted.point[i][1]);
  for (int32_t i = 0; i < chart->anytime.n; i++) {
    const double *point = chart->anytime.point[i];
    ex__svg_dot(text, plot, point, 5, "anytime",
                "Everybody to exit %d: %.2f M multiply-adds, %.2f %% right", (int)i + 1,
                point[0] / 1e6, 100 * point[1]);
    ex__svg_label(text, ex__plot_x(plot, point[0]) + 9, ex__plot_y(plot, point[1]) + 17, "start",
                  "anytime", chart->narrow ? "%d" : "exit %d", (int)i + 1);
  }
}

static void draw_points(struct page *page, const struct chart *chart) {
  struct ex_text *text = &page->text;
  const struct ex_plot *plot = &chart->plot;
  ex__svg_dot(text, plot, chart->full, 7, "full", "Full depth: %.2f M multiply-adds, %.2f %% right",
              chart->full[0] / 1e6, 100 * chart->full[1]);
  ex__svg_dot(text, plot, chart->policy, 8, "policy",
              "This policy: %.2f M multiply-adds on average, %.2f %% right", chart->policy[0] / 1e6,
              100 * chart->policy[1]);
  double x = ex__plot_x(plot, chart->policy[0]), y = ex__plot_y(plot, chart->policy[1]);
  ex__svg_label(text, x - 4, y - 14, "end", "policy", "this policy");
  x = ex__plot_x(plot, chart->full[0]);
  y = ex__plot_y(plot, chart->full[1]);
  ex__svg_label(text, x + 12, y - 14, "end", "full", "full depth");
}

static void draw_chart(struct page *page, struct chart *chart) {
  struct ex_text *text = &page->text;
  struct ex_plot *plot = &chart->plot;
  double width = chart->narrow ? 360 : 920, height = chart->narrow ? 320 : 440;
  plot->left = chart->narrow ? 44 : 56;
  plot->top = 30;
  plot->width = width - plot->left - 10;
  plot->height = height - plot->top - 52;
  ex__svg_open(text, chart->narrow ? "narrow" : "wide", width, height,
               "Accuracy against multiply-adds per sample: single exits, budgeted batches, this "
               "policy and full depth");
  double range = plot->y_max - plot->y_min, unit = plot->x_max >= 1e9 ? 1e-9 : 1e-6;
  if (plot->x_max < 1e6) unit = 1e-3;
  ex__svg_y_axis(text, plot, ex__nice_step(range, 5), 100, " %");
  ex__svg_x_axis(text, plot, ex__nice_step(plot->x_max, chart->narrow ? 4 : 7), unit, "");
  ex__svg_label(text, plot->left, 14, "start", "name", "Answered right");
  ex__svg_label(text, plot->left + plot->width, height - 8, "end", "name",
                "Multiply-adds per sample, %s",
                unit == 1e-9   ? "billions"
                : unit == 1e-6 ? "millions"
                               : "thousands");
  draw_curves(page, chart);
  draw_points(page, chart);
  ex__svg_close(text);
}

static void curve_legend(struct page *page, bool budgeted) {
  ex__text_add(&page->text,
               "<ul class=\"legend\"><li><i class=\"line blue\"></i>everybody stopped at the same "
               "exit (anytime)</li>%s<li><i class=\"dot\"></i>the policy that was evaluated</li>"
               "<li><i class=\"dot ink\"></i>full depth, no exit looked at</li></ul>\n",
               budgeted ? "<li><i class=\"line\"></i>each leaves when it is sure, for 39 budgets "
                          "(budgeted)</li>"
                        : "");
}

static void curve_table(struct page *page, const struct chart *chart) {
  struct ex_text *text = &page->text;
  ex__text_add(text, "<details><summary>The budgeted curve as numbers</summary><table><thead><tr>"
                     "<th scope=\"col\">Mean multiply-adds</th><th scope=\"col\">Right</th></tr>"
                     "</thead><tbody>");
  for (int32_t i = 0; i < chart->budgeted.n; i++) {
    ex__text_add(text, "<tr><td>");
    ex__page_macs(text, chart->budgeted.point[i][0]);
    ex__text_add(text, "</td><td>");
    ex__page_percent(text, chart->budgeted.point[i][1], 2);
    ex__text_add(text, "</td></tr>");
  }
  ex__text_add(text, "</tbody></table></details>");
}

void ex__page_curves(struct page *page) {
  struct ex_text *text = &page->text;
  const json_t *json = page->json;
  struct chart chart = {
      .anytime = curve_of(json_object_get(json, "anytime")),
      .budgeted = curve_of(json_object_get(json, "budgeted")),
      .policy = {ex__number_at(json, "mean_macs"), ex__number_at(json, "accuracy")},
      .full = {ex__number_at(json, "full/macs"), ex__number_at(json, "full/accuracy")}};
  fit(&chart);
  ex__text_add(text, "<section><h2>Accuracy against work</h2><p>Up and to the left is better.</p>"
                     "\n");
  draw_chart(page, &chart);
  chart.narrow = true;
  draw_chart(page, &chart);
  curve_legend(page, chart.budgeted.n > 0);
  if (chart.budgeted.n > 0) curve_table(page, &chart);
  ex__text_add(text, "</section>\n");
}

/* ---- calibration --------------------------------------------------------- */

static void reliability_chart(struct page *page, const json_t *exit, int number) {
  struct ex_text *text = &page->text;
  const struct ex_plot plot = {0, 1, 0, 1, 46, 12, 150, 150};
  const json_t *bins = json_object_get(exit, "reliability");
  double n = ex__number_at(page->json, "n");
  ex__text_add(text, "<figure>");
  ex__svg_open(text, "reliability", 220, 190, "Share of right answers against confidence");
  ex__svg_y_axis(text, &plot, 0.5, 100, " %");
  ex__svg_x_axis(text, &plot, 0.5, 100, " %");
  ex__text_add(text, "<path class=\"diagonal\" d=\"M46 162L196 12\"/>");
  for (size_t b = 0; b < json_array_size(bins); b++) {
    const json_t *bin = json_array_get(bins, b);
    const double point[2] = {ex__number_at(bin, "confidence"), ex__number_at(bin, "accuracy")};
    double count = ex__number_at(bin, "n");
    ex__svg_dot(text, &plot, point, 2 + 12 * sqrt(count / n), "bin",
                "%.0f samples with confidence about %.0f %%: %.1f %% right", count, 100 * point[0],
                100 * point[1]);
  }
  ex__svg_close(text);
  ex__text_add(text, "<figcaption><b>Exit %d</b> off by ", number);
  ex__page_percent(text, ex__number_at(exit, "ece"), 1);
  ex__text_add(text, "</figcaption></figure>\n");
}

void ex__page_calibration(struct page *page) {
  ex__text_add(&page->text,
               "<section><h2>Is it as sure as it should be?</h2><p>Confidence to the right, share "
               "of right answers upwards, for all samples at each exit; the larger a point, the "
               "more samples. On the dashed line confidence is a probability; below it the exit is "
               "too sure of itself. <em>Off by</em> is the mean distance from it, weighted by "
               "samples (expected calibration error).</p><div class=\"small\">\n");
  for (int32_t p = 0; p < page->n_exits; p++)
    reliability_chart(page, json_array_get(page->exits, (size_t)p), (int)p + 1);
  ex__text_add(&page->text, "</div></section>\n");
}
