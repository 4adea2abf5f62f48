/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/upto: probes, and the comparison of what they show.
 */
#include "serve/upto.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"
#include "serve/inference_internal.h"

enum { PROBES = 5, BITS_OF_NOISE = 255 };
static const double long_enough = 1; /* seconds of probing one cut */
static const int64_t longest_probe_ns = 5000000000;

/* Something that is waited for. */
struct event {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool happened;
};

static void event_signal(struct event *event) {
  pthread_mutex_lock(&event->lock);
  event->happened = true;
  pthread_cond_signal(&event->changed);
  pthread_mutex_unlock(&event->lock);
}

static void event_await(struct event *event) {
  pthread_mutex_lock(&event->lock);
  while (!event->happened) pthread_cond_wait(&event->changed, &event->lock);
  event->happened = false;
  pthread_mutex_unlock(&event->lock);
}

struct probe {
  struct ex_uplink_call call; /* first */
  struct event event;
  enum ex_uplink_end end;
};

/* ---- a packet of each cut --------------------------------------------------------- */

static void crossed(void *context, const struct ex_pipeline_answer *answer) {
  (void)answer;
  event_signal(context);
}

/* Noise through the network up to a cut, whatever the rule says of it. */
static bool cross(const struct ex_served *served, struct event *event, const float *x,
                  struct ex_crossing *crossing) {
  const struct ex_ticket ticket = {.x = x,
                                   .max_exit = -1,
                                   .later = served->info.n_exits,
                                   .deadline_ns = INT64_MAX,
                                   .crossing = crossing,
                                   .answered = crossed,
                                   .context = event};
  const struct ex_ticket *tickets = &ticket;
  if (!ex__pipeline_submit(served->pipeline, &tickets, 1)) return false;
  event_await(event);
  crossing->stops = false; /* it goes on as one that has not left */
  crossing->target = crossing->point + 1;
  return true;
}

static void answered(struct ex_uplink_call *call, enum ex_uplink_end end, const char *reply,
                     size_t size) {
  struct probe *probe = (struct probe *)call;
  (void)reply, (void)size;
  probe->end = end;
  event_signal(&probe->event);
}

/* Seconds until a packet's answer; NaN: there was none. The first of a connection
 * pays for making it, and does not count where there is a second. */
static double time_probe(ex_service *service, struct probe *probe) {
  double least = NAN, spent = 0;
  for (int i = 0; i < PROBES && spent < long_enough; i++) {
    int64_t began = ex__now_ns();
    probe->call.until_ns = began + longest_probe_ns;
    probe->call.done = answered;
    ex__uplink_send(service->uplink, &probe->call);
    event_await(&probe->event);
    if (probe->end != EX_UPLINK_ANSWERED) return NAN;
    double seconds = (double)(ex__now_ns() - began) / 1e9;
    spent += seconds;
    if (i <= 1 || seconds < least) least = seconds;
  }
  return least;
}

static enum ex_status probe_cut(const struct ex_served *served, ex_service *service,
                                struct probe *probe, const float *x, struct ex_crossing *crossing,
                                double *there, int64_t *bytes, struct ex_error *err) {
  const struct ex_infer_request nothing_special = {.max_exit = -1, .max_risk = NAN};
  *there = NAN;
  if (!cross(served, &probe->event, x, crossing)) return EX_OK; /* the queue is full */
  EX_TRY(ex__inference_write_call(served, service->options.cut, crossing, x, &nothing_special, 0,
                                  (int64_t)(service->options.upstream_seconds * 1e6), &probe->call,
                                  err));
  *bytes = (int64_t)probe->call.body.size;
  *there = time_probe(service, probe);
  return EX_OK;
}

/* ---- the comparison ------------------------------------------------------------------ */

int32_t ex__upto_compare(const struct ex_cost *cost, const struct ex_point *points,
                         int32_t n_points, const double *shares, const double *there,
                         struct ex_upto_view *views) {
  double reach = 1, here = 0; /* share of inputs that come so far; mean seconds until then */
  int32_t stage = 0, best = EX_UPTO_WHOLE;
  for (int32_t p = 0; p < n_points; p++) {
    struct ex_upto_view *view = &views[p];
    for (; stage <= points[p].stage; stage++) here += reach * (double)cost->body_ns[stage] / 1e9;
    here += reach * (double)(cost->head_ns[p] + cost->gate_ns[p]) / 1e9;
    reach -= shares[p];
    view->here = here;
    view->crosses = p < n_points - 1 && reach > 0 ? reach : 0;
    view->there = p < n_points - 1 ? there[p] : 0;
    view->mean = here + view->crosses * view->there;
  }
  for (int32_t p = 0; p < n_points - 1; p++)
    if (views[p].mean < (best < 0 ? views[n_points - 1].mean : views[best].mean)) best = p;
  return best;
}

static void tell(const ex_service *service, const struct ex_upto_view *views, int32_t n_points,
                 int32_t chosen) {
  char line[256];
  if (service->options.log == NULL) return;
  for (int32_t p = 0; p < n_points - 1; p++) {
    if (isnan(views[p].there)) continue;
    snprintf(line, sizeof line,
             "%s: up to exit %d: %.3f ms here, %.1f %% of inputs cross, %lld bytes in %.3f ms: "
             "%.3f ms on average%s",
             service->name, (int)p, 1e3 * views[p].here, 100 * views[p].crosses,
             (long long)views[p].bytes, 1e3 * views[p].there, 1e3 * views[p].mean,
             p == chosen ? ", the least" : "");
    service->options.log(line);
  }
  snprintf(line, sizeof line, "%s: all here: %.3f ms on average%s", service->name,
           1e3 * views[n_points - 1].mean,
           chosen == EX_UPTO_WHOLE ? ", the least: nothing will be sent upstream" : "");
  service->options.log(line);
}

/* ---- choosing ------------------------------------------------------------------------ */

/* Bytes of an image, or about as large where inputs are ready numbers. */
static float *make_noise(const struct ex_served *served) {
  float *x = ex__alloc((size_t)served->features, sizeof *x);
  struct ex_random random = ex__random_seed(1, 1);
  for (int64_t i = 0; x != NULL && i < served->features; i++)
    x[i] = (float)floor(ex__random_uniform(&random) * BITS_OF_NOISE);
  return x;
}

static enum ex_status probe_all(const struct ex_served *served, ex_service *service,
                                struct probe *probe, double *there, struct ex_upto_view *views,
                                struct ex_error *err) {
  const ex_partition *partition = ex__pipeline_partition(served->pipeline);
  float *x = make_noise(served);
  enum ex_status status = x != NULL ? EX_OK : EX_ENOMEM;
  bool any = false;
  for (int32_t p = 0; status == EX_OK && p < served->info.n_exits - 1; p++) {
    there[p] = NAN;
    if (ex__partition_pays(partition, p, NULL) != EX_OK) continue;
    struct ex_crossing crossing = {.point = p};
    crossing.numbers = ex__alloc((size_t)ex__partition_most(partition, p), sizeof(ex_real));
    if (crossing.numbers == NULL)
      status = EX_ENOMEM;
    else
      status = probe_cut(served, service, probe, x, &crossing, &there[p], &views[p].bytes, err);
    any = any || !isnan(there[p]);
    ex__free(crossing.numbers);
  }
  ex__free(x);
  if (status == EX_ENOMEM) return ex__fail(err, status, "upstream: no memory for probes");
  if (status == EX_OK && !any)
    return ex__fail(err, EX_EDEADLINE,
                    "upstream %s did not answer (%s), so the best cut is not known; say --upto "
                    "with the number of an exit",
                    service->options.upstream, ex__uplink_end[probe->end]);
  return status;
}

enum ex_status ex__upto_choose(const struct ex_served *served, ex_service *service, int32_t *out,
                               struct ex_error *err) {
  double shares[EX_MAX_POINTS] = {0}, there[EX_MAX_POINTS] = {0};
  struct ex_upto_view views[EX_MAX_POINTS] = {{0}};
  const ex_net *net = served->model->net;
  if (!ex__drift_exit_shares(served->model, shares))
    return ex__fail(err, EX_EINVAL,
                    "the receipt does not say where inputs leave, so the best cut is not known; "
                    "calibrate the model, or say --upto with the number of an exit");
  struct probe probe = {.end = EX_UPLINK_DOWN};
  pthread_mutex_init(&probe.event.lock, NULL);
  pthread_cond_init(&probe.event.changed, NULL);
  enum ex_status status = probe_all(served, service, &probe, there, views, err);
  ex__text_clear(&probe.call.body);
  pthread_cond_destroy(&probe.event.changed);
  pthread_mutex_destroy(&probe.event.lock);
  if (status != EX_OK) return status;
  *out = ex__upto_compare(ex__engine_cost(served->engine), net->points, net->n_points, shares,
                          there, views);
  tell(service, views, net->n_points, *out);
  return EX_OK;
}
