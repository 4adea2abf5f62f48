/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/inference: tickets in, answers out.
 */
#include "serve/inference_internal.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

void ex__inference_release(ex_inference *inference) {
  if (inference == NULL || atomic_fetch_sub(&inference->references, 1) > 1) return;
  pthread_mutex_destroy(&inference->lock);
  ex__served_release(inference->served);
  for (int32_t i = 0; inference->samples != NULL && i < inference->request.n; i++)
    ex__inference_clear_split(&inference->samples[i]);
  ex__infer_clear(&inference->request);
  ex__free(inference->samples);
  ex__free(inference->tickets);
  ex__free(inference->logits[0]);
  ex__free(inference->logits[1]);
  ex__free(inference);
}

void ex__inference_forget(ex_inference *inference) {
  if (inference == NULL) return;
  pthread_mutex_lock(&inference->lock);
  inference->wake = NULL;
  pthread_mutex_unlock(&inference->lock);
}

/* ---- answers, from workers ----------------------------------------------------- */

static const struct ex_pipeline_answer *told(const ex_inference *inference, int32_t i,
                                             enum ex_inference_news news) {
  const struct ex_inference_sample *sample = &inference->samples[i];
  bool second = news == EX_NEWS_FINAL && inference->early && sample->n_answers == 2;
  return &sample->answer[second ? 1 : 0];
}

static enum ex_request_end end_of(const ex_inference *inference) {
  enum ex_request_end end = EX_REQUEST_ANSWERED;
  for (int32_t i = 0; i < inference->request.n; i++) {
    enum ex_status status = told(inference, i, EX_NEWS_FINAL)->status;
    if (status == EX_EDEADLINE)
      end = EX_REQUEST_LATE;
    else if (status != EX_OK)
      return EX_REQUEST_FAILED;
  }
  return end;
}

/* The lock is held, so that nobody who is told can be gone. */
static void give_news(ex_inference *inference, enum ex_inference_news news) {
  pthread_mutex_lock(&inference->lock);
  if (inference->wake != NULL) inference->wake(inference->context, news);
  pthread_mutex_unlock(&inference->lock);
}

/* Of what was asked of this server: where it began, and not where another did. */
static int64_t full_macs(const ex_inference *inference) {
  const struct ex_served *served = inference->served;
  if (inference->request.cut == NULL) return served->info.full_macs;
  return served->info.full_macs - ex__partition_macs(ex__pipeline_partition(served->pipeline),
                                                     inference->samples[0].crossing.point);
}

/* All is known that the client is told: it is counted, and the client woken. */
static void finish(ex_inference *inference) {
  struct ex_statistics *statistics = &inference->service->statistics;
  for (int32_t i = 0; i < inference->request.n; i++)
    ex__statistics_answer(statistics, told(inference, i, EX_NEWS_FINAL), full_macs(inference));
  ex__statistics_request(statistics, end_of(inference), ex__now_ns() - inference->began_ns);
  give_news(inference, EX_NEWS_FINAL);
}

static bool all_are_final(const ex_inference *inference) {
  for (int32_t i = 0; i < inference->request.n; i++)
    if (!inference->samples[i].answer[0].final) return false;
  return true;
}

/* Samples of which nothing but the policy decided tell what the inputs are like; not
 * those that another server began, which are the hard ones. */
static void note_drift(const ex_inference *inference, const struct ex_inference_sample *sample,
                       const struct ex_pipeline_answer *answer) {
  const struct ex_ticket *ticket = &sample->ticket;
  if (ticket->x == NULL) return;
  if (ticket->max_exit < 0 && ticket->classes == NULL && ticket->deadline_ns == INT64_MAX)
    ex__drift_note(&inference->service->drift, answer->wanted, answer->first_confidence);
}

/* The answer that a shadow run comes to, unseen by the client. */
static void note_shadow(const ex_inference *inference, const struct ex_inference_sample *sample) {
  struct ex_statistics *statistics = &inference->service->statistics;
  if (sample->answer[1].status != EX_OK) return;
  ex__count(&statistics->shadowed, 1);
  if (sample->answer[0].result.label != sample->answer[1].result.label)
    ex__count(&statistics->disagreed, 1);
}

void ex__inference_record(struct ex_inference_sample *sample,
                          const struct ex_pipeline_answer *answer) {
  ex_inference *inference = sample->inference;
  int32_t k = sample->n_answers++, n_outputs = inference->served->info.n_outputs;
  ptrdiff_t index = sample - inference->samples;
  sample->answer[k] = *answer;
  if (inference->logits[k] != NULL)
    memcpy(inference->logits[k] + index * n_outputs, answer->logits,
           (size_t)n_outputs * sizeof(float));
  bool final = answer->final;
  if (answer->crosses ? final : k == 0) note_drift(inference, sample, answer);
  if (k == 1 && !inference->early) note_shadow(inference, sample);
  if (k == 0 && atomic_fetch_sub(&inference->first_left, 1) == 1) {
    if (!inference->early)
      finish(inference);
    else if (!all_are_final(inference))
      give_news(inference, EX_NEWS_EARLY);
  }
  if (!final || atomic_fetch_sub(&inference->final_left, 1) > 1) return;
  if (inference->early) finish(inference);
  ex__inference_release(inference); /* the pipeline's */
}

static void take_answer(void *context, const struct ex_pipeline_answer *answer) {
  struct ex_inference_sample *sample = context;
  if (answer->crosses)
    ex__inference_cross(sample, answer);
  else
    ex__inference_record(sample, answer);
}

/* ---- making and starting --------------------------------------------------------- */

static enum ex_status reserve(ex_inference *inference, struct ex_error *err) {
  size_t n = (size_t)inference->request.n;
  size_t n_outputs = (size_t)inference->served->info.n_outputs;
  inference->samples = ex__calloc(n, sizeof *inference->samples);
  inference->tickets = ex__calloc(n, sizeof(struct ex_ticket *));
  inference->logits[0] = ex__calloc(n * n_outputs, sizeof(float));
  if (inference->early) inference->logits[1] = ex__calloc(n * n_outputs, sizeof(float));
  if (inference->samples == NULL || inference->tickets == NULL || inference->logits[0] == NULL ||
      (inference->early && inference->logits[1] == NULL))
    return ex__fail(err, EX_ENOMEM, "no memory for %zu samples", n);
  for (size_t i = 0; i < n; i++) {
    inference->samples[i].inference = inference;
    if (inference->served->upto >= 0 && inference->request.cut == NULL)
      EX_TRY(ex__inference_split(&inference->samples[i], err));
  }
  return EX_OK;
}

static enum ex_status check_classes(const ex_inference *inference, struct ex_error *err) {
  if (!inference->request.has_classes || ex__engine_minds_classes(inference->served->engine))
    return EX_OK;
  return ex__fail(err, EX_EUNSUPPORTED,
                  "parameters.classes: the exit rule of this model knows no classes of interest");
}

/* Whoever sends on what it began means the model that it has itself. */
static enum ex_status check_mark(const ex_inference *inference, struct ex_error *err) {
  const char *asked = inference->request.mark;
  if (asked[0] == '\0' || strcmp(asked, inference->served->mark_text) == 0) return EX_OK;
  return ex__fail(err, EX_EINVAL,
                  "parameters.mark: another network or exit rule is served here; both machines "
                  "must serve the same model");
}

enum ex_status ex__inference_new(ex_service *service, const void *body, size_t size,
                                 int64_t header_length, bool early, ex_inference **out,
                                 struct ex_error *err) {
  *out = NULL;
  ex_inference *inference = ex__calloc(1, sizeof *inference);
  if (inference == NULL) return ex__fail(err, EX_ENOMEM, "no memory for a request");
  atomic_init(&inference->references, 1);
  pthread_mutex_init(&inference->lock, NULL);
  inference->service = service;
  inference->served = ex__service_take(service);
  inference->early = early;
  enum ex_status status = ex__infer_parse(inference->served->model, service->options.queue, body,
                                          size, header_length, &inference->request, err);
  for (int32_t i = 0; early && i < inference->request.n_outputs; i++)
    inference->request.output[i].binary = false; /* events are text */
  if (status == EX_OK) status = check_classes(inference, err);
  if (status == EX_OK) status = check_mark(inference, err);
  if (status == EX_OK) status = reserve(inference, err);
  if (status == EX_OK) status = ex__inference_behind(inference, err);
  if (status == EX_OK)
    *out = inference;
  else
    ex__inference_release(inference);
  return status;
}

/* Of every 1/share samples one, evenly. */
static bool is_shadowed(ex_service *service) {
  double share = service->options.shadow;
  if (!(share > 0)) return false;
  double k = (double)atomic_fetch_add(&service->n_sampled, 1);
  return floor((k + 1) * share) > floor(k * share);
}

/* As the drift guard says, here or before the cut. A risk below what the receipt
 * certifies can be kept by full depth alone, against which it is measured. */
static int32_t exits_later(const ex_inference *inference) {
  double risk = inference->request.max_risk;
  if (!isnan(risk) && !(inference->served->certified <= risk))
    return inference->served->info.n_exits;
  int32_t later = ex__drift_later(&inference->service->drift);
  return later > inference->request.later ? later : inference->request.later;
}

static void write_tickets(ex_inference *inference) {
  const struct ex_infer_request *request = &inference->request;
  inference->deadline_ns = INT64_MAX;
  if (request->deadline_us != INT64_MAX)
    inference->deadline_ns = inference->began_ns + 1000 * request->deadline_us;
  int32_t later = exits_later(inference);
  for (int32_t i = 0; i < request->n; i++) {
    struct ex_inference_sample *sample = &inference->samples[i];
    bool whole = inference->served->upto < 0 && request->cut == NULL;
    sample->ticket = (struct ex_ticket){
        .x = request->cut == NULL ? request->x + i * inference->served->features : NULL,
        .max_exit = request->max_exit,
        .later = later,
        .both = whole && (inference->early || is_shadowed(inference->service)),
        .deadline_ns = inference->deadline_ns,
        .classes = request->has_classes ? request->classes : NULL,
        .n_classes = request->n_classes,
        .crossing = whole ? NULL : &sample->crossing,
        .answered = take_answer,
        .context = sample,
    };
    inference->tickets[i] = &sample->ticket;
  }
}

bool ex__inference_start(ex_inference *inference, int64_t began_ns, ex_inference_wake *wake,
                         void *context) {
  int32_t n = inference->request.n;
  inference->began_ns = began_ns;
  inference->wake = wake;
  inference->context = context;
  atomic_store(&inference->first_left, n);
  atomic_store(&inference->final_left, n);
  write_tickets(inference);
  atomic_fetch_add(&inference->references, 1); /* the pipeline's */
  if (ex__pipeline_submit(inference->served->pipeline, inference->tickets, n)) return true;
  atomic_fetch_sub(&inference->references, 1);
  return false;
}

/* ---- the reply --------------------------------------------------------------------- */

static enum ex_status check_answer(const struct ex_pipeline_answer *answer, int32_t i, int32_t n,
                                   struct ex_error *err) {
  if (answer->status == EX_OK) return EX_OK;
  if (n == 1) return ex__fail(err, answer->status, "%s", ex_status_text(answer->status));
  return ex__fail(err, answer->status, "sample %d: %s", (int)i, ex_status_text(answer->status));
}

/* An early answer comes before it is known. */
static void count_upstream(const ex_inference *inference, enum ex_inference_news news,
                           struct ex_infer_reply *reply) {
  for (int32_t i = 0; news == EX_NEWS_FINAL && i < inference->request.n; i++) {
    const struct ex_inference_sample *sample = &inference->samples[i];
    if (!told(inference, i, news)->crosses) continue;
    if (sample->end == EX_UPLINK_ANSWERED)
      reply->n_upstream++;
    else
      reply->n_alone++;
  }
}

enum ex_status ex__inference_reply(const ex_inference *inference, enum ex_inference_news news,
                                   struct ex_text *json, struct ex_text *binary,
                                   struct ex_error *err) {
  int32_t n = inference->request.n, n_outputs = inference->served->info.n_outputs;
  struct ex_result *results = ex__calloc((size_t)n, sizeof *results);
  float *logits = ex__alloc((size_t)n * (size_t)n_outputs, sizeof *logits);
  enum ex_status status = EX_OK;
  if (results == NULL || logits == NULL) status = ex__fail(err, EX_ENOMEM, "no memory for a reply");
  for (int32_t i = 0; status == EX_OK && i < n; i++) {
    const struct ex_pipeline_answer *answer = told(inference, i, news);
    int32_t which = (int32_t)(answer - inference->samples[i].answer);
    status = check_answer(answer, i, n, err);
    results[i] = answer->result;
    memcpy(logits + (int64_t)i * n_outputs, inference->logits[which] + (int64_t)i * n_outputs,
           (size_t)n_outputs * sizeof *logits);
  }
  if (status == EX_OK) {
    struct ex_infer_reply reply = {
        .name = inference->service->name,
        .quoted = inference->served->quoted,
        .label = (const char *const *)inference->served->model->labels,
        .n_classes = n_outputs,
        .request = &inference->request,
        .results = results,
        .logits = logits,
        .split = inference->served->upto >= 0,
    };
    count_upstream(inference, news, &reply);
    ex__infer_write(&reply, json, binary);
    if (ex__text_status(json) != EX_OK || ex__text_status(binary) != EX_OK)
      status = ex__fail(err, EX_ENOMEM, "no memory for a reply");
  }
  ex__free(results);
  ex__free(logits);
  return status;
}
