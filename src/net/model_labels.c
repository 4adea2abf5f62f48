/* SPDX-License-Identifier: Apache-2.0
 *
 * net/model_labels: classes as people name them: by label or by number.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "net/model.h"

/* By label, else by number; −1: neither. */
static int32_t find_class(const ex_model *model, const char *name) {
  char *end;
  for (int32_t c = 0; c < model->net->n_outputs; c++)
    if (strcmp(model->labels[c], name) == 0) return c;
  long number = strtol(name, &end, 10);
  bool whole = end != name && *end == '\0' && number >= 0 && number < model->net->n_outputs;
  return whole ? (int32_t)number : -1;
}

static enum ex_status unknown_class(const ex_model *model, const char *name, struct ex_error *err) {
  enum { MOST = 12 };
  struct ex_text known = {0};
  int32_t n = model->net->n_outputs;
  for (int32_t c = 0; c < n && c < MOST; c++)
    ex__text_add(&known, "%s%s", c > 0 ? ", " : "", model->labels[c]);
  ex__fail(err, EX_ENOTFOUND,
           "class \"%.40s\" is unknown; must be a number below %d or one of %s%s", name, (int)n,
           known.data != NULL ? known.data : "?", n > MOST ? ", …" : "");
  ex__text_clear(&known);
  return EX_ENOTFOUND;
}

enum ex_status ex__model_classes(const ex_model *model, const char *text,
                                 int32_t class[EX_MAX_LIST], int32_t *n, struct ex_error *err) {
  *n = 0;
  for (const char *at = text;; at++) {
    size_t length = strcspn(at, ",");
    char name[128];
    snprintf(name, sizeof name, "%.*s", (int)(length < 127 ? length : 127), at);
    int32_t found = find_class(model, name);
    if (found < 0) return unknown_class(model, name, err);
    if (*n == EX_MAX_LIST)
      return ex__fail(err, EX_EINVAL, "classes: more than %d; must be at most that many",
                      EX_MAX_LIST);
    class[(*n)++] = found;
    at += length;
    if (*at == '\0') return EX_OK;
  }
}
