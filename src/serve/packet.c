/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/packet: writing what crosses, and reading it back without believing it.
 */
#include "serve/packet.h"

#include <math.h>
#include <string.h>
#include <zlib.h>

#include "base/memory.h"

enum { HEAD = 24, STOPS = 1, DEFLATED = 2 };

static const char magic[4] = {'E', 'x', 'C', '1'};
const char *const ex__cut_form[EX_CUT_FORMS + 1] = {"float32", "int8", "int4", "input"};

static const struct form {
  int32_t bits, codes; /* of a number; of which there are so many */
} forms[EX_CUT_FORMS] = {{32, 0}, {8, 256}, {4, 16}};

static int64_t tensor_bytes(enum ex_cut_form form, int64_t n) {
  if (form == EX_CUT_FLOAT32) return 4 * n;
  return 8 + (n * forms[form].bits + 7) / 8;
}

/* Of all numbers, not deflated. */
static int64_t body_bytes(const ex_partition *partition, const struct ex_crossing *crossing,
                          enum ex_cut_form form) {
  int64_t bytes = 4 * ex__partition_memory(partition, crossing->ran, crossing->looked);
  for (int32_t i = 0; i < ex__partition_tensors(partition, crossing->point); i++)
    bytes +=
        tensor_bytes(form, ex__shape_count(ex__partition_tensor(partition, crossing->point, i)));
  return bytes;
}

/* ---- numbers ------------------------------------------------------------------- */

static uint8_t *write_floats(const ex_real *from, int64_t n, uint8_t *to) {
  for (int64_t i = 0; i < n; i++, to += 4) {
    const float value = (float)from[i];
    memcpy(to, &value, sizeof value);
  }
  return to;
}

static const uint8_t *read_floats(const uint8_t *from, int64_t n, ex_real *to) {
  for (int64_t i = 0; i < n; i++, from += 4) {
    float value;
    memcpy(&value, from, sizeof value);
    to[i] = value;
  }
  return from;
}

static uint8_t *write_codes(const ex_real *from, int64_t n, enum ex_cut_form form, uint8_t *to) {
  const int32_t bits = forms[form].bits, most = forms[form].codes - 1;
  ex_real least = from[0], largest = from[0];
  for (int64_t i = 1; i < n; i++) {
    if (from[i] < least) least = from[i];
    if (from[i] > largest) largest = from[i];
  }
  const ex_real step = (largest - least) / (ex_real)most;
  to = write_floats(&least, 1, to);
  to = write_floats(&step, 1, to);
  memset(to, 0, (size_t)(n * bits + 7) / 8);
  for (int64_t i = 0; step > 0 && isfinite(step) && i < n; i++) {
    int32_t code = (int32_t)((from[i] - least) / step + (ex_real)0.5);
    if (code > most) code = most;
    to[i * bits / 8] |= (uint8_t)(code << i * bits % 8);
  }
  return to + (n * bits + 7) / 8;
}

static const uint8_t *read_codes(const uint8_t *from, int64_t n, enum ex_cut_form form,
                                 ex_real *to) {
  const int32_t bits = forms[form].bits, most = forms[form].codes - 1;
  ex_real range[2]; /* least, step */
  from = read_floats(from, 2, range);
  for (int64_t i = 0; i < n; i++)
    to[i] = range[0] + range[1] * (ex_real)(from[i * bits / 8] >> i * bits % 8 & most);
  return from + (n * bits + 7) / 8;
}

static void write_body(const ex_partition *partition, const struct ex_crossing *crossing,
                       enum ex_cut_form form, uint8_t *to) {
  int64_t n = ex__partition_memory(partition, crossing->ran, crossing->looked);
  const ex_real *from = crossing->numbers;
  to = write_floats(from, n, to);
  from += n;
  for (int32_t i = 0; i < ex__partition_tensors(partition, crossing->point); i++, from += n) {
    n = ex__shape_count(ex__partition_tensor(partition, crossing->point, i));
    to = form == EX_CUT_FLOAT32 ? write_floats(from, n, to) : write_codes(from, n, form, to);
  }
}

static void read_body(const ex_partition *partition, const struct ex_crossing *crossing,
                      enum ex_cut_form form, const uint8_t *from) {
  int64_t n = ex__partition_memory(partition, crossing->ran, crossing->looked);
  ex_real *to = crossing->numbers;
  from = read_floats(from, n, to);
  to += n;
  for (int32_t i = 0; i < ex__partition_tensors(partition, crossing->point); i++, to += n) {
    n = ex__shape_count(ex__partition_tensor(partition, crossing->point, i));
    from = form == EX_CUT_FLOAT32 ? read_floats(from, n, to) : read_codes(from, n, form, to);
  }
}

static int64_t count(const ex_partition *partition, const struct ex_crossing *crossing) {
  return ex__partition_memory(partition, crossing->ran, crossing->looked) +
         ex__partition_values(partition, crossing->point);
}

static enum ex_status check_finite(const ex_partition *partition,
                                   const struct ex_crossing *crossing, enum ex_status status,
                                   struct ex_error *err) {
  int64_t n = count(partition, crossing);
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(crossing->numbers[i]))
      return ex__fail(err, status, "cut: number %lld is not finite; must be", (long long)i);
  return EX_OK;
}

/* ---- writing --------------------------------------------------------------------- */

static void write_head(const struct ex_crossing *crossing, enum ex_cut_form form,
                       const uint8_t mark[EX_PACKET_MARK], bool deflated, uint8_t *to) {
  memcpy(to, magic, sizeof magic);
  memcpy(to + 4, mark, EX_PACKET_MARK);
  to[12] = (uint8_t)form;
  to[13] = (uint8_t)((crossing->stops ? STOPS : 0) | (deflated ? DEFLATED : 0));
  to[14] = (uint8_t)crossing->point;
  to[15] = (uint8_t)crossing->target;
  memcpy(to + 16, &crossing->ran, 4);
  memcpy(to + 20, &crossing->looked, 4);
}

enum ex_status ex__packet_write(const ex_partition *partition, const struct ex_crossing *crossing,
                                enum ex_cut_form form, const uint8_t mark[EX_PACKET_MARK],
                                struct ex_text *out, struct ex_error *err) {
  EX_TRY(check_finite(partition, crossing, EX_ENOTFINITE, err));
  size_t size = (size_t)body_bytes(partition, crossing, form);
  uLongf deflated_size = compressBound(size);
  uint8_t *body = ex__alloc(size, 1), *deflated = ex__alloc(deflated_size, 1), head[HEAD];
  enum ex_status status = EX_ENOMEM;
  if (body != NULL && deflated != NULL) {
    write_body(partition, crossing, form, body);
    bool shorter = compress2(deflated, &deflated_size, body, size, Z_BEST_SPEED) == Z_OK &&
                   deflated_size < size;
    write_head(crossing, form, mark, shorter, head);
    ex__text_add_bytes(out, head, sizeof head);
    ex__text_add_bytes(out, shorter ? deflated : body, shorter ? deflated_size : size);
    status = ex__text_status(out);
  }
  ex__free(body);
  ex__free(deflated);
  return status == EX_OK ? EX_OK : ex__fail(err, status, "no memory for a cut");
}

/* ---- reading ----------------------------------------------------------------------- */

static enum ex_status read_head(const ex_partition *partition, const uint8_t mark[EX_PACKET_MARK],
                                const uint8_t *bytes, size_t size, struct ex_crossing *out,
                                struct ex_error *err) {
  if (size < HEAD || memcmp(bytes, magic, sizeof magic) != 0)
    return ex__fail(err, EX_EFORMAT, "cut: %zu bytes that do not begin as a cut does", size);
  if (memcmp(bytes + 4, mark, EX_PACKET_MARK) != 0)
    return ex__fail(err, EX_EINVAL,
                    "cut: it comes from another network or exit rule than the one that is served "
                    "here; both machines must serve the same model");
  if (bytes[12] >= EX_CUT_FORMS || (bytes[13] & ~(STOPS | DEFLATED)) != 0)
    return ex__fail(err, EX_EUNSUPPORTED,
                    "cut: form %d with flags %d; must be in [0, %d] and [0, 3]", bytes[12],
                    bytes[13], EX_CUT_FORMS - 1);
  *out = (struct ex_crossing){
      .point = bytes[14], .target = bytes[15], .stops = (bytes[13] & STOPS) != 0};
  memcpy(&out->ran, bytes + 16, 4);
  memcpy(&out->looked, bytes + 20, 4);
  return ex__partition_check(partition, out, err);
}

/* The body's bytes as they were before deflation, into `to` [size]. */
static enum ex_status inflate_body(const uint8_t *from, size_t n, uint8_t *to, size_t size,
                                   struct ex_error *err) {
  uLongf written = size;
  uLong read = n;
  if (uncompress2(to, &written, from, &read) == Z_OK && written == size && read == n) return EX_OK;
  return ex__fail(err, EX_EFORMAT, "cut: its %zu bytes do not inflate to the %zu that they must", n,
                  size);
}

static enum ex_status read_numbers(const ex_partition *partition, const uint8_t *bytes, size_t size,
                                   struct ex_crossing *out, struct ex_error *err) {
  enum ex_cut_form form = (enum ex_cut_form)bytes[12];
  size_t right = (size_t)body_bytes(partition, out, form);
  bool deflated = (bytes[13] & DEFLATED) != 0;
  if (!deflated && size - HEAD != right)
    return ex__fail(err, EX_ESHAPE, "cut: %zu bytes of numbers; must be %zu", size - HEAD, right);
  /* Deflation shrinks a thousandfold at most: what has come bounds what is allocated. */
  if (deflated && right / 1100 > size)
    return ex__fail(err, EX_EFORMAT, "cut: %zu bytes cannot inflate to the %zu that they must",
                    size - HEAD, right);
  uint8_t *body = deflated ? ex__alloc(right, 1) : NULL;
  out->numbers = ex__alloc((size_t)count(partition, out), sizeof *out->numbers);
  if (out->numbers == NULL || (deflated && body == NULL)) {
    ex__free(body);
    return ex__fail(err, EX_ENOMEM, "no memory for a cut");
  }
  enum ex_status status = EX_OK;
  if (deflated) status = inflate_body(bytes + HEAD, size - HEAD, body, right, err);
  if (status == EX_OK) read_body(partition, out, form, deflated ? body : bytes + HEAD);
  ex__free(body);
  return status == EX_OK ? check_finite(partition, out, EX_EINVAL, err) : status;
}

enum ex_status ex__packet_read(const ex_partition *partition, const uint8_t mark[EX_PACKET_MARK],
                               const void *bytes, size_t size, struct ex_crossing *out,
                               struct ex_error *err) {
  *out = (struct ex_crossing){.point = 0};
  EX_TRY(read_head(partition, mark, bytes, size, out, err));
  enum ex_status status = read_numbers(partition, bytes, size, out, err);
  if (status == EX_OK) return EX_OK;
  ex__free(out->numbers);
  out->numbers = NULL;
  return status;
}
