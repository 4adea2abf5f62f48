/* SPDX-License-Identifier: Apache-2.0
 *
 * base/digest: SHA-256 (libmd), as 64 lower-case hexadecimal digits.
 */
#ifndef EX_BASE_DIGEST_H
#define EX_BASE_DIGEST_H

#include <stddef.h>

#include "base/status.h"

enum { EX_DIGEST_TEXT = 65 }; /* with its NUL */

typedef struct ex_digest ex_digest;
ex_digest *ex__digest_new(void); /* NULL when memory is short */
void ex__digest_add(ex_digest *digest, const void *data, size_t size);
void ex__digest_finish(ex_digest *digest, char text[EX_DIGEST_TEXT]); /* frees */
/* The three in one; EX_ENOMEM. */
enum ex_status ex__digest_text(const void *data, size_t size, char text[EX_DIGEST_TEXT]);

#endif
