/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_transform: pre-processing and exit transforms.
 */
#include "export/export_transform.h"

#include "export/export_int8.h"

/* ---- exit transforms -------------------------------------------------------- */

static bool accumulates(const struct ex_transform *transform) {
  return transform->kind == EX_TRANSFORM_ADDITIVE && transform->factor != 0;
}

enum ex_status ex__transform_check(const struct ex_export_plan *plan, struct ex_error *err) {
  switch (plan->net->transform.kind) {
    case EX_TRANSFORM_IDENTITY:
    case EX_TRANSFORM_TEMPERATURE:
    case EX_TRANSFORM_ADDITIVE: return EX_OK;
    case EX_TRANSFORM_ENSEMBLE:
    case EX_TRANSFORM_PRODUCT: break;
  }
  return ex__fail(err, EX_EUNSUPPORTED,
                  "exit transform %s cannot be written as C; must be identity, temperature "
                  "or additive",
                  plan->net->transform.kind == EX_TRANSFORM_ENSEMBLE ? "ensemble" : "product");
}

int64_t ex__transform_reserved(const ex_net *net) {
  bool scaled = net->transform.temperature.n > 0, sums = accumulates(&net->transform);
  return (int64_t)sizeof(float) * net->n_outputs * (sums ? 2 : scaled ? 1 : 0);
}

const char *ex__transform_write_constants(const struct ex_export_plan *plan, struct ex_text *text) {
  const struct ex_transform *transform = &plan->net->transform;
  if (plan->reserved == 0) return NULL;
  ex__text_add(text, "\n/* ---- the exit transform ---- */\n\n"
                     "enum { ANSWER = 0 }; /* where in the work memory */\n"
                     "static const float temperatures[] = {");
  for (int32_t p = 0; p < plan->net->n_points; p++) {
    if (p > 0) ex__text_add(text, ", ");
    ex__write_float(text, transform->temperature.n > 0 ? transform->temperature.value[p] : 1);
  }
  ex__text_add(text, "}; /* of each exit */\n");
  if (accumulates(transform)) {
    ex__text_add(text, "static const float additive_factor = ");
    ex__write_float(text, transform->factor);
    ex__text_add(text, ";\n");
  }
  ex__text_add(text, "\n");
  return accumulates(transform) ? "transform_additive" : "transform_temperature";
}

void ex__transform_write_start(const struct ex_export_plan *plan, struct ex_text *text) {
  int n = (int)plan->net->n_outputs;
  if (accumulates(&plan->net->transform))
    ex__text_add(text, "  for (int i = 0; i < %d; i++) work[%d + i] = 0;\n", n, n);
}

void ex__transform_write_call(const struct ex_export_plan *plan, struct ex_text *text) {
  int n = (int)plan->net->n_outputs;
  ex__text_add(text,
               "    transform(p, net->work + exits[p].outputs, %d, net->work + %d,\n"
               "              net->work + ANSWER);\n",
               n, accumulates(&plan->net->transform) ? n : 0);
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
      ex__text_add(text, "%s%s%d", byte == 0 ? "\n    {" : ", ",
                   byte > 0 && byte % 20 == 0 ? "\n     " : "",
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
