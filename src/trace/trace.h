/* SPDX-License-Identifier: Apache-2.0
 *
 * trace/trace: every exit's output for a split, recorded once.
 *
 * Exit rules are fitted and compared on traces in milliseconds instead of
 * running the network again. Raw head outputs are stored; answers and
 * confidences are derived through the net's exit transform, by the same code
 * that the engine uses, so that replay and live run agree bit for bit.
 */
#ifndef EX_TRACE_TRACE_H
#define EX_TRACE_TRACE_H

#include "base/progress.h"
#include "data/data.h"
#include "net/net_run.h"

typedef struct ex_trace ex_trace;
struct ex_trace {
  int32_t n, n_points, n_outputs;
  const struct ex_task *task;
  struct ex_cost cost;
  struct ex_transform transform;
  int32_t stage[EX_MAX_POINTS];    /* of each point: the last stage of its bodies */
  uint32_t bodies[EX_MAX_POINTS];  /* bit s: body s must have run for this point (ex__net_bodies) */
  uint32_t closure[EX_MAX_POINTS]; /* bit p: head p runs for this point's answer; itself too */
  char weights[EX_DIGEST_TEXT], samples[EX_DIGEST_TEXT]; /* digests of net and split */
  const int32_t *target;                                 /* [n]; −1: not labelled */
  const ex_real *raw;  /* [n_points][n][n_outputs], before the transform */
  const ex_real *gate; /* [n_points][n], NaN where a point has none; NULL: no point has */
  /* Derived; renewed by ex__trace_derive when the transform changes. */
  const ex_real *output;         /* [n_points][n][n_outputs], after the transform; may be raw */
  ex_real *probability;          /* [n_points][n][n_outputs] */
  struct ex_answer *answer;      /* [n_points][n] */
  float *quality, *loss;         /* [n_points][n]; NaN where not labelled */
  struct ex_safetensors *mapped; /* the file that raw, gate and target lie in, or */
  void *memory;                  /* their own memory */
  ex_real *transformed;          /* of output, where it is not raw */
};

/* Bodies of a row of stages up to this one, as bits. */
static inline uint32_t ex__trace_row(int32_t stage) { return UINT32_MAX >> (31 - stage); }

/* Index of (point, sample) in the columns; × n_outputs for the outputs. */
static inline int64_t ex__trace_at(const ex_trace *trace, int32_t point, int32_t sample) {
  return (int64_t)point * trace->n + sample;
}

/* Runs all stages for every sample of a split, over `threads` workers. The
 * cost table is that of the net; its ns columns are zero until the caller has
 * them measured (ex__lane_measure into trace->cost). */
enum ex_status ex__trace_record(const ex_compiled *compiled, const ex_data *data,
                                enum ex_split split, int32_t threads,
                                const struct ex_progress *progress, ex_trace **out,
                                struct ex_error *err);
/* From arrays (copied): raw [n_points][n][n_outputs], gate as above or NULL,
 * target [n] or NULL (nothing is labelled). Point p lies behind stage p, in a row,
 * and needs its own head alone; cumulative columns of cost (macs, direct_macs) are
 * made from its parts. For tests, and for traces that other programs made. */
enum ex_status ex__trace_from_arrays(int32_t n, int32_t n_points, int32_t n_outputs,
                                     const ex_real *raw, const ex_real *gate, const int32_t *target,
                                     const struct ex_cost *cost, ex_trace **out,
                                     struct ex_error *err);
enum ex_status ex__trace_derive(ex_trace *trace, const struct ex_transform *transform,
                                struct ex_error *err);
void ex__trace_free(ex_trace *trace); /* accepts NULL */
/* A copy of the samples items[0 … n), which may repeat and be in any order. Its
 * digest of samples names the original's and the items. */
enum ex_status ex__trace_pick(const ex_trace *trace, const int32_t *items, int32_t n,
                              ex_trace **out, struct ex_error *err);
/* A safetensors file; reading maps it and checks everything. */
enum ex_status ex__trace_write(const ex_trace *trace, const char *path, struct ex_error *err);
enum ex_status ex__trace_read(const char *path, ex_trace **out, struct ex_error *err);
/* From memory that outlives the result (fuzzing); `source` names it in messages. */
enum ex_status ex__trace_parse(const void *data, size_t size, const char *source, ex_trace **out,
                               struct ex_error *err);

#endif
