/* SPDX-License-Identifier: Apache-2.0
 *
 * The inference backend against the twins on random small networks: what no
 * list of cases thinks of. Each network is drawn from its own seed, which a
 * failure names. Values are drawn as inputs by chance, so that chains, sums
 * with the graph's input, values with several readers, concatenations of
 * concatenations and one-pixel maps all occur.
 */
#define FAST_SAMPLES 2
#define FAST_N_RUNS 3
#include "tests/fast_harness.h"

#ifdef EX_NO_ONEDNN
int main(void) { return 77; } /* this build has no fast backend */
#else

enum { N_NETS = 300, MOST_NODES = 10, ATTRS = 160 };

static int draw(struct ex_random *random, int least, int most) {
  return least + (int)ex__random_below(random, (uint32_t)(most - least + 1));
}

static void draw_conv(struct ex_random *random, int channels_in, char attrs[ATTRS]) {
  int groups = draw(random, 0, 3) == 0 ? draw(random, 1, channels_in) : 1;
  snprintf(attrs, ATTRS,
           "channels=%d kernel-h=%d kernel-w=%d stride=%d pad-h=%d pad-w=%d dilation=%d groups=%d "
           "bias=%s",
           groups * draw(random, 1, groups > 1 ? 3 : 20), draw(random, 1, 6), draw(random, 1, 6),
           draw(random, 0, 2) > 0 ? 1 : draw(random, 1, 6), draw(random, 0, 3), draw(random, 0, 3),
           draw(random, 0, 3) > 0 ? 1 : draw(random, 2, 3), groups,
           draw(random, 0, 1) ? "true" : "false");
}

static void draw_pool(struct ex_random *random, char attrs[ATTRS]) {
  int kernel = draw(random, 1, 4);
  snprintf(attrs, ATTRS, "kernel=%d stride=%d pad=%d ceil-mode=%s", kernel, draw(random, 0, 3),
           draw(random, 0, kernel / 2), draw(random, 0, 1) ? "true" : "false");
}

/* One of the values there are; the last most of the time, which makes chains. */
static int draw_value(struct ex_random *random, int n_values) {
  return draw(random, 0, 4) > 1 ? n_values - 1 : draw(random, 0, n_values - 1);
}

/* An operator with its attributes. The graph refuses what does not fit. */
static void draw_line(struct ex_random *random, const struct net *net, int n_values,
                      struct line *line, char attrs[ATTRS]) {
  static const char *const ops[] = {
      "conv2d", "conv2d", "conv2d",      "batch_norm", "batch_norm",
      "relu",   "relu",   "relu",        "add",        "add",
      "mul",    "blend",  "max_pool",    "avg_pool",   "global_avg_pool",
      "concat", "concat", "slice",       "reshape",    "dropout",
      "linear", "gelu",   "sigmoid",     "softmax",    "adaptive_pool",
      "lrn",    "concat", "log_softmax", "linear",     "add"};
  *line = (struct line){.op = ops[draw(random, 0, sizeof ops / sizeof *ops - 1)], .n_in = 1};
  for (int k = 0; k < 4; k++) line->in[k] = draw_value(random, n_values);
  const struct ex_shape *in = &ex__graph_node(net->graph, net->value[line->in[0]])->shape;
  const char *op = line->op;
  attrs[0] = '\0';
  if (strcmp(op, "conv2d") == 0) draw_conv(random, in->dim[0], attrs);
  if (strstr(op, "x_pool") != NULL || strcmp(op, "avg_pool") == 0) draw_pool(random, attrs);
  if (strcmp(op, "linear") == 0) snprintf(attrs, ATTRS, "features=%d", draw(random, 1, 40));
  if (strcmp(op, "lrn") == 0) snprintf(attrs, ATTRS, "size=3");
  if (strcmp(op, "slice") == 0)
    snprintf(attrs, ATTRS, "begin=%d end=%d", draw(random, 0, 2), draw(random, 1, 20));
  if (strcmp(op, "adaptive_pool") == 0)
    snprintf(attrs, ATTRS, "height=%d width=%d", draw(random, 1, 3), draw(random, 1, 3));
  if (strcmp(op, "reshape") == 0 && in->rank == 1)
    snprintf(attrs, ATTRS, "shape=%d,1,1", (int)in->dim[0]);
  if (strcmp(op, "add") == 0 || strcmp(op, "mul") == 0 || strcmp(op, "concat") == 0)
    line->n_in = draw(random, 2, 4) == 4 ? 3 : 2;
  if (strcmp(op, "blend") == 0) line->n_in = 2;
  line->keep = draw(random, 0, 7) == 0;
}

static void draw_net(struct ex_random *random, struct net *net) {
  struct ex_shape shape = {3, {draw(random, 1, 20), draw(random, 1, 12), draw(random, 1, 12)}};
  net_begin(net, shape);
  int n_nodes = draw(random, 1, MOST_NODES), n = 0, segment = 0;
  for (int tries = 0; n < n_nodes && tries < 100; tries++) {
    struct line line;
    char attrs[ATTRS];
    draw_line(random, net, n + 1, &line, attrs);
    line.attrs = attrs;
    line.segment = segment;
    if (net_try(net, &line, n + 1) != EX_OK) continue;
    if (draw(random, 0, 7) == 0) ex__graph_keep(net->graph, net->value[n + 1]), segment++;
    n++;
  }
  if (n > 0) ex__graph_keep(net->graph, net->value[n]);
  net_fill(net);
  net->may_be_constant = true;
}

static void random_networks(void **state) {
  (void)state;
  for (int i = 0; i < N_NETS; i++) {
    struct ex_random random = ex__random_seed(2026, (uint64_t)i);
    struct net net;
    draw_net(&random, &net);
    net.name = i;
    check_net(&net);
    net_close(&net);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_networks)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
