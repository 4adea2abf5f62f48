/* SPDX-License-Identifier: Apache-2.0
 *
 * Joined networks: each answers with the bits that it has alone, for the work that
 * it has alone; what is jumped over is not computed; what does not go together is
 * refused.
 */
#include <math.h>

#include "base/digest.h"
#include "base/text.h"
#include "tests/joined_fixture.h"

struct family {
  ex_model *member[N_POINTS], *joined;
  float x[N_SAMPLES][FEATURES]; /* raw */
};

static int setup(void **state) {
  struct family *f = ex__calloc(1, sizeof *f);
  for (int32_t k = 0; k < N_POINTS; k++) f->member[k] = joined_member(k);
  f->joined = joined_model(f->member, N_POINTS);
  struct ex_random random = ex__random_seed(11, 0);
  for (int32_t i = 0; i < N_SAMPLES; i++)
    for (int32_t j = 0; j < FEATURES; j++) f->x[i][j] = (float)(255 * ex__random_uniform(&random));
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct family *f = *state;
  for (int32_t k = 0; k < N_POINTS; k++) ex_model_free(f->member[k]);
  ex_model_free(f->joined);
  ex__free(f);
  return 0;
}

static ex_engine *engine_to(const ex_model *model, int32_t exit, int32_t threads) {
  struct ex_error err;
  ex_policy policy;
  ex_engine *engine;
  char text[12];
  snprintf(text, sizeof text, "%d", (int)exit);
  const struct ex_engine_options options = {
      .size = sizeof options, .threads = threads, .max_batch = N_SAMPLES, .untimed = true};
  assert_ok(ex__policy_init(&policy, "fixed", model->net->n_points, N_CLASSES, &err), &err);
  assert_ok(ex__policy_set(&policy, "exit", text, &err), &err);
  assert_ok(ex__engine_new(model, &policy, &options, &engine, &err), &err);
  return engine;
}

static void run(const struct family *f, ex_engine *engine, int32_t batch, struct answers *out) {
  for (int32_t i = 0; i < N_SAMPLES; i++) out->result[i].logits = out->logits[i];
  for (int32_t i = 0; i < N_SAMPLES; i += batch)
    assert_int_equal(batch > 1 ? ex_engine_run_many(engine, f->x[i], batch, &out->result[i])
                               : ex_engine_run(engine, f->x[i], &out->result[i]),
                     EX_OK);
}

static void each_has_the_bits_and_the_work_it_has_alone(void **state) {
  const struct family *f = *state;
  struct ex_cost cost, own;
  ex__net_cost(f->joined->net, &cost);
  for (int32_t k = 0; k < N_POINTS; k++) {
    struct answers alone, together;
    ex__net_cost(f->member[k]->net, &own);
    ex_engine *engine = engine_to(f->member[k], 1, 1);
    run(f, engine, 1, &alone);
    ex_engine_free(engine);
    for (int32_t batch = 1; batch <= N_SAMPLES; batch *= N_SAMPLES) {
      engine = engine_to(f->joined, k, 1 + (batch > 1));
      run(f, engine, batch, &together);
      const struct ex_ledger *ledger = ex__engine_ledger(engine);
      assert_int_equal(ledger->executed, batch * cost.direct_macs[k]);
      assert_int_equal(ledger->executed, batch * own.direct_macs[1]);
      ex_engine_free(engine);
      assert_memory_equal(alone.logits, together.logits, sizeof alone.logits);
      for (int32_t i = 0; i < N_SAMPLES; i++) {
        assert_int_equal(together.result[i].exit, k);
        assert_int_equal(together.result[i].macs, own.direct_macs[1]);
        assert_int_equal(together.result[i].label, alone.result[i].label);
        assert_true(together.result[i].confidence == alone.result[i].confidence);
      }
    }
  }
}

/* Else the test above would say nothing of layouts. */
static void the_networks_run_in_both_layouts(void **state) {
  const struct family *f = *state;
  struct ex_error err;
  const struct ex_compile_options options = {.threads = 1, .max_batch = 1};
  ex_compiled *compiled;
  struct ex_text text = {0};
  assert_ok(ex__compiled_new(f->joined->net, &options, &compiled, &err), &err);
  ex__compiled_describe(compiled, &text);
  assert_non_null(strstr(text.data, "planar"));
  assert_non_null(strstr(text.data, "nhwc"));
  ex__text_clear(&text);
  ex__compiled_free(compiled);
}

/* From the first network by every set of others to the last of the set: bodies and
 * heads of those alone, each once, and the bits of a straight run. */
static void what_is_jumped_over_is_not_computed(void **state) {
  const struct family *f = *state;
  struct ex_error err;
  struct ex_cost cost;
  ex_engine *engine;
  struct answers straight[N_POINTS];
  const struct ex_engine_options options = {
      .size = sizeof options, .threads = 1, .max_batch = 1, .untimed = true, .uncalibrated = true};
  ex__net_cost(f->joined->net, &cost);
  for (int32_t k = 0; k < N_POINTS; k++) {
    engine = engine_to(f->joined, k, 1);
    run(f, engine, 1, &straight[k]);
    ex_engine_free(engine);
  }
  assert_ok(ex__engine_new(f->joined, NULL, &options, &engine, &err), &err);
  for (uint32_t steps = 1; steps < 1u << N_POINTS; steps++) {
    int64_t macs = 0, executed = 0;
    assert_int_equal(ex_engine_begin(engine, f->x[steps]), EX_OK);
    for (int32_t k = 0; k < N_POINTS; k++) {
      float logits[N_CLASSES];
      struct ex_result result = {.logits = logits};
      if ((steps >> k & 1) == 0) continue;
      assert_int_equal(ex_engine_advance(engine, k, &result), EX_OK);
      macs += cost.direct_macs[k];
      executed += ex__engine_ledger(engine)->executed;
      assert_int_equal(result.macs, macs);
      assert_int_equal(executed, macs);
      assert_int_equal(result.stage, 2 * k + 1);
      assert_memory_equal(logits, straight[k].logits[steps], sizeof logits);
    }
  }
  ex_engine_free(engine);
}

static void exits_need_their_own_bodies(void **state) {
  const struct family *f = *state;
  struct ex_cost cost;
  int64_t sum = 0;
  ex__net_cost(f->joined->net, &cost);
  for (int32_t k = 0; k < N_POINTS; k++) {
    assert_int_equal(ex__net_bodies(f->joined->net, k), 3u << 2 * k);
    assert_int_equal(ex__net_closure(f->joined->net, k), 1u << k);
    sum += cost.direct_macs[k];
    assert_int_equal(cost.macs[k], sum);
  }
  ex_net *net = detour_net();
  static const uint32_t bodies[] = {1, 3, 5, 15};
  for (int32_t p = 0; p < N_POINTS; p++) assert_int_equal(ex__net_bodies(net, p), bodies[p]);
  ex_net_free(net);
  net = fixture_net();
  static const uint32_t row[] = {1, 7, 15, 31};
  for (int32_t p = 0; p < N_POINTS; p++) assert_int_equal(ex__net_bodies(net, p), row[p]);
  ex_net_free(net);
}

static void it_is_a_model_like_any_other(void **state) {
  const struct family *f = *state;
  struct ex_error err;
  char folder[64], path[80], digest[2][EX_DIGEST_TEXT];
  ex_model *back;
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/m.safetensors", folder);
  assert_ok(ex__model_write(f->joined, path, &err), &err);
  assert_ok(ex_model_load(path, &back, &err), &err);
  assert_int_equal(ex__net_digest(f->joined->net, digest[0]), EX_OK);
  assert_int_equal(ex__net_digest(back->net, digest[1]), EX_OK);
  assert_string_equal(digest[0], digest[1]);
  assert_string_equal(ex_model_label(back, 3), "d");
  struct answers before, after;
  ex_engine *engine = engine_to(f->joined, 2, 1);
  run(f, engine, 1, &before);
  ex_engine_free(engine);
  engine = engine_to(back, 2, 1);
  run(f, engine, 1, &after);
  ex_engine_free(engine);
  assert_memory_equal(before.logits, after.logits, sizeof before.logits);
  ex_model_free(back);
  testing_remove(folder);
}

/* ---- refusals ----------------------------------------------------------------- */

static void assert_join_refused(const ex_model *a, const ex_model *b, enum ex_status code,
                                const char *part) {
  const ex_model *const models[] = {a, b};
  static const char *const names[] = {"A", "B"};
  struct ex_error err;
  ex_model *joined;
  assert_refused(ex__models_join(models, names, 2, &joined, &err), code, &err, part);
  assert_null(joined);
  assert_non_null(strstr(err.text, "B: "));
}

static ex_model *model_of(ex_net *net) {
  const struct ex_preprocess preprocess = {true, 1, {0.5}, {0.2}};
  struct ex_error err;
  ex_model *model;
  assert_ok(ex__model_new(net, &preprocess, net->n_outputs == N_CLASSES ? joined_labels : NULL,
                          &model, &err),
            &err);
  return model;
}

static ex_net *linear_net(int32_t side, int32_t n_outputs) {
  struct ex_error err;
  ex_builder *b;
  ex_net *net;
  assert_ok(ex__builder_new(&(struct ex_shape){3, {1, side, side}}, n_outputs, &b, &err), &err);
  ex__builder_stage(b);
  int32_t x = ex__builder_flatten(b, ex__builder_input(b));
  ex__builder_head(b);
  ex__builder_point(b, ex__builder_linear(b, "fc", x, n_outputs), -1, 0);
  assert_ok(ex__builder_finish(b, 1, &net, &err), &err);
  return net;
}

static void what_does_not_go_together_is_refused(void **state) {
  const struct family *f = *state;
  const ex_model *first = f->member[0];
  assert_join_refused(f->member[2], f->member[1], EX_EINVAL, "from cheap to dear");
  ex_model *other = model_of(linear_net(SIDE + 1, N_CLASSES));
  assert_join_refused(first, other, EX_ESHAPE, "takes 169 numbers");
  ex_model_free(other);
  other = model_of(linear_net(SIDE, N_CLASSES + 1));
  assert_join_refused(first, other, EX_ESHAPE, "11 classes");
  ex_model_free(other);
  other = joined_member(3);
  other->labels[4][0] = 'z';
  assert_join_refused(first, other, EX_EINVAL, "class 4 is \"z\", in A \"e\"");
  other->labels[4][0] = 'e';
  other->preprocess.bytes = false;
  assert_join_refused(first, other, EX_EINVAL, "numbers as they are");
  other->preprocess.bytes = true;
  other->net->transform = (struct ex_transform){.kind = EX_TRANSFORM_ADDITIVE, .factor = 0.5};
  assert_join_refused(first, other, EX_EUNSUPPORTED, "by its last head alone");
  ex__transform_set_product(&other->net->transform, 2);
  assert_join_refused(first, other, EX_EUNSUPPORTED, "by its last head alone");
  ex_model_free(other);
}

static void too_few_and_too_many_are_refused(void **state) {
  const struct family *f = *state;
  const ex_model *models[EX_MAX_POINTS + 1];
  const char *names[EX_MAX_POINTS + 1];
  struct ex_error err;
  ex_model *joined;
  for (int32_t k = 0; k <= EX_MAX_POINTS; k++) {
    models[k] = f->member[0];
    names[k] = "A";
  }
  assert_refused(ex__models_join(models, names, 1, &joined, &err), EX_EINVAL, &err, "2 to 32");
  assert_refused(ex__models_join(models, names, EX_MAX_POINTS + 1, &joined, &err), EX_EINVAL, &err,
                 "33 networks");
  assert_refused(ex__models_join(models, names, 17, &joined, &err), EX_EINVAL, &err, "34 stages");
}

/* ---- what a file may say ------------------------------------------------------- */

/* The first node of a kind in a net as JSON. */
static json_t *node_of(json_t *net, const char *op) {
  size_t i;
  json_t *node;
  json_array_foreach(json_object_get(net, "graph"), i, node) {
    if (strcmp(json_string_value(json_object_get(node, "op")), op) == 0) return node;
  }
  fail_msg("no %s", op);
  return NULL;
}

static void assert_net_refused(json_t *json, const char *part) {
  struct ex_error err;
  ex_net *net;
  assert_int_not_equal(ex__net_from_json(json, &net, &err), EX_OK);
  assert_null(net);
  if (strstr(err.text, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.text, part);
  json_decref(json);
}

static void spoilt_files_are_refused(void **state) {
  const struct family *f = *state;
  json_t *net = ex__net_to_json(f->joined->net);
  json_t *attr = json_object_get(node_of(net, "normalise"), "attr");
  json_object_set_new(attr, "mean", json_pack("[f, f]", 0.1, 0.2));
  assert_net_refused(net, "2 means and 1 deviations");
  net = ex__net_to_json(f->joined->net);
  attr = json_object_get(node_of(net, "normalise"), "attr");
  json_object_set_new(attr, "deviation", json_pack("[f]", 0.0));
  assert_net_refused(net, "deviation");
  net = ex__net_to_json(f->joined->net); /* an input of the second network's own */
  json_object_set_new(node_of(net, "normalise"), "segment", json_integer(6));
  assert_net_refused(net, "reads value");
  net = ex__net_to_json(f->joined->net);
  json_object_set_new(net, "stages", json_integer(7));
  assert_net_refused(net, "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_has_the_bits_and_the_work_it_has_alone),
      cmocka_unit_test(the_networks_run_in_both_layouts),
      cmocka_unit_test(what_is_jumped_over_is_not_computed),
      cmocka_unit_test(exits_need_their_own_bodies),
      cmocka_unit_test(it_is_a_model_like_any_other),
      cmocka_unit_test(what_does_not_go_together_is_refused),
      cmocka_unit_test(too_few_and_too_many_are_refused),
      cmocka_unit_test(spoilt_files_are_refused),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
