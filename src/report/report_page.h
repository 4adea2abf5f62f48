/* SPDX-License-Identifier: Apache-2.0
 *
 * report/report_page: what the parts of the HTML page share: the page while it
 * is written, and how numbers are told to people.
 *
 * The page is drawn from the evaluation's JSON, so it can show nothing that
 * `evaluate --json` does not say; the trace and the data add the pictures.
 */
#ifndef EX_REPORT_REPORT_PAGE_H
#define EX_REPORT_REPORT_PAGE_H

#include "base/text.h"
#include "report/evaluation.h"
#include "report/evaluation_facts.h"

struct page {
  struct ex_text text;
  const ex_evaluation *evaluation;
  const json_t *json;  /* of the evaluation */
  const json_t *exits; /* its array of that name */
  int32_t n_exits;
  const ex_model *model;
  const ex_data *data;
  enum ex_split split;
};

/* From the doctype into <header>; the title is ours, so it is not escaped. */
void ex__page_open(struct ex_text *text, const char *title);

/* Written to the page; a number that is not there is a dash. */
void ex__page_percent(struct ex_text *text, double share, int decimals); /* 0.9138 → "91.4 %" */
void ex__page_macs(struct ex_text *text, double macs);                   /* 13002352 → "13.0 M" */
void ex__page_ns(struct ex_text *text, double ns);                       /* 212345 → "212 µs" */
void ex__page_count(struct ex_text *text, double n);                     /* 10000 → "10,000" */
void ex__page_number(struct ex_text *text, double value, int decimals);

/* Number of exit `exit` (from 0). */
static inline double ex__page_exit(const struct page *page, int32_t exit, const char *key) {
  return ex__number_at(json_array_get(page->exits, (size_t)exit), key);
}
static inline bool ex__page_exit_on(const struct page *page, int32_t exit) {
  return !json_is_false(json_object_get(json_array_get(page->exits, (size_t)exit), "on"));
}

/* ---- the parts, in the order of the page -------------------------------- */

extern const char *const ex__report_style[]; /* the style sheet's lines; NULL at its end */

void ex__page_curves(struct page *page); /* report_charts.c */
void ex__page_calibration(struct page *page);
void ex__page_leaving(struct page *page); /* report_leaving.c */
void ex__page_time(struct page *page);
enum ex_status ex__page_pictures(struct page *page); /* report_pictures.c */
void ex__page_costs(struct page *page);              /* report_tables.c */
void ex__page_receipt(struct page *page);
void ex__page_interest(struct page *page); /* where the rule has classes of interest */
void ex__page_more(struct page *page);

#endif
