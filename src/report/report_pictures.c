/* SPDX-License-Identifier: Apache-2.0
 *
 * report/report_pictures: the easiest and the hardest samples, and those of
 * which the network was surest and wrong, as small pictures with label, answer
 * and the exit they took. Inputs that are not images have no pictures.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "report/picture.h"
#include "report/report_page.h"
#include "report/svg.h"

enum { MAX_PICTURES = 8, MAX_SIDE = 256 };

struct ranked {
  int32_t sample;
  double rank; /* lowest first */
};

static int by_rank(const void *a, const void *b) {
  const struct ranked *x = a, *y = b;
  if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
  return (x->sample > y->sample) - (x->sample < y->sample);
}

struct answered {
  int32_t point, answer, label, target;
  double confidence;
};

static struct answered answered(const struct page *page, int32_t sample) {
  const ex_trace *trace = page->evaluation->trace;
  const struct ex_outcome *outcome = &page->evaluation->outcome[sample];
  const struct ex_answer *answer = &trace->answer[ex__trace_at(trace, outcome->answer, sample)];
  return (struct answered){outcome->point, outcome->answer, answer->label, trace->target[sample],
                           answer->max_probability};
}

/* Which samples a row of pictures shows, best first: NaN is never shown. */
typedef double ranking(const struct page *page, const struct answered *seen);

/* Right and out at the first exit that anybody took; the surest first. */
static double easiest(const struct page *page, const struct answered *seen) {
  int32_t first = 0;
  while (first + 1 < page->n_exits && !(ex__page_exit(page, first, "share") > 0)) first++;
  return seen->point == first && seen->label == seen->target ? -seen->confidence : NAN;
}

/* All the way to the last exit, and least sure there. */
static double hardest(const struct page *page, const struct answered *seen) {
  return seen->point == page->n_exits - 1 ? seen->confidence : NAN;
}

static double surest_and_wrong(const struct page *page, const struct answered *seen) {
  (void)page;
  return seen->label != seen->target ? -seen->confidence : NAN;
}

static const char *label_of(const struct page *page, int32_t label) {
  return label >= 0 && label < page->model->net->n_outputs ? page->model->labels[label] : "";
}

static void caption(struct page *page, const struct answered *seen) {
  struct ex_text *text = &page->text;
  bool right = seen->label == seen->target;
  ex__text_add(text, "<div><b%s>", right ? "" : " class=\"wrong\"");
  ex__html_escape(text, label_of(page, seen->label));
  ex__text_add(text, "</b>");
  if (!right) {
    ex__text_add(text, "<span>is</span> ");
    ex__html_escape(text, label_of(page, seen->target));
    ex__text_add(text, "<br>");
  }
  ex__text_add(text, "<span>exit %d · %s", (int)seen->point + 1,
               seen->confidence > 0.995 ? "&gt;" : "");
  ex__page_percent(text, fmin(seen->confidence, 0.99), 0);
  ex__text_add(text, "</span></div>");
}

/* stored [features], shown [features]: room for one sample. */
static enum ex_status picture(struct page *page, int32_t sample, ex_real *stored, double *shown) {
  struct ex_text *text = &page->text;
  const struct ex_data_info *info = ex__data_info(page->data);
  struct answered seen = answered(page, sample);
  ex__data_raw(page->data, page->split, sample, stored);
  for (int64_t j = 0; j < info->features; j++) shown[j] = (double)stored[j];
  ex__text_add(text, "<li><img alt=\"");
  ex__html_escape(text, label_of(page, seen.target));
  ex__text_add(text, "\" width=\"%d\" height=\"%d\" src=\"", (int)info->dim[2], (int)info->dim[1]);
  EX_TRY(ex__picture_add(text, shown, info->dim[0], info->dim[1], info->dim[2],
                         info->preprocess->bytes));
  ex__text_add(text, "\">");
  caption(page, &seen);
  ex__text_add(text, "</li>\n");
  return EX_OK;
}

/* The best ranked, but of one class no more than its turn: a row of ten
 * trousers tells less than one of each. `taken` [n_outputs], zeroed. */
static int32_t choose(const struct page *page, const struct ranked *items, int32_t n,
                      int32_t *taken, int32_t *chosen) {
  int32_t n_chosen = 0;
  for (int32_t turn = 1; n_chosen < MAX_PICTURES && turn <= MAX_PICTURES; turn++)
    for (int32_t i = 0; i < n && n_chosen < MAX_PICTURES; i++) {
      bool before = false;
      for (int32_t j = 0; j < n_chosen; j++) before = before || chosen[j] == items[i].sample;
      int32_t *of_class = &taken[page->evaluation->trace->target[items[i].sample]];
      if (before || *of_class >= turn) continue;
      ++*of_class;
      chosen[n_chosen++] = items[i].sample;
    }
  return n_chosen;
}

struct room {
  struct ranked *items; /* [n] */
  int32_t *taken;       /* [n_outputs] */
  ex_real *stored;      /* [features] */
  double *shown;
};

static enum ex_status row(struct page *page, const char *title, const char *empty, ranking *rank,
                          struct room *room) {
  const ex_trace *trace = page->evaluation->trace;
  int32_t n = 0, chosen[MAX_PICTURES];
  for (int32_t i = 0; i < trace->n; i++) {
    struct answered seen = answered(page, i);
    double value = rank(page, &seen);
    if (!isnan(value)) room->items[n++] = (struct ranked){i, value};
  }
  qsort(room->items, (size_t)n, sizeof *room->items, by_rank);
  for (int32_t c = 0; c < trace->n_outputs; c++) room->taken[c] = 0;
  int32_t n_chosen = choose(page, room->items, n, room->taken, chosen);
  ex__text_add(&page->text, "<h3>%s</h3>\n", title);
  if (n_chosen == 0) {
    ex__text_add(&page->text, "<p>%s</p>\n", empty);
    return EX_OK;
  }
  ex__text_add(&page->text, "<ul class=\"gallery\">\n");
  for (int32_t i = 0; i < n_chosen; i++)
    EX_TRY(picture(page, chosen[i], room->stored, room->shown));
  ex__text_add(&page->text, "</ul>\n");
  return EX_OK;
}

static enum ex_status rows(struct page *page, struct room *room) {
  ex__text_add(&page->text, "<section><h2>Easy and hard</h2><p>The answer (red where it is wrong, "
                            "with what it is), the exit that gave it, and its confidence.</p>\n");
  EX_TRY(row(page, "Easiest: out first, right, and surest",
             "Nobody left there with a right answer.", easiest, room));
  EX_TRY(row(page, "Hardest: all the way, and still unsure", "Nobody went all the way.", hardest,
             room));
  EX_TRY(row(page, "Surest, and wrong", "Nothing was wrong.", surest_and_wrong, room));
  ex__text_add(&page->text, "</section>\n");
  return EX_OK;
}

enum ex_status ex__page_pictures(struct page *page) {
  const struct ex_data_info *info = ex__data_info(page->data);
  const ex_trace *trace = page->evaluation->trace;
  if (info->rank != 3 || info->dim[1] > MAX_SIDE || info->dim[2] > MAX_SIDE) return EX_OK;
  struct room room = {ex__alloc((size_t)trace->n, sizeof *room.items),
                      ex__alloc((size_t)trace->n_outputs, sizeof *room.taken),
                      ex__alloc((size_t)info->features, sizeof *room.stored),
                      ex__alloc((size_t)info->features, sizeof *room.shown)};
  enum ex_status status = EX_ENOMEM;
  if (room.items != NULL && room.taken != NULL && room.stored != NULL && room.shown != NULL)
    status = rows(page, &room);
  ex__free(room.items);
  ex__free(room.taken);
  ex__free(room.stored);
  ex__free(room.shown);
  return status;
}
