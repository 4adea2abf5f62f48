/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/infer_input: the one input of a request: numbers as JSON or in binary, images,
 * or the cut of a sample that another machine began. What has come bounds what is
 * allocated.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "data/data_input.h"
#include "data/image.h"
#include "serve/infer_internal.h"

#define READ_AS(name, type)                                    \
  static float read_##name(const uint8_t *at) {                \
    type value;                                                \
    memcpy(&value, at, sizeof value); /* little-endian both */ \
    return (float)value;                                       \
  }
READ_AS(fp32, float)
READ_AS(fp64, double)
READ_AS(u8, uint8_t)
READ_AS(u16, uint16_t)
READ_AS(u32, uint32_t)
READ_AS(u64, uint64_t)
READ_AS(i8, int8_t)
READ_AS(i16, int16_t)
READ_AS(i32, int32_t)
READ_AS(i64, int64_t)

static const struct datatype {
  const char *name;
  size_t size;
  float (*read)(const uint8_t *at);
} datatypes[] = {
    {"FP32", 4, read_fp32},  {"UINT8", 1, read_u8},   {"FP64", 8, read_fp64},
    {"INT8", 1, read_i8},    {"INT16", 2, read_i16},  {"INT32", 4, read_i32},
    {"INT64", 8, read_i64},  {"UINT16", 2, read_u16}, {"UINT32", 4, read_u32},
    {"UINT64", 8, read_u64},
};

static const struct datatype *find_datatype(const char *name) {
  for (size_t i = 0; i < sizeof datatypes / sizeof *datatypes; i++)
    if (strcmp(datatypes[i].name, name) == 0) return &datatypes[i];
  return NULL;
}

static void write_shape(const struct ex_shape *shape, char *text, size_t size) {
  size_t used = 0;
  text[0] = '\0';
  for (int32_t i = 0; i < shape->rank && used < size; i++)
    used +=
        (size_t)snprintf(text + used, size - used, "%s%d", i > 0 ? ", " : "", (int)shape->dim[i]);
}

/* [n, dim…] or [dim…] */
static enum ex_status read_shape(const struct ex_infer_job *job, const json_t *input) {
  const struct ex_shape *shape = &job->model->net->input;
  const json_t *given;
  EX_TRY(ex__json_array(input, "shape", "inputs[0]", 8, &given, job->err));
  size_t rank = json_array_size(given), batched = rank == (size_t)shape->rank + 1 ? 1 : 0;
  bool fits = rank == (size_t)shape->rank + batched;
  for (size_t i = batched; fits && i < rank; i++)
    fits = json_is_integer(json_array_get(given, i)) &&
           json_integer_value(json_array_get(given, i)) == shape->dim[i - batched];
  int64_t n = 1;
  if (fits && batched) {
    fits = json_is_integer(json_array_get(given, 0));
    n = json_integer_value(json_array_get(given, 0));
  }
  char text[96];
  write_shape(shape, text, sizeof text);
  if (!fits)
    return ex__fail(job->err, EX_ESHAPE, "inputs[0].shape must be [n, %s], or [%s] for one", text,
                    text);
  if (n < 1 || n > job->max_n)
    return ex__fail(job->err, EX_ESHAPE, "inputs[0].shape: %lld samples; must be in [1, %d]",
                    (long long)n, (int)job->max_n);
  job->out->n = (int32_t)n;
  return EX_OK;
}

/* Numbers of an array whose arrays may be nested, in order. */
static enum ex_status read_numbers(const struct ex_infer_job *job, const json_t *array,
                                   int64_t count, int64_t *at) {
  size_t n = json_array_size(array);
  for (size_t i = 0; i < n; i++) {
    const json_t *item = json_array_get(array, i);
    if (json_is_array(item)) {
      EX_TRY(read_numbers(job, item, count, at));
      continue;
    }
    if (!json_is_number(item) && !json_is_boolean(item))
      return ex__fail(job->err, EX_EFORMAT, "inputs[0].data: value %lld is not a number",
                      (long long)*at);
    if (*at < count) job->out->x[*at] = (float)json_number_value(item);
    (*at)++;
  }
  return EX_OK;
}

static enum ex_status read_json_data(const struct ex_infer_job *job, const json_t *input,
                                     int64_t count) {
  const json_t *data;
  int64_t n = 0;
  EX_TRY(ex__json_array(input, "data", "inputs[0]", SIZE_MAX, &data, job->err));
  EX_TRY(read_numbers(job, data, count, &n));
  if (n == count) return EX_OK;
  return ex__fail(job->err, EX_ESHAPE, "inputs[0].data: %lld numbers; its shape says %lld",
                  (long long)n, (long long)count);
}

static enum ex_status read_binary_data(const struct ex_infer_job *job, int64_t count,
                                       const struct datatype *type) {
  for (int64_t i = 0; i < count; i++)
    job->out->x[i] = type->read(job->binary + i * (int64_t)type->size);
  return EX_OK;
}

/* Images that follow one another in the binary tensor. */
struct images {
  const uint8_t *at;
  size_t left;
  int64_t decoded; /* pixels so far: a few bytes can claim many */
  uint8_t *pixels; /* [features] */
};

/* An element of the type BYTES: its length (uint32), then an encoded image. */
static enum ex_status read_image(const struct ex_infer_job *job, int32_t index,
                                 struct images *images) {
  const struct ex_shape *shape = &job->model->net->input;
  char source[32];
  uint32_t size = 0;
  int64_t decoded;
  snprintf(source, sizeof source, "image %d", (int)index);
  if (images->left >= sizeof size) memcpy(&size, images->at, sizeof size);
  if (images->left < sizeof size || size > images->left - sizeof size)
    return ex__fail(job->err, EX_ESHAPE, "%s: its %u bytes are not there", source, size);
  EX_TRY(ex__input_decode(images->at + sizeof size, size, source, shape->rank, shape->dim,
                          images->pixels, &decoded, job->err));
  images->at += sizeof size + size;
  images->left -= sizeof size + size;
  images->decoded += decoded;
  if (images->decoded <= EX_IMAGE_MAX_PIXELS) return EX_OK;
  return ex__fail(job->err, EX_ESHAPE, "images of %lld pixels together; must be at most %d",
                  (long long)images->decoded, EX_IMAGE_MAX_PIXELS);
}

static enum ex_status read_images(const struct ex_infer_job *job, int64_t features) {
  struct images images = {job->binary, job->binary_size, 0, ex__alloc((size_t)features, 1)};
  if (images.pixels == NULL) return ex__fail(job->err, EX_ENOMEM, "no memory for an image");
  enum ex_status status = EX_OK;
  for (int32_t i = 0; status == EX_OK && i < job->out->n; i++) {
    float *x = job->out->x + i * features;
    status = read_image(job, i, &images);
    for (int64_t k = 0; status == EX_OK && k < features; k++) x[k] = images.pixels[k];
  }
  ex__free(images.pixels);
  if (status == EX_OK && images.left > 0)
    status = ex__fail(job->err, EX_ESHAPE, "%zu bytes follow the last image", images.left);
  return status;
}

/* `shape` is [n] or [n, 1]. */
static enum ex_status read_encoded(const struct ex_infer_job *job, const json_t *input) {
  const json_t *shape, *size;
  EX_TRY(ex__json_array(input, "shape", "inputs[0]", 8, &shape, job->err));
  int64_t n = json_integer_value(json_array_get(shape, 0));
  size_t rank = json_array_size(shape);
  if (n < 1 || n > job->max_n ||
      (rank != 1 && (rank != 2 || json_integer_value(json_array_get(shape, 1)) != 1)))
    return ex__fail(job->err, EX_ESHAPE,
                    "inputs[0].shape of BYTES must be [n] or [n, 1], n in [1, %d]",
                    (int)job->max_n);
  size = json_object_get(json_object_get(input, "parameters"), "binary_data_size");
  if (!json_is_integer(size) || (size_t)json_integer_value(size) != job->binary_size)
    return ex__fail(job->err, EX_ESHAPE,
                    "inputs[0]: BYTES must be images in binary, with their size, of which %zu "
                    "bytes came, in binary_data_size",
                    job->binary_size);
  /* An image that decodes takes more bytes than that. */
  if (n > (int64_t)job->binary_size / 16)
    return ex__fail(job->err, EX_ESHAPE, "inputs[0].shape says %lld images; they are not there",
                    (long long)n);
  int64_t features = ex__shape_count(&job->model->net->input);
  job->out->n = (int32_t)n;
  job->out->x = ex__alloc((size_t)(n * features), sizeof *job->out->x);
  if (job->out->x == NULL) return ex__fail(job->err, EX_ENOMEM, "no memory for the input");
  return read_images(job, features);
}

/* What has come bounds what is allocated. A number of JSON takes two bytes or more. */
static enum ex_status check_size(const struct ex_infer_job *job, const json_t *input,
                                 const json_t *binary, int64_t count, const struct datatype *type) {
  if (binary == NULL) {
    if (json_object_get(input, "data") == NULL)
      return ex__fail(job->err, EX_EINVAL, "inputs[0]: neither data nor binary_data_size");
    if (count <= (int64_t)job->json_size / 2) return EX_OK;
    return ex__fail(job->err, EX_ESHAPE, "inputs[0].shape says %lld numbers; they are not there",
                    (long long)count);
  }
  int64_t size = json_integer_value(binary), right = count * (int64_t)type->size;
  if (!json_is_integer(binary) || size != right)
    return ex__fail(job->err, EX_ESHAPE,
                    "inputs[0]: binary_data_size = %lld; %lld values of %s take %lld",
                    (long long)size, (long long)count, type->name, (long long)right);
  if ((size_t)size != job->binary_size)
    return ex__fail(job->err, EX_ESHAPE,
                    "inputs[0]: binary_data_size = %lld; %zu bytes follow the JSON of "
                    "Inference-Header-Content-Length",
                    (long long)size, job->binary_size);
  return EX_OK;
}

static enum ex_status check_finite(const struct ex_infer_job *job, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (!isfinite(job->out->x[i]))
      return ex__fail(job->err, EX_EINVAL, "inputs[0].data: value %lld is not a finite number",
                      (long long)i);
  return EX_OK;
}

/* Its bytes are a packet, which serve/packet.c reads. */
static enum ex_status read_cut(const struct ex_infer_job *job, const char *type_name,
                               const json_t *input) {
  const json_t *shape, *size;
  EX_TRY(ex__json_array(input, "shape", "inputs[0]", 8, &shape, job->err));
  int64_t n = json_integer_value(json_array_get(shape, 0));
  if (strcmp(type_name, "UINT8") != 0 || json_array_size(shape) != 1 || n < 1 ||
      n > (int64_t)job->binary_size)
    return ex__fail(job->err, EX_ESHAPE,
                    "inputs[0]: a cut must be UINT8 with the shape [bytes], in binary");
  size = json_object_get(json_object_get(input, "parameters"), "binary_data_size");
  if (!json_is_integer(size))
    return ex__fail(job->err, EX_EINVAL, "inputs[0]: a cut must have binary_data_size");
  EX_TRY(check_size(job, input, size, n, find_datatype("UINT8")));
  job->out->n = 1;
  job->out->cut = job->binary;
  job->out->cut_size = job->binary_size;
  return EX_OK;
}

static enum ex_status read_input(const struct ex_infer_job *job, const json_t *input) {
  const char *name, *type_name;
  EX_TRY(ex__json_string(input, "name", "inputs[0]", &name, job->err));
  EX_TRY(ex__json_string(input, "datatype", "inputs[0]", &type_name, job->err));
  if (strcmp(name, "cut") == 0) return read_cut(job, type_name, input);
  if (strcmp(name, "input") != 0)
    return ex__fail(job->err, EX_EINVAL, "inputs[0].name = \"%.40s\"; must be \"input\" or \"cut\"",
                    name);
  if (strcmp(type_name, "BYTES") == 0) return read_encoded(job, input);
  const struct datatype *type = find_datatype(type_name);
  if (type == NULL)
    return ex__fail(job->err, EX_EUNSUPPORTED,
                    "inputs[0].datatype = \"%.20s\"; must be FP32, FP64, UINT8…64, INT8…64, or "
                    "BYTES for PNG and JPEG",
                    type_name);
  EX_TRY(read_shape(job, input));
  int64_t count = job->out->n * ex__shape_count(&job->model->net->input);
  const json_t *size = json_object_get(json_object_get(input, "parameters"), "binary_data_size");
  EX_TRY(check_size(job, input, size, count, type));
  job->out->x = ex__alloc((size_t)count, sizeof *job->out->x);
  if (job->out->x == NULL) return ex__fail(job->err, EX_ENOMEM, "no memory for the input");
  EX_TRY(size == NULL ? read_json_data(job, input, count) : read_binary_data(job, count, type));
  return check_finite(job, count);
}

enum ex_status ex__infer_read_inputs(const struct ex_infer_job *job, const json_t *request) {
  const json_t *inputs;
  EX_TRY(ex__json_array(request, "inputs", "request", 64, &inputs, job->err));
  if (json_array_size(inputs) != 1)
    return ex__fail(job->err, EX_EINVAL, "%zu inputs; must be one, named \"input\"",
                    json_array_size(inputs));
  if (!json_is_object(json_array_get(inputs, 0)))
    return ex__fail(job->err, EX_EFORMAT, "inputs[0] must be an object");
  return read_input(job, json_array_get(inputs, 0));
}
