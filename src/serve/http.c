/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/http: libmicrohttpd. Bytes come in here and are bounded here: header,
 * body, time, connections; what they mean is route.c's.
 *
 * The library waits by poll, not by epoll: under a crowd of clients version 0.9.75
 * with epoll lost sight of sockets that held requests, and never came back to them.
 *
 * Its threads never wait for a model: a request for answers that are not there yet
 * suspends its connection, and the worker that has the last answer resumes it. A
 * suspended connection is not looked at, and one that ends otherwise has its
 * inference forget it first; so what an exchange owns outlives whoever tells it.
 */
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "serve/endpoint.h"
#include "serve/headers.h"
#include "serve/server_internal.h"

enum { HEADER_BYTES = 32768, FIRST_BODY_BYTES = 4096, BODIES_AT_ONCE = 16 };

/* GnuTLS's own choice less what RFC 8996 has done away with. */
static const char TLS_PRIORITIES[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

struct ex_http {
  struct MHD_Daemon *daemon;
  int32_t port;
  atomic_bool told; /* `complaint` is written once */
  char complaint[160];
};

enum progress { RECEIVING, WAITING, REPLYING };

/* What workers tell of an inference, and, of an answer that is sent in events, the events. */
struct stream {
  pthread_mutex_t lock;
  bool early, final; /* news that has come */
  bool early_sent, final_sent, waits;
  struct ex_text text; /* of which `sent` bytes are on their way */
  size_t sent;
};

struct connection {
  struct ex_exchange exchange; /* first: http.c alone knows of the rest */
  struct MHD_Connection *mhd;
  enum progress progress;
  bool started;
  struct ex_visitor *visitor;
  struct stream stream;
  int64_t counted_bytes; /* of the body, in server->body_bytes */
};

/* ---- sending --------------------------------------------------------------------- */

static void add_header(struct MHD_Response *response, const char *name, int64_t value) {
  char text[24];
  snprintf(text, sizeof text, "%lld", (long long)value);
  MHD_add_response_header(response, name, text);
}

static enum MHD_Result send_answer(struct connection *connection) {
  struct ex_exchange *exchange = &connection->exchange;
  connection->progress = REPLYING;
  struct MHD_Response *response = MHD_create_response_from_buffer(
      exchange->answer.size, exchange->answer.data, MHD_RESPMEM_PERSISTENT);
  if (response == NULL) return MHD_NO;
  MHD_add_response_header(response, "Content-Type", exchange->type);
  MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
  if (exchange->call == EX_CALL_DASHBOARD)
    MHD_add_response_header(response, "Content-Security-Policy",
                            "default-src 'self'; img-src data:; style-src 'self' 'unsafe-inline'");
  if (exchange->answer_header_length >= 0)
    add_header(response, "Inference-Header-Content-Length", exchange->answer_header_length);
  if (exchange->retry_seconds > 0) add_header(response, "Retry-After", exchange->retry_seconds);
  if (exchange->status == 401) MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
  if (exchange->status == 405)
    MHD_add_response_header(
        response, "Allow",
        ex__call_waits(exchange->call) || exchange->call == EX_CALL_INDEX ? "POST" : "GET, HEAD");
  if (atomic_load(&exchange->server->draining))
    MHD_add_response_header(response, "Connection", "close");
  enum MHD_Result result =
      MHD_queue_response(connection->mhd, (unsigned)exchange->status, response);
  MHD_destroy_response(response);
  return result;
}

/* ---- receiving --------------------------------------------------------------------- */

static bool make_room(struct connection *connection, size_t needed) {
  struct ex_exchange *exchange = &connection->exchange;
  struct ex_server *server = exchange->server;
  if (needed <= exchange->body_capacity) return true;
  size_t capacity = exchange->body_capacity > 0 ? 2 * exchange->body_capacity : FIRST_BODY_BYTES;
  while (capacity < needed) capacity *= 2;
  int64_t more = (int64_t)(capacity - exchange->body_capacity);
  int64_t all = atomic_fetch_add(&server->body_bytes, more) + more;
  connection->counted_bytes += more;
  if (all > BODIES_AT_ONCE * server->options.max_body) return false;
  char *body = ex__grow(exchange->body, exchange->body_size, capacity, 1);
  if (body == NULL) return false;
  exchange->body = body;
  exchange->body_capacity = capacity;
  return true;
}

/* false: the connection is closed, since no answer can be sent meanwhile. */
static bool receive(struct connection *connection, const char *data, size_t size) {
  struct ex_exchange *exchange = &connection->exchange;
  size_t needed;
  if (!ex__add_size(exchange->body_size, size, &needed) ||
      needed > (size_t)exchange->server->options.max_body || !make_room(connection, needed))
    return false;
  memcpy(exchange->body + exchange->body_size, data, size);
  exchange->body_size = needed;
  return true;
}

/* false: the server is being stopped, and nobody may begin to wait. */
static bool suspend(struct connection *connection) {
  struct ex_server *server = connection->exchange.server;
  atomic_fetch_add(&server->suspended, 1);
  if (atomic_load(&server->closed)) {
    atomic_fetch_sub(&server->suspended, 1);
    return false;
  }
  MHD_suspend_connection(connection->mhd);
  return true;
}

void ex__exchange_resume(struct ex_exchange *exchange) {
  struct ex_server *server = exchange->server;
  MHD_resume_connection(((struct connection *)exchange)->mhd);
  atomic_fetch_sub(&server->suspended, 1);
}

static void allow(struct connection *connection, bool served) {
  struct ex_server *server = connection->exchange.server;
  int64_t time = (int64_t)(server->options.seconds * 1e9);
  ex__visitors_allow(&server->visitors, connection->visitor,
                     served ? INT64_MAX : ex__now_ns() + time);
}

/* ---- events ------------------------------------------------------------------------ */

static void take_news(void *context, enum ex_inference_news news) {
  struct connection *connection = context;
  struct stream *stream = &connection->stream;
  pthread_mutex_lock(&stream->lock);
  if (news == EX_NEWS_FINAL)
    stream->final = true;
  else
    stream->early = true;
  bool waits = stream->waits;
  stream->waits = false;
  if (waits) ex__exchange_resume(&connection->exchange);
  pthread_mutex_unlock(&stream->lock);
}

/* Bytes into `to`; 0: suspended until there is news; −1: all was sent. */
static ssize_t read_stream(void *context, uint64_t position, char *to, size_t size) {
  (void)position;
  struct connection *connection = context;
  struct stream *stream = &connection->stream;
  ssize_t n = 0;
  pthread_mutex_lock(&stream->lock);
  if (stream->sent == stream->text.size) {
    enum ex_inference_news news = EX_NEWS_EARLY;
    bool early = stream->early && !stream->early_sent;
    if (!early && stream->final) news = EX_NEWS_FINAL;
    stream->text.size = stream->sent = 0;
    if (stream->final_sent) {
      n = MHD_CONTENT_READER_END_OF_STREAM;
    } else if (early || stream->final) {
      ex__route_event(&connection->exchange, news, &stream->text);
      stream->early_sent = true; /* or it comes too late to matter */
      stream->final_sent = news == EX_NEWS_FINAL;
      if (ex__text_status(&stream->text) != EX_OK) n = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (suspend(connection)) {
      stream->waits = true;
    } else {
      n = MHD_CONTENT_READER_END_WITH_ERROR;
    }
  }
  if (n == 0 && stream->sent < stream->text.size) {
    size_t left = stream->text.size - stream->sent;
    n = (ssize_t)(left < size ? left : size);
    memcpy(to, stream->text.data + stream->sent, (size_t)n);
    stream->sent += (size_t)n;
  }
  pthread_mutex_unlock(&stream->lock);
  return n;
}

static enum MHD_Result send_stream(struct connection *connection) {
  connection->progress = REPLYING;
  struct MHD_Response *response =
      MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, read_stream, connection, NULL);
  if (response == NULL) return MHD_NO;
  MHD_add_response_header(response, "Content-Type", "text/event-stream");
  MHD_add_response_header(response, "Cache-Control", "no-store");
  enum MHD_Result result = MHD_queue_response(connection->mhd, MHD_HTTP_OK, response);
  MHD_destroy_response(response);
  return result;
}

/* ---- a whole request is here --------------------------------------------------------- */

static enum MHD_Result refuse_to_wait(struct connection *connection) {
  ex__exchange_fail(&connection->exchange, 503, "the server is shutting down");
  return send_answer(connection);
}

static enum MHD_Result reply(struct connection *connection) {
  ex__route_reply(&connection->exchange, connection->started);
  return send_answer(connection);
}

/* Suspends only where there is something to wait for, and before a worker may
 * resume: the lock is held, for which it has to wait. */
static enum MHD_Result await_news(struct connection *connection) {
  struct stream *stream = &connection->stream;
  pthread_mutex_lock(&stream->lock);
  bool here = stream->final;
  stream->waits = !here && suspend(connection);
  bool waits = stream->waits;
  pthread_mutex_unlock(&stream->lock);
  if (here) return reply(connection);
  if (!waits) return refuse_to_wait(connection);
  return MHD_YES;
}

static enum MHD_Result begin_stream(struct connection *connection) {
  struct ex_exchange *exchange = &connection->exchange;
  if (ex__inference_start(exchange->inference, exchange->began_ns, take_news, connection))
    return send_stream(connection);
  ex__route_reply(exchange, false);
  return send_answer(connection);
}

static enum MHD_Result begin_load(struct connection *connection) {
  struct ex_exchange *exchange = &connection->exchange;
  if (!suspend(connection)) return refuse_to_wait(connection);
  if (ex__server_load(exchange->server, exchange)) return MHD_YES;
  exchange->loaded = ex__fail(&exchange->load_error, EX_ECANCELLED, "the server is shutting down");
  ex__exchange_resume(exchange);
  return MHD_YES;
}

static enum MHD_Result begin(struct connection *connection) {
  struct ex_exchange *exchange = &connection->exchange;
  allow(connection, true);
  if (!ex__call_waits(exchange->call)) {
    ex__route_answer(exchange);
    return send_answer(connection);
  }
  if (exchange->call == EX_CALL_LOAD) return begin_load(connection);
  if (!ex__route_prepare(exchange)) return send_answer(connection);
  if (exchange->wants_events) return begin_stream(connection);
  connection->started =
      ex__inference_start(exchange->inference, exchange->began_ns, take_news, connection);
  if (!connection->started) return reply(connection);
  return await_news(connection);
}

/* ---- the library's calls ------------------------------------------------------------- */

static struct connection *connection_new(struct ex_server *server, struct MHD_Connection *mhd,
                                         const char *method) {
  struct connection *connection = ex__calloc(1, sizeof *connection);
  if (connection == NULL) return NULL;
  struct ex_exchange *exchange = &connection->exchange;
  connection->mhd = mhd;
  exchange->server = server;
  exchange->began_ns = ex__now_ns();
  exchange->answer_header_length = -1;
  bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
  exchange->verb = get ? EX_VERB_GET : strcmp(method, "POST") == 0 ? EX_VERB_POST : EX_VERB_OTHER;
  const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  connection->visitor = info != NULL ? info->socket_context : NULL;
  pthread_mutex_init(&connection->stream.lock, NULL);
  atomic_fetch_add(&server->exchanges, 1);
  return connection;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *mhd, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *size, void **state) {
  (void)version;
  struct connection *connection = *state;
  if (connection == NULL) {
    connection = connection_new(context, mhd, method);
    if (connection == NULL) return MHD_NO;
    *state = connection;
    allow(connection, false);
    bool right_verb = ex__route_find(&connection->exchange, url);
    return ex__headers_refuse(&connection->exchange, mhd, right_verb) ? send_answer(connection)
                                                                      : MHD_YES;
  }
  if (*size > 0) {
    size_t n = *size;
    *size = 0;
    return receive(connection, data, n) ? MHD_YES : MHD_NO;
  }
  if (connection->progress == RECEIVING) {
    connection->progress = WAITING;
    return begin(connection);
  }
  return reply(connection);
}

static void complete(void *context, struct MHD_Connection *mhd, void **state,
                     enum MHD_RequestTerminationCode code) {
  (void)mhd, (void)code;
  struct ex_server *server = context;
  struct connection *connection = *state;
  if (connection == NULL) return;
  *state = NULL;
  ex__inference_forget(connection->exchange.inference);
  ex__inference_release(connection->exchange.inference);
  allow(connection, false);
  ex__text_clear(&connection->stream.text);
  pthread_mutex_destroy(&connection->stream.lock);
  ex__text_clear(&connection->exchange.answer);
  ex__free(connection->exchange.body);
  atomic_fetch_sub(&server->body_bytes, connection->counted_bytes);
  atomic_fetch_sub(&server->exchanges, 1);
  ex__free(connection);
}

static void come_and_go(void *context, struct MHD_Connection *mhd, void **visitor,
                        enum MHD_ConnectionNotificationCode code) {
  struct ex_server *server = context;
  const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
  if (code == MHD_CONNECTION_NOTIFY_STARTED && info != NULL) {
    int64_t until = ex__now_ns() + (int64_t)(server->options.seconds * 1e9);
    *visitor = ex__visitors_enter(&server->visitors, info->connect_fd, until);
  } else {
    ex__visitors_leave(&server->visitors, *visitor);
    *visitor = NULL;
  }
}

/* ---- starting and stopping ----------------------------------------------------------- */

/* What the library first says against starting. Later words of it are about single
 * connections, which hear of it themselves. */
static void keep_first(void *context, const char *format, va_list arguments) {
  struct ex_http *http = context;
  if (atomic_exchange(&http->told, true)) return;
  vsnprintf(http->complaint, sizeof http->complaint, format, arguments);
  http->complaint[strcspn(http->complaint, "\n")] = '\0';
}

static struct MHD_Daemon *start(struct ex_server *server, const struct ex_endpoint *endpoint,
                                struct ex_http *http) {
  const struct ex_server_options *options = &server->options;
  unsigned flags =
      MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG;
  if (endpoint->is_v6) flags |= MHD_USE_IPv6;
  struct MHD_OptionItem more[5] = {{MHD_OPTION_END, 0, NULL}};
  int n = 0;
  if (options->certificate != NULL) {
    flags |= MHD_USE_TLS;
    more[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0,
                                        (void *)(uintptr_t)options->certificate};
    more[n++] =
        (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)options->key};
    more[n++] =
        (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES};
  }
  if (options->http_threads > 1)
    more[n++] = (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, options->http_threads, NULL};
  more[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
  return MHD_start_daemon(flags, (uint16_t)options->port, NULL, NULL, handle, server,
                          MHD_OPTION_EXTERNAL_LOGGER, keep_first, http, /* before all others */
                          MHD_OPTION_SOCK_ADDR, &endpoint->of.any, MHD_OPTION_NOTIFY_CONNECTION,
                          come_and_go, server, MHD_OPTION_NOTIFY_COMPLETED, complete, server,
                          MHD_OPTION_CONNECTION_LIMIT, (unsigned)options->connections,
                          MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_BYTES,
                          MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(options->seconds + 0.999),
                          MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, more, MHD_OPTION_END);
}

enum ex_status ex__http_start(struct ex_server *server, ex_http **out, struct ex_error *err) {
  struct ex_endpoint endpoint;
  *out = NULL;
  EX_TRY(ex__endpoint_read(&server->options, &endpoint, err));
  ex_http *http = ex__calloc(1, sizeof *http);
  if (http == NULL) return ex__fail(err, EX_ENOMEM, "serve: no memory");
  http->daemon = start(server, &endpoint, http);
  if (http->daemon == NULL) {
    ex__endpoint_fail(&endpoint, &server->options, http->complaint, err);
    ex__free(http);
    return EX_EIO;
  }
  atomic_store(&http->told, true);
  const union MHD_DaemonInfo *port = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT);
  http->port = port != NULL ? port->port : server->options.port;
  *out = http;
  return EX_OK;
}

int32_t ex__http_port(const ex_http *http) { return http->port; }

void ex__http_close_door(ex_http *http) {
  MHD_socket door = MHD_quiesce_daemon(http->daemon);
  if (door != MHD_INVALID_SOCKET) close(door);
}

void ex__http_stop(ex_http *http) {
  if (http == NULL) return;
  MHD_stop_daemon(http->daemon);
  ex__free(http);
}
