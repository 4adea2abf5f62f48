/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/service: a name, and the model that is served under it now.
 *
 * A model that was loaded is a *generation*: it never changes, and is counted
 * by those who use it. Reloading makes a new one beside the old, swaps, and
 * frees the old when its last request was answered, so nothing is dropped.
 */
#ifndef EX_SERVE_SERVICE_H
#define EX_SERVE_SERVICE_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/pipeline.h"
#include "serve/drift.h"
#include "serve/packet.h"
#include "serve/past.h"
#include "serve/statistics.h"

struct ex_service_options {
  int32_t workers;        /* threads per model, 1 … 256 */
  int32_t queue;          /* samples inside at once, per model, 1 … 65536 */
  const char *policy;     /* an exit rule in place of the models' own; NULL */
  const char *const *set; /* [n_set] "KEY=VALUE" for the rule */
  int32_t n_set;
  double shadow;        /* share of inputs that go on to full depth unseen, [0, 1] */
  int32_t drift_window; /* samples; 0: no drift guard */
  double drift_limit;   /* population stability index */
  bool drift_acts;      /* later exits after an alarm */
  /* Behind the cut another server goes on, which serves the same model by the same name. */
  const char *upstream;    /* its address, "http://host:port"; NULL: the whole is run here */
  int32_t upto;            /* the exit behind which the cut lies, [0, n_exits − 2], or
                               EX_UPTO_AUTO (serve/upto.h) */
  enum ex_cut_form cut;    /* how numbers cross */
  double upstream_seconds; /* most that it may take to answer, (0, 3600] */
  const char *token;       /* bearer, of requests to it; NULL: none */
  const char *authority;   /* file of certificates to trust; NULL: the system's */
  void (*log)(const char *text);
};

struct ex_served {
  ex_model *model;
  ex_engine *engine;
  ex_pipeline *pipeline;
  struct ex_model_info info;
  int64_t features;
  char **quoted; /* [n_outputs] labels as JSON strings */
  atomic_int users;
  uint8_t mark[EX_PACKET_MARK]; /* of weights, structure and rule */
  char mark_text[2 * EX_PACKET_MARK + 1];
  int32_t upto;       /* the exit behind which the cut lies; EX_UPTO_WHOLE: none */
  double certified;   /* risk, in [0, 2], that the receipt certifies; infinity: none */
  int32_t generation; /* counts loads under this name, from 1 */
  struct ex_served *older;
};

typedef struct ex_service ex_service;
struct ex_service {
  char *name, *path;
  struct ex_service_options options;
  struct ex_statistics statistics;
  struct ex_drift drift;
  struct ex_past *past;      /* under the server's past_lock */
  ex_uplink *uplink;         /* NULL: the whole is run here */
  atomic_llong n_sampled;    /* samples that were considered for shadow */
  pthread_mutex_t lock;      /* of the two below */
  struct ex_served *served;  /* now; never NULL */
  struct ex_served *retired; /* a list by `older` */
};

/* `given`: "NAME=PATH", or "PATH", named after its file. Names are made of
 * letters, digits, '.', '_' and '-'. Loads the model. */
enum ex_status ex__service_new(const char *given, const struct ex_service_options *options,
                               ex_service **out, struct ex_error *err);
/* Loads the file anew. After an error the old one is served on. */
enum ex_status ex__service_reload(ex_service *service, struct ex_error *err);
struct ex_served *ex__service_take(ex_service *service); /* counted; give it back */
void ex__served_release(struct ex_served *served);
/* Frees generations that nobody uses any more; not from a pipeline's worker. */
void ex__service_sweep(ex_service *service);
void ex__service_free(ex_service *service); /* accepts NULL; waits for answers */

#endif
