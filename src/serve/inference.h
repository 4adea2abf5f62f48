/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/inference: one request for answers on its way through a pipeline.
 *
 * It is counted: by the exchange that reads its answers, and, as long as one of
 * its samples is under way, by the pipeline. So a client is answered as soon as
 * it can be, and may go, while a shadow run still goes on to full depth.
 */
#ifndef EX_SERVE_INFERENCE_H
#define EX_SERVE_INFERENCE_H

#include "serve/infer.h"
#include "serve/service.h"

enum ex_inference_news {
  EX_NEWS_EARLY, /* every sample has an answer, and some will have a better one */
  EX_NEWS_FINAL  /* all is said that the client is told */
};

typedef struct ex_inference ex_inference;
/* Called by a worker, each of the news at most once, the final one always. */
typedef void ex_inference_wake(void *context, enum ex_inference_news news);

/* Parses the body; nothing runs yet. `early`: the client wants early answers first. */
enum ex_status ex__inference_new(ex_service *service, const void *body, size_t size,
                                 int64_t header_length, bool early, ex_inference **out,
                                 struct ex_error *err);
/* false: no room now, nothing was begun. The news may come before it returns. */
bool ex__inference_start(ex_inference *inference, int64_t began_ns, ex_inference_wake *wake,
                         void *context);
/* After the news: EX_OK and the reply is appended; else the error. */
enum ex_status ex__inference_reply(const ex_inference *inference, enum ex_inference_news news,
                                   struct ex_text *json, struct ex_text *binary,
                                   struct ex_error *err);
/* No further news; the context may go. Accepts NULL. */
void ex__inference_forget(ex_inference *inference);
void ex__inference_release(ex_inference *inference); /* accepts NULL */

#endif
