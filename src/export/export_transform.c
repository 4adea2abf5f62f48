/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_transform: pre-processing and exit transforms.
 */
#include "export/export_transform.h"

#include "export/export_int8.h"

/* ---- exit transforms -------------------------------------------------------- */

/* The kernel of a net's transform; NULL: heads answer as they are. */
static const char *kernel_of(const struct ex_transform *transform) {
  switch (transform->kind) {
    case EX_TRANSFORM_ADDITIVE:
      if (transform->factor != 0) return "transform_additive";
      break;
    case EX_TRANSFORM_PRODUCT: return "transform_product";
    case EX_TRANSFORM_ENSEMBLE:
      return transform->ensemble->mean == EX_MEAN_GEOMETRIC ? "transform_geometric"
                                                            : "transform_arithmetic";
    case EX_TRANSFORM_IDENTITY:
    case EX_TRANSFORM_TEMPERATURE: break;
  }
  return transform->temperature.n > 0 ? "transform_temperature" : NULL;
}

/* Outputs that are carried from exit to exit. */
static int64_t state_of(const ex_net *net) {
  const struct ex_transform *transform = &net->transform;
  if (transform->kind == EX_TRANSFORM_ENSEMBLE) return (int64_t)net->n_points * net->n_outputs;
  bool sums = transform->kind == EX_TRANSFORM_PRODUCT ||
              (transform->kind == EX_TRANSFORM_ADDITIVE && transform->factor != 0);
  return sums ? net->n_outputs : 0;
}

int64_t ex__transform_reserved(const ex_net *net) {
  if (kernel_of(&net->transform) == NULL) return 0;
  return (int64_t)sizeof(float) * (net->n_outputs + state_of(net));
}

static void write_list(const char *name, const struct ex_list *list, int32_t n,
                       struct ex_text *text) {
  ex__text_add(text, "static const float %s[] = {", name);
  for (int32_t p = 0; p < n; p++) {
    if (p > 0) ex__text_add(text, ", ");
    ex__write_float(text, list->n > 0 ? list->value[p] : 1);
  }
  ex__text_add(text, "}; /* of each exit */\n");
}

/* Where in one table the rows of exits begin, and the table: factors, then biases. */
static void write_rows(const struct ex_ensemble *ensemble, struct ex_text *text) {
  ex__text_add(text, "\n/* Of each exit, where its row begins: a factor for every exit so far,"
                     " then a bias for\n * every output; -1: it answers by itself. */\n"
                     "static const int row_at[] = {");
  int32_t at = 0;
  for (int32_t p = 0; p < ensemble->n_points; p++) {
    ex__text_add(text, "%s%d", p > 0 ? ", " : "", ensemble->row[p] != NULL ? (int)at : -1);
    if (ensemble->row[p] != NULL) at += p + 1 + ensemble->n_outputs;
  }
  ex__text_add(text, "};\nstatic const float rows[] = {");
  for (int32_t p = 0; p < ensemble->n_points; p++) {
    if (ensemble->row[p] == NULL) continue;
    for (int32_t i = 0; i < p + 1 + ensemble->n_outputs; i++) {
      ex__text_add(text, "%s", i % 5 == 0 ? "\n    " : " ");
      ex__write_float(text, ensemble->row[p][i]);
      ex__text_add(text, ",");
    }
  }
  ex__text_add(text, "\n    0};\n"); /* also where there is no row at all */
}

const char *ex__transform_write_constants(const struct ex_export_plan *plan, struct ex_text *text) {
  const struct ex_transform *transform = &plan->net->transform;
  const char *kernel = kernel_of(transform);
  if (kernel == NULL) return NULL;
  ex__text_add(text, "\n/* ---- the exit transform ---- */\n\n"
                     "enum { ANSWER = 0 }; /* where in the work memory */\n");
  write_list("temperatures", &transform->temperature, plan->net->n_points, text);
  if (transform->kind == EX_TRANSFORM_PRODUCT)
    write_list("weights", &transform->weight, plan->net->n_points, text);
  if (transform->kind == EX_TRANSFORM_ENSEMBLE) write_rows(transform->ensemble, text);
  if (transform->kind == EX_TRANSFORM_ADDITIVE) {
    ex__text_add(text, "static const float additive_factor = ");
    ex__write_float(text, transform->factor);
    ex__text_add(text, ";\n");
  }
  ex__text_add(text, "\n");
  return kernel;
}

void ex__transform_write_start(const struct ex_export_plan *plan, struct ex_text *text) {
  if (state_of(plan->net) > 0)
    ex__text_add(text, "  for (int i = 0; i < %lld; i++) work[%d + i] = 0;\n",
                 (long long)state_of(plan->net), (int)plan->net->n_outputs);
}

void ex__transform_write_call(const struct ex_export_plan *plan, struct ex_text *text) {
  int n = (int)plan->net->n_outputs;
  ex__text_add(text,
               "    transform(p, net->work + exits[p].outputs, %d, net->work + %d,\n"
               "              net->work + ANSWER);\n",
               n, state_of(plan->net) > 0 ? n : 0);
}

/* ---- pre-processing --------------------------------------------------------- */

enum ex_status ex__input_check(const struct ex_export_plan *plan, struct ex_error *err) {
  int32_t n = plan->job->model->preprocess.n_channels, channels = plan->net->input.dim[0];
  if (n == 1 || n == channels) return EX_OK;
  return ex__fail(err, EX_EUNSUPPORTED,
                  "pre-processing of %d channels for an input of %d; must be 1 or as many", (int)n,
                  (int)channels);
}

static void write_channels(const struct ex_export_plan *plan, const char *name, bool factor,
                           struct ex_text *text) {
  const struct ex_preprocess *preprocess = &plan->job->model->preprocess;
  ex__text_add(text, "static const float %s[] = {", name);
  for (int32_t c = 0; c < preprocess->n_channels; c++) {
    if (c > 0) ex__text_add(text, ", ");
    ex__write_float(text, factor ? 1 / preprocess->deviation[c] : preprocess->mean[c]);
  }
  ex__text_add(text, "};\n");
}

/* What each byte becomes, in the arithmetic of data/preprocess.c. */
static void write_levels(const struct ex_export_plan *plan, struct ex_text *text) {
  const struct ex_preprocess *preprocess = &plan->job->model->preprocess;
  ex__text_add(text, "static const int8_t levels[%d][256] = {", (int)preprocess->n_channels);
  for (int32_t c = 0; c < preprocess->n_channels; c++) {
    float mean = (float)preprocess->mean[c], factor = (float)(1 / preprocess->deviation[c]);
    for (int32_t byte = 0; byte < 256; byte++) {
      double real = (double)(((float)byte / 255 - mean) * factor);
      ex__text_add(text, "%s%d",
                   byte == 0        ? "\n    {"
                   : byte % 16 == 0 ? ",\n     "
                                    : ", ",
                   (int)ex__quantum_store(&plan->values[0].quantum, real));
    }
    ex__text_add(text, "},");
  }
  ex__text_add(text, "\n};\n");
}

const char *ex__input_write_constants(const struct ex_export_plan *plan, struct ex_text *text) {
  bool bytes = plan->job->model->preprocess.bytes, levels = plan->job->int8 && bytes;
  ex__text_add(text, "typedef %s_input input_type;\n", plan->job->name);
  if (levels) {
    write_levels(plan, text);
  } else {
    write_channels(plan, "means", false, text);
    write_channels(plan, "factors", true, text);
  }
  if (plan->job->int8 && !bytes) {
    ex__text_add(text, "static const float input_unit = ");
    ex__write_float(text, plan->values[0].quantum.scale);
    ex__text_add(text, ", input_zero = %d;\n", (int)plan->values[0].quantum.zero);
  }
  if (!plan->job->int8)
    ex__text_add(text, "static const float divisor = %s;\n", bytes ? "255" : "1");
  ex__text_add(text, "\n");
  return !plan->job->int8 ? "float_input" : bytes ? "int8_input_bytes" : "int8_input_reals";
}

void ex__input_write_call(const struct ex_export_plan *plan, struct ex_text *text) {
  const struct ex_value *input = &plan->values[0];
  bool one = plan->job->model->preprocess.n_channels == 1;
  int64_t count = ex__shape_count(&input->shape);
  int32_t channels = input->shape.rank == 1 && one ? 1 : input->shape.dim[0];
  int64_t offset = input->offset / (plan->job->int8 ? 1 : (int64_t)sizeof(float));
  ex__text_add(text, "  normalise(input, %d, %d, %d, %s + %lld);\n", (int)channels,
               (int)(count / channels), one ? 0 : 1, plan->job->int8 ? "(int8_t *)work" : "work",
               (long long)offset);
}
