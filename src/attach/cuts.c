/* SPDX-License-Identifier: Apache-2.0
 *
 * attach/cuts: one walk in the order of nodes. A value is a cut where, of all
 * values made so far, it alone is still read.
 */
#include "attach/cuts.h"

#include <string.h>

#include "base/memory.h"
#include "graph/op.h"

struct walk {
  const ex_net *net;
  uint32_t *reached;  /* [n_nodes] not 0: the answer depends on it */
  int32_t *last_read; /* [n_nodes] the last such node that reads it; −1: none */
  int32_t *n_readers; /* [n_nodes] */
};

static void read_uses(struct walk *walk, int32_t n) {
  for (int32_t id = 0; id < n; id++) walk->last_read[id] = -1;
  for (int32_t id = 0; id < n; id++) {
    const struct ex_node *node = ex__graph_node(walk->net->graph, id);
    for (int32_t i = 0; walk->reached[id] != 0 && i < node->n_in; i++) {
      if (walk->last_read[node->in[i]] != id) walk->n_readers[node->in[i]]++;
      walk->last_read[node->in[i]] = id;
    }
  }
}

/* Whether the one node that reads the value may be fused with the one that makes it. */
static bool fused_on(const struct walk *walk, int32_t value) {
  static const char *const fusing[] = {"batch_norm", "relu", "gelu",    "sigmoid",
                                       "add",        "mul",  "dropout", "arithmetic"};
  if (walk->n_readers[value] != 1) return false;
  const char *reader = ex__graph_node(walk->net->graph, walk->last_read[value])->op->name;
  for (size_t i = 0; i < sizeof fusing / sizeof *fusing; i++)
    if (strcmp(reader, fusing[i]) == 0) return true;
  return false;
}

static bool may_tap(const struct walk *walk, int32_t value) {
  const struct ex_node *node = ex__graph_node(walk->net->graph, value);
  return node->op->max_in > 0 && node->segment % EX_N_PARTS == EX_PART_BODY &&
         !fused_on(walk, value);
}

static int64_t macs_of(const ex_net *net, int32_t id) {
  const struct ex_node *node = ex__graph_node(net->graph, id);
  const struct ex_shape *in[EX_MAX_INPUTS];
  if (node->op->macs == NULL) return 0;
  for (int32_t i = 0; i < node->n_in; i++) in[i] = &ex__graph_node(net->graph, node->in[i])->shape;
  return node->op->macs(node, in);
}

/* In the same place, as far as work goes, as the last that was found. */
static bool replaces(const ex_net *net, const struct ex_cut *last, int32_t value, int64_t macs) {
  return last->macs == macs && ex__shape_count(&ex__graph_node(net->graph, value)->shape) <
                                   ex__shape_count(&ex__graph_node(net->graph, last->value)->shape);
}

/* All cuts [n_nodes]; *full: multiply-adds of the whole net. */
static int32_t walk_all(const struct walk *walk, struct ex_cut *cuts, int64_t *full) {
  const ex_net *net = walk->net;
  int32_t n = ex__graph_n_nodes(net->graph), live = 0, n_cuts = 0;
  int64_t macs = 0;
  for (int32_t id = 0; id < n; id++) {
    if (walk->reached[id] == 0) continue;
    const struct ex_node *node = ex__graph_node(net->graph, id);
    macs += macs_of(net, id);
    for (int32_t i = 0; i < node->n_in; i++) {
      bool again = false; /* the same value twice */
      for (int32_t j = 0; j < i; j++) again |= node->in[j] == node->in[i];
      live -= !again && walk->last_read[node->in[i]] == id;
    }
    live += walk->last_read[id] > id;
    if (live != 1 || walk->last_read[id] <= id || !may_tap(walk, id)) continue;
    if (n_cuts > 0 && cuts[n_cuts - 1].macs == macs) {
      if (replaces(net, &cuts[n_cuts - 1], id, macs)) cuts[n_cuts - 1].value = id;
    } else {
      cuts[n_cuts++] = (struct ex_cut){id, macs};
    }
  }
  *full = macs;
  return n_cuts;
}

static int32_t keep_apart(struct ex_cut *cuts, int32_t n, double apart, int64_t full) {
  double gap = apart * (double)full, last = 0;
  int32_t kept = 0;
  for (int32_t i = 0; i < n; i++) {
    double here = (double)cuts[i].macs;
    if (here <= 0 || here - last < gap || (double)full - here < gap || cuts[i].macs == full)
      continue;
    cuts[kept++] = cuts[i];
    last = here;
  }
  return kept;
}

/* Drops the cut that lies closest to its neighbours until `most` are left. */
static int32_t thin(struct ex_cut *cuts, int32_t n, int32_t most, int64_t full) {
  for (; n > most; n--) {
    int32_t closest = 0;
    int64_t least = INT64_MAX;
    for (int32_t i = 0; i < n; i++) {
      int64_t before = i > 0 ? cuts[i - 1].macs : 0, after = i + 1 < n ? cuts[i + 1].macs : full;
      if (after - before < least) {
        least = after - before;
        closest = i;
      }
    }
    memmove(&cuts[closest], &cuts[closest + 1], (size_t)(n - 1 - closest) * sizeof *cuts);
  }
  return n;
}

int32_t ex__cuts_find(const ex_net *net, double apart, struct ex_cut *cuts, int32_t most) {
  int32_t n = ex__graph_n_nodes(net->graph), found = -1;
  struct walk walk = {.net = net,
                      .reached = ex__calloc((size_t)n, sizeof *walk.reached),
                      .last_read = ex__calloc((size_t)n, sizeof *walk.last_read),
                      .n_readers = ex__calloc((size_t)n, sizeof *walk.n_readers)};
  struct ex_cut *all = ex__calloc((size_t)n, sizeof *all);
  if (all != NULL && walk.reached != NULL && walk.last_read != NULL && walk.n_readers != NULL) {
    int64_t full;
    ex__net_reached(net, walk.reached);
    read_uses(&walk, n);
    found = walk_all(&walk, all, &full);
    found = keep_apart(all, found, apart, full);
    found = thin(all, found, most, full);
    memcpy(cuts, all, (size_t)found * sizeof *cuts);
  }
  ex__free(walk.reached);
  ex__free(walk.last_read);
  ex__free(walk.n_readers);
  ex__free(all);
  return found;
}
