/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/headers: what a request's headers say, and who is turned away at the door:
 * before a byte of the body is read.
 */
#ifndef EX_SERVE_HEADERS_H
#define EX_SERVE_HEADERS_H

#include <microhttpd.h>

#include "serve/exchange.h"

/* Of an exchange whose call is known: sets what headers tell of it, as the length of the
 * JSON; true: it is answered with what is wrong, such as a missing token. */
bool ex__headers_refuse(struct ex_exchange *exchange, struct MHD_Connection *mhd, bool right_verb);

#endif
