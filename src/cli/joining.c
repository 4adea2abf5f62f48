/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/joining: what a joined model remembers: the data that its networks share, and
 * of each network its file's name, digest, recipe and provenance.
 *
 * A sample that one network was trained on must not choose or certify the exits of
 * all, so the networks must agree about who is in select, certify and test. Train
 * may differ: it is cut after those.
 */
#include "cli/joining.h"

#include <string.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "cli/console.h"
#include "net/join.h"

struct work {
  const char *const *files;
  int32_t n;
  ex_model *models[EX_MAX_POINTS];
  ex_model *joined;
  json_t *networks; /* for the provenance */
};

static void close_work(struct work *work) {
  for (int32_t i = 0; i < work->n && i < EX_MAX_POINTS; i++) ex_model_free(work->models[i]);
  ex_model_free(work->joined);
  json_decref(work->networks);
}

static bool same_file(const char *a, const char *b) {
  struct stat one, other;
  return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev &&
         one.st_ino == other.st_ino;
}

static const char *digest_of(const ex_model *model, const char *split) {
  const json_t *splits = json_object_get(model->provenance, "splits");
  return json_string_value(json_object_get(json_object_get(splits, split), "sha256"));
}

static enum ex_status check_samples(const struct work *work, const char *split,
                                    struct ex_error *err) {
  int32_t first = -1;
  for (int32_t i = 0; i < work->n; i++) {
    const char *digest = digest_of(work->models[i], split);
    if (digest == NULL) continue;
    if (first < 0) first = i;
    if (strcmp(digest, digest_of(work->models[first], split)) != 0)
      return ex__fail(err, EX_EINVAL,
                      "%s: its %s samples are not those of %s; must be, so that no network was "
                      "trained on what another's exits are chosen by",
                      work->files[i], split, work->files[first]);
  }
  return EX_OK;
}

static enum ex_status open_models(struct work *work, const char *output, struct ex_error *err) {
  for (int32_t i = 0; i < work->n; i++) {
    if (same_file(work->files[i], output))
      return ex__fail(err, EX_EINVAL, "%s: is one of the networks; must be another file", output);
    EX_TRY(ex__model_read(work->files[i], &work->models[i], err));
  }
  EX_TRY(check_samples(work, "select", err));
  EX_TRY(check_samples(work, "certify", err));
  return check_samples(work, "test", err);
}

static const char *name_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash != NULL ? slash + 1 : path;
}

static enum ex_status describe_networks(struct work *work, struct ex_error *err) {
  work->networks = json_array();
  for (int32_t i = 0; i < work->n; i++) {
    const ex_model *model = work->models[i];
    char digest[EX_DIGEST_TEXT];
    json_t *network =
        ex__net_digest(model->net, digest) == EX_OK
            ? json_pack("{s:s, s:s}", "file", name_of(work->files[i]), "weights", digest)
            : NULL;
    if (network == NULL || json_array_append_new(work->networks, network) != 0)
      return ex__fail(err, EX_ENOMEM, "join: out of memory");
    if (model->recipe != NULL) json_object_set(network, "recipe", model->recipe);
    if (model->provenance != NULL) json_object_set(network, "provenance", model->provenance);
  }
  return EX_OK;
}

/* Data for calibrating and evaluating; nothing can be trained by it. */
static json_t *recipe_of(const ex_model *model) {
  json_t *recipe = json_pack("{s:s, s:{}, s:{s:s}}", "name", "joined networks", "network", "policy",
                             "name", "adaptive");
  static const char *const keys[] = {"input", "data"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (json_object_get(model->recipe, keys[i]) != NULL)
      json_object_set(recipe, keys[i], json_object_get(model->recipe, keys[i]));
  return recipe;
}

static enum ex_status remember(struct work *work, struct ex_error *err) {
  char date[11];
  console_date(date);
  EX_TRY(describe_networks(work, err));
  for (int32_t i = work->n - 1; i >= 0 && work->joined->recipe == NULL; i--)
    if (work->models[i]->recipe != NULL) work->joined->recipe = recipe_of(work->models[i]);
  work->joined->provenance = json_pack("{s:s, s:s, s:O}", "exeunt", ex_version(), "date", date,
                                       "networks", work->networks);
  for (int32_t i = 0; i < work->n; i++) {
    json_t *splits = json_object_get(work->models[i]->provenance, "splits");
    if (splits != NULL) json_object_set(work->joined->provenance, "splits", splits);
  }
  return EX_OK;
}

static json_t *summarise(const struct work *work, const char *output) {
  struct ex_cost cost;
  ex__net_cost(work->joined->net, &cost);
  json_t *exits = json_array();
  for (int32_t i = 0; i < work->n; i++)
    json_array_append_new(
        exits,
        json_pack("{s:i, s:s, s:I, s:I, s:I, s:O}", "exit", (int)i, "file", work->files[i], "macs",
                  (json_int_t)cost.macs[i], "direct_macs", (json_int_t)cost.direct_macs[i],
                  "params", (json_int_t)cost.params[i], "weights",
                  json_object_get(json_array_get(work->networks, (size_t)i), "weights")));
  return json_pack("{s:s, s:o}", "model", output, "exits", exits);
}

static enum ex_status join(struct work *work, const char *output, struct ex_error *err) {
  EX_TRY(open_models(work, output, err));
  EX_TRY(ex__models_join((const ex_model *const *)work->models, work->files, work->n, &work->joined,
                         err));
  EX_TRY(remember(work, err));
  return ex__model_write(work->joined, output, err);
}

enum ex_status joining_run(const char *const *files, int32_t n, const char *output,
                           json_t **summary, struct ex_error *err) {
  *summary = NULL;
  if (n > EX_MAX_POINTS)
    return ex__fail(err, EX_EINVAL, "%d networks to join; must be 2 to %d", (int)n, EX_MAX_POINTS);
  struct work work = {.files = files, .n = n};
  enum ex_status status = join(&work, output, err);
  if (status == EX_OK && (*summary = summarise(&work, output)) == NULL)
    status = ex__fail(err, EX_ENOMEM, "join: out of memory");
  close_work(&work);
  return status;
}
