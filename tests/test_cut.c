/* SPDX-License-Identifier: Apache-2.0
 *
 * A second machine goes on from a cut with the bits of the first: after every
 * stage of every kind of network, into a state that held something else.
 */
#include "net/cut.h"
#include "tests/nets.h"

static const struct ex_shape gray = {3, {1, 28, 28}};
static const char *const recipes[] = {
    "{\"architecture\": \"branchynet_lenet\"}",
    "{\"architecture\": \"resnet_exits\", \"stem\": 8, \"widths\": [8, 16], \"exits\": [1, 2]}",
    "{\"architecture\": \"msdnet\", \"exits\": 4, \"base\": 2, \"step\": 1, \"channels\": 4, "
    "\"growth\": 2, \"head-channels\": 8}",
    "{\"architecture\": \"sdn_resnet\", \"widths\": [4, 6], \"blocks\": [3], \"shares\": [0.3, 0.7]}",
    NULL, /* the gated net, whose last head reads the first */
};
enum { N_NETS = sizeof recipes / sizeof *recipes };

/* The device and the other machine: programs of one net, compiled twice. */
struct machine {
  ex_compiled *compiled;
  ex_lane *lane;
  ex_real *state;
};

static void machine_new(struct machine *machine, const ex_net *net, enum ex_backend backend,
                        int32_t max_batch) {
  struct ex_error err;
  const struct ex_compile_options options = {
      .backend = backend, .threads = 1, .max_batch = max_batch};
  assert_ok(ex__compiled_new(net, &options, &machine->compiled, &err), &err);
  assert_ok(ex__lane_new(machine->compiled, &machine->lane, &err), &err);
  int64_t size = ex__compiled_state_size(machine->compiled);
  machine->state = ex__alloc((size_t)size, sizeof(ex_real));
  assert_non_null(machine->state);
  nets_random(machine->state, size, 99); /* what was there must not matter */
}

static void machine_free(struct machine *machine) {
  ex__free(machine->state);
  ex__lane_free(machine->lane);
  ex__compiled_free(machine->compiled);
}

static ex_net *make_net(int index) {
  struct ex_error err;
  ex_net *net;
  if (recipes[index] != NULL)
    net = nets_build(recipes[index], &gray, 10);
  else
    assert_ok(nets_gated(1, &net, &err), &err);
  nets_shake(net);
  return net;
}

/* The stages [first, end), with all heads and gates; outputs [n_points][11]. */
static void run_stages(struct machine *machine, const ex_net *net, int32_t first, int32_t end,
                       ex_real *outputs) {
  for (int32_t s = first; s < end; s++) {
    ex__lane_body(machine->lane, s, &machine->state, 1);
    int32_t p = ex__net_point_of(net, s);
    if (p < 0) continue;
    ex__lane_head(machine->lane, p, &machine->state, 1, outputs + (ptrdiff_t)p * 11);
    if (net->points[p].gate >= 0)
      ex__lane_gate(machine->lane, p, &machine->state, 1, outputs + (ptrdiff_t)p * 11 + 10);
  }
}

static void check_cut(const ex_net *net, enum ex_backend backend, int32_t stage) {
  struct ex_error err;
  struct machine device, other;
  ex_cut *out, *in;
  ex_real whole[EX_MAX_POINTS * 11] = {0}, split[EX_MAX_POINTS * 11] = {0};
  machine_new(&device, net, backend, 1);
  machine_new(&other, net, backend, EX_MICRO_BATCH);
  assert_ok(ex__cut_new(device.compiled, stage, &out, &err), &err);
  assert_ok(ex__cut_new(other.compiled, stage, &in, &err), &err);
  int64_t count = ex__shape_count(&net->input), size = ex__cut_size(out), sum = 0;
  for (int32_t i = 0; i < ex__cut_values(out); i++) sum += ex__shape_count(ex__cut_shape(out, i));
  assert_true(size > 0 && size == sum && size == ex__cut_size(in));
  ex_real *x = ex__alloc((size_t)count, sizeof *x), *plain = ex__alloc((size_t)size, sizeof *x);
  assert_true(x != NULL && plain != NULL);
  nets_random(x, count, 3);
  ex__lane_input(device.lane, x, device.state);
  run_stages(&device, net, 0, stage + 1, whole);
  memcpy(split, whole, sizeof whole);
  ex__cut_pack(out, device.state, plain);
  ex__cut_unpack(in, plain, other.state);
  run_stages(&device, net, stage + 1, net->n_stages, whole);
  run_stages(&other, net, stage + 1, net->n_stages, split);
  assert_memory_equal(split, whole, sizeof whole);
  ex__free(x);
  ex__free(plain);
  ex__cut_free(out);
  ex__cut_free(in);
  machine_free(&device);
  machine_free(&other);
}

static void another_machine_goes_on_with_the_same_bits(void **state) {
  (void)state;
  for (int index = 0; index < N_NETS; index++) {
    ex_net *net = make_net(index);
    for (int backend = EX_BACKEND_FAST; backend <= EX_BACKEND_TWIN; backend++)
      for (int32_t s = 0; s < net->n_stages - 1; s++) check_cut(net, (enum ex_backend)backend, s);
    ex_net_free(net);
  }
}

/* Several scales of MSDNet live across its cuts; one value across those of a row. */
static void values_are_counted(void **state) {
  (void)state;
  const int32_t msdnet = 2, row = 1;
  struct ex_error err;
  for (int pass = 0; pass < 2; pass++) {
    ex_net *net = make_net(pass == 0 ? msdnet : row);
    struct machine machine;
    ex_cut *cut;
    machine_new(&machine, net, EX_BACKEND_TWIN, 1);
    assert_ok(ex__cut_new(machine.compiled, 0, &cut, &err), &err);
    if (pass == 0)
      assert_true(ex__cut_values(cut) > 1);
    else
      assert_int_equal(ex__cut_values(cut), 1);
    ex__cut_free(cut);
    machine_free(&machine);
    ex_net_free(net);
  }
}

static void no_cut_after_the_last_stage(void **state) {
  (void)state;
  struct ex_error err;
  struct machine machine;
  ex_cut *cut;
  ex_net *net = make_net(N_NETS - 1);
  machine_new(&machine, net, EX_BACKEND_TWIN, 1);
  assert_refused(ex__cut_new(machine.compiled, 2, &cut, &err), EX_EINVAL, &err,
                 "stage = 2; must be in [0, 1]");
  assert_null(cut);
  assert_refused(ex__cut_new(machine.compiled, -1, &cut, &err), EX_EINVAL, &err, "stage = -1");
  ex__cut_free(NULL);
  machine_free(&machine);
  ex_net_free(net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(another_machine_goes_on_with_the_same_bits),
      cmocka_unit_test(values_are_counted),
      cmocka_unit_test(no_cut_after_the_last_stage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
