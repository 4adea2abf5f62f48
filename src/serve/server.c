/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/server: the life of a server, and its keeper.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "serve/server_internal.h"

/* ---- the keeper ------------------------------------------------------------------ */

static enum ex_status reload_one(ex_service *service, struct ex_error *err) {
  enum ex_status status = ex__service_reload(service, err);
  bool ok = status == EX_OK;
  ex__count(ok ? &service->statistics.reloads : &service->statistics.failed_reloads, 1);
  return status;
}

static void reload_all(struct ex_server *server) {
  struct ex_error err;
  for (int32_t i = 0; i < server->n_services; i++) {
    err.text[0] = '\0';
    if (reload_one(server->services[i], &err) != EX_OK && server->options.log != NULL)
      server->options.log(err.text);
  }
}

bool ex__server_load(struct ex_server *server, struct ex_exchange *exchange) {
  pthread_mutex_lock(&server->lock);
  bool taken = !server->stop;
  if (taken) {
    exchange->next_load = server->loads;
    server->loads = exchange;
    pthread_cond_broadcast(&server->changed);
  }
  pthread_mutex_unlock(&server->lock);
  return taken;
}

static void serve_loads(struct ex_exchange *exchange) {
  while (exchange != NULL) {
    struct ex_exchange *next = exchange->next_load;
    exchange->loaded = reload_one(exchange->service, &exchange->load_error);
    ex__exchange_resume(exchange);
    exchange = next;
  }
}

/* Sleeps until something is asked for, or a second is over. */
static bool await_second(struct ex_server *server, const struct timespec *until) {
  while (!server->stop && !server->reload && server->loads == NULL)
    if (pthread_cond_timedwait(&server->changed, &server->lock, until) == ETIMEDOUT) return true;
  return false;
}

static void note_second(struct ex_server *server) {
  pthread_mutex_lock(&server->past_lock);
  for (int32_t i = 0; i < server->n_services; i++) {
    ex_service *service = server->services[i];
    struct ex_served *served = ex__service_take(service);
    struct ex_pipeline_stats stats;
    ex__pipeline_stats(served->pipeline, &stats);
    ex__served_release(served);
    ex__past_note(service->past, &service->statistics, stats.waiting);
  }
  pthread_mutex_unlock(&server->past_lock);
}

static void *keep(void *context) {
  struct ex_server *server = context;
  struct timespec next;
  clock_gettime(CLOCK_MONOTONIC, &next);
  next.tv_sec++;
  pthread_mutex_lock(&server->lock);
  while (!server->stop || server->loads != NULL) {
    bool over = await_second(server, &next);
    bool reload = server->reload;
    server->reload = false;
    struct ex_exchange *loads = server->loads;
    server->loads = NULL;
    pthread_mutex_unlock(&server->lock);
    if (reload) reload_all(server);
    serve_loads(loads);
    ex__visitors_sweep(&server->visitors, ex__now_ns());
    for (int32_t i = 0; i < server->n_services; i++) ex__service_sweep(server->services[i]);
    if (over) {
      note_second(server);
      next.tv_sec++;
    }
    pthread_mutex_lock(&server->lock);
  }
  pthread_mutex_unlock(&server->lock);
  return NULL;
}

/* Signals belong to the program's own threads. */
static enum ex_status start_keeper(struct ex_server *server, struct ex_error *err) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  server->has_keeper = pthread_create(&server->keeper, NULL, keep, server) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return server->has_keeper ? EX_OK : ex__fail(err, EX_ENOMEM, "serve: cannot start a thread");
}

/* ---- life -------------------------------------------------------------------------- */

static enum ex_status add_model(struct ex_server *server, const char *given, struct ex_error *err) {
  ex_service *service;
  EX_TRY(ex__service_new(given, &server->options.service, &service, err));
  for (int32_t i = 0; i < server->n_services; i++)
    if (strcmp(server->services[i]->name, service->name) == 0) {
      ex__fail(err, EX_EINVAL, "two models are named \"%s\"; say NAME=FILE", service->name);
      ex__service_free(service);
      return EX_EINVAL;
    }
  server->services[server->n_services++] = service;
  return EX_OK;
}

static void make_condition(struct ex_server *server) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&server->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  pthread_mutex_init(&server->lock, NULL);
  pthread_mutex_init(&server->past_lock, NULL);
}

enum ex_status ex__server_new(const struct ex_server_options *options, const char *const *models,
                              int32_t n, ex_server **out, struct ex_error *err) {
  *out = NULL;
  if (n < 1 || n > EX_MAX_SERVICES)
    return ex__fail(err, EX_EINVAL, "%d models; must be in [1, %d]", (int)n, EX_MAX_SERVICES);
  ex_server *server = ex__calloc(1, sizeof *server);
  if (server == NULL) return ex__fail(err, EX_ENOMEM, "serve: no memory");
  server->options = *options;
  make_condition(server);
  ex__visitors_init(&server->visitors);
  enum ex_status status = EX_OK;
  for (int32_t i = 0; status == EX_OK && i < n; i++) status = add_model(server, models[i], err);
  if (status == EX_OK) status = start_keeper(server, err);
  if (status == EX_OK) status = ex__http_start(server, &server->http, err);
  if (status == EX_OK)
    *out = server;
  else
    ex__server_free(server, 0);
  return status;
}

int32_t ex__server_port(const ex_server *server) { return ex__http_port(server->http); }

void ex__server_reload(ex_server *server) {
  pthread_mutex_lock(&server->lock);
  server->reload = true;
  pthread_cond_broadcast(&server->changed);
  pthread_mutex_unlock(&server->lock);
}

/* Requests that have come are answered; those that come no more are not waited for. */
static void drain(ex_server *server, double seconds) {
  int64_t end = ex__now_ns() + (int64_t)(seconds * 1e9);
  atomic_store(&server->draining, true);
  if (server->http == NULL) return;
  ex__http_close_door(server->http);
  /* Each that is suspended will be woken; the library must not be stopped before. */
  const struct timespec nap = {.tv_nsec = 5000000};
  while (atomic_load(&server->exchanges) > 0 && ex__now_ns() < end) nanosleep(&nap, NULL);
  atomic_store(&server->closed, true);
  /* Nor is the server upstream waited for, which may be given more time than that. */
  for (int32_t i = 0; i < server->n_services; i++) ex__uplink_stop(server->services[i]->uplink);
  while (atomic_load(&server->suspended) > 0) nanosleep(&nap, NULL);
}

void ex__server_free(ex_server *server, double seconds) {
  if (server == NULL) return;
  drain(server, seconds);
  if (server->has_keeper) {
    pthread_mutex_lock(&server->lock);
    server->stop = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    pthread_join(server->keeper, NULL);
  }
  ex__http_stop(server->http);
  for (int32_t i = 0; i < server->n_services; i++) ex__service_free(server->services[i]);
  ex__visitors_free(&server->visitors);
  pthread_cond_destroy(&server->changed);
  pthread_mutex_destroy(&server->past_lock);
  pthread_mutex_destroy(&server->lock);
  ex__free(server);
}
