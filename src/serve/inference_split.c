/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/inference_split: samples that another server goes on with, and samples that
 * another has begun.
 *
 * Whatever becomes of the link, the client is answered in time: by the other server,
 * or with the best answer from before the cut.
 */
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "serve/inference_internal.h"

/* The client must be answered in time, so the link's time ends a little before. */
static const int64_t reserve_ns = 500000;

enum ex_status ex__inference_split(struct ex_inference_sample *sample, struct ex_error *err) {
  const ex_inference *inference = sample->inference;
  const ex_partition *partition = ex__pipeline_partition(inference->served->pipeline);
  size_t n_outputs = (size_t)inference->served->info.n_outputs;
  int32_t point = inference->served->upto;
  sample->crossing.point = point;
  sample->crossing.numbers =
      ex__alloc((size_t)ex__partition_most(partition, point), sizeof(ex_real));
  sample->logits = ex__calloc(2 * n_outputs, sizeof(float));
  if (sample->crossing.numbers != NULL && sample->logits != NULL) return EX_OK;
  return ex__fail(err, EX_ENOMEM, "no memory for a cut");
}

void ex__inference_clear_split(struct ex_inference_sample *sample) {
  ex__free(sample->crossing.numbers);
  ex__free(sample->logits);
  ex__text_clear(&sample->call.body);
}

enum ex_status ex__inference_behind(ex_inference *inference, struct ex_error *err) {
  const struct ex_infer_request *request = &inference->request;
  const struct ex_served *served = inference->served;
  if (request->cut == NULL) return EX_OK;
  return ex__packet_read(ex__pipeline_partition(served->pipeline), served->mark, request->cut,
                         request->cut_size, &inference->samples[0].crossing, err);
}

/* ---- to the other server and back -------------------------------------------------- */

static struct ex_inference_sample *sample_of(struct ex_uplink_call *call) {
  return (struct ex_inference_sample *)((char *)call - offsetof(struct ex_inference_sample, call));
}

/* The multiply-adds of both, and the exit at which the policy left where it did there. */
static bool read_far(struct ex_uplink_call *call, const char *reply, size_t size) {
  struct ex_inference_sample *sample = sample_of(call);
  struct ex_pipeline_answer *far = &sample->far;
  const ex_inference *inference = sample->inference;
  bool logits = ex__infer_wants(&inference->request, EX_OUTPUT_LOGITS);
  *far = sample->near;
  far->result.logits = sample->logits + inference->served->info.n_outputs;
  if (ex__infer_read_reply(reply, size, &inference->served->info, logits, &far->result, NULL) !=
      EX_OK)
    return false;
  far->status = EX_OK;
  far->logits = far->result.logits;
  far->result.stage = inference->served->model->net->points[far->result.exit].stage;
  far->result.macs += sample->near.result.macs;
  if (far->wanted < 0) far->wanted = far->result.exit;
  return true;
}

/* Was the body sent, as far as can be known here: a call whose time was over before it
 * began was not. */
static bool was_sent(const struct ex_uplink_call *call, enum ex_uplink_end end) {
  if (end == EX_UPLINK_LATE) return call->until_ns > call->began_ns;
  return end == EX_UPLINK_ANSWERED || end == EX_UPLINK_REFUSED;
}

static void come_back(struct ex_uplink_call *call, enum ex_uplink_end end, const char *reply,
                      size_t size) {
  struct ex_inference_sample *sample = sample_of(call);
  struct ex_statistics *statistics = &sample->inference->service->statistics;
  struct ex_pipeline_answer final = end == EX_UPLINK_ANSWERED ? sample->far : sample->near;
  (void)reply, (void)size;
  sample->end = end;
  ex__count(&statistics->upstream[end], 1);
  if (end == EX_UPLINK_ANSWERED) ex__count(&statistics->upstream_ns, ex__now_ns() - call->began_ns);
  if (was_sent(call, end)) ex__count(&statistics->upstream_bytes, (int64_t)call->body.size);
  ex__text_clear(&call->body);
  final.final = true;
  ex__inference_record(sample, &final);
}

/* Of the time that is left, what the other server may take: its answer has to come
 * back, too. A link that seems slower than that is tried all the same. */
static int64_t time_there(ex_uplink *uplink, int64_t left) {
  int64_t there = left - ex__uplink_link_ns(uplink);
  return there > left / 4 ? there : left > 0 ? left / 4 : 0;
}

/* Bytes where all numbers are, as those of images; else floats. */
static const char *write_input(const float *x, int64_t n, struct ex_text *out) {
  int64_t bytes = 0;
  while (bytes < n && x[bytes] >= 0 && x[bytes] <= 255 && x[bytes] == (float)(uint8_t)x[bytes])
    bytes++;
  if (bytes < n) {
    ex__text_add_bytes(out, x, (size_t)n * sizeof *x);
    return "FP32";
  }
  for (int64_t i = 0; i < n; i++) {
    const uint8_t byte = (uint8_t)x[i];
    ex__text_add_bytes(out, &byte, 1);
  }
  return "UINT8";
}

enum ex_status ex__inference_write_call(const struct ex_served *served, enum ex_cut_form form,
                                        const struct ex_crossing *crossing, const float *x,
                                        const struct ex_infer_request *asked, int32_t later,
                                        int64_t left_us, struct ex_uplink_call *call,
                                        struct ex_error *err) {
  struct ex_infer_tensor tensor = {.name = "cut", .datatype = "UINT8"};
  struct ex_text binary = {0};
  enum ex_status status = EX_OK;
  if (form == EX_CUT_INPUT) {
    tensor.name = "input";
    tensor.datatype = write_input(x, served->features, &binary);
    tensor.shape = &served->model->net->input;
  } else {
    status = ex__packet_write(ex__pipeline_partition(served->pipeline), crossing, form,
                              served->mark, &binary, err);
  }
  tensor.size = binary.size;
  call->body.size = 0;
  if (status == EX_OK) {
    ex__infer_write_call(asked, later, left_us, served->mark_text, &tensor, &call->body);
    call->json_size = call->body.size;
    ex__text_add_bytes(&call->body, binary.data, binary.size);
    if (ex__text_status(&binary) != EX_OK || ex__text_status(&call->body) != EX_OK)
      status = ex__fail(err, EX_ENOMEM, "upstream: no memory for a call");
  }
  ex__text_clear(&binary);
  return status;
}

static enum ex_status write_call(struct ex_inference_sample *sample, int64_t now) {
  const ex_inference *inference = sample->inference;
  const ex_service *service = inference->service;
  struct ex_uplink_call *call = &sample->call;
  call->accepts = read_far;
  call->done = come_back;
  call->until_ns = inference->deadline_ns;
  int64_t left = (int64_t)(service->options.upstream_seconds * 1e9);
  if (call->until_ns != INT64_MAX) {
    call->until_ns -= reserve_ns;
    if (call->until_ns - now < left) left = call->until_ns - now;
  }
  return ex__inference_write_call(inference->served, service->options.cut, &sample->crossing,
                                  sample->ticket.x, &inference->request, sample->ticket.later,
                                  time_there(service->uplink, left) / 1000, call, NULL);
}

void ex__inference_cross(struct ex_inference_sample *sample,
                         const struct ex_pipeline_answer *answer) {
  ex_inference *inference = sample->inference;
  ex_uplink *uplink = inference->service->uplink;
  sample->near = *answer;
  memcpy(sample->logits, answer->logits, (size_t)inference->served->info.n_outputs * sizeof(float));
  sample->near.logits = sample->near.result.logits = sample->logits;
  if (ex__uplink_skips(uplink) || write_call(sample, ex__now_ns()) != EX_OK) {
    come_back(&sample->call, EX_UPLINK_SKIPPED, "", 0);
    return;
  }
  if (inference->early && answer->status == EX_OK) {
    struct ex_pipeline_answer first = sample->near;
    first.final = false;
    ex__inference_record(sample, &first);
  }
  ex__uplink_send(uplink, &sample->call);
}
