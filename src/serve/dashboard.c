/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/dashboard: files of the page, which lie in the command, and its figures.
 */
#include "serve/dashboard.h"

#include <math.h>
#include <string.h>

#include "serve/server_internal.h"

const char *ex__asset_type(const char *name) {
  const char *ending = strrchr(name, '.');
  if (ending == NULL) return "text/plain; charset=utf-8";
  if (strcmp(ending, ".html") == 0) return "text/html; charset=utf-8";
  if (strcmp(ending, ".css") == 0) return "text/css; charset=utf-8";
  if (strcmp(ending, ".js") == 0) return "text/javascript; charset=utf-8";
  return "text/plain; charset=utf-8";
}

static void write_index(struct ex_text *json, const char *name, double value) {
  if (isfinite(value))
    ex__text_add(json, ",\"%s\":%.4g", name, value);
  else
    ex__text_add(json, ",\"%s\":null", name);
}

static void write_model(ex_service *service, int64_t since, struct ex_text *json) {
  struct ex_served *served = ex__service_take(service);
  struct ex_drift_view drift = ex__drift_look(&service->drift);
  ex__text_add(json, "{\"name\":\"%s\",\"n_exits\":%d,\"queue\":%d", service->name,
               (int)served->info.n_exits, (int)service->options.queue);
  if (served->upto >= 0) ex__text_add(json, ",\"upto\":%d", (int)served->upto);
  ex__text_add(json, ",\"drift\":{\"known\":%s,\"alarm\":%s,\"later\":%d,\"windows\":%lld",
               drift.known[0] || drift.known[1] ? "true" : "false", drift.alarm ? "true" : "false",
               (int)drift.later, (long long)drift.windows);
  write_index(json, "exit", drift.index[0]);
  write_index(json, "confidence", drift.index[1]);
  ex__text_add(json, ",\"limit\":%.4g},", service->options.drift_limit);
  ex__past_write(service->past, since, served->info.n_exits, json);
  ex__text_add(json, "}");
  ex__served_release(served);
}

void ex__dashboard_data(struct ex_exchange *exchange) {
  struct ex_server *server = exchange->server;
  struct ex_text *json = &exchange->answer;
  pthread_mutex_lock(&server->past_lock);
  ex__text_add(json, "{\"next\":%lld,\"models\":[", (long long)server->services[0]->past->n);
  for (int32_t i = 0; i < server->n_services; i++) {
    if (i > 0) ex__text_add(json, ",");
    write_model(server->services[i], exchange->since, json);
  }
  pthread_mutex_unlock(&server->past_lock);
  ex__text_add(json, "]}");
}
