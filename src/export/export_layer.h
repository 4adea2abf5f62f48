/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_layer: how one operator of the graph is written as C: a line in
 * layers.def and, in a layer_*.c, the functions that write its constants and its
 * call, in float and in int8. The loops themselves are kernels/NAME.h, which the
 * generated file contains as they stand.
 */
#ifndef EX_EXPORT_EXPORT_LAYER_H
#define EX_EXPORT_EXPORT_LAYER_H

#include "export/export_plan.h"

struct ex_writer {
  const struct ex_export_plan *plan;
  struct ex_text *text;
  int64_t bytes[EX_MAX_STAGES]; /* of constants that were written, by stage */
  bool too_large;               /* a number that a float cannot hold was to be written */
};

enum ex_layer_flag {
  EX_LAYER_TAKES_NORM = 1, /* a batch-norm behind it goes into its weights */
  EX_LAYER_TAKES_RELU = 2,
  EX_LAYER_IN_PLACE = 4,      /* may write over an input of its size */
  EX_LAYER_KEEPS_QUANTUM = 8, /* int8: its numbers mean what those of its input mean */
  EX_LAYER_TAKES_ADD = 16     /* an addition behind it: step->adds */
};

enum ex_number { EX_FLOAT, EX_INT8, EX_N_NUMBERS };

struct ex_layer_form {
  const char *kernel; /* NULL: it cannot be written so */
  /* Constants in front of the functions; NULL: none. */
  void (*constants)(struct ex_writer *writer, const struct ex_layer_step *step);
  /* The statement that runs it. */
  void (*call)(struct ex_writer *writer, const struct ex_layer_step *step);
};

struct ex_layer {
  const char *op; /* name in the graph */
  unsigned flags;
  bool (*suits)(const struct ex_node *node); /* NULL: every node of that operator */
  /* NULL: any node of this operator. Refuses by name what the kernel cannot do. */
  enum ex_status (*check)(const struct ex_export_plan *plan, const struct ex_layer_step *step,
                          struct ex_error *err);
  struct ex_layer_form form[EX_N_NUMBERS];
};

static inline enum ex_number ex__export_number(const struct ex_export_plan *plan) {
  return plan->job->int8 ? EX_INT8 : EX_FLOAT;
}
static inline const struct ex_layer_form *ex__layer_form(const struct ex_export_plan *plan,
                                                         const struct ex_layer *layer) {
  return &layer->form[ex__export_number(plan)];
}

/* NULL: cannot be exported. */
const struct ex_layer *ex__layer_find(const struct ex_node *node);
/* The copy that is put in where a flattened map is read by others than linear layers. */
extern const struct ex_layer ex__layer_flatten;
/* A linear layer whose outputs are an exit's answer. */
extern const struct ex_layer ex__layer_logits;

/* ---- writing ---------------------------------------------------------------- */

/* The text of kernels/NAME.h without its frame and, before it, that of those that it
 * includes, each once: `written` is a list of names with a space behind each. False
 * where there is none of that name. */
bool ex__kernel_write(const char *name, struct ex_text *written, struct ex_text *text);

/* A number that C reads back as the same float: "0x1.8p-3f", "-0x1p+0f". */
void ex__write_float(struct ex_text *text, double value);
/* "work + 40" or "arena + 160": where an input or the output of a step lies. */
void ex__write_place(const struct ex_writer *writer, int32_t value);
/* static const TYPE NAME_SUFFIX[n] in the section of the step's stage = {…}; where
 * `fields` > 1, each element is a struct of that many: values [n][fields]. */
void ex__write_floats(struct ex_writer *writer, const struct ex_layer_step *step,
                      const char *suffix, const double *values, int64_t n);
void ex__write_integers(struct ex_writer *writer, const struct ex_layer_step *step,
                        const char *type, const char *suffix, const int64_t *values, int64_t n,
                        int32_t fields);
/* static const struct KERNEL NAME_layer = {FIELDS}; */
__attribute__((format(printf, 4, 5))) void ex__write_layer(struct ex_writer *writer,
                                                           const struct ex_layer_step *step,
                                                           const char *kernel, const char *fields,
                                                           ...);
/* "  KERNEL(&NAME_layer, IN…, OUT);" */
void ex__write_call(const struct ex_writer *writer, const struct ex_layer_step *step,
                    const char *kernel);
/* The prefix in capitals, for macros. */
void ex__write_upper(struct ex_text *text, const char *name);

static inline const struct ex_value *ex__layer_in(const struct ex_export_plan *plan,
                                                  const struct ex_layer_step *step, int32_t k) {
  return &plan->values[step->in[k]];
}
static inline const struct ex_value *ex__layer_out(const struct ex_export_plan *plan,
                                                   const struct ex_layer_step *step) {
  return &plan->values[step->out];
}

#endif
