/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_serve: models over HTTP, until a signal says otherwise: SIGHUP loads
 * them anew, SIGTERM and SIGINT answer what has come and end.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/console.h"
#include "cli/explain.h"

#ifdef EX_HAVE_MICROHTTPD
#include "serve/server.h"
#include "serve/upto.h"
#endif

struct options {
  struct common_options common;
  const char *address, *token_file, *certificate, *key, *policy;
  const char *upto, *upstream, *cut, *upstream_token_file, *upstream_ca;
  int64_t port, queue, http_threads, connections, max_body;
  double timeout, drain, shadow, drift_limit, upstream_timeout;
  int64_t drift_window;
  bool drift_tell;
  struct assignments set;
};

static const struct option_spec table[] = {
    {"address", 'a', OPTION_TEXT, offsetof(struct options, address), "ADDRESS", 0, 0, NULL,
     "Numeric address to listen on; default 127.0.0.1, this machine alone."},
    {"port", 0, OPTION_INT, offsetof(struct options, port), "N", 0, 65535, "8080",
     "0: any that is free; it is printed."},
    {"queue", 0, OPTION_INT, offsetof(struct options, queue), "N", 1, 65536, "256",
     "Inputs that each model takes in at once; what comes beyond is answered 503."},
    {"token-file", 0, OPTION_TEXT, offsetof(struct options, token_file), "FILE", 0, 0, NULL,
     "Every call but health must bear the token in this file."},
    {"certificate", 0, OPTION_TEXT, offsetof(struct options, certificate), "FILE", 0, 0, NULL,
     "TLS with this certificate chain, PEM; with --key."},
    {"key", 0, OPTION_TEXT, offsetof(struct options, key), "FILE", 0, 0, NULL,
     "The certificate's private key, PEM."},
    {"max-body", 0, OPTION_INT, offsetof(struct options, max_body), "KIB", 1, 1048576, "16384",
     "Largest body of a request, in KiB."},
    {"connections", 0, OPTION_INT, offsetof(struct options, connections), "N", 1, 65536, "1024",
     "Connections at once."},
    {"timeout", 0, OPTION_REAL, offsetof(struct options, timeout), "SECONDS", 0.1, 3600, "30",
     "A request must have been sent in this time; idle connections are closed after it."},
    {"drain", 0, OPTION_REAL, offsetof(struct options, drain), "SECONDS", 0, 3600, "30",
     "On SIGTERM, what has come is answered for at most this long."},
    {"http-threads", 0, OPTION_INT, offsetof(struct options, http_threads), "N", 1, 64, "1",
     "Threads that read requests and write answers."},
    {"shadow", 0, OPTION_REAL, offsetof(struct options, shadow), "SHARE", 0, 1, "0",
     "Of this share of inputs the answer of full depth is found too, unseen by the client, and "
     "disagreement is counted."},
    {"drift-window", 0, OPTION_INT, offsetof(struct options, drift_window), "N", 0, 10000000,
     "1000",
     "Inputs after which exits and confidence are held against those of calibration; 0: never."},
    {"drift-limit", 0, OPTION_REAL, offsetof(struct options, drift_limit), "INDEX", 0.01, 100,
     "0.2", "Population stability index from which on it is an alarm."},
    {"drift-tell", 0, OPTION_FLAG, offsetof(struct options, drift_tell), NULL, 0, 0, NULL,
     "An alarm is told alone; else inputs also leave an exit later after each."},
    {"upto", 0, OPTION_TEXT, offsetof(struct options, upto), "EXIT", 0, 0, NULL,
     "Runs the network up to this exit, from 0 as in replies; inputs that have not left there go "
     "on at --upstream. auto: the exit that is fastest on average over the link as it is when the "
     "model is loaded."},
    {"upstream", 0, OPTION_TEXT, offsetof(struct options, upstream), "URL", 0, 0, NULL,
     "Another exeunt serve, with the same models under the same names. Where it does not answer in "
     "time, the best answer up to --upto is given."},
    {"cut", 0, OPTION_TEXT, offsetof(struct options, cut), "FORM", 0, 0, "int8",
     "How numbers are sent there: float32 (the answers are those of the whole network, bit by "
     "bit), int8 or int4; or input: the input itself, and the network is run anew there."},
    {"upstream-timeout", 0, OPTION_REAL, offsetof(struct options, upstream_timeout), "SECONDS",
     0.001, 3600, "1", "Longest wait for it; a request's deadline_us may be shorter."},
    {"upstream-token-file", 0, OPTION_TEXT, offsetof(struct options, upstream_token_file), "FILE",
     0, 0, NULL, "Requests to it bear the token in this file."},
    {"upstream-ca", 0, OPTION_TEXT, offsetof(struct options, upstream_ca), "FILE", 0, 0, NULL,
     "Certificates that https:// of it is held against, PEM; else those of the system."},
    {"policy", 'p', OPTION_TEXT, offsetof(struct options, policy), "NAME", 0, 0, NULL,
     "Another exit rule than the models'."},
    {"set", 's', OPTION_ASSIGNMENTS, offsetof(struct options, set), "KEY=VALUE", 0, 0, NULL,
     "Sets a value of the rule."},
    {0},
};

#ifdef EX_HAVE_MICROHTTPD
enum { MAX_TEXT = 1 << 20 };

/* What the options name, as text. */
struct texts {
  void *token, *certificate, *key, *upstream_token, *upstream_ca;
};

static void free_texts(struct texts *texts) {
  ex__free(texts->token);
  ex__free(texts->certificate);
  ex__free(texts->key);
  ex__free(texts->upstream_token);
  ex__free(texts->upstream_ca);
}

static enum ex_status read_text(const char *path, void **text, struct ex_error *err) {
  size_t size;
  return path != NULL ? ex__file_read(path, MAX_TEXT, text, &size, err) : EX_OK;
}

static enum ex_status read_token(const char *path, void **text, struct ex_error *err) {
  EX_TRY(read_text(path, text, err));
  char *token = *text;
  if (token == NULL) return EX_OK;
  token[strcspn(token, "\r\n")] = '\0';
  if (token[0] == '\0')
    return ex__fail(err, EX_EINVAL, "%s: its first line is empty; it must be the token", path);
  return EX_OK;
}

static enum ex_status read_texts(const struct options *options, struct texts *texts,
                                 struct ex_error *err) {
  EX_TRY(read_text(options->certificate, &texts->certificate, err));
  EX_TRY(read_text(options->key, &texts->key, err));
  /* Read by libcurl; here for the word that it is missing. */
  EX_TRY(read_text(options->upstream_ca, &texts->upstream_ca, err));
  EX_TRY(read_token(options->token_file, &texts->token, err));
  return read_token(options->upstream_token_file, &texts->upstream_token, err);
}

static void tell(const char *text) { fprintf(stderr, "exeunt serve: %s\n", text); }

/* Where the cut lies, and how numbers cross it. */
static enum ex_status read_split(const struct options *options, const struct texts *texts,
                                 struct ex_service_options *out, struct ex_error *err) {
  int64_t upto = EX_UPTO_AUTO;
  int form = 0;
  if (options->upstream == NULL) return EX_OK;
  if (strcmp(options->upto, "auto") != 0 &&
      (!ex__text_to_int(options->upto, &upto) || upto < 0 || upto >= EX_MAX_POINTS))
    return ex__fail(err, EX_EINVAL, "--upto %s; must be the number of an exit, or auto",
                    options->upto);
  while (form <= EX_CUT_INPUT && strcmp(options->cut, ex__cut_form[form]) != 0) form++;
  if (form > EX_CUT_INPUT)
    return ex__fail(err, EX_EINVAL, "--cut %s; must be float32, int8, int4 or input", options->cut);
  out->upstream = options->upstream;
  out->upto = (int32_t)upto;
  out->cut = (enum ex_cut_form)form;
  out->upstream_seconds = options->upstream_timeout;
  out->token = texts->upstream_token;
  out->authority = options->upstream_ca;
  out->log = tell;
  return EX_OK;
}

static void announce(const struct options *options, const ex_server *server, const char *address,
                     int32_t n) {
  const char *scheme = options->certificate != NULL ? "https" : "http";
  bool v6 = strchr(address, ':') != NULL;
  if (options->common.json)
    printf("{\"port\": %d}\n", (int)ex__server_port(server));
  else
    printf("serving %d model%s at %s://%s%s%s:%d/\n", (int)n, n == 1 ? "" : "s", scheme,
           v6 ? "[" : "", address, v6 ? "]" : "", (int)ex__server_port(server));
  fflush(stdout);
}

static enum ex_status serve(const struct options *options, const struct texts *texts,
                            char *const *models, int32_t n, struct ex_error *err) {
  const char *address = options->address != NULL ? options->address : "127.0.0.1";
  struct ex_server_options server_options = {
      .address = address,
      .port = (int32_t)options->port,
      .http_threads = (int32_t)options->http_threads,
      .connections = (int32_t)options->connections,
      .max_body = options->max_body * 1024,
      .seconds = options->timeout,
      .token = texts->token,
      .certificate = texts->certificate,
      .key = texts->key,
      .certificate_file = options->certificate,
      .key_file = options->key,
      .log = tell,
      .service = {.workers = console_threads(&options->common),
                  .queue = (int32_t)options->queue,
                  .policy = options->policy,
                  .set = options->set.text,
                  .n_set = options->set.n,
                  .shadow = options->shadow,
                  .drift_window = (int32_t)options->drift_window,
                  .drift_limit = options->drift_limit,
                  .drift_acts = !options->drift_tell},
  };
  EX_TRY(read_split(options, texts, &server_options.service, err));
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  signal(SIGPIPE, SIG_IGN); /* a client that has gone is not the end of the server */
  ex_server *server;
  EX_TRY(ex__server_new(&server_options, (const char *const *)models, n, &server, err));
  announce(options, server, address, n);
  int signal_number = 0;
  while (sigwait(&signals, &signal_number) == 0 && signal_number == SIGHUP)
    ex__server_reload(server);
  ex__server_free(server, options->drain);
  return EX_OK;
}

static int run(const void *given, char *const *arguments, int32_t n) {
  const struct options *options = given;
  struct ex_error err = {0};
  struct texts texts = {0};
  if ((options->certificate == NULL) != (options->key == NULL))
    return console_misuse(&command_serve, "--certificate and --key go together");
  if ((options->upto == NULL) != (options->upstream == NULL))
    return console_misuse(&command_serve, "--upto and --upstream go together");
  if (options->upstream != NULL && options->shadow > 0)
    return console_misuse(&command_serve, "--shadow needs full depth here; not with --upstream");
  enum ex_status status = read_texts(options, &texts, &err);
  if (status == EX_OK) status = serve(options, &texts, arguments, n, &err);
  free_texts(&texts);
  return status == EX_OK ? EXIT_SUCCESS : console_fail(&command_serve, &err);
}
#else
static int run(const void *given, char *const *arguments, int32_t n) {
  (void)given, (void)arguments, (void)n;
  return console_misuse(&command_serve, "this build has no server: it lacks libmicrohttpd");
}
#endif

static int explain(const void *given, char *const *arguments, int32_t n) {
  (void)arguments, (void)n;
  const struct options *options = given;
  return explain_with_policy(&command_serve, options->policy);
}

const struct command command_serve = {
    .name = "serve",
    .arguments = "[NAME=]MODEL...",
    .summary = "models over HTTP, by the Open Inference Protocol",
    .help = "Answers requests by the Open Inference Protocol (v2), JSON and binary tensors, each\n"
            "model under NAME or the name of its file. Inputs of different requests share the\n"
            "stages of the network; each leaves where its model's rule says. --threads are the\n"
            "workers of each model. SIGHUP loads the models anew, SIGTERM answers what has come\n"
            "and ends. docs/serving.md tells the rest.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 1,
    .max_arguments = 64,
    .run = run,
    .explain = explain,
};
