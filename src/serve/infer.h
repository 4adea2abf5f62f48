/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/infer: a request for answers and its reply, as the Open Inference
 * Protocol writes them: JSON, with tensors beside it in binary where the client
 * says so. Neither HTTP nor threads are known here.
 *
 * Input: one tensor "input", FP32 (or another type of number), shape
 * [n][dim…] or [dim…], raw values as the model was trained on.
 * Or BYTES [n], in binary: PNG or JPEG images, fitted to the model's input.
 * Or, for one sample, "cut": UINT8 [bytes], in binary: a packet (serve/packet.h) of a
 * sample that another machine of the same model has begun.
 * Outputs, all of them unless some are named:
 *   label INT32 [n] · name BYTES [n] · confidence FP32 [n] · exit INT32 [n] ·
 *   macs INT64 [n] · logits FP32 [n][n_outputs]
 */
#ifndef EX_SERVE_INFER_H
#define EX_SERVE_INFER_H

#include "base/text.h"
#include "engine/pipeline.h"

enum ex_infer_output {
  EX_OUTPUT_LABEL,
  EX_OUTPUT_NAME,
  EX_OUTPUT_CONFIDENCE,
  EX_OUTPUT_EXIT,
  EX_OUTPUT_MACS,
  EX_OUTPUT_LOGITS,
  EX_INFER_OUTPUTS
};
extern const char *const ex__infer_output_name[EX_INFER_OUTPUTS];
extern const char *const ex__infer_output_type[EX_INFER_OUTPUTS];

struct ex_infer_request {
  char *id;           /* as a JSON string; NULL: none was given */
  int32_t n;          /* samples */
  float *x;           /* [n][features]; NULL where there is a cut */
  char mark[20];      /* of the network and rule that are meant, hexadecimal; "": any */
  const uint8_t *cut; /* [cut_size], within the body; NULL where there is x */
  size_t cut_size;
  int32_t max_exit;    /* −1: the network's last */
  int64_t deadline_us; /* from when the request had come; INT64_MAX: none */
  double max_risk;     /* NaN: as the model was calibrated */
  int32_t later;       /* exits later than the policy says: the drift guard's before a cut */
  bool has_classes;
  int32_t n_classes, classes[EX_MAX_LIST];
  int32_t n_outputs;
  struct {
    enum ex_infer_output what;
    bool binary;
  } output[EX_INFER_OUTPUTS];
};

/* body [size]: JSON, of `header_length` bytes where binary tensors follow (−1:
 * all of it). At most max_n samples. Errors name what was given and the rule;
 * EX_ENOMEM apart they are the client's. *out is to be cleared in any case. */
enum ex_status ex__infer_parse(const ex_model *model, int32_t max_n, const void *body, size_t size,
                               int64_t header_length, struct ex_infer_request *out,
                               struct ex_error *err);
void ex__infer_clear(struct ex_infer_request *request);
static inline bool ex__infer_wants(const struct ex_infer_request *request,
                                   enum ex_infer_output what) {
  for (int32_t i = 0; i < request->n_outputs; i++)
    if (request->output[i].what == what) return true;
  return false;
}

struct ex_infer_reply {
  const char *name;         /* of the model */
  char *const *quoted;      /* [n_classes] labels as JSON strings */
  const char *const *label; /* [n_classes] plain */
  int32_t n_classes;
  const struct ex_infer_request *request;
  const struct ex_result *results; /* [n] */
  const float *logits;             /* [n][n_classes] */
  bool split;                      /* another machine goes on behind a cut; then, of the samples: */
  int32_t n_upstream, n_alone;     /* answered there; here, though they should have been there */
};
/* Appends the JSON to `json` and the binary tensors to `binary`. The parameters
 * exit, confidence and macs are those of the sample; of several, the deepest
 * exit, the lowest confidence, the sum. */
void ex__infer_write(const struct ex_infer_reply *reply, struct ex_text *json,
                     struct ex_text *binary);
/* The tensor, in binary, that follows a request to the machine behind the cut. */
struct ex_infer_tensor {
  const char *name, *datatype;  /* "cut", "UINT8" */
  const struct ex_shape *shape; /* of one sample; NULL: [size] */
  size_t size;                  /* bytes */
};
/* The JSON of a request that asks the machine behind the cut for what a client asked
 * here, of one sample, with `left_us` left, to be answered `later` exits later than the
 * policy says, by the network and rule of the mark. */
void ex__infer_write_call(const struct ex_infer_request *asked, int32_t later, int64_t left_us,
                          const char *mark, const struct ex_infer_tensor *tensor,
                          struct ex_text *json);
/* Its reply: label, exit, macs, confidence, and where `logits` are wanted
 * result->logits [n_outputs]. EX_EFORMAT and the like: what is wrong with it. */
enum ex_status ex__infer_read_reply(const void *json, size_t size, const struct ex_model_info *info,
                                    bool logits, struct ex_result *result, struct ex_error *err);
/* {"error": "…"} */
void ex__infer_write_error(const char *message, struct ex_text *json);

#endif
