/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_header: the header file.
 */
#include "export/export_header.h"

#include <string.h>

#include "export/export_layer.h"

/* `template` with @ for the name and ^ for it in capitals. */
static void write(const struct ex_export_plan *plan, const char *template, struct ex_text *text) {
  for (const char *at = template; *at != '\0'; at++) {
    if (*at == '@')
      ex__text_add(text, "%s", plan->job->name);
    else if (*at == '^')
      ex__write_upper(text, plan->job->name);
    else
      ex__text_add_bytes(text, at, 1);
  }
}

static void define(const struct ex_export_plan *plan, const char *what, int32_t index,
                   int64_t value, struct ex_text *text) {
  write(plan, "#define ^_", text);
  ex__text_add(text, "%s", what);
  if (index >= 0) ex__text_add(text, "%d", (int)index);
  ex__text_add(text, " %lld\n", (long long)value);
}

static void write_shape(const struct ex_shape *shape, struct ex_text *text) {
  for (int32_t i = 0; i < shape->rank; i++) ex__text_add(text, "[%d]", (int)shape->dim[i]);
}

/* As it stands between quotes in C: labels come from files, with whatever is in them. */
static void write_quoted(const char *label, struct ex_text *text) {
  ex__text_add(text, "\"");
  for (; *label != '\0'; label++) {
    unsigned char byte = (unsigned char)*label;
    if (byte < ' ' || byte > '~')
      ex__text_add(text, "\\%03o", (unsigned)byte);
    else
      ex__text_add(text, strchr("\"\\?", byte) != NULL ? "\\%c" : "%c", byte);
  }
  ex__text_add(text, "\"");
}

/* A macro costs a device nothing that does not use it. */
static void write_labels(const struct ex_export_plan *plan, struct ex_text *text) {
  write(plan,
        "\n/* Labels of the classes: static const char *const labels[] = ^_LABELS; */\n"
        "#define ^_LABELS \\\n  {",
        text);
  for (int32_t c = 0; c < plan->net->n_outputs; c++) {
    ex__text_add(text, c == 0 ? "" : c % 5 == 0 ? ", \\\n   " : ", ");
    write_quoted(plan->job->model->labels[c], text);
  }
  ex__text_add(text, "}\n");
}

static const char intro[] =
    "/* @.h: a network that answers early, written by exeunt; @.c holds it.\n"
    " *\n"
    " *   static float work[^_WORK / sizeof(float)];\n"
    " *   struct @_result result;\n"
    " *   if (@_run(input, work, &result) == ^_OK) use(result.label);\n"
    " *\n"
    " * Nothing is allocated, and nothing but `work` is written: calls with different work\n"
    " * memory may run at the same time.\n"
    " */\n"
    "#ifndef ^_H\n"
    "#define ^_H\n\n"
    "#include <stddef.h>\n#include <stdint.h>\n\n"
    "#ifdef __cplusplus\n"
    "extern \"C\" {\n"
    "#endif\n\n";

static const char calls[] =
    "enum { ^_OK, ^_NOT_FINITE, ^_INVALID };\n\n"
    "struct @_result {\n"
    "  int label;           /* class from 0, the lowest on ties; -1: an output is not finite */\n"
    "  int exit;            /* from 0: whose answer this is */\n"
    "  float confidence;    /* probability of the label */\n"
    "  const float *logits; /* [^_OUTPUTS], in work: until it is used again */\n"
    "};\n\n"
    "/* Runs until the exit rule leaves; later stages are not computed. work: ^_WORK bytes.\n"
    " * ^_NOT_FINITE: an output of the exit that should answer is not a number. */\n"
    "int @_run(const @_input *input, float *work, struct @_result *result);\n\n"
    "/* Anytime: begin an input, then run on to one exit after the other, whatever the rule\n"
    " * says; nothing is computed twice. Who goes no further than exit k needs ^_WORK_EXIT_k\n"
    " * bytes. ^_INVALID: there is no such exit, or it lies behind. */\n"
    "struct @_net { /* where an input is; not to be looked into */\n"
    "  float *work;\n"
    "  int exit;\n"
    "  uint32_t bodies, heads;\n"
    "};\n"
    "void @_begin(struct @_net *net, float *work, const @_input *input);\n"
    "int @_advance(struct @_net *net, int exit, struct @_result *result);\n\n"
    "#ifdef __cplusplus\n"
    "}\n"
    "#endif\n"
    "#endif\n";

void ex__header_write(const struct ex_export_plan *plan, const int64_t *bytes,
                      struct ex_text *text) {
  const ex_net *net = plan->net;
  write(plan, intro, text);
  ex__text_add(text, "/* One input, as the network was trained on it: ");
  write_shape(&net->input, text);
  bool is_bytes = plan->job->model->preprocess.bytes;
  ex__text_add(text, ", %s. */\ntypedef %s ", is_bytes ? "0 to 255" : "before any normalisation",
               is_bytes ? "uint8_t" : "float");
  write(plan, "@_input;\n", text);
  define(plan, "INPUTS", -1, ex__shape_count(&net->input), text);
  define(plan, "OUTPUTS", -1, net->n_outputs, text);
  define(plan, "EXITS", -1, net->n_points, text);
  ex__text_add(text,
               "\n/* Bytes of work memory if no exit behind this one is run, and for all. */\n");
  for (int32_t p = 0; p < net->n_points; p++) define(plan, "WORK_EXIT_", p, plan->work[p], text);
  define(plan, "WORK", -1, plan->work[net->n_points - 1], text);
  ex__text_add(text, "\n/* Bytes of the constants of each stage, its head included. */\n");
  for (int32_t s = 0; s < net->n_stages; s++) define(plan, "STAGE_BYTES_", s, bytes[s], text);
  write_labels(plan, text);
  ex__text_add(text, "\n");
  write(plan, calls, text);
}
