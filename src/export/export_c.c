/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_c: the source file: kernels that are used, the numbers of stage
 * after stage, a function per body and head, and the loop that leaves.
 */
#include <string.h>

#include "base/memory.h"
#include "export/export_header.h"
#include "export/export_layer.h"
#include "export/export_rule.h"
#include "export/export_transform.h"

bool ex__export_name_is_good(const char *name) {
  size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
  if (length == 0 || name[length] != '\0' || length >= EX_EXPORT_NAME_SIZE) return false;
  return name[0] >= 'a' && name[0] <= 'z';
}

/* What is being written, and for what. */
struct work {
  struct ex_writer writer;
  const struct ex_export_plan *plan;
  const char *name;
  struct ex_text kernels; /* names of those that were written */
  bool complete;          /* no kernel was missing */
};

static void kernel(struct work *work, const char *name) {
  if (!ex__kernel_write(name, &work->kernels, work->writer.text)) work->complete = false;
}

/* ---- the head of the file ---------------------------------------------------- */

static void write_head(struct work *work) {
  struct ex_text *text = work->writer.text;
  char digest[EX_DIGEST_TEXT] = "unknown";
  ex__net_digest(work->plan->net, digest);
  ex__text_add(
      text,
      "/* SPDX-License-Identifier: Apache-2.0 (the loops; the numbers are the model's)\n"
      " *\n"
      " * %s.c: a network with %d exits in %s, written by exeunt %s.\n"
      " * Weights: sha256 %s.\n"
      " *\n"
      " * C99 without a library. The same bits on every processor need IEEE arithmetic as\n"
      " * it is written: -ffp-contract=off, and no -ffast-math. %s.h says how to use it.\n"
      " */\n"
      "#include \"%s.h\"\n\n"
      "#if defined(__clang__)\n"
      "#pragma STDC FP_CONTRACT OFF\n"
      "#endif\n\n"
      "/* Where the numbers of a stage lie: deep stages are read by hard inputs alone and\n"
      " * may lie in slow memory. To be set by the compiler's command line:\n"
      " * -D'",
      work->name, (int)work->plan->net->n_points, work->plan->job->int8 ? "int8" : "float",
      ex_version(), digest, work->name, work->name);
  ex__write_upper(text, work->name);
  ex__text_add(text, "_STAGE_1=__attribute__((section(\".slow\")))' */\n");
  for (int32_t s = 0; s < work->plan->net->n_stages; s++) {
    ex__text_add(text, "#ifndef ");
    ex__write_upper(text, work->name);
    ex__text_add(text, "_STAGE_%d\n#define ", (int)s);
    ex__write_upper(text, work->name);
    ex__text_add(text, "_STAGE_%d\n#endif\n", (int)s);
  }
}

/* ---- stages ------------------------------------------------------------------ */

static void write_constants(struct work *work) {
  const struct ex_export_plan *plan = work->plan;
  int32_t stage = -1;
  for (int32_t s = 0; s < plan->n_steps; s++) {
    const struct ex_layer_step *step = &plan->steps[s];
    const struct ex_layer_form *form = ex__layer_form(plan, step->layer);
    if (form->constants == NULL) continue;
    if (ex__export_stage(step) != stage) {
      stage = ex__export_stage(step);
      ex__text_add(work->writer.text, "\n/* ---- numbers of stage %d ---- */\n", (int)stage);
    }
    ex__text_add(work->writer.text, "\n");
    form->constants(&work->writer, step);
  }
}

/* What a step makes, behind its statement: " [28][28][16]", channels last. */
static void write_shape(struct work *work, const struct ex_layer_step *step) {
  const struct ex_shape *shape = &ex__layer_out(work->plan, step)->shape;
  struct ex_text *text = work->writer.text;
  if (text->failed || text->size == 0) return;
  text->size--; /* the end of the line */
  ex__text_add(text, " /*");
  for (int32_t i = 1; i < shape->rank; i++)
    ex__text_add(text, "%s[%d]", i == 1 ? " " : "", (int)shape->dim[i]);
  ex__text_add(text, "%s[%d] */\n", shape->rank > 1 ? "" : " ", (int)shape->dim[0]);
}

/* One function: the steps of a segment. */
static void write_segment(struct work *work, const char *part, int32_t number, int32_t segment) {
  const struct ex_export_plan *plan = work->plan;
  bool empty = true, arena = false;
  for (int32_t s = 0; s < plan->n_steps; s++) {
    if (plan->steps[s].segment != segment) continue;
    empty = false;
    arena = plan->job->int8;
  }
  ex__text_add(work->writer.text, "\nstatic void %s_%d(float *work) {\n", part, (int)number);
  if (empty) ex__text_add(work->writer.text, "  (void)work;\n");
  if (arena) ex__text_add(work->writer.text, "  int8_t *const arena = (int8_t *)work;\n");
  for (int32_t s = 0; s < plan->n_steps; s++) {
    if (plan->steps[s].segment != segment) continue;
    ex__layer_form(plan, plan->steps[s].layer)->call(&work->writer, &plan->steps[s]);
    write_shape(work, &plan->steps[s]);
  }
  ex__text_add(work->writer.text, "}\n");
}

static void write_table(struct work *work, const char *declaration, const char *prefix, int32_t n) {
  ex__text_add(work->writer.text, "static void (*const %s[])(float *) = {", declaration);
  for (int32_t i = 0; i < n; i++)
    ex__text_add(work->writer.text, "%s%s_%d", i > 0 ? ", " : "", prefix, (int)i);
  ex__text_add(work->writer.text, "};\n");
}

static void write_functions(struct work *work) {
  const ex_net *net = work->plan->net;
  ex__text_add(work->writer.text, "\n/* ---- stages ---- */\n");
  for (int32_t s = 0; s < net->n_stages; s++) {
    write_segment(work, "body", s, ex__net_segment(s, EX_PART_BODY));
    int32_t point = ex__net_point_of(net, s);
    if (point >= 0) write_segment(work, "head", point, ex__net_segment(s, EX_PART_HEAD));
    if (point >= 0 && point < net->n_points - 1 && work->plan->gates)
      write_segment(work, "gate", point, ex__net_segment(s, EX_PART_GATE));
  }
  ex__text_add(work->writer.text, "\n");
  write_table(work, "bodies", "body", net->n_stages);
  write_table(work, "heads", "head", net->n_points);
  if (work->plan->gates) write_table(work, "gates", "gate", net->n_points - 1);
}

/* ---- exits ------------------------------------------------------------------- */

/* The work memory is of floats; a value that is read as one lies at this number. */
static long long float_at(const struct ex_export_plan *plan, int32_t node) {
  return (long long)(plan->values[plan->value_of[node]].offset / (int64_t)sizeof(float));
}

static void write_exits(struct work *work) {
  const struct ex_export_plan *plan = work->plan;
  const ex_net *net = plan->net;
  struct ex_text *text = work->writer.text;
  int32_t last = net->n_points - 1;
  ex__text_add(
      text,
      "\n/* ---- exits ---- */\n\nenum { EXITS = %d, OUTPUTS = %d, FIRST = %d };\n\n"
      "/* Of each exit: its stage; where its head leaves its outputs%s; the bodies and\n"
      " * heads that its answer needs, as bits; and the exit that the rule looks at next. */\n"
      "static const struct exit {\n  int stage, outputs%s;\n"
      "  uint32_t bodies, heads;\n  int next;\n} exits[] = {\n",
      (int)net->n_points, (int)net->n_outputs, (int)ex__policy_next(plan->job->policy, -1, last),
      plan->gates ? ", and its gate the score" : "", plan->gates ? ", gate" : "");
  for (int32_t p = 0; p <= last; p++) {
    ex__text_add(text, "    {%d, %lld", (int)net->points[p].stage,
                 float_at(plan, net->points[p].output));
    if (plan->gates)
      ex__text_add(text, ", %lld", p < last ? float_at(plan, net->points[p].gate) : 0);
    ex__text_add(text, ", 0x%lx, 0x%lx, %d},\n", (unsigned long)plan->bodies[p],
                 (unsigned long)plan->closure[p],
                 (int)(p < last ? ex__policy_next(plan->job->policy, p, last) : last));
  }
  ex__text_add(text, "};\n");
}

static void write_rule(struct work *work, struct ex_rule_values *values) {
  const struct ex_export_plan *plan = work->plan;
  ex__text_add(work->writer.text, "\n/* ---- the exit rule ---- */\n\n");
  if (plan->rule->looks_back)
    ex__text_add(work->writer.text, "enum { KEPT = %lld }; /* where answers are kept */\n",
                 (long long)(plan->kept / (int64_t)sizeof(float)));
  if (plan->rule->constants != NULL) {
    plan->rule->constants(values, work->writer.text);
    ex__text_add(work->writer.text, "\n");
  }
  kernel(work, plan->rule->kernel);
}

static const char run_text[] =
    "/* Runs on until the outputs of `exit` are there; nothing twice. */\n"
    "static void arrive(struct @_net *net, int exit) {\n"
    "  for (int s = 0; s <= exits[exit].stage; s++) {\n"
    "    if (((exits[exit].bodies & ~net->bodies) >> s & 1) == 0) continue;\n"
    "    bodies[s](net->work);\n"
    "    net->bodies |= (uint32_t)1 << s;\n"
    "  }\n"
    "  for (int p = 0; p <= exit; p++) {\n"
    "    if (((exits[exit].heads & ~net->heads) >> p & 1) == 0) continue;\n"
    "    heads[p](net->work);\n"
    "    net->heads |= (uint32_t)1 << p;\n"
    "@TRANSFORM@"
    "  }\n"
    "}\n\n"
    "static int tell(const struct answer *seen, int exit, struct @_result *result) {\n"
    "  result->label = seen->label;\n"
    "  result->exit = exit;\n"
    "  result->confidence = seen->label < 0 ? 0 : 1 / seen->sum;\n"
    "  result->logits = seen->z;\n"
    "  return seen->label < 0 ? ^_NOT_FINITE : ^_OK;\n"
    "}\n\n"
    "void @_begin(struct @_net *net, float *work, const @_input *input) {\n"
    "  net->work = work;\n"
    "  net->exit = -1;\n"
    "  net->bodies = net->heads = 0;\n"
    "@BEGIN@"
    "}\n\n"
    "int @_advance(struct @_net *net, int exit, struct @_result *result) {\n"
    "  if (exit < 0 || exit < net->exit || exit >= EXITS) return ^_INVALID;\n"
    "  arrive(net, exit);\n"
    "  net->exit = exit;\n"
    "  const struct answer seen = answer_of(net->work + @ANSWER@, OUTPUTS);\n"
    "  return tell(&seen, exit, result);\n"
    "}\n\n"
    "int @_run(const @_input *input, float *work, struct @_result *result) {\n"
    "  struct memory memory = {0};\n"
    "  struct @_net net;\n"
    "  @_begin(&net, work, input);\n"
    "  for (int exit = FIRST, to;; exit = to) {\n"
    "    arrive(&net, exit);\n"
    "    struct answer seen = answer_of(work + @ANSWER@, OUTPUTS);\n"
    "@GATE@"
    "    to = seen.label >= 0@EARLY@ ? decide(&memory, exit, &seen) : GO_ON;\n"
    "    if (to == GO_ON) to = exits[exit].next;\n"
    "@BACK@"
    "    if (to <= exit) return tell(&seen, to, result);\n"
    "  }\n"
    "}\n";

static const char gate_text[] = "    if (exit < EXITS - 1) {\n"
                                "      gates[exit](work);\n"
                                "      seen.gate = work[exits[exit].gate];\n"
                                "    }\n";

static const char back_text[] =
    "    for (int i = 0; i < OUTPUTS; i++) work[KEPT + exit * OUTPUTS + i] = seen.z[i];\n"
    "    if (to < exit) seen = answer_of(work + KEPT + to * OUTPUTS, OUTPUTS);\n";

/* `template` with @ for the name, ^ for it in capitals, and @WORD@ for what `fill`
 * says of it. */
static void write_template(struct work *work, const char *template,
                           void (*fill)(struct work *work, const char *word)) {
  struct ex_text *text = work->writer.text;
  for (const char *at = template; *at != '\0'; at++) {
    size_t word = strspn(at + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    if (*at == '^') {
      ex__write_upper(text, work->name);
    } else if (*at == '@' && word > 0 && at[word + 1] == '@') {
      fill(work, at + 1);
      at += word + 1;
    } else if (*at == '@') {
      ex__text_add(text, "%s", work->name);
    } else {
      ex__text_add_bytes(text, at, 1);
    }
  }
}

static bool is_word(const char *at, const char *word) {
  return strncmp(at, word, strlen(word)) == 0;
}

static void fill_run(struct work *work, const char *word) {
  const struct ex_export_plan *plan = work->plan;
  struct ex_text *text = work->writer.text;
  bool transformed = ex__transform_reserved(plan->net) > 0;
  if (is_word(word, "TRANSFORM") && transformed) {
    ex__transform_write_call(plan, text);
  } else if (is_word(word, "ANSWER")) {
    ex__text_add(text, transformed ? "ANSWER" : "exits[exit].outputs");
  } else if (is_word(word, "BEGIN")) {
    ex__transform_write_start(plan, text);
    ex__input_write_call(plan, text);
  } else if (is_word(word, "GATE") && plan->gates) {
    ex__text_add(text, "%s", gate_text);
  } else if (is_word(word, "EARLY") && !plan->rule->looks_back) {
    ex__text_add(text, " && exit < EXITS - 1");
  } else if (is_word(word, "BACK") && plan->rule->looks_back) {
    ex__text_add(text, "%s", back_text);
  }
}

/* ---- all of it --------------------------------------------------------------- */

static void write_kernels(struct work *work) {
  const struct ex_export_plan *plan = work->plan;
  ex__text_add(work->writer.text, "\n/* ---- loops ---- */\n\n");
  kernel(work, ex__input_write_constants(plan, work->writer.text));
  for (int32_t s = 0; s < plan->n_steps; s++)
    kernel(work, ex__layer_form(plan, plan->steps[s].layer)->kernel);
}

static enum ex_status write(struct ex_export_plan *plan, struct ex_text *source,
                            struct ex_text *header, struct ex_error *err) {
  struct work work = {.writer = {.plan = plan, .text = source},
                      .plan = plan,
                      .name = plan->job->name,
                      .complete = true};
  write_head(&work);
  write_kernels(&work);
  write_constants(&work);
  write_functions(&work);
  write_exits(&work);
  const char *transform = ex__transform_write_constants(plan, source);
  if (transform != NULL) kernel(&work, transform);
  write_rule(&work, &plan->values_of_rule);
  ex__text_add(source, "\n/* ---- what the header declares ---- */\n\n");
  write_template(&work, run_text, fill_run);
  ex__header_write(plan, work.writer.bytes, header);
  ex__text_clear(&work.kernels);
  EX_TRY(ex__values_status(&plan->values_of_rule, err));
  if (!work.complete) return ex__fail(err, EX_EBACKEND, "export: a kernel is missing");
  if (work.writer.too_large)
    return ex__fail(err, EX_ENOTFINITE,
                    "a weight, its batch-norm folded in, is too large for a float");
  if (source->failed || header->failed)
    return ex__fail(err, EX_ENOMEM, "export: no memory for the text");
  return EX_OK;
}

enum ex_status ex__export_c(const struct ex_export_c *job, struct ex_text *source,
                            struct ex_text *header, struct ex_error *err) {
  struct ex_export_plan *plan;
  EX_TRY(ex__export_plan_new(job, &plan, err));
  enum ex_status status = write(plan, source, header, err);
  ex__export_plan_free(plan);
  return status;
}
