/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks to be joined, from cheap to dear, of which some run channels last and
 * some planar, one has a last head that reads an earlier one, one a temperature,
 * and each has statistics of its own; and a network that is no row: its third exit
 * does without the second stage, its last one does not.
 */
#ifndef EX_TESTS_JOINED_FIXTURE_H
#define EX_TESTS_JOINED_FIXTURE_H

#include "net/join.h"
#include "tests/engine_fixture.h"

static const char *const joined_labels[N_CLASSES] = {"a", "b", "c", "d", "e",
                                                     "f", "g", "h", "i", "j"};

/* Two stages with an exit each; `linked`: the last head adds the first one's output. */
static inline ex_net *joined_net(int32_t channels, bool linked, uint64_t seed) {
  struct ex_error err;
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&(struct ex_shape){3, {1, SIDE, SIDE}}, N_CLASSES, &b, &err), &err);
  ex__builder_init(b, EX_INIT_HE_FAN_IN);
  ex__builder_stage(b);
  int32_t x = fixture_body(b, ex__builder_input(b), channels, 1);
  int32_t first = fixture_head(b, x);
  ex__builder_point(b, first, fixture_gate(b, x), 0);
  ex__builder_stage(b);
  x = fixture_body(b, x, channels, 2);
  int32_t last = fixture_head(b, x);
  if (linked) last = ex__builder_add(b, last, first);
  ex__builder_point(b, last, -1, linked ? 1 : 0);
  assert_ok(ex__builder_finish(b, seed, &net, &err), &err);
  return net;
}

static inline ex_model *joined_member(int32_t k) {
  static const int32_t channels[N_POINTS] = {3, 8, 32, 48};
  struct ex_preprocess preprocess = {true, 1, {0.4 + 0.05 * k}, {0.15 + 0.02 * k}};
  struct ex_error err;
  ex_model *model;
  ex_net *net = joined_net(channels[k], k == 1, 20 + (uint64_t)k);
  if (k == 2)
    net->transform =
        (struct ex_transform){.kind = EX_TRANSFORM_TEMPERATURE, .temperature = {2, {1.5, 0.7}}};
  assert_ok(ex__model_new(net, &preprocess, joined_labels, &model, &err), &err);
  return model;
}

static inline ex_model *joined_model(ex_model *const *members, int32_t n) {
  static const char *const names[N_POINTS] = {"A", "B", "C", "D"};
  struct ex_error err;
  ex_model *joined;
  assert_ok(ex__models_join((const ex_model *const *)members, names, n, &joined, &err), &err);
  return joined;
}

/* Takes the net out of a model. */
static inline ex_net *joined_take_net(ex_model *model) {
  ex_net *net = model->net;
  model->net = NULL;
  for (int32_t c = 0; c < N_CLASSES; c++) ex__free(model->labels[c]);
  ex__free(model->labels);
  ex__free(model);
  return net;
}

static inline ex_net *joined_nets(void) {
  ex_model *members[N_POINTS];
  for (int32_t k = 0; k < N_POINTS; k++) members[k] = joined_member(k);
  ex_net *net = joined_take_net(joined_model(members, N_POINTS));
  for (int32_t k = 0; k < N_POINTS; k++) ex_model_free(members[k]);
  return net;
}

/* Bodies by exit: {0}, {0, 1}, {0, 2}, all: who goes from the first exit by way of
 * the third to the last runs the second body late, and nobody else reads `side`. */
static inline ex_net *detour_net(void) {
  struct ex_error err;
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&(struct ex_shape){3, {1, SIDE, SIDE}}, N_CLASSES, &b, &err), &err);
  ex__builder_init(b, EX_INIT_HE_FAN_IN);
  ex__builder_stage(b);
  int32_t input = ex__builder_input(b), first = fixture_body(b, input, 8, 1);
  int32_t side = ex__builder_conv(b, "side", input, 12, 3, 1, 1, true);
  ex__builder_point(b, fixture_head(b, first), fixture_gate(b, first), 0);
  ex__builder_stage(b);
  int32_t second = fixture_body(b, side, 16, 2);
  ex__builder_point(b, fixture_head(b, second), fixture_gate(b, second), 0);
  ex__builder_stage(b);
  const int32_t both[] = {first, input};
  int32_t third = fixture_body(b, ex__builder_concat(b, both, 2), 12, 2);
  ex__builder_point(b, fixture_head(b, third), fixture_gate(b, third), 0);
  ex__builder_stage(b);
  const int32_t all[] = {second, third};
  int32_t last = fixture_body(b, ex__builder_concat(b, all, 2), 16, 1);
  ex__builder_point(b, fixture_head(b, last), -1, 0);
  assert_ok(ex__builder_finish(b, 7, &net, &err), &err);
  return net;
}

#endif
