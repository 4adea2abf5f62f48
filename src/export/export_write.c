/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_write: pieces of C that all layers are written with.
 */
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "export/export_kernels.h"
#include "export/export_layer.h"

enum { COLUMNS = 100 };

#define EX_LAYER(name) extern const struct ex_layer ex__layer_##name;
#include "export/layers.def"
#undef EX_LAYER

static const struct ex_layer *const layers[] = {
#define EX_LAYER(name) &ex__layer_##name,
#include "export/layers.def"
#undef EX_LAYER
};

const struct ex_layer *ex__layer_find(const struct ex_node *node) {
  for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
    if (strcmp(layers[i]->op, node->op->name) != 0) continue;
    if (layers[i]->suits == NULL || layers[i]->suits(node)) return layers[i];
  }
  return NULL;
}

/* ---- kernels ---------------------------------------------------------------- */

static bool begins(const char *line, const char *with) {
  return strncmp(line, with, strlen(with)) == 0;
}

/* The name in #include "export/kernels/NAME.h"; false: the line is another. */
static bool included(const char *line, char name[64]) {
  return sscanf(line, "#include \"export/kernels/%60[a-z0-9_].h\"", name) == 1;
}

bool ex__kernel_write(const char *name, struct ex_text *written, struct ex_text *text) {
  const char *source = ex__kernel_text(name);
  char mark[72], other[64];
  if (source == NULL) return false;
  snprintf(mark, sizeof mark, " %s ", name);
  if (written->data != NULL && strstr(written->data, mark) != NULL) return true;
  ex__text_add(written, "%s", mark);
  const char *line = strstr(source, " */\n"); /* the end of what is said to readers of the tree */
  line = line != NULL ? line + strlen(" */\n") : source;
  for (const char *at = line; *at != '\0'; at += strcspn(at, "\n") + 1)
    if (included(at, other) && !ex__kernel_write(other, written, text)) return false;
  bool blank = true; /* no two empty lines, and none at the beginning */
  for (; *line != '\0'; line += strcspn(line, "\n") + 1) {
    size_t length = strcspn(line, "\n");
    if (begins(line, "#include") || begins(line, "#ifndef EX_EXPORT") ||
        begins(line, "#define EX_EXPORT") || begins(line, "#endif"))
      continue;
    if (length == 0 && blank) continue;
    blank = length == 0;
    ex__text_add_bytes(text, line, length + 1);
  }
  return true;
}

/* ---- numbers ---------------------------------------------------------------- */

void ex__write_float(struct ex_text *text, double value) {
  ex__text_add(text, "%af", (double)(float)value);
}

/* Text between commas, in lines that are not too long. */
struct columns {
  struct ex_text *text;
  size_t line; /* where it begins */
};

static void next_column(struct columns *columns, const struct ex_text *item, bool last) {
  size_t used = columns->text->size - columns->line;
  if (used + item->size + 2 > COLUMNS) {
    ex__text_add(columns->text, "\n   ");
    columns->line = columns->text->size - strlen("   ");
  }
  ex__text_add(columns->text, " %s%s", item->data != NULL ? item->data : "", last ? "" : ",");
}

static void open_array(struct ex_writer *writer, const struct ex_layer_step *step, const char *type,
                       const char *suffix, int64_t n, struct columns *columns) {
  ex__text_add(writer->text, "static const %s %s_%s[%lld] ", type, step->name, suffix,
               (long long)n);
  ex__write_upper(writer->text, writer->plan->job->name);
  ex__text_add(writer->text, "_STAGE_%d = {\n   ", (int)ex__export_stage(step));
  *columns = (struct columns){writer->text, writer->text->size - strlen("   ")};
}

static void close_array(struct ex_writer *writer, const struct ex_layer_step *step, int64_t bytes) {
  ex__text_add(writer->text, "};\n");
  writer->bytes[ex__export_stage(step)] += bytes;
}

void ex__write_floats(struct ex_writer *writer, const struct ex_layer_step *step,
                      const char *suffix, const double *values, int64_t n) {
  struct columns columns;
  struct ex_text item = {0};
  open_array(writer, step, "float", suffix, n, &columns);
  for (int64_t i = 0; i < n; i++) {
    item.size = 0;
    if (!isfinite((float)values[i])) writer->too_large = true;
    ex__write_float(&item, values[i]);
    next_column(&columns, &item, i == n - 1);
  }
  writer->text->failed |= item.failed;
  ex__text_clear(&item);
  close_array(writer, step, n * (int64_t)sizeof(float));
}

static int64_t size_of(const char *type, int32_t fields) {
  int64_t field = strstr(type, "32") != NULL ? 4 : strstr(type, "8") != NULL ? 1 : 2;
  return field * fields;
}

void ex__write_integers(struct ex_writer *writer, const struct ex_layer_step *step,
                        const char *type, const char *suffix, const int64_t *values, int64_t n,
                        int32_t fields) {
  struct columns columns;
  struct ex_text item = {0};
  open_array(writer, step, type, suffix, n, &columns);
  for (int64_t i = 0; i < n; i++) {
    item.size = 0;
    for (int32_t f = 0; f < fields; f++)
      ex__text_add(&item, "%s%lld",
                   f > 0        ? ", "
                   : fields > 1 ? "{"
                                : "",
                   (long long)values[i * fields + f]);
    if (fields > 1) ex__text_add(&item, "}");
    next_column(&columns, &item, i == n - 1);
  }
  writer->text->failed |= item.failed;
  ex__text_clear(&item);
  close_array(writer, step, n * size_of(type, fields));
}

/* ---- statements ------------------------------------------------------------- */

void ex__write_upper(struct ex_text *text, const char *name) {
  for (; *name != '\0'; name++) ex__text_add(text, "%c", toupper((unsigned char)*name));
}

void ex__write_place(const struct ex_writer *writer, int32_t value) {
  const struct ex_value *v = &writer->plan->values[value];
  bool is_float = !writer->plan->job->int8 || v->is_logits;
  ex__text_add(writer->text, "%s + %lld", is_float ? "work" : "arena",
               (long long)(is_float ? v->offset / (int64_t)sizeof(float) : v->offset));
}

void ex__write_layer(struct ex_writer *writer, const struct ex_layer_step *step, const char *kernel,
                     const char *fields, ...) {
  ex__text_add(writer->text, "static const struct %s %s_layer = {\n    ", kernel, step->name);
  va_list args;
  va_start(args, fields);
  ex__text_add_list(writer->text, fields, args);
  va_end(args);
  ex__text_add(writer->text, "};\n");
}

void ex__write_call(const struct ex_writer *writer, const struct ex_layer_step *step,
                    const char *kernel) {
  ex__text_add(writer->text, "  %s(&%s_layer, ", kernel, step->name);
  for (int32_t k = 0; k < step->n_in; k++) {
    ex__write_place(writer, step->in[k]);
    ex__text_add(writer->text, ", ");
  }
  ex__write_place(writer, step->out);
  ex__text_add(writer->text, ");\n");
}
