/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/digest.h"
#include "base/file.h"
#include "data/safetensors.h"
#include "net/model.h"
#include "tests/nets.h"

static const struct ex_shape gray = {3, {1, 28, 28}};
static const char recipe[] =
    "{\"architecture\": \"resnet_exits\", \"stem\": 4, \"widths\": [4, 6], \"exits\": [1, 2]}";
static const struct ex_preprocess preprocess = {true, 1, {0.2860}, {0.3530}};

static ex_model *make_model(void) {
  struct ex_error err;
  static const char *const labels[] = {"T-shirt", "trousers", "pullover"};
  ex_net *net = nets_build(recipe, &gray, 3);
  nets_shake(net);
  net->transform =
      (struct ex_transform){.kind = EX_TRANSFORM_TEMPERATURE, .temperature = {2, {1.5, 0.25}}};
  ex_model *model;
  assert_ok(ex__model_new(net, &preprocess, labels, &model, &err), &err);
  return model;
}

static void what_is_written_is_read(void **state) {
  (void)state;
  struct ex_error err;
  char folder[64], path[80], digest[2][EX_DIGEST_TEXT];
  ex_model *model = make_model(), *back;
  struct ex_cost cost;
  ex__net_cost(model->net, &cost);
  cost.body_ns[1] = 1234;
  model->cost = ex__cost_to_json(model->net, &cost);
  model->receipt = json_pack("{s:f}", "drop", 0.1);
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/m.safetensors", folder);
  assert_ok(ex__model_write(model, path, &err), &err);
  assert_ok(ex__model_read(path, &back, &err), &err);

  json_t *nets[] = {ex__net_to_json(model->net), ex__net_to_json(back->net)};
  assert_true(json_equal(nets[0], nets[1]));
  assert_int_equal(ex__net_digest(model->net, digest[0]), EX_OK);
  assert_int_equal(ex__net_digest(back->net, digest[1]), EX_OK);
  assert_string_equal(digest[0], digest[1]);
  for (int32_t i = 0; i < ex__graph_n_tensors(model->net->graph); i++) {
    const struct ex_tensor_info *info = ex__graph_tensor(model->net->graph, i);
    bool moves = info->role == EX_ROLE_BUFFER;
    assert_memory_equal(
        ex__slabs_tensor(moves ? model->net->buffers : model->net->params, model->net->graph, i),
        ex__slabs_tensor(moves ? back->net->buffers : back->net->params, back->net->graph, i),
        (size_t)ex__shape_count(&info->shape) * sizeof(ex_real));
  }
  assert_memory_equal(&back->preprocess, &preprocess, sizeof preprocess);
  assert_string_equal(back->labels[2], "pullover");
  assert_true(json_equal(back->cost, model->cost) && json_equal(back->receipt, model->receipt));
  assert_null(back->policy);
  struct ex_cost cost_back;
  assert_ok(ex__cost_from_json(back->cost, back->net, &cost_back, &err), &err);
  assert_memory_equal(&cost_back, &cost, sizeof cost);

  json_decref(nets[0]);
  json_decref(nets[1]);
  ex_model_free(back);
  ex_model_free(model);
  testing_remove(folder);
}

/* Cost, plan and labels lie outside the digest, weights and buffers inside. */
static void the_digest_is_of_the_weights(void **state) {
  (void)state;
  char digest[3][EX_DIGEST_TEXT];
  ex_model *model = make_model();
  assert_int_equal(ex__net_digest(model->net, digest[0]), EX_OK);
  model->net->transform.temperature.value[0] = 3;
  assert_int_equal(ex__net_digest(model->net, digest[1]), EX_OK);
  assert_string_equal(digest[0], digest[1]);
  model->net->buffers->data[0][0] += 1;
  assert_int_equal(ex__net_digest(model->net, digest[2]), EX_OK);
  assert_string_not_equal(digest[0], digest[2]);
  ex_model_free(model);
}

/* The order of tensors in the file is that of stages; names are PyTorch's. */
static void tensors_stand_stage_by_stage(void **state) {
  (void)state;
  struct ex_error err;
  char folder[64], path[80];
  ex_model *model = make_model();
  ex_safetensors *file;
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/m.safetensors", folder);
  assert_ok(ex__model_write(model, path, &err), &err);
  assert_ok(ex__safetensors_open(path, &file, &err), &err);
  int stage = 0;
  for (int32_t i = 0; i < ex__safetensors_count(file); i++) {
    const char *name = ex__safetensors_at(file, i)->name, *digit = strpbrk(name, "0123456789");
    assert_true(atoi(digit) >= stage);
    stage = atoi(digit);
  }
  assert_int_equal(stage, 1);
  static const char *const names[] = {"stage0.stem.conv.weight", "stage0.stem.bn.running_mean",
                                      "stage0.group1.block1.bn2.bias", "head1.linear.bias"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    assert_non_null(ex__safetensors_find(file, names[i]));
  ex__safetensors_free(file);
  ex_model_free(model);
  testing_remove(folder);
}

/* ---- hostile files -------------------------------------------------------- */

/* A copy of the file with one metadata entry replaced (NULL: left out) and an
 * array left out, added or renamed by `change`. */
struct change {
  const char *key, *value;
  const char *drop_array, *add_array;
};

static void rewrite(const char *from, const char *to, const struct change *change) {
  static const char *const keys[] = {"format", "exeunt", "cost", "plan"};
  static const float extra = 1;
  struct ex_error err;
  ex_safetensors *file;
  assert_ok(ex__safetensors_open(from, &file, &err), &err);
  ex_safetensors_writer *writer = ex__safetensors_writer_new();
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    const char *value = ex__safetensors_metadata(file, keys[i]);
    if (change->key != NULL && strcmp(change->key, keys[i]) == 0) value = change->value;
    if (value != NULL) assert_ok(ex__safetensors_add_metadata(writer, keys[i], value, &err), &err);
  }
  for (int32_t i = 0; i < ex__safetensors_count(file); i++) {
    const struct ex_array *a = ex__safetensors_at(file, i);
    if (change->drop_array != NULL && strcmp(change->drop_array, a->name) == 0) continue;
    assert_ok(ex__safetensors_add(writer, a->name, a->dtype, a->rank, a->dim, a->data, &err), &err);
  }
  if (change->add_array != NULL)
    assert_ok(ex__safetensors_add(writer, change->add_array, EX_DTYPE_F32, 0, NULL, &extra, &err),
              &err);
  assert_ok(ex__safetensors_save(writer, to, &err), &err);
  ex__safetensors_writer_free(writer);
  ex__safetensors_free(file);
}

/* `text` with the first `from` replaced by `to`; released with free. */
static char *replaced(const char *text, const char *from, const char *to) {
  const char *at = strstr(text, from);
  assert_non_null(at);
  char *out = malloc(strlen(text) + strlen(to) + 1);
  sprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
  return out;
}

/* A folder with a sound model in it, and where a changed one will lie. */
static void write_sound(char folder[64], char path[80], char bad[80]) {
  struct ex_error err;
  ex_model *model = make_model();
  testing_folder(folder);
  snprintf(path, 80, "%s/m.safetensors", folder);
  snprintf(bad, 80, "%s/bad.safetensors", folder);
  assert_ok(ex__model_write(model, path, &err), &err);
  ex_model_free(model);
}

static void changed_files_are_refused(void **state) {
  (void)state;
  struct ex_error err;
  char folder[64], path[80], bad[80];
  ex_model *none;
  write_sound(folder, path, bad);

  const struct {
    struct change change;
    enum ex_status code;
    const char *part;
  } cases[] = {
      {{.key = "format", .value = "2"}, EX_EUNSUPPORTED, "reads up to 1"},
      {{.key = "format", .value = "pt"}, EX_EFORMAT, "not a model of Exeunt"},
      {{.key = "format"}, EX_EFORMAT, "not a model of Exeunt"},
      {{.key = "exeunt"}, EX_EFORMAT, "not a model of Exeunt"},
      {{.key = "exeunt", .value = "[]"}, EX_EFORMAT, "must be a JSON object"},
      {{.key = "exeunt", .value = "{}"}, EX_EFORMAT, "net"},
      {{.key = "cost", .value = "{\"stages\": [], \"points\": []}"}, EX_EFORMAT, "cost"},
      {{.drop_array = "head0.linear.bias"}, EX_ENOTFOUND, "head0.linear.bias"},
      {{.add_array = "more"}, EX_EFORMAT, "arrays"},
      {{.drop_array = "head0.linear.bias", .add_array = "head0.linear.bias"},
       EX_ESHAPE,
       "must be F32 [3]"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    rewrite(path, bad, &cases[i].change);
    assert_refused(ex__model_read(bad, &none, &err), cases[i].code, &err, cases[i].part);
    assert_non_null(strstr(err.text, "bad.safetensors"));
    assert_null(none);
  }
  testing_remove(folder);
}

static void changed_descriptions_are_refused(void **state) {
  (void)state;
  struct ex_error err;
  char folder[64], path[80], bad[80];
  ex_model *none;
  ex_safetensors *file;
  write_sound(folder, path, bad);
  assert_ok(ex__safetensors_open(path, &file, &err), &err);
  const struct {
    const char *from, *to, *part;
  } cases[] = {
      {"[\"T-shirt\",\"trousers\",\"pullover\"]", "[\"T-shirt\"]", "1 labels for 3"},
      {"\"T-shirt\"", "7", "label 0 must be a string"},
      {"\"channels\":4", "\"channels\":1000000", "must"},
      {"\"op\":\"relu\"", "\"op\":\"system\"", "unknown"},
      {"\"task\":\"classification\"", "\"task\":\"oracle\"", "oracle"},
      {"\"outputs\":3", "\"outputs\":4", "must have 4"},
      {"\"stages\":2", "\"stages\":1", "stages"},
      {"\"stage\":1", "\"stage\":0", "point 1"},
      {"\"needs\":[]", "\"needs\":[1]", "earlier points"},
      {"\"mean\":[", "\"mean\":[0,", "means"},
      {"\"deviation\":[", "\"deviation\":[0,", "deviation"},
      {"\"temperature\":[", "\"temperature\":[1,", "temperatures"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *text = replaced(ex__safetensors_metadata(file, "exeunt"), cases[i].from, cases[i].to);
    rewrite(path, bad, &(struct change){.key = "exeunt", .value = text});
    enum ex_status status = ex__model_read(bad, &none, &err);
    if (status == EX_OK || strstr(err.text, cases[i].part) == NULL)
      fail_msg("case %zu: \"%s\" lacks \"%s\"", i, err.text, cases[i].part);
    free(text);
  }
  ex__safetensors_free(file);
  testing_remove(folder);
}

/* An ensemble is part of the file: read back with the same bits, or refused. */
static void ensembles_are_read_back_or_refused(void **state) {
  (void)state;
  struct ex_error err;
  char folder[64], path[80], bad[80];
  ex_model *model = make_model(), *back;
  ex_safetensors *file;
  struct ex_ensemble *ensemble = ex__ensemble_new(EX_MEAN_GEOMETRIC, 2, 3);
  for (int32_t i = 0; i < 2 + 3; i++) ex__ensemble_row(ensemble, 1)[i] = 1.0 / (3 + i);
  model->net->transform =
      (struct ex_transform){.kind = EX_TRANSFORM_ENSEMBLE, .ensemble = ensemble};
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/m.safetensors", folder);
  snprintf(bad, sizeof bad, "%s/bad.safetensors", folder);
  assert_ok(ex__model_write(model, path, &err), &err);
  assert_ok(ex__model_read(path, &back, &err), &err);
  assert_null(back->net->transform.ensemble->row[0]);
  assert_memory_equal(back->net->transform.ensemble->row[1], ensemble->row[1], 5 * sizeof(double));
  assert_int_equal(ex__net_closure(back->net, 1), 3); /* an answer of both heads */
  assert_int_equal(ex__net_reads(back->net, 1), 2);
  ex_model_free(back);
  ex_model_free(model);
  assert_ok(ex__safetensors_open(path, &file, &err), &err);
  const char *const cases[][3] = {
      {"\"factors\":[", "\"factors\":[1,", "exit 1 must have 2"},
      {"\"factors\":[", "\"factors\":[-1e300,", "exit 1 must have 2"},
      {"\"bias\":[0.2", "\"bias\":[1e7,0.2", "exit 1 must have 3"},
      {"\"bias\":[0.2", "\"bias\":[9999999.2", "bias 0 of exit 1 must be a number in"},
      {"[null,{\"bias", "[{\"bias", "1 exits of an ensemble for 2"},
      {"\"mean\":\"geometric\"", "\"mean\":\"rms\"", "must be geometric or arithmetic"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *text = replaced(ex__safetensors_metadata(file, "exeunt"), cases[i][0], cases[i][1]);
    rewrite(path, bad, &(struct change){.key = "exeunt", .value = text});
    enum ex_status status = ex__model_read(bad, &back, &err);
    if (status == EX_OK || strstr(err.text, cases[i][2]) == NULL)
      fail_msg("case %zu: \"%s\" lacks \"%s\"", i, err.text, cases[i][2]);
    free(text);
  }
  ex__safetensors_free(file);
  testing_remove(folder);
}

/* Frees the model. */
static void refused_when_written(ex_model *model, enum ex_status status, const char *part) {
  struct ex_error err;
  char folder[64], path[80];
  ex_model *none;
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/m.safetensors", folder);
  assert_ok(ex__model_write(model, path, &err), &err);
  assert_refused(ex__model_read(path, &none, &err), status, &err, part);
  ex_model_free(model);
  testing_remove(folder);
}

static void weights_that_are_not_finite_are_named(void **state) {
  (void)state;
  ex_model *model = make_model();
  model->net->params->data[1][0] = (ex_real)NAN;
  refused_when_written(model, EX_ENOTFINITE, "stage1.group2.block1.conv1.weight");
}

/* 1 / sqrt(variance + ε) of it would be NaN at every sample. */
static void a_negative_variance_is_named(void **state) {
  (void)state;
  ex_model *model = make_model();
  for (int32_t i = 0; i < ex__graph_n_tensors(model->net->graph); i++)
    if (strcmp(ex__graph_tensor(model->net->graph, i)->name, "stage0.stem.bn.running_var") == 0)
      ex__slabs_tensor(model->net->buffers, model->net->graph, i)[2] = -1;
  refused_when_written(model, EX_EFORMAT, "\"stage0.stem.bn.running_var\": element 2 is -1");
}

/* Also where the message happens to begin with the file's name. */
static void every_refusal_names_the_file(void **state) {
  (void)state;
  struct ex_error err;
  char folder[64], path[80];
  ex_model *model = make_model(), *none;
  ex_safetensors *file;
  size_t size;
  void *data;
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/m.safetensors", folder);
  assert_ok(ex__model_write(model, path, &err), &err);
  assert_ok(ex__safetensors_open(path, &file, &err), &err);
  char *text = replaced(ex__safetensors_metadata(file, "exeunt"), "\"T-shirt\"", "7");
  rewrite(path, path, &(struct change){.key = "exeunt", .value = text});
  assert_ok(ex__file_read(path, 1 << 20, &data, &size, &err), &err);
  assert_refused(ex__model_parse(data, size, "exeunt", &none, &err), EX_EFORMAT, &err,
                 "exeunt: exeunt: label 0");
  free(text);
  ex__free(data);
  ex__safetensors_free(file);
  ex_model_free(model);
  testing_remove(folder);
}

/* A small description that asks for gigabytes. */
static void vast_activations_are_refused(void **state) {
  (void)state;
  struct ex_error err;
  const struct ex_shape input = {3, {1, 8, 8}};
  ex_builder *b;
  ex_net *none;
  assert_ok(ex__builder_new(&input, 2, &b, &err), &err);
  ex__builder_stage(b);
  int32_t x = ex__builder_input(b);
  const struct ex_adaptive_pool vast = {.height = 32768, .width = 8192}, small = {1, 1, 0};
  x = ex__builder_op(b, "adaptive_pool", NULL, &vast, &x, 1);
  x = ex__builder_op(b, "adaptive_pool", NULL, &small, &x, 1);
  ex__builder_head(b);
  x = ex__builder_linear(b, "fc", ex__builder_flatten(b, x), 2);
  ex__builder_point(b, x, -1, 0);
  assert_refused(ex__builder_finish(b, 1, &none, &err), EX_ESHAPE, &err,
                 "activations of 268435524 numbers per sample; must be at most 268435456");
}

static void a_cut_file_is_refused_at_every_length(void **state) {
  (void)state;
  struct ex_error err;
  char folder[64], path[80];
  ex_model *model = make_model(), *none;
  void *data;
  size_t size;
  testing_folder(folder);
  snprintf(path, sizeof path, "%s/m.safetensors", folder);
  assert_ok(ex__model_write(model, path, &err), &err);
  assert_ok(ex__file_read(path, 1 << 24, &data, &size, &err), &err);
  for (size_t cut = 0; cut < size; cut += cut < 64 ? 1 : 997)
    if (ex__model_parse(data, cut, "cut", &none, &err) == EX_OK) fail_msg("%zu bytes read", cut);
  assert_ok(ex__model_parse(data, size, "whole", &none, &err), &err);
  ex_model_free(none);
  ex__free(data);
  ex_model_free(model);
  testing_remove(folder);
}

static void labels_are_numbers_by_default(void **state) {
  (void)state;
  struct ex_error err;
  ex_model *model;
  assert_ok(ex__model_new(nets_build(recipe, &gray, 3), &preprocess, NULL, &model, &err), &err);
  assert_string_equal(model->labels[2], "2");
  ex_model_free(model);
  ex_model_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_written_is_read),
      cmocka_unit_test(the_digest_is_of_the_weights),
      cmocka_unit_test(tensors_stand_stage_by_stage),
      cmocka_unit_test(changed_files_are_refused),
      cmocka_unit_test(changed_descriptions_are_refused),
      cmocka_unit_test(ensembles_are_read_back_or_refused),
      cmocka_unit_test(weights_that_are_not_finite_are_named),
      cmocka_unit_test(a_negative_variance_is_named),
      cmocka_unit_test(every_refusal_names_the_file),
      cmocka_unit_test(vast_activations_are_refused),
      cmocka_unit_test(a_cut_file_is_refused_at_every_length),
      cmocka_unit_test(labels_are_numbers_by_default),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
