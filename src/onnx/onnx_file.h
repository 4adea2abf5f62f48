/* SPDX-License-Identifier: Apache-2.0
 *
 * onnx/onnx_file: an ONNX file, unpacked and still distrusted.
 *
 * protobuf-c unpacks messages by recursion without a limit, and a few bytes
 * can become a large struct. So a file is first walked over: no deeper than
 * EX_ONNX_MAX_DEPTH messages, every length within the one around it; and what
 * unpacking may allocate is bounded by the size of the file. What the messages
 * say is checked by those who use it.
 */
#ifndef EX_ONNX_ONNX_FILE_H
#define EX_ONNX_ONNX_FILE_H

#include <onnx.pb-c.h>

#include "base/status.h"

enum { EX_ONNX_MAX_DEPTH = 100, EX_ONNX_MAX_OPSET = 17 };

typedef struct ex_onnx ex_onnx;
struct ex_onnx {
  Onnx__ModelProto *proto; /* has a graph */
  int64_t opset;           /* of ONNX's own operators, 1 to EX_ONNX_MAX_OPSET */
};

enum ex_status ex__onnx_read(const char *path, ex_onnx **out, struct ex_error *err);
enum ex_status ex__onnx_parse(const void *data, size_t size, ex_onnx **out, struct ex_error *err);
void ex__onnx_free(ex_onnx *onnx); /* accepts NULL */

/* A single message of the type that `descriptor` describes; released with
 * protobuf_c_message_free_unpacked(…, NULL). */
enum ex_status ex__onnx_unpack(const ProtobufCMessageDescriptor *descriptor, const void *data,
                               size_t size, ProtobufCMessage **out, struct ex_error *err);

/* Text of a file for a message: printable, and "" for NULL. */
const char *ex__onnx_text(const char *text, char clean[64]);

#endif
