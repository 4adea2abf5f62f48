/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_file: the guard before unpacking, and the file as a whole.
 */
#include "onnx/onnx_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"

/* ---- the guard --------------------------------------------------------------- */

struct bytes {
  const uint8_t *at, *end;
};

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static bool read_varint(struct bytes *bytes, uint64_t *value) {
  *value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (bytes->at == bytes->end) return false;
    uint8_t byte = *bytes->at++;
    *value |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) return true;
  }
  return false;
}

static bool skip(struct bytes *bytes, uint64_t n) {
  if (n > (uint64_t)(bytes->end - bytes->at)) return false;
  bytes->at += n;
  return true;
}

static const ProtobufCMessageDescriptor *message_of(const ProtobufCMessageDescriptor *outer,
                                                    uint64_t key) {
  if (key >> 3 > UINT32_MAX) return NULL;
  const ProtobufCFieldDescriptor *field =
      protobuf_c_message_descriptor_get_field(outer, (unsigned)(key >> 3));
  return field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE ? field->descriptor : NULL;
}

/* Walks a message and those inside it with a stack of its own. */
static enum ex_status guard(const ProtobufCMessageDescriptor *descriptor, struct bytes whole,
                            struct ex_error *err) {
  struct level {
    const ProtobufCMessageDescriptor *descriptor;
    struct bytes bytes;
  } stack[EX_ONNX_MAX_DEPTH];
  int32_t depth = 1;
  stack[0] = (struct level){descriptor, whole};
  while (depth > 0) {
    struct level *top = &stack[depth - 1];
    if (top->bytes.at == top->bytes.end) {
      depth--;
      continue;
    }
    uint64_t key, n = 0;
    bool ok = read_varint(&top->bytes, &key);
    int wire = ok ? (int)(key & 7) : -1;
    if (wire == WIRE_VARINT || wire == WIRE_BYTES) ok = read_varint(&top->bytes, &n);
    const uint8_t *begin = top->bytes.at;
    switch (wire) {
      case WIRE_VARINT: break;
      case WIRE_64: ok = skip(&top->bytes, 8); break;
      case WIRE_32: ok = skip(&top->bytes, 4); break;
      case WIRE_BYTES: ok = ok && skip(&top->bytes, n); break;
      default: ok = false; break;
    }
    if (!ok)
      return ex__fail(err, EX_EFORMAT, "not an ONNX file: byte %zu is no field that fits",
                      (size_t)(begin - whole.at));
    const ProtobufCMessageDescriptor *inner =
        wire == WIRE_BYTES ? message_of(top->descriptor, key) : NULL;
    if (inner == NULL) continue;
    if (depth == EX_ONNX_MAX_DEPTH)
      return ex__fail(err, EX_EFORMAT, "messages nest deeper than %d", EX_ONNX_MAX_DEPTH);
    stack[depth++] = (struct level){inner, {begin, begin + n}};
  }
  return EX_OK;
}

/* ---- unpacking ------------------------------------------------------------------- */

static void *bounded_alloc(void *data, size_t size) {
  size_t *left = data;
  if (size > *left) return NULL;
  *left -= size;
  return malloc(size > 0 ? size : 1);
}

/* What is freed here is freed by protobuf's own allocator later: both are malloc's. */
static void bounded_free(void *data, void *pointer) {
  (void)data;
  free(pointer);
}

enum ex_status ex__onnx_unpack(const ProtobufCMessageDescriptor *descriptor, const void *data,
                               size_t size, ProtobufCMessage **out, struct ex_error *err) {
  const uint8_t *bytes = data;
  *out = NULL;
  EX_TRY(guard(descriptor, (struct bytes){bytes, bytes + size}, err));
  size_t left = size > (SIZE_MAX >> 5) ? SIZE_MAX : 16 * size + (1 << 20), given = left;
  ProtobufCAllocator allocator = {bounded_alloc, bounded_free, &left};
  *out = protobuf_c_message_unpack(descriptor, &allocator, size, bytes);
  if (*out != NULL) return EX_OK;
  return ex__fail(err, EX_EFORMAT,
                  "not an ONNX file: its messages lack a field, or need more than %zu bytes",
                  given);
}

static void free_proto(Onnx__ModelProto *proto) {
  if (proto != NULL) protobuf_c_message_free_unpacked(&proto->base, NULL);
}

static bool own_domain(const char *domain) {
  return domain == NULL || domain[0] == '\0' || strcmp(domain, "ai.onnx") == 0;
}

static enum ex_status check_model(ex_onnx *onnx, struct ex_error *err) {
  const Onnx__ModelProto *proto = onnx->proto;
  if (proto->graph == NULL) return ex__fail(err, EX_EFORMAT, "not an ONNX model: it has no graph");
  onnx->opset = 1;
  for (size_t i = 0; i < proto->n_opset_import; i++) {
    const Onnx__OperatorSetIdProto *set = proto->opset_import[i];
    if (own_domain(set->domain) && set->has_version) onnx->opset = set->version;
  }
  if (onnx->opset >= 1 && onnx->opset <= EX_ONNX_MAX_OPSET) return EX_OK;
  return ex__fail(err, EX_EUNSUPPORTED,
                  "opset %" PRId64 "; must be 1 to %d (PyTorch: opset_version=%d)", onnx->opset,
                  EX_ONNX_MAX_OPSET, EX_ONNX_MAX_OPSET);
}

enum ex_status ex__onnx_parse(const void *data, size_t size, ex_onnx **out, struct ex_error *err) {
  ProtobufCMessage *message;
  *out = NULL;
  EX_TRY(ex__onnx_unpack(&onnx__model_proto__descriptor, data, size, &message, err));
  Onnx__ModelProto *proto = (Onnx__ModelProto *)message;
  ex_onnx *onnx = ex__calloc(1, sizeof *onnx);
  if (onnx == NULL) {
    free_proto(proto);
    return ex__fail(err, EX_ENOMEM, "ONNX: no memory");
  }
  onnx->proto = proto;
  enum ex_status status = check_model(onnx, err);
  if (status == EX_OK)
    *out = onnx;
  else
    ex__onnx_free(onnx);
  return status;
}

enum ex_status ex__onnx_read(const char *path, ex_onnx **out, struct ex_error *err) {
  struct ex_mapping mapping;
  *out = NULL;
  EX_TRY(ex__file_map(path, &mapping, err));
  enum ex_status status = ex__onnx_parse(mapping.data, mapping.size, out, err);
  ex__file_unmap(&mapping);
  return status == EX_OK ? EX_OK : ex__wrap(err, status, "%s", path);
}

void ex__onnx_free(ex_onnx *onnx) {
  if (onnx == NULL) return;
  free_proto(onnx->proto);
  ex__free(onnx);
}

const char *ex__onnx_text(const char *text, char clean[64]) {
  size_t n = 0;
  for (; text != NULL && text[n] != '\0' && n < 63; n++)
    clean[n] = (char)(text[n] < ' ' || text[n] > '~' ? '?' : text[n]);
  clean[n] = '\0';
  return clean;
}
