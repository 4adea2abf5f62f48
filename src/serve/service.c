/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/service: loading, swapping and freeing generations.
 */
#include "serve/service.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "serve/upto.h"

static bool is_name(const char *name, size_t n) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  return n > 0 && n < 100 && strspn(name, allowed) >= n && name[0] != '.';
}

/* NAME=PATH, or the file's name without its ending. */
static enum ex_status read_name(const char *given, ex_service *service, struct ex_error *err) {
  const char *equals = strchr(given, '='), *slash = strrchr(given, '/');
  const char *name = given, *path = given;
  size_t n;
  if (equals != NULL && (slash == NULL || equals < slash)) {
    n = (size_t)(equals - given);
    path = equals + 1;
  } else {
    if (slash != NULL) name = slash + 1;
    n = strcspn(name, ".");
  }
  if (!is_name(name, n))
    return ex__fail(err, EX_EINVAL,
                    "model \"%.100s\": its name must be letters, digits, '.', '_' or '-'; say "
                    "NAME=FILE",
                    given);
  service->name = ex__calloc(n + 1, 1);
  service->path = ex__strdup(path);
  if (service->name == NULL || service->path == NULL)
    return ex__fail(err, EX_ENOMEM, "serve: no memory for a name");
  memcpy(service->name, name, n);
  return EX_OK;
}

/* ---- one generation ---------------------------------------------------------- */

static void free_served(struct ex_served *served) {
  if (served == NULL) return;
  ex__pipeline_free(served->pipeline);
  ex_engine_free(served->engine);
  for (int32_t c = 0; served->quoted != NULL && c < served->info.n_outputs; c++)
    ex__free(served->quoted[c]);
  ex__free(served->quoted);
  ex_model_free(served->model);
  ex__free(served);
}

static enum ex_status choose_policy(const struct ex_served *served,
                                    const struct ex_service_options *options, ex_policy *policy,
                                    struct ex_error *err) {
  const ex_model *model = served->model;
  int32_t n_points = model->net->n_points, n_outputs = model->net->n_outputs;
  if (options->policy != NULL)
    EX_TRY(ex__policy_init(policy, options->policy, n_points, n_outputs, err));
  else if (model->policy != NULL)
    EX_TRY(ex__policy_from_json(model->policy, n_points, n_outputs, policy, err));
  else
    return ex__fail(err, EX_EINVAL,
                    "is not calibrated; run `exeunt calibrate`, or name a rule with --policy");
  for (int32_t i = 0; i < options->n_set; i++)
    EX_TRY(ex__policy_assign(policy, options->set[i], err));
  return EX_OK;
}

static enum ex_status quote_labels(struct ex_served *served, struct ex_error *err) {
  size_t n = (size_t)served->info.n_outputs;
  served->quoted = ex__calloc(n, sizeof *served->quoted);
  bool ok = served->quoted != NULL;
  for (size_t c = 0; ok && c < n; c++) {
    json_t *label = json_string(served->model->labels[c]);
    ok = label != NULL && ex__json_dump(label, false, &served->quoted[c]) == EX_OK;
    json_decref(label);
  }
  return ok ? EX_OK : ex__fail(err, EX_ENOMEM, "no memory for %d labels", (int)n);
}

/* The receipt's promise holds for the model's own policy alone. */
static double certified_risk(const ex_model *model, const struct ex_service_options *options) {
  const char *kind = json_string_value(json_object_get(model->receipt, "kind"));
  const json_t *value = json_object_get(json_object_get(model->receipt, "constraint"), "value");
  bool own = options->policy == NULL && options->n_set == 0;
  bool certified = own && kind != NULL && strcmp(kind, "certified") == 0 && json_is_number(value);
  return certified ? json_number_value(value) : INFINITY;
}

/* What tells this network and rule from others, so that nothing goes on here that was
 * begun by another. */
static enum ex_status mark(struct ex_served *served, const ex_policy *policy,
                           struct ex_error *err) {
  char weights[EX_DIGEST_TEXT], text[EX_DIGEST_TEXT] = "", *dumped[2] = {NULL, NULL};
  json_t *json[2] = {ex__net_to_json(served->model->net), ex__policy_to_json(policy)};
  ex_digest *digest = ex__digest_new();
  bool ok = digest != NULL && ex__net_digest(served->model->net, weights) == EX_OK;
  for (int i = 0; i < 2; i++) {
    ok = ok && json[i] != NULL && ex__json_dump(json[i], false, &dumped[i]) == EX_OK;
    if (ok) ex__digest_add(digest, dumped[i], strlen(dumped[i]) + 1);
    ex__free(dumped[i]);
    json_decref(json[i]);
  }
  if (ok) ex__digest_add(digest, weights, sizeof weights);
  if (digest != NULL) ex__digest_finish(digest, text);
  if (ok) memcpy(served->mark_text, text, sizeof served->mark_text - 1);
  for (int i = 0; ok && i < EX_PACKET_MARK; i++) {
    const char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};
    served->mark[i] = (uint8_t)strtoul(pair, NULL, 16);
  }
  return ok ? EX_OK : ex__fail(err, EX_ENOMEM, "no memory for the mark of a model");
}

static enum ex_status build(struct ex_served *served, const char *path,
                            const struct ex_service_options *options, struct ex_error *err) {
  ex_policy policy;
  EX_TRY(ex_model_load(path, &served->model, err));
  served->info.size = sizeof served->info;
  EX_TRY(ex_model_describe(served->model, &served->info));
  served->certified = certified_risk(served->model, options);
  served->features = ex__shape_count(&served->model->net->input);
  enum ex_status status = choose_policy(served, options, &policy, err);
  if (status != EX_OK) return ex__wrap(err, status, "%s", path);
  /* The pipeline has threads of its own; each runs programs for one thread. */
  const struct ex_engine_options engine = {
      .size = sizeof engine, .threads = 1, .max_batch = options->queue};
  EX_TRY(ex__engine_new(served->model, &policy, &engine, &served->engine, err));
  EX_TRY(quote_labels(served, err));
  EX_TRY(mark(served, &policy, err));
  return ex__pipeline_new(served->engine, options->workers, &served->pipeline, err);
}

static enum ex_status place_cut(struct ex_served *served, ex_service *service,
                                struct ex_error *err) {
  const struct ex_service_options *options = &service->options;
  served->upto = EX_UPTO_WHOLE;
  if (options->upstream == NULL) return EX_OK;
  enum ex_status status = EX_OK;
  if (options->upto == EX_UPTO_AUTO)
    status = ex__upto_choose(served, service, &served->upto, err);
  else
    status = ex__partition_pays(ex__pipeline_partition(served->pipeline), options->upto, err);
  if (options->upto != EX_UPTO_AUTO) served->upto = options->upto;
  return status == EX_OK ? EX_OK : ex__wrap(err, status, "%s", service->path);
}

static enum ex_status load(ex_service *service, struct ex_served **out, struct ex_error *err) {
  *out = NULL;
  struct ex_served *served = ex__calloc(1, sizeof *served);
  if (served == NULL) return ex__fail(err, EX_ENOMEM, "serve: no memory for a model");
  enum ex_status status = build(served, service->path, &service->options, err);
  if (status == EX_OK) status = place_cut(served, service, err);
  if (status == EX_OK)
    *out = served;
  else
    free_served(served);
  return status;
}

/* ---- the name ------------------------------------------------------------------ */

static enum ex_status connect_upstream(ex_service *service, struct ex_error *err) {
  const struct ex_service_options *options = &service->options;
  if (options->upstream == NULL) return EX_OK;
  struct ex_text url = {0};
  size_t n = strlen(options->upstream);
  while (n > 0 && options->upstream[n - 1] == '/') n--;
  ex__text_add(&url, "%.*s/v2/models/%s/infer", (int)n, options->upstream, service->name);
  const struct ex_uplink_options uplink = {.url = url.data,
                                           .token = options->token,
                                           .authority = options->authority,
                                           .seconds = options->upstream_seconds,
                                           .most = options->queue,
                                           .log = options->log};
  enum ex_status status = ex__text_status(&url) == EX_OK
                              ? ex__uplink_new(&uplink, &service->uplink, err)
                              : ex__fail(err, EX_ENOMEM, "serve: no memory");
  ex__text_clear(&url);
  return status;
}

/* Behind a cut it is not known where inputs leave when the link is down. */
static void expect(ex_service *service, const struct ex_served *served) {
  int32_t n = served->upto >= 0 ? served->upto + 2 : served->info.n_exits;
  ex__drift_expect(&service->drift, served->model, n);
}

enum ex_status ex__service_new(const char *given, const struct ex_service_options *options,
                               ex_service **out, struct ex_error *err) {
  *out = NULL;
  ex_service *service = ex__calloc(1, sizeof *service);
  if (service == NULL) return ex__fail(err, EX_ENOMEM, "serve: no memory");
  pthread_mutex_init(&service->lock, NULL);
  service->options = *options;
  ex__drift_init(&service->drift, options->drift_window, options->drift_limit, options->drift_acts);
  enum ex_status status = read_name(given, service, err);
  service->past = ex__calloc(1, sizeof *service->past);
  if (status == EX_OK && service->past == NULL)
    status = ex__fail(err, EX_ENOMEM, "serve: no memory");
  if (status == EX_OK) status = connect_upstream(service, err);
  if (status == EX_OK) status = load(service, &service->served, err);
  if (status == EX_OK) {
    service->served->generation = 1;
    expect(service, service->served);
    *out = service;
  } else {
    ex__service_free(service);
  }
  return status;
}

enum ex_status ex__service_reload(ex_service *service, struct ex_error *err) {
  struct ex_served *fresh;
  EX_TRY(load(service, &fresh, err));
  pthread_mutex_lock(&service->lock);
  struct ex_served *old = service->served;
  fresh->generation = old->generation + 1;
  old->older = service->retired;
  service->retired = old;
  service->served = fresh;
  expect(service, fresh);
  pthread_mutex_unlock(&service->lock);
  return EX_OK;
}

struct ex_served *ex__service_take(ex_service *service) {
  pthread_mutex_lock(&service->lock);
  struct ex_served *served = service->served;
  atomic_fetch_add(&served->users, 1);
  pthread_mutex_unlock(&service->lock);
  return served;
}

void ex__served_release(struct ex_served *served) { atomic_fetch_sub(&served->users, 1); }

void ex__service_sweep(ex_service *service) {
  struct ex_served *unused = NULL;
  pthread_mutex_lock(&service->lock);
  for (struct ex_served **at = &service->retired; *at != NULL;) {
    struct ex_served *served = *at;
    if (atomic_load(&served->users) > 0) {
      at = &served->older;
      continue;
    }
    *at = served->older;
    served->older = unused;
    unused = served;
  }
  pthread_mutex_unlock(&service->lock);
  while (unused != NULL) {
    struct ex_served *served = unused;
    unused = served->older;
    free_served(served);
  }
}

/* What is still asked of the server upstream uses the generation that asked. */
static void finish_answers(ex_service *service) {
  struct ex_served *served = service->served;
  if (served != NULL) served->older = service->retired;
  for (; served != NULL; served = served->older) {
    ex__pipeline_free(served->pipeline);
    served->pipeline = NULL;
  }
  ex__uplink_free(service->uplink);
}

void ex__service_free(ex_service *service) {
  if (service == NULL) return;
  finish_answers(service);
  while (service->retired != NULL) {
    struct ex_served *served = service->retired;
    service->retired = served->older;
    free_served(served);
  }
  free_served(service->served);
  ex__drift_free(&service->drift);
  pthread_mutex_destroy(&service->lock);
  ex__free(service->past);
  ex__free(service->name);
  ex__free(service->path);
  ex__free(service);
}
