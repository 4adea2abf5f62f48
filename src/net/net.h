/* SPDX-License-Identifier: Apache-2.0
 *
 * net/net: a network with exits: a graph, cut into stages, and the points at
 * which an answer can be taken.
 *
 * An answer point has a head (raw outputs), optionally a gate (one score), and
 * names the earlier points whose heads its own head reads: going there runs
 * and charges that closure, and what the exit transform needs beside it. A row
 * of stages with a point after each is the default. Body, head and gate of a stage are segments of the graph of their
 * own (ex__net_segment), so that each can be run, skipped and charged apart.
 *
 * Which bodies a point needs follows from the graph alone (ex__net_bodies). In a
 * row of stages it is all of them so far; where a stage takes the input anew, as
 * the first of a whole network does that was joined to others (net/join.c), a
 * sample that goes there does not run, or pay for, those before it.
 *
 * The *cut* after a stage are the values made up to there that a later body
 * still reads; several may live (MSDNet's scales). Causality (a body reads
 * bodies only, a head reads bodies of its stage or earlier, or the heads it
 * declares) is checked by ex__net_check.
 */
#ifndef EX_NET_NET_H
#define EX_NET_NET_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "graph/graph.h"
#include "net/transform.h"
#include "task/task.h"

enum { EX_MAX_POINTS = 32, EX_MAX_STAGES = 32 }; /* no more than EX_MAX_LIST */
enum { EX_MAX_ACTIVATIONS = 1 << 28 };           /* numbers per sample, all values together */

enum ex_part { EX_PART_BODY, EX_PART_HEAD, EX_PART_GATE, EX_N_PARTS };

/* Segment of the graph of a stage's part; also defined for parts that are absent. */
static inline int32_t ex__net_segment(int32_t stage, enum ex_part part) {
  return stage * EX_N_PARTS + (int32_t)part;
}

struct ex_point {
  int32_t stage;  /* whose body must have run; one point per stage, in ascending order */
  int32_t output; /* value: raw outputs of the head [n_outputs] */
  int32_t gate;   /* value: one score [1]; −1: none */
  uint32_t needs; /* bit p: its head reads the head of the earlier point p */
};

typedef struct ex_net ex_net;
struct ex_net {
  ex_graph *graph;
  ex_slabs *params, *buffers; /* one slab per stage */
  const struct ex_task *task;
  struct ex_shape input; /* of one sample */
  int32_t n_outputs;     /* of every head */
  int32_t n_stages, n_points;
  struct ex_point points[EX_MAX_POINTS];
  struct ex_transform transform; /* raw outputs → answers; identity when new */
};

void ex_net_free(ex_net *net); /* accepts NULL */
/* Initial weights and buffers by each tensor's scheme. */
void ex__net_init(ex_net *net, uint64_t seed);
/* Structure as described above; errors name the point and the value. */
enum ex_status ex__net_check(const ex_net *net, struct ex_error *err);
/* Structure only (graph, stages, points, transform), and back; no weights. */
json_t *ex__net_to_json(const ex_net *net);
enum ex_status ex__net_from_json(const json_t *json, ex_net **out, struct ex_error *err);
/* The two halves of reading a file: its structure is checked against what the
 * file holds before memory is given to weights. Until then params and buffers
 * are NULL. */
enum ex_status ex__net_structure_from_json(const json_t *json, ex_net **out, struct ex_error *err);
enum ex_status ex__net_allocate(ex_net *net, struct ex_error *err);
/* SHA-256 over sorted (name, dtype, shape, bytes) of parameters and buffers. */
enum ex_status ex__net_digest(const ex_net *net, char *text /* EX_DIGEST_TEXT */);

/* Of points, as bits: `point` and all earlier points whose heads its answer needs,
 * because its head reads theirs or because the exit transform adds them up. */
uint32_t ex__net_closure(const ex_net *net, int32_t point);
/* The same for its raw output: what the transform needs is left out. */
uint32_t ex__net_reads(const ex_net *net, int32_t point);
/* Of every node of the graph, as bits: the points whose output or gate depends on
 * it, and so on its tensors. reached [n_nodes] */
void ex__net_reached(const ex_net *net, uint32_t *reached);
/* Of stages, as bits: the bodies that must have run before an answer can be taken
 * at `point`: its stage's, and those whose values it, the heads of the closure or
 * the gate read, directly or not. In a row these are all bodies so far; a stage
 * that takes the input anew needs none of the ones before. */
uint32_t ex__net_bodies(const ex_net *net, int32_t point);
/* Σ of[i] over the bits i of a set of stages or points. */
static inline int64_t ex__sum_over(const int64_t *of, uint32_t bits) {
  int64_t sum = 0;
  for (int32_t i = 0; bits != 0; i++, bits >>= 1)
    if (bits & 1) sum += of[i];
  return sum;
}
/* The point of a stage; −1: none. */
int32_t ex__net_point_of(const ex_net *net, int32_t stage);

/* What an answer costs; per sample. */
struct ex_cost {
  int64_t body_macs[EX_MAX_STAGES], head_macs[EX_MAX_POINTS], gate_macs[EX_MAX_POINTS];
  int64_t params[EX_MAX_POINTS]; /* cumulative elements: bodies, heads and gates up to here */
  int64_t macs[EX_MAX_POINTS];   /* cumulative: the bodies, heads and gates of all points before
                                    and of this one: the path of a rule that looks at each */
  int64_t direct_macs[EX_MAX_POINTS]; /* straight to this point: its bodies and closure of heads */
  /* Measured by ex__net_measure, one sample at a time; 0 where not measured. */
  int64_t body_ns[EX_MAX_STAGES], head_ns[EX_MAX_POINTS], gate_ns[EX_MAX_POINTS];
};
void ex__net_cost(const ex_net *net, struct ex_cost *out); /* fills all but ns (zeroed) */
json_t *ex__cost_to_json(const ex_net *net, const struct ex_cost *cost);
enum ex_status ex__cost_from_json(const json_t *json, const ex_net *net, struct ex_cost *out,
                                  struct ex_error *err);

/* For people and machines: {input, exits: [{exit, stage, macs, params, bytes,
 * direct_macs, body_macs, head_macs, gate_macs, share}…], stages: [{stage,
 * macs, params, cut, nodes}…]}; macs, params and bytes of an exit are
 * cumulative. NULL when memory is short. */
json_t *ex__net_inspect(const ex_net *net);

#endif
