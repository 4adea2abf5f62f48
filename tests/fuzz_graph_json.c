/* SPDX-License-Identifier: Apache-2.0
 *
 * Graphs from untrusted files: what is accepted keeps every limit, survives a
 * round trip, and can be compiled or is refused with a message.
 */
#include "base/json.h"
#include "base/memory.h"
#include "graph/graph.h"
#include "graph/op.h"
#include "graph/program.h"
#include "tests/fuzzing.h"

static void check_tensors(const ex_graph *graph) {
  for (int32_t t = 0; t < ex__graph_n_tensors(graph); t++) {
    const struct ex_tensor_info *info = ex__graph_tensor(graph, t);
    int64_t n = ex__shape_count(&info->shape);
    FUZZ_REQUIRE(n >= 1 && n <= INT32_MAX && info->offset >= 0);
    FUZZ_REQUIRE(info->slab >= 0 && info->slab < ex__graph_n_slabs(graph));
    FUZZ_REQUIRE(strlen(info->name) < EX_NAME_SIZE);
  }
}

static int64_t check_nodes(const ex_graph *graph) {
  int64_t elements = 0;
  for (int32_t id = 0; id < ex__graph_n_nodes(graph); id++) {
    const struct ex_node *node = ex__graph_node(graph, id);
    int64_t n = ex__shape_count(&node->shape);
    FUZZ_REQUIRE(n >= 1 && n <= INT32_MAX);
    for (int32_t i = 0; i < node->n_in; i++) FUZZ_REQUIRE(node->in[i] >= 0 && node->in[i] < id);
    elements += n;
  }
  return elements;
}

/* Where it is small, all of it is compiled and run. */
static void compile_and_run(const ex_graph *graph) {
  ex_slabs *params, *buffers;
  struct ex_error err;
  FUZZ_REQUIRE(ex__slabs_new(graph, EX_SLABS_PARAMS, &params) == EX_OK);
  FUZZ_REQUIRE(ex__slabs_new(graph, EX_SLABS_BUFFERS, &buffers) == EX_OK);
  ex__slabs_init(graph, params, buffers, 1);
  struct ex_program_options options = {
      .batch = 2, .mode = EX_MODE_INFER, .backend = EX_BACKEND_TWIN, .threads = 1};
  for (int32_t s = 0; s < ex__graph_n_segments(graph); s++) {
    ex_program *program;
    ex_run *run;
    if (ex__program_new(graph, s, params, buffers, &options, &program, &err) != EX_OK) continue;
    FUZZ_REQUIRE(ex__run_new(program, NULL, &run, &err) == EX_OK);
    int32_t n_in = ex__program_n_in(program), n_out = ex__program_n_out(program);
    const ex_real **in = ex__calloc((size_t)n_in, sizeof *in);
    ex_real **out = ex__calloc((size_t)n_out, sizeof *out);
    for (int32_t i = 0; i < n_in; i++)
      in[i] = ex__calloc((size_t)ex__program_in_size(program, i), sizeof(ex_real));
    for (int32_t i = 0; i < n_out; i++)
      out[i] = ex__calloc((size_t)ex__program_out_size(program, i), sizeof(ex_real));
    ex__run_forward(run, NULL, in, out);
    FUZZ_REQUIRE(ex__run_executed_macs(run) == ex__program_macs(program));
    for (int32_t i = 0; i < n_in; i++) ex__free((void *)(uintptr_t)in[i]);
    for (int32_t i = 0; i < n_out; i++) ex__free(out[i]);
    ex__free(in);
    ex__free(out);
    ex__run_free(run);
    ex__program_free(program);
  }
  ex__slabs_free(params);
  ex__slabs_free(buffers);
}

static bool is_small(const ex_graph *graph, int64_t elements) {
  int64_t work = elements;
  for (int32_t s = 0; s < ex__graph_n_segments(graph); s++) {
    int64_t macs = ex__graph_segment_macs(graph, s), params = ex__graph_segment_params(graph, s);
    FUZZ_REQUIRE(macs >= 0 && params >= 0);
    if (macs > 100000 || params > 10000) return false;
    work += macs + params;
  }
  return work < 200000;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct ex_error err;
  json_t *json = NULL;
  if (ex__json_parse((const char *)data, size, "fuzz", &json, &err) != EX_OK) return 0;
  ex_graph *graph, *back;
  if (ex__graph_from_json(json, &graph, &err) == EX_OK) {
    check_tensors(graph);
    int64_t elements = check_nodes(graph);
    json_t *written = ex__graph_to_json(graph);
    FUZZ_REQUIRE(ex__graph_from_json(written, &back, &err) == EX_OK);
    json_t *again = ex__graph_to_json(back);
    FUZZ_REQUIRE(json_equal(written, again));
    if (is_small(graph, elements)) compile_and_run(graph);
    json_decref(written);
    json_decref(again);
    ex__graph_free(back);
    ex__graph_free(graph);
  } else {
    FUZZ_REQUIRE(graph == NULL && strlen(err.text) > 0);
  }
  json_decref(json);
  return 0;
}

#define NODE(op, segment, in, attr)                                     \
  "{\"op\":\"" op "\",\"version\":1,\"name\":\"\",\"segment\":" segment \
  ",\"slab\":0,\"init\":\"default\",\"in\":[" in "],\"attr\":{" attr "},\"keep\":true}"
#define SEED(text) \
  { text, sizeof(text) - 1 }
static const struct fuzz_seed seeds[] = {
    SEED("[" NODE("input", "0", "", "\"shape\":[2,6,6]") "," NODE("conv2d", "0", "0", "\"channels\":3,\"kernel-h\":3,\"kernel-w\":2,\"pad-h\":1") "," NODE(
        "batch_norm", "0", "1",
        "") "," NODE("relu", "0", "2",
                     "") "," NODE("max_pool", "1", "3",
                                  "\"kernel\":2,\"stride\":2") "," NODE("reshape", "1", "4",
                                                                        "") "," NODE("linear", "1",
                                                                                     "5",
                                                                                     "\"features\":4") "," NODE("softmax",
                                                                                                                "1",
                                                                                                                "6",
                                                                                                                "") "]"),
    SEED("[" NODE("input", "0", "", "\"shape\":[4,4,4]") "," NODE("slice", "0", "0", "\"begin\":1,\"end\":3") "," NODE(
        "concat", "1", "0,1",
        "") "," NODE("avg_pool", "1", "2",
                     "\"kernel\":3,\"pad\":1") "," NODE("adaptive_pool", "2", "3",
                                                        "\"height\":2,\"width\":2") "," NODE("global_avg_pool",
                                                                                             "2",
                                                                                             "4",
                                                                                             "") "," NODE("dropout",
                                                                                                          "2",
                                                                                                          "5",
                                                                                                          "\"rate\":0.5") "]"),
    SEED("[" NODE("input", "0", "", "\"shape\":[8]") "," NODE("sigmoid", "0", "0", "") "," NODE(
        "gelu", "0", "0", "") "," NODE("blend", "0", "1,2",
                                       "") "," NODE("mul", "1", "3,1",
                                                    "") "," NODE("add", "1", "4,2,2",
                                                                 "") "," NODE("log_softmax", "1",
                                                                              "5", "") "]"),
};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  return fuzz_mutate(seeds, sizeof seeds / sizeof *seeds, data, size, max_size, seed);
}
