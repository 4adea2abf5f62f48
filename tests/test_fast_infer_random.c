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
#include "tests/fast_random.h"

#ifdef EX_NO_ONEDNN
int main(void) { return 77; } /* this build has no fast backend */
#else

enum { N_NETS = 300, MOST_NODES = 10 };

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

/* The same of what imported networks are made of besides. */
static void draw_rows(struct ex_random *random, const struct ex_shape *in,
                      const struct ex_shape *second, struct line *line, char attrs[ATTRS]) {
  static const char *const kinds[] = {"erf", "tanh", "abs", "affine", "power"};
  if (strcmp(line->op, "arithmetic") == 0 || strcmp(line->op, "matmul") == 0)
    line->n_in = draw(random, 1, 2);
  if (strcmp(line->op, "arithmetic") == 0) draw_arithmetic(random, in, line->n_in, attrs);
  if (strcmp(line->op, "matmul") == 0) draw_matmul(random, in, second, line->n_in, attrs);
  if (strcmp(line->op, "view") == 0) draw_view(random, in, attrs);
  if (strcmp(line->op, "reduce") == 0) draw_reduce(random, in, attrs);
  if (strcmp(line->op, "row_softmax") == 0)
    snprintf(attrs, ATTRS, "size=%d", draw_group(random, in));
  if (strcmp(line->op, "standardise") == 0)
    snprintf(attrs, ATTRS, "size=%d eps=0.01", draw_group(random, in));
  if (strcmp(line->op, "function") == 0)
    snprintf(attrs, ATTRS, "kind=%s a=2 b=0.5", kinds[draw(random, 0, 4)]);
}

/* An operator with its attributes. The graph refuses what does not fit. */
static void draw_line(struct ex_random *random, const struct net *net, int n_values, bool rows,
                      struct line *line, char attrs[ATTRS]) {
  static const char *const ops[] = {
      "conv2d", "conv2d", "conv2d",      "batch_norm", "batch_norm",
      "relu",   "relu",   "relu",        "add",        "add",
      "mul",    "blend",  "max_pool",    "avg_pool",   "global_avg_pool",
      "concat", "concat", "slice",       "reshape",    "dropout",
      "linear", "gelu",   "sigmoid",     "softmax",    "adaptive_pool",
      "lrn",    "concat", "log_softmax", "linear",     "add"};
  static const char *const rows_ops[] = {"view",        "view",        "arithmetic", "arithmetic",
                                         "arithmetic",  "matmul",      "matmul",     "matmul",
                                         "standardise", "row_softmax", "reduce",     "function",
                                         "gelu",        "add",         "relu"};
  *line = (struct line){.op = ops[draw(random, 0, sizeof ops / sizeof *ops - 1)], .n_in = 1};
  if (rows && draw(random, 0, 3) > 0)
    line->op = rows_ops[draw(random, 0, sizeof rows_ops / sizeof *rows_ops - 1)];
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
  if (rows)
    draw_rows(random, in, &ex__graph_node(net->graph, net->value[line->in[1]])->shape, line, attrs);
  line->keep = draw(random, 0, 7) == 0;
}

static void draw_net(struct ex_random *random, bool rows, struct net *net) {
  struct ex_shape shape = {3, {draw(random, 1, 20), draw(random, 1, 12), draw(random, 1, 12)}};
  net_begin(net, shape);
  int n_nodes = draw(random, 1, MOST_NODES), n = 0, segment = 0;
  for (int tries = 0; n < n_nodes && tries < 100; tries++) {
    struct line line;
    char attrs[ATTRS];
    draw_line(random, net, n + 1, rows, &line, attrs);
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

static void draw_and_check(uint64_t seed, bool rows) {
  for (int i = 0; i < N_NETS; i++) {
    struct ex_random random = ex__random_seed(seed, (uint64_t)i);
    struct net net;
    draw_net(&random, rows, &net);
    net.name = i;
    net.unit = rows ? 0.05 : 0; /* rows of mean 0 may be summed */
    check_net(&net);
    net_close(&net);
  }
}

static void random_networks(void **state) {
  (void)state;
  draw_and_check(2026, false);
}

static void random_networks_of_rows(void **state) {
  (void)state;
  draw_and_check(2027, true);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_networks),
                                     cmocka_unit_test(random_networks_of_rows)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
