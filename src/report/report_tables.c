/* SPDX-License-Identifier: Apache-2.0
 *
 * report/report_tables: what each exit costs and is worth, what was promised
 * beside what came of it, and the rest of the field's figures with a sentence
 * each on what they mean.
 */
#include <string.h>

#include "report/report_page.h"
#include "report/svg.h"

/* ---- costs ---------------------------------------------------------------- */

static const char cost_head[] =
    "<section><h2>What each exit costs</h2><p><em>Looked at</em> counts every head on the way, as a "
    "rule spends it that looks at each exit; <em>straight</em> runs this head alone. Times are of "
    "one sample on this machine. <em>Saves</em> compares the policy with itself without this "
    "exit, in shares of full depth.</p><div class=\"scroll\"><table><thead><tr>"
    "<th scope=\"col\">Exit</th><th scope=\"col\">Looked at</th><th scope=\"col\">Straight</th>"
    "<th scope=\"col\">Stages</th><th scope=\"col\">Head</th><th scope=\"col\">Stages, time</th>"
    "<th scope=\"col\">Head, time</th><th scope=\"col\">Parameters</th><th scope=\"col\">Right</th>"
    "<th scope=\"col\"><abbr title=\"probability that a right answer is surer than a wrong one\">"
    "AUROC</abbr></th><th scope=\"col\">Saves</th></tr></thead><tbody>\n";

static void macs_cell(struct page *page, int32_t exit, const char *key) {
  ex__text_add(&page->text, "<td>");
  ex__page_macs(&page->text, ex__page_exit(page, exit, key));
  ex__text_add(&page->text, "</td>");
}

static void ns_cell(struct page *page, int32_t exit, const char *key) {
  double ns = ex__page_exit(page, exit, key);
  ex__text_add(&page->text, "<td>");
  ex__page_ns(&page->text, ns > 0 ? ns : NAN);
  ex__text_add(&page->text, "</td>");
}

void ex__page_costs(struct page *page) {
  struct ex_text *text = &page->text;
  double full = ex__number_at(page->json, "full/macs");
  ex__text_add(text, "%s", cost_head);
  for (int32_t p = 0; p < page->n_exits; p++) {
    double saved = ex__page_exit(page, p, "saved_macs");
    bool on = ex__page_exit_on(page, p);
    ex__text_add(text, "<tr%s><th scope=\"row\">%d%s</th>", on ? "" : " class=\"off\"", (int)p + 1,
                 on ? "" : ", off");
    macs_cell(page, p, "macs");
    macs_cell(page, p, "direct_macs");
    macs_cell(page, p, "body_macs");
    macs_cell(page, p, "head_macs");
    ns_cell(page, p, "body_ns");
    ns_cell(page, p, "head_ns");
    macs_cell(page, p, "params");
    ex__text_add(text, "<td>");
    ex__page_percent(text, ex__page_exit(page, p, "accuracy"), 2);
    ex__text_add(text, "</td><td>");
    ex__page_number(text, ex__page_exit(page, p, "auroc"), 3);
    ex__text_add(text, "</td><td%s>", saved < 0 ? " class=\"wrong\"" : "");
    ex__page_percent(text, saved / full, 1);
    ex__text_add(text, "</td></tr>\n");
  }
  ex__text_add(text, "</tbody></table></div></section>\n");
}

/* ---- the receipt ----------------------------------------------------------- */

static void promise_row(struct page *page, const char *what, double promised, double found,
                        const char *unit, int decimals) {
  struct ex_text *text = &page->text;
  if (!isfinite(promised)) return;
  bool held = found <= promised;
  ex__text_add(text, "<tr><th scope=\"row\">%s</th><td>at most ", what);
  ex__page_number(text, promised, decimals);
  ex__text_add(text, "%s</td><td>", unit);
  ex__page_number(text, found, decimals);
  ex__text_add(text, "%s</td><td%s>%s</td></tr>\n", unit, held ? "" : " class=\"wrong\"",
               held ? "kept" : "missed");
}

/* Times belong to a machine, so they are told, not judged. */
static void latency_row(struct page *page, const json_t *promise) {
  struct ex_text *text = &page->text;
  double bound = ex__number_at(promise, "latency_us_bound");
  double found = ex__number_at(promise, "latency_us");
  if (!isfinite(bound) || !isfinite(found)) return;
  ex__text_add(text, "<tr><th scope=\"row\">Time per sample, alone</th><td>at most ");
  ex__page_number(text, bound, 1);
  ex__text_add(text, " µs</td><td>");
  ex__page_number(text, found, 1);
  ex__text_add(text, " µs</td><td>information</td></tr>\n");
}

static void risk_row(struct page *page, const json_t *promise) {
  const char *of = json_string_value(json_object_get(promise, "risk_of"));
  char what[80];
  if (of == NULL) return;
  snprintf(what, sizeof what, "Risk: %s",
           strcmp(of, "disagreement") == 0 ? "disagreement with full depth"
           : strcmp(of, "accuracy") == 0   ? "share of answers lost"
                                           : "Brier score above full depth");
  promise_row(page, what, ex__number_at(promise, "risk_bound"), ex__number_at(promise, "risk"), "",
              4);
}

static void receipt_fine_print(struct page *page) {
  struct ex_text *text = &page->text;
  const json_t *receipt = json_object_get(page->json, "receipt");
  const char *kind = json_string_value(json_object_get(receipt, "kind"));
  const char *date = json_string_value(json_object_get(receipt, "date"));
  double confidence = ex__number_at(receipt, "confidence");
  double n = ex__number_at(receipt, "certify/n");
  ex__text_add(text, "<p>Receipt: ");
  ex__html_escape(text, kind != NULL ? kind : "of an unknown kind");
  if (isfinite(n)) {
    ex__text_add(text, ", from ");
    ex__page_count(text, n);
    ex__text_add(text, " samples of the certify split");
  }
  bool certified = json_object_get(receipt, "risk") != NULL;
  if (isfinite(confidence)) {
    ex__text_add(text, certified ? ", a risk with " : ", one-sided bounds with ");
    ex__page_percent(text, confidence, certified ? 1 : 0);
    ex__text_add(text, " confidence");
  }
  if (date != NULL) {
    ex__text_add(text, ", ");
    ex__html_escape(text, date);
  }
  ex__text_add(text, certified
                         ? ".</p>"
                         : ". A bound that holds nine times in ten is missed once in ten.</p>");
}

static void asked(struct page *page) {
  struct ex_text *text = &page->text;
  const json_t *receipt = json_object_get(page->json, "receipt");
  const json_t *constraint = json_object_get(receipt, "constraint");
  const char *kind = json_string_value(json_object_get(constraint, "kind"));
  double value = ex__number_at(constraint, "value");
  if (kind == NULL || !isfinite(value)) return;
  bool macs = strcmp(kind, "macs") == 0;
  ex__text_add(text, "<p>Asked for: at most %g ", macs ? 100 * value : value);
  if (macs)
    ex__text_add(text, "%% of the work of full depth");
  else if (strcmp(kind, "drop") == 0)
    ex__text_add(text, "points of accuracy lost");
  else if (strcmp(kind, "risk") == 0)
    ex__text_add(text, "of risk");
  else
    ex__text_add(text, "µs per sample");
  ex__text_add(text, json_is_false(json_object_get(receipt, "met"))
                         ? ", which <strong>could not be shown</strong> on the certify split.</p>\n"
                         : ", shown on the certify split.</p>\n");
}

void ex__page_receipt(struct page *page) {
  struct ex_text *text = &page->text;
  const json_t *promise = json_object_get(page->json, "promise");
  ex__text_add(text, "<section><h2>Promised, and kept?</h2>\n");
  if (!json_is_object(json_object_get(page->json, "receipt"))) {
    ex__text_add(text, "<p>There is no receipt for this policy: it was set, not calibrated.</p>"
                       "</section>\n");
    return;
  }
  const char *split = json_string_value(json_object_get(page->json, "split"));
  asked(page);
  receipt_fine_print(page);
  ex__text_add(text,
               "<div class=\"scroll\"><table><thead><tr><th scope=\"col\"></th><th scope=\"col\">"
               "Promised</th><th scope=\"col\">On %s</th><th scope=\"col\"></th></tr></thead>"
               "<tbody>\n",
               split != NULL ? split : "this split");
  risk_row(page, promise);
  promise_row(page, "Accuracy lost against full depth", ex__number_at(promise, "drop_bound"),
              ex__number_at(promise, "drop"), " points", 2);
  promise_row(page, "Work, share of full depth", 100 * ex__number_at(promise, "macs_share_bound"),
              100 * ex__number_at(promise, "macs_share"), " %", 1);
  latency_row(page, promise);
  ex__text_add(text, "</tbody></table></div></section>\n");
}

/* ---- the rest --------------------------------------------------------------- */

static void term(struct page *page, double value, int decimals, bool share, const char *meaning) {
  struct ex_text *text = &page->text;
  ex__text_add(text, "<dt>");
  if (share)
    ex__page_percent(text, value, decimals);
  else
    ex__page_number(text, value, decimals);
  ex__text_add(text, "</dt><dd>%s</dd>\n", meaning);
}

void ex__page_interest(struct page *page) {
  struct ex_text *text = &page->text;
  const json_t *interest = json_object_get(page->json, "interest"), *label;
  double full = ex__number_at(page->json, "full/macs");
  size_t i;
  if (!json_is_object(interest)) return;
  ex__text_add(text, "<section><h2>Classes of interest</h2><p>");
  json_array_foreach(json_object_get(interest, "classes"), i, label) {
    if (i > 0) ex__text_add(text, ", ");
    ex__html_escape(text, json_string_value(label));
  }
  ex__text_add(text, "</p><dl>\n");
  term(page, ex__number_at(interest, "early_right"), 1, true,
       "of their samples: right, and early.");
  term(page, ex__number_at(interest, "late_right"), 1, true, "right, but at the last exit.");
  term(page, ex__number_at(interest, "refused"), 1, true, "refused early, though of interest.");
  term(page, ex__number_at(interest, "mean_macs") / full, 0, true,
       "of full depth’s work, for them.");
  term(page, ex__number_at(interest, "precision"), 1, true,
       "of all that left early as one of these: right.");
  term(page, ex__number_at(interest, "others/false_alarms"), 1, true,
       "of the other samples left early as one of these: false alarms.");
  term(page, ex__number_at(interest, "others/refused"), 1, true,
       "of the others were refused early.");
  term(page, ex__number_at(interest, "others/mean_macs") / full, 0, true,
       "of full depth’s work, for the others.");
  ex__text_add(text, "</dl></section>\n");
}

void ex__page_more(struct page *page) {
  struct ex_text *text = &page->text;
  const json_t *json = page->json;
  ex__text_add(text, "<section><h2>More figures</h2><dl>\n");
  term(page, ex__number_at(json, "macro_accuracy"), 2, true,
       "right, averaged over classes instead of samples.");
  term(page, ex__number_at(json, "overthinking/cumulative_accuracy"), 2, true,
       "answered right by some exit: what no rule can beat.");
  term(page, ex__number_at(json, "overthinking/destructive"), 1, true,
       "of full depth’s errors had been right at an earlier exit (overthinking that destroys).");
  term(page, ex__number_at(json, "overthinking/wasteful"), 1, true,
       "of full depth’s right answers were there already at an earlier exit (overthinking that "
       "wastes).");
  term(page, ex__number_at(json, "confusion/auroc"), 3, false,
       "how well disagreement between the exits foretells an error of the last: area under the "
       "ROC curve, 0.5 is chance.");
  term(
      page, ex__number_at(json, "monotonicity/falls_over_0.1"), 1, true,
      "of the samples lose more than 0.1 probability of their true class from some exit to a later "
      "one.");
  term(page, ex__number_at(json, "aurc"), 4, false,
       "area under the risk–coverage curve: mean error when only the surest answers are kept, over "
       "all coverages; lower is better.");
  term(page, 100 * ex__number_at(json, "curves/budgeted_gain_mid"), 2, false,
       "points of accuracy that leaving by confidence gains over one exit for all, at half the "
       "range of costs.");
  ex__text_add(text, "</dl></section>\n");
}
