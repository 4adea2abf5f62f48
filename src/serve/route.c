/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/route: which call a path means, and the calls that are answered at once.
 *
 *   /v2                                     the server
 *   /v2/health/live, /v2/health/ready
 *   /v2/models/NAME[/versions/1]            the model
 *   /v2/models/NAME[/versions/1]/ready
 *   /v2/models/NAME[/versions/1]/infer      POST
 *   /v2/repository/index                    POST
 *   /v2/repository/models/NAME/load         POST
 *   /metrics
 *   /, /assets/FILE, /dashboard/data        the dashboard
 */
#include <string.h>

#include "base/memory.h"
#include "serve/dashboard.h"
#include "serve/metrics.h"
#include "serve/server_internal.h"

enum { MAX_PARTS = 8 };

struct path {
  int32_t n;
  struct {
    const char *text;
    size_t size;
  } part[MAX_PARTS];
};

static void split(const char *text, struct path *path) {
  path->n = 0;
  while (path->n < MAX_PARTS) {
    text += strspn(text, "/");
    size_t size = strcspn(text, "/");
    if (size == 0) return;
    path->part[path->n].text = text;
    path->part[path->n++].size = size;
    text += size;
  }
}

static bool is(const struct path *path, int32_t index, const char *word) {
  return index < path->n && path->part[index].size == strlen(word) &&
         memcmp(path->part[index].text, word, path->part[index].size) == 0;
}

static ex_service *find_service(const struct ex_server *server, const struct path *path,
                                int32_t index) {
  for (int32_t i = 0; index < path->n && i < server->n_services; i++)
    if (is(path, index, server->services[i]->name)) return server->services[i];
  return NULL;
}

static enum ex_call find_model_call(struct ex_exchange *exchange, const struct path *path) {
  int32_t next = 3;
  exchange->service = find_service(exchange->server, path, 2);
  if (exchange->service == NULL) return EX_CALL_NONE;
  if (is(path, next, "versions")) {
    if (!is(path, next + 1, "1")) return EX_CALL_NONE;
    next += 2;
  }
  if (path->n == next) return EX_CALL_MODEL;
  if (path->n != next + 1) return EX_CALL_NONE;
  if (is(path, next, "ready")) return EX_CALL_MODEL_READY;
  if (is(path, next, "infer")) return EX_CALL_INFER;
  return EX_CALL_NONE;
}

static enum ex_call find_repository_call(struct ex_exchange *exchange, const struct path *path) {
  if (path->n == 3 && is(path, 2, "index")) return EX_CALL_INDEX;
  if (path->n != 5 || !is(path, 2, "models") || !is(path, 4, "load")) return EX_CALL_NONE;
  exchange->service = find_service(exchange->server, path, 3);
  return exchange->service != NULL ? EX_CALL_LOAD : EX_CALL_NONE;
}

static enum ex_call find_asset(struct ex_exchange *exchange, const struct path *path) {
  size_t size = path->n == 2 ? path->part[1].size : 0;
  if (size == 0 || size >= sizeof exchange->asset_name) return EX_CALL_NONE;
  memcpy(exchange->asset_name, path->part[1].text, size);
  exchange->asset_name[size] = '\0';
  exchange->asset = ex__asset_find(exchange->asset_name);
  return exchange->asset != NULL ? EX_CALL_ASSET : EX_CALL_NONE;
}

static enum ex_call find_call(struct ex_exchange *exchange, const struct path *path) {
  if (path->n == 0) return EX_CALL_DASHBOARD;
  if (is(path, 0, "assets")) return find_asset(exchange, path);
  if (path->n == 2 && is(path, 0, "dashboard") && is(path, 1, "data")) return EX_CALL_DATA;
  if (path->n == 1 && is(path, 0, "metrics")) return EX_CALL_METRICS;
  if (!is(path, 0, "v2")) return EX_CALL_NONE;
  if (path->n == 1) return EX_CALL_SERVER;
  if (is(path, 1, "models")) return find_model_call(exchange, path);
  if (is(path, 1, "repository")) return find_repository_call(exchange, path);
  if (path->n != 3 || !is(path, 1, "health")) return EX_CALL_NONE;
  if (is(path, 2, "live")) return EX_CALL_LIVE;
  if (is(path, 2, "ready")) return EX_CALL_READY;
  return EX_CALL_NONE;
}

bool ex__route_find(struct ex_exchange *exchange, const char *text) {
  struct path path;
  split(text, &path);
  exchange->call = find_call(exchange, &path);
  bool posted = ex__call_waits(exchange->call) || exchange->call == EX_CALL_INDEX;
  return exchange->verb == (posted ? EX_VERB_POST : EX_VERB_GET);
}

/* ---- answers ------------------------------------------------------------------- */

void ex__exchange_fail(struct ex_exchange *exchange, int status, const char *message) {
  exchange->status = status;
  exchange->type = "application/json";
  exchange->answer_header_length = -1;
  exchange->answer.size = 0;
  ex__infer_write_error(message, &exchange->answer);
}

static void describe_server(struct ex_text *json) {
  ex__text_add(json,
               "{\"name\":\"exeunt\",\"version\":\"%s\",\"extensions\":"
               "[\"binary_tensor_data\",\"model_repository\"]}",
               ex_version());
}

static void describe_model(ex_service *service, struct ex_text *json) {
  struct ex_served *served = ex__service_take(service);
  const struct ex_model_info *info = &served->info;
  ex__text_add(
      json,
      "{\"name\":\"%s\",\"versions\":[\"1\"],\"platform\":\"exeunt\",\"inputs\":[{\"name\":"
      "\"input\",\"datatype\":\"FP32\",\"shape\":[-1",
      service->name);
  for (int32_t i = 0; i < info->rank; i++) ex__text_add(json, ",%d", (int)info->dim[i]);
  ex__text_add(json, "]}],\"outputs\":[");
  for (int what = 0; what < EX_INFER_OUTPUTS; what++) {
    ex__text_add(json, "%s{\"name\":\"%s\",\"datatype\":\"%s\",\"shape\":[-1", what > 0 ? "," : "",
                 ex__infer_output_name[what], ex__infer_output_type[what]);
    if (what == EX_OUTPUT_LOGITS) ex__text_add(json, ",%d", (int)info->n_outputs);
    ex__text_add(json, "]}");
  }
  ex__text_add(json, "],\"parameters\":{\"exits\":%d,\"full_macs\":%lld,\"loads\":%d}}",
               (int)info->n_exits, (long long)info->full_macs, (int)served->generation);
  ex__served_release(served);
}

static void list_models(const struct ex_server *server, struct ex_text *json) {
  ex__text_add(json, "[");
  for (int32_t i = 0; i < server->n_services; i++)
    ex__text_add(json, "%s{\"name\":\"%s\",\"version\":\"1\",\"state\":\"READY\",\"reason\":\"\"}",
                 i > 0 ? "," : "", server->services[i]->name);
  ex__text_add(json, "]");
}

void ex__route_answer(struct ex_exchange *exchange) {
  exchange->status = 200;
  exchange->type = "application/json";
  bool ready = !atomic_load(&exchange->server->draining);
  switch (exchange->call) {
    case EX_CALL_SERVER: describe_server(&exchange->answer); break;
    case EX_CALL_LIVE: ex__text_add(&exchange->answer, "{\"live\":true}"); break;
    case EX_CALL_READY:
    case EX_CALL_MODEL_READY:
      if (!ready)
        ex__exchange_fail(exchange, 503, "the server is shutting down");
      else if (exchange->call == EX_CALL_READY)
        ex__text_add(&exchange->answer, "{\"ready\":true}");
      else
        ex__text_add(&exchange->answer, "{\"name\":\"%s\",\"ready\":true}",
                     exchange->service->name);
      break;
    case EX_CALL_MODEL: describe_model(exchange->service, &exchange->answer); break;
    case EX_CALL_INDEX: list_models(exchange->server, &exchange->answer); break;
    case EX_CALL_METRICS:
      exchange->type = "text/plain; version=0.0.4";
      ex__metrics_write(exchange->server->services, exchange->server->n_services,
                        &exchange->answer);
      break;
    case EX_CALL_DASHBOARD:
      exchange->type = ex__asset_type("dashboard.html");
      ex__text_add(&exchange->answer, "%s", ex__asset_find("dashboard.html"));
      break;
    case EX_CALL_ASSET:
      exchange->type = ex__asset_type(exchange->asset_name);
      ex__text_add_bytes(&exchange->answer, exchange->asset, strlen(exchange->asset));
      break;
    case EX_CALL_DATA: ex__dashboard_data(exchange); break;
    case EX_CALL_NONE:
    case EX_CALL_LOAD:
    case EX_CALL_INFER: ex__exchange_fail(exchange, 404, "no such path"); break;
  }
}

/* ---- infer --------------------------------------------------------------------- */

static int http_status(enum ex_status status) {
  switch (status) {
    case EX_ENOMEM: return 503;
    case EX_EDEADLINE: return 504;
    case EX_ENOTFINITE:
    case EX_EBACKEND: return 500;
    default: return 400;
  }
}

bool ex__route_prepare(struct ex_exchange *exchange) {
  struct ex_error err = {0};
  enum ex_status status = ex__inference_new(exchange->service, exchange->body, exchange->body_size,
                                            exchange->header_length, exchange->wants_events,
                                            &exchange->inference, &err);
  if (status == EX_OK) return true;
  ex__count(&exchange->service->statistics.requests[EX_REQUEST_WRONG], 1);
  ex__exchange_fail(exchange, http_status(status), err.text);
  return false;
}

static void reply_to_load(struct ex_exchange *exchange) {
  exchange->status = 200;
  exchange->type = "application/json";
  if (exchange->loaded == EX_OK)
    ex__text_add(&exchange->answer, "{}");
  else
    ex__exchange_fail(exchange, 400, exchange->load_error.text);
}

void ex__route_event(struct ex_exchange *exchange, enum ex_inference_news news,
                     struct ex_text *text) {
  struct ex_error err = {0};
  struct ex_text json = {0}, binary = {0};
  if (ex__inference_reply(exchange->inference, news, &json, &binary, &err) != EX_OK) {
    json.size = 0;
    ex__infer_write_error(err.text, &json);
  }
  ex__text_add(text, "event: %s\ndata: %s\n\n", news == EX_NEWS_FINAL ? "final" : "early",
               json.data != NULL ? json.data : "{}");
  ex__text_clear(&json);
  ex__text_clear(&binary);
}

void ex__route_reply(struct ex_exchange *exchange, bool started) {
  struct ex_error err = {0};
  struct ex_text binary = {0};
  if (exchange->call == EX_CALL_LOAD) {
    reply_to_load(exchange);
    return;
  }
  if (!started) {
    ex__count(&exchange->service->statistics.requests[EX_REQUEST_REJECTED], 1);
    ex__exchange_fail(exchange, 503, "the queue is full; try again");
    exchange->retry_seconds = 1;
    return;
  }
  exchange->status = 200;
  exchange->type = "application/json";
  enum ex_status status =
      ex__inference_reply(exchange->inference, EX_NEWS_FINAL, &exchange->answer, &binary, &err);
  if (status != EX_OK) {
    ex__exchange_fail(exchange, http_status(status), err.text);
  } else if (binary.size > 0) {
    exchange->type = "application/octet-stream";
    exchange->answer_header_length = (int64_t)exchange->answer.size;
    ex__text_add_bytes(&exchange->answer, binary.data, binary.size);
    if (ex__text_status(&exchange->answer) != EX_OK)
      ex__exchange_fail(exchange, 503, "no memory for the answer");
  }
  ex__text_clear(&binary);
}
