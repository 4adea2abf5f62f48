/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/uplink: libcurl's multi interface, in one thread; the only room that knows it.
 */
#include "serve/uplink.h"

#include <ctype.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

const char *const ex__uplink_end[EX_UPLINK_ENDS] = {"answered", "late", "down", "refused",
                                                    "skipped"};

#ifdef EX_HAVE_CURL
#include <curl/curl.h>

enum { MOST_REPLY = 1 << 20, CONNECTIONS = 16, FAILURES = 3 };
static const int64_t first_pause_ns = 1000000000, longest_pause_ns = 30000000000;

/* What carries one call; used again for the next. */
struct ex_transfer {
  CURL *easy;
  struct curl_slist *headers;
  struct ex_text reply;
  struct ex_transfer *next;
};

struct ex_uplink {
  char *url, *authority, *authorization;
  int64_t longest_ns; /* that a call may take */
  int32_t most;
  void (*log)(const char *text);
  CURLM *multi;
  pthread_t thread;
  bool started;
  struct ex_transfer *idle;      /* the thread's own */
  struct ex_uplink_call *active; /* the thread's own: under way */
  pthread_mutex_t lock;          /* of what follows */
  bool stop;
  int32_t n;                    /* calls inside */
  struct ex_uplink_call *come;  /* not yet begun, the newest first */
  int32_t failures;             /* in a row */
  int64_t paused_ns, resume_ns; /* after FAILURES: when, and until when none is tried */
  int64_t pause_ns;             /* how long the next pause will be */
  int64_t silent_ns;            /* the first call since the last answer; INT64_MAX: none */
  int64_t link_ns;              /* the least round trip, which is forgotten slowly; 0: none */
  bool told_down, told_refused;
};

/* ---- the state of the link ------------------------------------------------------- */

static void tell(const ex_uplink *uplink, const char *what, const char *why) {
  char text[512];
  if (uplink->log == NULL) return;
  snprintf(text, sizeof text, "upstream %s %s%s%.200s", uplink->url, what,
           why[0] != '\0' ? ": " : "", why);
  for (char *c = text; *c != '\0'; c++) /* `why` may be anything, and this is one line */
    if (iscntrl((unsigned char)*c)) *c = ' ';
  uplink->log(text);
}

/* Under the lock: does a call's end say that the link is down? One whose own time was
 * short says nothing, unless nothing was heard for as long as a call may take; one that
 * was under way when a pause began says nothing new. */
static bool is_failure(const ex_uplink *uplink, const struct ex_uplink_call *call,
                       enum ex_uplink_end end) {
  int64_t now = ex__now_ns(), longest = uplink->longest_ns;
  if (uplink->stop || call->began_ns < uplink->paused_ns) return false;
  if (end == EX_UPLINK_LATE)
    return now - call->began_ns >= longest || now - uplink->silent_ns >= longest;
  return end == EX_UPLINK_DOWN;
}

/* What a call's end says of the link. */
static void learn(ex_uplink *uplink, const struct ex_uplink_call *call, enum ex_uplink_end end,
                  const char *why) {
  bool down = false, up = false, refused = false;
  pthread_mutex_lock(&uplink->lock);
  if (is_failure(uplink, call, end) && ++uplink->failures >= FAILURES) {
    uplink->paused_ns = ex__now_ns();
    uplink->resume_ns = uplink->paused_ns + uplink->pause_ns;
    uplink->pause_ns =
        2 * uplink->pause_ns < longest_pause_ns ? 2 * uplink->pause_ns : longest_pause_ns;
    down = !uplink->told_down;
    uplink->told_down = true;
  } else if (end == EX_UPLINK_ANSWERED || end == EX_UPLINK_REFUSED) {
    int64_t took = ex__now_ns() - call->began_ns, link = uplink->link_ns + uplink->link_ns / 16;
    if (end == EX_UPLINK_ANSWERED) uplink->link_ns = link == 0 || took < link ? took : link;
    up = uplink->told_down;
    refused = end == EX_UPLINK_REFUSED && !uplink->told_refused;
    uplink->told_refused = end == EX_UPLINK_REFUSED;
    uplink->told_down = false;
    uplink->failures = 0;
    uplink->resume_ns = 0;
    uplink->pause_ns = first_pause_ns;
    uplink->silent_ns = INT64_MAX;
  }
  pthread_mutex_unlock(&uplink->lock);
  if (down) tell(uplink, "does not answer", why);
  if (up) tell(uplink, "answers again", "");
  if (refused) tell(uplink, "refuses", why);
}

/* ---- one call ---------------------------------------------------------------------- */

static size_t take_reply(char *data, size_t size, size_t n, void *context) {
  struct ex_text *reply = context;
  if (size * n > MOST_REPLY - reply->size) return 0; /* ends the transfer */
  ex__text_add_bytes(reply, data, size * n);
  return ex__text_status(reply) == EX_OK ? size * n : 0;
}

static struct ex_transfer *transfer_new(const ex_uplink *uplink) {
  struct ex_transfer *transfer = ex__calloc(1, sizeof *transfer);
  CURL *easy = transfer != NULL ? curl_easy_init() : NULL;
  if (easy == NULL) {
    ex__free(transfer);
    return NULL;
  }
  transfer->easy = easy;
  curl_easy_setopt(easy, CURLOPT_URL, uplink->url);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  /* Else a call that ends while its host's name is looked up waits for that, which can be
   * half a minute, and all others with it. */
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
  curl_easy_setopt(easy, CURLOPT_POST, 1L);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_reply);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer->reply);
  if (uplink->authority != NULL) curl_easy_setopt(easy, CURLOPT_CAINFO, uplink->authority);
  return transfer;
}

static void transfer_free(struct ex_transfer *transfer) {
  curl_slist_free_all(transfer->headers);
  curl_easy_cleanup(transfer->easy);
  ex__text_clear(&transfer->reply);
  ex__free(transfer);
}

static bool add_header(struct ex_transfer *transfer, const char *line) {
  struct curl_slist *list = curl_slist_append(transfer->headers, line);
  if (list == NULL) return false;
  transfer->headers = list;
  return true;
}

static bool prepare(const ex_uplink *uplink, struct ex_transfer *transfer,
                    const struct ex_uplink_call *call) {
  char length[64];
  snprintf(length, sizeof length, "Inference-Header-Content-Length: %zu", call->json_size);
  curl_slist_free_all(transfer->headers);
  transfer->headers = NULL;
  transfer->reply.size = 0;
  if (!add_header(transfer, "Content-Type: application/octet-stream") ||
      !add_header(transfer, "Expect:") || !add_header(transfer, length) ||
      (uplink->authorization != NULL && !add_header(transfer, uplink->authorization)))
    return false;
  curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
  curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, call->body.data);
  curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.size);
  return true;
}

static void end_call(ex_uplink *uplink, struct ex_uplink_call *call, enum ex_uplink_end end,
                     const char *why) {
  struct ex_transfer *transfer = call->transfer;
  learn(uplink, call, end, why);
  pthread_mutex_lock(&uplink->lock);
  uplink->n--;
  pthread_mutex_unlock(&uplink->lock);
  const struct ex_text *reply = transfer != NULL ? &transfer->reply : NULL;
  bool replied = reply != NULL && reply->size > 0;
  call->transfer = NULL;
  call->done(call, end, replied ? reply->data : "", replied ? reply->size : 0);
  if (transfer == NULL) return;
  transfer->next = uplink->idle;
  uplink->idle = transfer;
}

static void begin_call(ex_uplink *uplink, struct ex_uplink_call *call) {
  struct ex_transfer *transfer = uplink->idle;
  if (transfer != NULL)
    uplink->idle = transfer->next;
  else
    transfer = transfer_new(uplink);
  call->transfer = transfer;
  if (transfer == NULL || !prepare(uplink, transfer, call) ||
      curl_multi_add_handle(uplink->multi, transfer->easy) != CURLM_OK) {
    end_call(uplink, call, EX_UPLINK_DOWN, "no memory");
    return;
  }
  call->next = uplink->active;
  uplink->active = call;
}

/* ---- the thread ---------------------------------------------------------------------- */

/* Those that have come, the oldest first; false: it is to stop. */
static bool take_come(ex_uplink *uplink, struct ex_uplink_call **first) {
  pthread_mutex_lock(&uplink->lock);
  struct ex_uplink_call *newest = uplink->come;
  uplink->come = NULL;
  bool stop = uplink->stop;
  pthread_mutex_unlock(&uplink->lock);
  *first = NULL;
  while (newest != NULL) {
    struct ex_uplink_call *call = newest;
    newest = call->next;
    call->next = *first;
    *first = call;
  }
  return !stop;
}

/* A whole reply has come. */
static void end_replied(ex_uplink *uplink, struct ex_uplink_call *call, long status) {
  const struct ex_text *reply = &call->transfer->reply;
  const char *text = reply->size > 0 ? reply->data : "";
  if (status != 200)
    end_call(uplink, call, EX_UPLINK_REFUSED, text[0] != '\0' ? text : "no reason was given");
  else if (call->accepts != NULL && !call->accepts(call, text, reply->size))
    end_call(uplink, call, EX_UPLINK_DOWN, "what it said was no answer");
  else
    end_call(uplink, call, EX_UPLINK_ANSWERED, "");
}

static void end_finished(ex_uplink *uplink) {
  int left;
  for (CURLMsg *message; (message = curl_multi_info_read(uplink->multi, &left)) != NULL;) {
    if (message->msg != CURLMSG_DONE) continue;
    struct ex_uplink_call **at = &uplink->active;
    while ((*at)->transfer->easy != message->easy_handle) at = &(*at)->next;
    struct ex_uplink_call *call = *at;
    *at = call->next;
    CURLcode code = message->data.result;
    long status = 0;
    curl_easy_getinfo(call->transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(uplink->multi, call->transfer->easy);
    if (code != CURLE_OK)
      end_call(uplink, call, EX_UPLINK_DOWN, curl_easy_strerror(code));
    else
      end_replied(uplink, call, status);
  }
}

/* Ends those whose time is over, or all. Returns when the next one's will be. */
static int64_t end_late(ex_uplink *uplink, bool all) {
  int64_t now = ex__now_ns(), nearest = INT64_MAX;
  for (struct ex_uplink_call **at = &uplink->active; *at != NULL;) {
    struct ex_uplink_call *call = *at;
    if (!all && call->until_ns > now) {
      if (call->until_ns < nearest) nearest = call->until_ns;
      at = &call->next;
      continue;
    }
    *at = call->next;
    curl_multi_remove_handle(uplink->multi, call->transfer->easy);
    call->transfer->reply.size = 0;
    end_call(uplink, call, all ? EX_UPLINK_DOWN : EX_UPLINK_LATE, "no answer in time");
  }
  return nearest;
}

/* Milliseconds, rounded down: who waits is to be answered in time. */
static int wait_ms(int64_t until) {
  int64_t left = (until - ex__now_ns()) / 1000000;
  return left < 0 ? 0 : left > 1000 ? 1000 : (int)left;
}

static void *work(void *context) {
  ex_uplink *uplink = context;
  for (bool going = true; going;) {
    struct ex_uplink_call *call;
    int running;
    going = take_come(uplink, &call);
    while (call != NULL) {
      struct ex_uplink_call *next = call->next;
      begin_call(uplink, call);
      call = next;
    }
    curl_multi_perform(uplink->multi, &running);
    end_finished(uplink);
    int64_t nearest = end_late(uplink, !going);
    if (going) curl_multi_poll(uplink->multi, NULL, 0, wait_ms(nearest), NULL);
  }
  return NULL;
}

/* ---- from outside ---------------------------------------------------------------------- */

/* Under the lock. */
static bool is_open(const ex_uplink *uplink, int64_t now) {
  return !uplink->stop && uplink->n < uplink->most && uplink->resume_ns <= now;
}

bool ex__uplink_skips(ex_uplink *uplink) {
  pthread_mutex_lock(&uplink->lock);
  bool open = is_open(uplink, ex__now_ns());
  pthread_mutex_unlock(&uplink->lock);
  return !open;
}

int64_t ex__uplink_link_ns(ex_uplink *uplink) {
  pthread_mutex_lock(&uplink->lock);
  int64_t link_ns = uplink->link_ns;
  pthread_mutex_unlock(&uplink->lock);
  return link_ns;
}

void ex__uplink_send(ex_uplink *uplink, struct ex_uplink_call *call) {
  int64_t now = ex__now_ns();
  call->began_ns = now;
  call->transfer = NULL;
  if (call->until_ns > now + uplink->longest_ns) call->until_ns = now + uplink->longest_ns;
  pthread_mutex_lock(&uplink->lock);
  bool tried = is_open(uplink, now) && call->until_ns > now;
  if (tried) {
    if (uplink->silent_ns == INT64_MAX) uplink->silent_ns = now;
    /* After a pause, one: the next ones wait for what becomes of it. */
    if (uplink->failures >= FAILURES) uplink->resume_ns = now + uplink->pause_ns;
    uplink->n++;
    call->next = uplink->come;
    uplink->come = call;
  }
  pthread_mutex_unlock(&uplink->lock);
  if (tried)
    curl_multi_wakeup(uplink->multi);
  else
    call->done(call, call->until_ns > now ? EX_UPLINK_SKIPPED : EX_UPLINK_LATE, "", 0);
}

static enum ex_status copy_options(ex_uplink *uplink, const struct ex_uplink_options *options,
                                   struct ex_error *err) {
  uplink->longest_ns = (int64_t)(options->seconds * 1e9);
  uplink->most = options->most;
  uplink->log = options->log;
  uplink->pause_ns = first_pause_ns;
  uplink->silent_ns = INT64_MAX;
  uplink->url = ex__strdup(options->url);
  bool ok = uplink->url != NULL;
  if (options->authority != NULL)
    ok = (uplink->authority = ex__strdup(options->authority)) != NULL && ok;
  if (options->token != NULL) {
    struct ex_text line = {0};
    ex__text_add(&line, "Authorization: Bearer %s", options->token);
    ok = ex__text_status(&line) == EX_OK && ok;
    uplink->authorization = line.data;
  }
  return ok ? EX_OK : ex__fail(err, EX_ENOMEM, "upstream: no memory");
}

static enum ex_status start(ex_uplink *uplink, struct ex_error *err) {
  sigset_t all, before;
  uplink->multi = curl_multi_init();
  if (uplink->multi == NULL) return ex__fail(err, EX_ENOMEM, "upstream: no memory");
  curl_multi_setopt(uplink->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)CONNECTIONS);
  curl_multi_setopt(uplink->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS);
  sigfillset(&all); /* signals belong to the program's own threads */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  uplink->started = pthread_create(&uplink->thread, NULL, work, uplink) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return uplink->started ? EX_OK : ex__fail(err, EX_ENOMEM, "upstream: cannot start a thread");
}

enum ex_status ex__uplink_new(const struct ex_uplink_options *options, ex_uplink **out,
                              struct ex_error *err) {
  *out = NULL;
  if (strncmp(options->url, "http://", 7) != 0 && strncmp(options->url, "https://", 8) != 0)
    return ex__fail(err, EX_EINVAL, "upstream \"%.200s\"; must begin with http:// or https://",
                    options->url);
  ex_uplink *uplink = ex__calloc(1, sizeof *uplink);
  if (uplink == NULL) return ex__fail(err, EX_ENOMEM, "upstream: no memory");
  pthread_mutex_init(&uplink->lock, NULL);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  enum ex_status status = copy_options(uplink, options, err);
  if (status == EX_OK) status = start(uplink, err);
  if (status == EX_OK)
    *out = uplink;
  else
    ex__uplink_free(uplink);
  return status;
}

void ex__uplink_stop(ex_uplink *uplink) {
  if (uplink == NULL || !uplink->started) return;
  pthread_mutex_lock(&uplink->lock);
  uplink->stop = true;
  pthread_mutex_unlock(&uplink->lock);
  curl_multi_wakeup(uplink->multi);
}

void ex__uplink_free(ex_uplink *uplink) {
  if (uplink == NULL) return;
  ex__uplink_stop(uplink);
  if (uplink->started) pthread_join(uplink->thread, NULL);
  while (uplink->idle != NULL) {
    struct ex_transfer *transfer = uplink->idle;
    uplink->idle = transfer->next;
    transfer_free(transfer);
  }
  curl_multi_cleanup(uplink->multi);
  curl_global_cleanup();
  pthread_mutex_destroy(&uplink->lock);
  ex__free(uplink->url);
  ex__free(uplink->authority);
  ex__free(uplink->authorization);
  ex__free(uplink);
}

#else

enum ex_status ex__uplink_new(const struct ex_uplink_options *options, ex_uplink **out,
                              struct ex_error *err) {
  (void)options;
  *out = NULL;
  return ex__fail(err, EX_EUNSUPPORTED, "upstream: this build has no libcurl");
}
void ex__uplink_stop(ex_uplink *uplink) { (void)uplink; }
void ex__uplink_free(ex_uplink *uplink) { (void)uplink; }
int64_t ex__uplink_link_ns(ex_uplink *uplink) { return (void)uplink, 0; }
void ex__uplink_send(ex_uplink *uplink, struct ex_uplink_call *call) {
  (void)uplink;
  call->done(call, EX_UPLINK_SKIPPED, "", 0);
}
bool ex__uplink_skips(ex_uplink *uplink) {
  (void)uplink;
  return true;
}
#endif
