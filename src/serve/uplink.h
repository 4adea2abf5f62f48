/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/uplink: requests to another server, many at once, each with a time by which
 * it must be answered. A thread of its own (libcurl) moves the bytes.
 *
 * A link that is down must not cost every input the time that it takes to find that
 * out: after a few calls in a row without an answer none is tried for a while, a
 * second at first and half a minute at most, and then one. Calls that were under way
 * when a pause began are of the same failure, and do not make it longer.
 */
#ifndef EX_SERVE_UPLINK_H
#define EX_SERVE_UPLINK_H

#include <stdbool.h>

#include "base/text.h"

typedef struct ex_uplink ex_uplink;

enum ex_uplink_end {
  EX_UPLINK_ANSWERED, /* with status 200, and accepted */
  EX_UPLINK_LATE,     /* no answer in time */
  EX_UPLINK_DOWN,     /* no connection, or it broke, or who answers is not whom was asked */
  EX_UPLINK_REFUSED,  /* another status; the reply says why */
  EX_UPLINK_SKIPPED,  /* not tried: the link is down or stopped, or too many are under way */
  EX_UPLINK_ENDS
};
extern const char *const ex__uplink_end[EX_UPLINK_ENDS]; /* "answered", … */

struct ex_uplink_options {
  const char *url;               /* of every request; http or https */
  const char *token;             /* bearer; NULL: none */
  const char *authority;         /* file of certificates to trust, PEM; NULL: the system's */
  double seconds;                /* most that a call may take, (0, 3600] */
  int32_t most;                  /* calls under way at once, 1 … 65536 */
  void (*log)(const char *text); /* where the link's state changes; NULL */
};

/* The caller's until `done` was called. */
struct ex_uplink_call {
  struct ex_text body; /* JSON of json_size bytes, then binary tensors */
  size_t json_size;
  int64_t until_ns; /* by ex__now_ns; the uplink's own limit holds beside it */
  /* By the uplink's thread: is this reply, of status 200, an answer? A portal's page is
   * none, and its link counts as down. NULL: any is. */
  bool (*accepts)(struct ex_uplink_call *call, const char *reply, size_t size);
  /* By the uplink's thread, or by ex__uplink_send itself; once. The reply is valid
   * during the call. */
  void (*done)(struct ex_uplink_call *call, enum ex_uplink_end end, const char *reply, size_t size);
  /* the uplink's own */
  struct ex_uplink_call *next;
  struct ex_transfer *transfer;
  int64_t began_ns;
};

/* Nothing is sent yet. EX_EUNSUPPORTED where it was built without libcurl. */
enum ex_status ex__uplink_new(const struct ex_uplink_options *options, ex_uplink **out,
                              struct ex_error *err);
/* Calls that are under way end as DOWN, and those that are sent later as SKIPPED. Both
 * soon, but not before it returns. Accepts NULL. */
void ex__uplink_stop(ex_uplink *uplink);
/* Stops, and waits for the calls' ends. None may be sent meanwhile. Accepts NULL. */
void ex__uplink_free(ex_uplink *uplink);
/* The link's own part of a round trip, about, in nanoseconds: the least of the last
 * ones, which holds what the other server takes at the least. 0: not known. */
int64_t ex__uplink_link_ns(ex_uplink *uplink);
void ex__uplink_send(ex_uplink *uplink, struct ex_uplink_call *call);
/* Would a call that was sent now be skipped? Then its body need not be made. */
bool ex__uplink_skips(ex_uplink *uplink);

#endif
