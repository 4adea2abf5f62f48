/* SPDX-License-Identifier: Apache-2.0
 *
 * report/rules_page: the comparison of rules as a page: which is best for what,
 * accuracy against work, and the table.
 *
 * Lines are told apart by their order as well as by colour: each ends in its
 * number, which the legend repeats.
 */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "report/report_page.h"
#include "report/rules.h"
#include "report/svg.h"

enum { MAX_CURVE = 16, N_HUES = 8 };

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text != NULL ? text : "";
}

/* "0.5 points lost at most", "30 % of the work at most" */
static void add_constraint(struct ex_text *text, const json_t *constraint) {
  double value = ex__number_at(constraint, "value");
  if (strcmp(text_of(constraint, "kind"), "drop") == 0)
    ex__text_add(text, "%g points lost at most", value);
  else if (strcmp(text_of(constraint, "kind"), "macs") == 0)
    ex__text_add(text, "%g&#8239;%% of the work at most", 100 * value);
  else
    ex__text_add(text, "%s of %g %s at most", text_of(constraint, "kind"), value,
                 text_of(constraint, "unit"));
}

/* ---- the chart -------------------------------------------------------------- */

struct chart {
  struct ex_text *text;
  const json_t *rules;
  struct ex_plot plot;
};

static int32_t points_of(const json_t *curve, double point[MAX_CURVE][2]) {
  int32_t n = 0;
  for (size_t i = 0; i < json_array_size(curve) && n < MAX_CURVE; i++, n++) {
    const json_t *pair = json_array_get(curve, i);
    point[n][0] = json_number_value(json_array_get(pair, 0));
    point[n][1] = json_number_value(json_array_get(pair, 1));
  }
  return n;
}

static void fit_ranges(struct chart *chart) {
  double lowest = ex__number_at(chart->rules, "full/accuracy"), highest = lowest, dearest = 1;
  const char *name;
  json_t *curve;
  json_object_foreach(json_object_get(chart->rules, "curves"), name, curve) {
    double point[MAX_CURVE][2];
    int32_t n = points_of(curve, point);
    if (strcmp(name, "fixed") == 0) continue; /* the baseline must not set the scale */
    for (int32_t i = 0; i < n; i++) {
      lowest = fmin(lowest, point[i][1]);
      highest = fmax(highest, point[i][1]);
      dearest = fmax(dearest, point[i][0]);
    }
  }
  double step = ex__nice_step(highest - lowest > 0.005 ? highest - lowest : 0.005, 5);
  chart->plot.y_min = fmax(0, floor(lowest / step - 0.2) * step);
  chart->plot.y_max = fmin(1, ceil(highest / step + 0.2) * step);
  chart->plot.x_min = 0;
  chart->plot.x_max = 1.06 * dearest;
}

static void draw_curve(struct chart *chart, const char *name, const json_t *curve, int32_t index) {
  double point[MAX_CURVE][2], shown[MAX_CURVE][2];
  char class[16];
  int32_t n = points_of(curve, point), n_shown = 0;
  snprintf(class, sizeof class, "hue%d", (int)index % N_HUES);
  for (int32_t i = 0; i < n; i++)
    if (point[i][1] >= chart->plot.y_min) memcpy(shown[n_shown++], point[i], sizeof *point);
  if (n_shown == 0) return;
  ex__svg_line(chart->text, &chart->plot, (const double(*)[2])shown, n_shown, class);
  for (int32_t i = 0; i < n_shown; i++)
    ex__svg_dot(chart->text, &chart->plot, shown[i], 3, class,
                "%s: %.1f %% of the work, %.2f %% right", name, 100 * shown[i][0],
                100 * shown[i][1]);
  ex__svg_label(chart->text, ex__plot_x(&chart->plot, shown[0][0]) - 7 - 11 * (index % 4),
                ex__plot_y(&chart->plot, shown[0][1]) + 4, "end", class, "%d", (int)index + 1);
}

static void draw(struct chart *chart, bool narrow) {
  struct ex_text *text = chart->text;
  struct ex_plot *plot = &chart->plot;
  double width = narrow ? 360 : 920, height = narrow ? 320 : 440;
  plot->left = narrow ? 44 : 56;
  plot->top = 30;
  plot->width = width - plot->left - 10;
  plot->height = height - plot->top - 52;
  ex__svg_open(text, narrow ? "narrow" : "wide", width, height,
               "Accuracy against the share of full depth's multiply-adds, for every exit rule");
  ex__svg_y_axis(text, plot, ex__nice_step(plot->y_max - plot->y_min, 5), 100, " %");
  ex__svg_x_axis(text, plot, ex__nice_step(plot->x_max, narrow ? 4 : 7), 100, " %");
  ex__svg_label(text, plot->left, 14, "start", "name", "Answered right");
  ex__svg_label(text, plot->left + plot->width, height - 8, "end", "name",
                "Multiply-adds, share of full depth");
  int32_t index = 0;
  const char *name;
  json_t *curve;
  json_object_foreach(json_object_get(chart->rules, "curves"), name, curve) {
    draw_curve(chart, name, curve, index++);
  }
  const double full[2] = {1, ex__number_at(chart->rules, "full/accuracy")};
  ex__svg_dot(text, plot, full, 7, "full", "Full depth: %.2f %% right", 100 * full[1]);
  ex__svg_close(text);
}

static void add_chart(struct ex_text *text, const json_t *rules) {
  struct chart chart = {.text = text, .rules = rules};
  ex__text_add(text, "<section><h2>Accuracy against work</h2><p>Every rule under every constraint "
                     "of the list above, on the test split. The dark point is full depth.</p>\n");
  fit_ranges(&chart);
  draw(&chart, false);
  draw(&chart, true);
  ex__text_add(text, "<ol class=\"legend\">\n");
  int32_t index = 0;
  const char *name;
  json_t *curve;
  json_object_foreach(json_object_get(rules, "curves"), name, curve) {
    if (json_array_size(curve) > 0)
      ex__text_add(text, "<li><i class=\"line hue%d\"></i>%d %s</li>\n", (int)index % N_HUES,
                   (int)index + 1, name);
    index++;
  }
  ex__text_add(text, "</ol></section>\n");
}

/* ---- tables ------------------------------------------------------------------- */

static void add_best(struct ex_text *text, const json_t *rules) {
  size_t i;
  const json_t *best;
  ex__text_add(text, "<section><h2>Which rule for what</h2><p>Fitted on select, chosen by what it "
                     "keeps on certify: the cheapest under a loss, the most accurate under a "
                     "budget.</p>\n<div class=\"scroll\"><table><thead><tr><th>Constraint</th>"
                     "<th>Best rule</th><th>Right</th><th>Lost</th><th>Work</th></tr></thead>"
                     "<tbody>\n");
  json_array_foreach(json_object_get(rules, "best"), i, best) {
    ex__text_add(text, "<tr><td>");
    add_constraint(text, json_object_get(best, "constraint"));
    if (json_is_null(json_object_get(best, "policy"))) {
      ex__text_add(text, "</td><td colspan=\"4\">no rule keeps it</td></tr>\n");
      continue;
    }
    ex__text_add(text, "</td><td>%s</td><td>", text_of(best, "policy"));
    ex__page_percent(text, ex__number_at(best, "accuracy"), 2);
    ex__text_add(text, "</td><td>%.2f</td><td>", 100 * ex__number_at(best, "drop"));
    ex__page_percent(text, ex__number_at(best, "macs_share"), 1);
    ex__text_add(text, "</td></tr>\n");
  }
  ex__text_add(text, "</tbody></table></div></section>\n");
}

static void add_rule(struct ex_text *text, const json_t *rule) {
  ex__text_add(text, "<tr><td>%s</td>", text_of(rule, "policy"));
  if (json_object_get(rule, "refused") != NULL) {
    ex__text_add(text, "<td colspan=\"7\">");
    ex__html_escape(text, text_of(rule, "refused"));
    ex__text_add(text, "</td></tr>\n");
    return;
  }
  ex__text_add(text, "<td>");
  ex__page_percent(text, ex__number_at(rule, "accuracy"), 2);
  ex__text_add(text, "</td><td>%.2f</td><td>", 100 * ex__number_at(rule, "drop"));
  ex__page_percent(text, ex__number_at(rule, "macs_share"), 1);
  ex__text_add(text, "</td><td>");
  ex__page_percent(text, ex__number_at(rule, "risk"), 2);
  ex__text_add(text, "</td><td>");
  ex__page_ns(text, ex__number_at(rule, "mean_ns"));
  ex__text_add(text, "</td><td>");
  ex__page_ns(text, ex__number_at(rule, "p99_ns"));
  ex__text_add(text, "</td><td>%s</td></tr>\n",
               json_is_true(json_object_get(rule, "met")) ? "yes" : "no");
}

static void add_rules(struct ex_text *text, const json_t *rules) {
  size_t i;
  const json_t *rule;
  ex__text_add(text, "<section><h2>Every rule, ");
  add_constraint(text, json_object_get(rules, "constraint"));
  ex__text_add(text, "</h2><p>On the test split, which chose nothing. Times are of one input at a "
                     "time; a rule is kept where the certify split bears it out.</p>\n"
                     "<div class=\"scroll\"><table><thead><tr><th>Rule</th><th>Right</th>"
                     "<th>Lost</th><th>Work</th><th>Answered otherwise</th><th>Mean time</th>"
                     "<th>99 of 100 within</th><th>Kept</th></tr></thead><tbody>\n");
  json_array_foreach(json_object_get(rules, "rules"), i, rule) { add_rule(text, rule); }
  ex__text_add(text, "</tbody></table></div></section>\n");
}

static void headline(struct ex_text *text, const json_t *rules) {
  const json_t *best = json_array_get(json_object_get(rules, "best"), 0);
  ex__text_add(text, "<h1>With ");
  add_constraint(text, json_object_get(rules, "constraint"));
  if (json_is_null(json_object_get(best, "policy"))) {
    ex__text_add(text, ", no rule will do</h1>\n");
    return;
  }
  ex__text_add(text, ", %s is best: ", text_of(best, "policy"));
  ex__page_percent(text, ex__number_at(best, "accuracy"), 2);
  ex__text_add(text, " right for ");
  ex__page_percent(text, ex__number_at(best, "macs_share"), 0);
  ex__text_add(text, " of the work</h1>\n");
}

enum ex_status ex__rules_page(const json_t *rules, const char *path, struct ex_error *err) {
  struct ex_text text = {0};
  ex__page_open(&text, "Exeunt: exit rules");
  ex__text_add(&text, "<p class=\"eyebrow\">Exeunt · %d exit rules on one model</p>\n",
               (int)json_array_size(json_object_get(rules, "rules")));
  headline(&text, rules);
  ex__text_add(&text, "<p class=\"lead\">Full depth answers ");
  ex__page_percent(&text, ex__number_at(rules, "full/accuracy"), 2);
  ex__text_add(&text, " of ");
  ex__page_count(&text, ex__number_at(rules, "n"));
  ex__text_add(&text, " samples right with ");
  ex__page_macs(&text, ex__number_at(rules, "full/macs"));
  ex__text_add(&text, " multiply-adds each.</p>\n</header>\n<main>\n");
  add_best(&text, rules);
  add_chart(&text, rules);
  add_rules(&text, rules);
  ex__text_add(&text, "</main>\n<footer>Exeunt %s</footer>\n</body>\n</html>\n", ex_version());
  enum ex_status status = ex__text_status(&text);
  if (status != EX_OK)
    ex__fail(err, status, "%s: no memory for the page", path);
  else
    status = ex__file_write_whole(path, text.data, text.size, err);
  ex__text_clear(&text);
  return status;
}
