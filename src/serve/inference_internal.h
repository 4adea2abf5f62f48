/* SPDX-License-Identifier: Apache-2.0
 * serve/inference_internal: what the files of a request for answers share. */
#ifndef EX_SERVE_INFERENCE_INTERNAL_H
#define EX_SERVE_INFERENCE_INTERNAL_H

#include "serve/inference.h"

struct ex_inference_sample {
  ex_inference *inference;
  struct ex_ticket ticket;
  int32_t n_answers;
  struct ex_pipeline_answer answer[2]; /* the first; the final where it is another */
  /* Of a server that is split: what crosses, and what was answered before the cut. */
  struct ex_crossing crossing;
  struct ex_uplink_call call;
  struct ex_pipeline_answer near, far; /* far: of the other server, where it was accepted */
  float *logits;                       /* [2][n_outputs]: before the cut, and behind it */
  enum ex_uplink_end end;
};

struct ex_inference {
  atomic_int references, first_left, final_left;
  ex_service *service;
  struct ex_served *served;
  struct ex_infer_request request;
  bool early;
  int64_t began_ns, deadline_ns; /* INT64_MAX: none */
  pthread_mutex_t lock;          /* of the two below */
  ex_inference_wake *wake;
  void *context;
  struct ex_inference_sample *samples; /* [n] */
  const struct ex_ticket **tickets;    /* [n] */
  float *logits[2];                    /* [n][n_outputs] of each answer */
};

/* inference.c: an answer that the client is to be told, or one of two. */
void ex__inference_record(struct ex_inference_sample *sample,
                          const struct ex_pipeline_answer *answer);

/* inference_split.c */
/* Memory for what may cross, of a server that is split. */
enum ex_status ex__inference_split(struct ex_inference_sample *sample, struct ex_error *err);
/* The body of a call that sends on what crossed, in the form of the service, for what
 * a client asked here; x [features] is the input. EX_ENOMEM, EX_ENOTFINITE. */
enum ex_status ex__inference_write_call(const struct ex_served *served, enum ex_cut_form form,
                                        const struct ex_crossing *crossing, const float *x,
                                        const struct ex_infer_request *asked, int32_t later,
                                        int64_t left_us, struct ex_uplink_call *call,
                                        struct ex_error *err);
/* The sample goes on upstream; what becomes of it is recorded. */
void ex__inference_cross(struct ex_inference_sample *sample,
                         const struct ex_pipeline_answer *answer);
void ex__inference_clear_split(struct ex_inference_sample *sample);
/* Of a request that began elsewhere: goes on from its cut. */
enum ex_status ex__inference_behind(ex_inference *inference, struct ex_error *err);

#endif
