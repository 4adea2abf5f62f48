/* SPDX-License-Identifier: Apache-2.0
 *
 * Trace files: an accepted one can be replayed by every rule, and costs what
 * its own table says.
 */
#include <unistd.h>

#include "base/memory.h"
#include "policy/policy.h"
#include "tests/fuzzing.h"

static void replay_every_rule(const ex_trace *trace) {
  struct ex_outcome *outcomes = ex__calloc((size_t)trace->n, sizeof *outcomes);
  FUZZ_REQUIRE(outcomes != NULL);
  for (int32_t c = 0; ex__policy_at(c) != NULL; c++) {
    ex_policy policy;
    FUZZ_REQUIRE(ex__policy_init(&policy, ex__policy_at(c)->name, trace->n_points, trace->n_outputs,
                                 NULL) == EX_OK);
    ex__policy_replay(&policy, trace, NULL, outcomes);
    for (int32_t i = 0; i < trace->n; i++) {
      int32_t p = outcomes[i].point;
      FUZZ_REQUIRE(p >= 0 && p < trace->n_points && outcomes[i].answer <= p);
      FUZZ_REQUIRE(outcomes[i].macs >= 0 && outcomes[i].macs <= trace->cost.macs[p]);
    }
  }
  ex__free(outcomes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct ex_error err;
  ex_trace *trace = NULL;
  if (ex__trace_parse(data, size, "fuzz", &trace, &err) != EX_OK) {
    FUZZ_REQUIRE(trace == NULL);
    return 0;
  }
  replay_every_rule(trace);
  ex__trace_free(trace);
  return 0;
}

/* Two exits, two samples, two classes; made by ex__trace_write when first asked for. */
static struct fuzz_seed seed_file(void) {
  static uint8_t bytes[4096];
  static size_t size;
  if (size > 0) return (struct fuzz_seed){bytes, size};
  static const ex_real raw[] = {2, 0, 0, 2, 3, 0, 0, 3}, gate[] = {0, 1, 1, 0};
  static const int32_t target[] = {0, 1};
  char path[] = "/tmp/exeunt-fuzz-XXXXXX";
  struct ex_cost cost = {.body_macs = {10, 10}, .head_macs = {1, 1}, .body_ns = {5, 5}};
  struct ex_error err;
  ex_trace *trace;
  int descriptor = mkstemp(path);
  FUZZ_REQUIRE(descriptor >= 0);
  FUZZ_REQUIRE(ex__trace_from_arrays(2, 2, 2, raw, gate, target, &cost, &trace, &err) == EX_OK);
  FUZZ_REQUIRE(ex__trace_write(trace, path, &err) == EX_OK);
  ex__trace_free(trace);
  FILE *file = fopen(path, "rb");
  FUZZ_REQUIRE(file != NULL);
  size = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  close(descriptor);
  unlink(path);
  return (struct fuzz_seed){bytes, size};
}

/* Most changes break the length of the header, so it is usually mended. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  struct fuzz_seed file = seed_file();
  size = fuzz_mutate(&file, 1, data, size, max_size, seed);
  if (size < 10 || seed % 4 == 0) return size;
  uint64_t length = 0;
  memcpy(&length, file.data, sizeof length);
  memcpy(data, &length, sizeof length);
  return size;
}
