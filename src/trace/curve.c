/* SPDX-License-Identifier: Apache-2.0
 *
 * trace/curve: reading and writing MSDNet's dynamic.txt.
 */
#include "trace/curve.h"

#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

enum { MAX_LINES = 1 << 16, MAX_BYTES = 8 << 20 };

enum ex_status ex__curve_write(const char *path, const struct ex_curve_point *points, int32_t n,
                               struct ex_error *err) {
  struct ex_text text = {0};
  for (int32_t i = 0; i < n; i++)
    ex__text_add(&text, "%.17g\t%.17g\n", points[i].accuracy, points[i].cost);
  enum ex_status status = ex__text_status(&text);
  if (status != EX_OK)
    ex__fail(err, status, "%s: no memory for %d lines", path, (int)n);
  else
    status = ex__file_write_whole(path, text.data != NULL ? text.data : "", text.size, err);
  ex__text_clear(&text);
  return status;
}

/* One line, NUL-terminated and changed. */
static bool parse_line(char *line, struct ex_curve_point *point) {
  char *tab = strchr(line, '\t');
  size_t length = strlen(line);
  if (tab == NULL) return false;
  if (length > 0 && line[length - 1] == '\r') line[length - 1] = '\0';
  *tab = '\0';
  return ex__text_to_real(line, &point->accuracy) && ex__text_to_real(tab + 1, &point->cost) &&
         point->accuracy >= 0 && point->accuracy <= 100 && point->cost >= 0 &&
         isfinite(point->cost);
}

static enum ex_status parse(const char *path, char *text, struct ex_curve_point *points, int32_t *n,
                            struct ex_error *err) {
  for (char *line = text, *end; *line != '\0'; line = end) {
    end = line + strcspn(line, "\n");
    if (*end != '\0') *end++ = '\0';
    if (!parse_line(line, &points[*n]))
      return ex__fail(err, EX_EFORMAT,
                      "%s: line %d: must be accuracy in percent, a tab, and a cost ≥ 0", path,
                      (int)*n + 1);
    ++*n;
  }
  return EX_OK;
}

enum ex_status ex__curve_read(const char *path, struct ex_curve_point **points, int32_t *n,
                              struct ex_error *err) {
  void *data;
  size_t size, lines = 1;
  *points = NULL;
  *n = 0;
  EX_TRY(ex__file_read(path, MAX_BYTES, &data, &size, err));
  for (size_t i = 0; i < size; i++) lines += ((const char *)data)[i] == '\n';
  enum ex_status status = EX_OK;
  if (memchr(data, '\0', size) != NULL || lines > MAX_LINES)
    status = ex__fail(err, EX_EFORMAT, "%s: must be text of at most %d lines", path, MAX_LINES);
  struct ex_curve_point *list = status == EX_OK ? ex__calloc(lines, sizeof *list) : NULL;
  if (status == EX_OK && list == NULL)
    status = ex__fail(err, EX_ENOMEM, "%s: no memory for %zu lines", path, lines);
  if (status == EX_OK) status = parse(path, data, list, n, err);
  ex__free(data);
  if (status == EX_OK)
    *points = list;
  else
    ex__free(list);
  return status;
}
