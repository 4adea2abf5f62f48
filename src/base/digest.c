/* SPDX-License-Identifier: Apache-2.0
 *
 * base/digest: SHA-256 by libmd.
 */
#include "base/digest.h"

#include <stdint.h>
#include <sys/types.h>

#include <sha2.h>

#include "base/memory.h"

struct ex_digest {
  SHA2_CTX state;
};

ex_digest *ex__digest_new(void) {
  ex_digest *digest = ex__calloc(1, sizeof *digest);
  if (digest != NULL) SHA256Init(&digest->state);
  return digest;
}

void ex__digest_add(ex_digest *digest, const void *data, size_t size) {
  if (size > 0) SHA256Update(&digest->state, data, size);
}

void ex__digest_finish(ex_digest *digest, char text[EX_DIGEST_TEXT]) {
  static const char digits[] = "0123456789abcdef";
  uint8_t bytes[SHA256_DIGEST_LENGTH];
  SHA256Final(bytes, &digest->state);
  for (size_t i = 0; i < sizeof bytes; i++) {
    text[2 * i] = digits[bytes[i] >> 4];
    text[2 * i + 1] = digits[bytes[i] & 15];
  }
  text[2 * sizeof bytes] = '\0';
  ex__free(digest);
}

enum ex_status ex__digest_text(const void *data, size_t size, char text[EX_DIGEST_TEXT]) {
  ex_digest *digest = ex__digest_new();
  if (digest == NULL) return EX_ENOMEM;
  ex__digest_add(digest, data, size);
  ex__digest_finish(digest, text);
  return EX_OK;
}
