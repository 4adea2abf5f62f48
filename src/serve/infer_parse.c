/* SPDX-License-Identifier: Apache-2.0
 *
 * serve/infer_parse: what a client asks for. Nothing in it is believed: counts
 * are held against the model's shape and against what has come before anything
 * is allocated by them.
 */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "data/data_input.h"
#include "data/image.h"
#include "serve/infer.h"

const char *const ex__infer_output_name[EX_INFER_OUTPUTS] = {"label", "name", "confidence",
                                                             "exit",  "macs", "logits"};
const char *const ex__infer_output_type[EX_INFER_OUTPUTS] = {"INT32", "BYTES", "FP32",
                                                             "INT32", "INT64", "FP32"};

struct job {
  const ex_model *model;
  int32_t max_n;
  const uint8_t *binary; /* what follows the JSON */
  size_t binary_size, json_size;
  bool all_binary; /* outputs, unless one says otherwise */
  struct ex_infer_request *out;
  struct ex_error *err;
};

/* ---- tensors ----------------------------------------------------------------- */

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
static enum ex_status read_shape(const struct job *job, const json_t *input) {
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
static enum ex_status read_numbers(const struct job *job, const json_t *array, int64_t count,
                                   int64_t *at) {
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

static enum ex_status read_json_data(const struct job *job, const json_t *input, int64_t count) {
  const json_t *data;
  int64_t n = 0;
  EX_TRY(ex__json_array(input, "data", "inputs[0]", SIZE_MAX, &data, job->err));
  EX_TRY(read_numbers(job, data, count, &n));
  if (n == count) return EX_OK;
  return ex__fail(job->err, EX_ESHAPE, "inputs[0].data: %lld numbers; its shape says %lld",
                  (long long)n, (long long)count);
}

static enum ex_status read_binary_data(const struct job *job, int64_t count,
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
static enum ex_status read_image(const struct job *job, int32_t index, struct images *images) {
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

static enum ex_status read_images(const struct job *job, int64_t features) {
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
static enum ex_status read_encoded(const struct job *job, const json_t *input) {
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
static enum ex_status check_size(const struct job *job, const json_t *input, const json_t *binary,
                                 int64_t count, const struct datatype *type) {
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

static enum ex_status check_finite(const struct job *job, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (!isfinite(job->out->x[i]))
      return ex__fail(job->err, EX_EINVAL, "inputs[0].data: value %lld is not a finite number",
                      (long long)i);
  return EX_OK;
}

/* Its bytes are a packet, which serve/packet.c reads. */
static enum ex_status read_cut(const struct job *job, const char *type_name, const json_t *input) {
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

static enum ex_status read_input(const struct job *job, const json_t *input) {
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

static enum ex_status read_inputs(const struct job *job, const json_t *request) {
  const json_t *inputs;
  EX_TRY(ex__json_array(request, "inputs", "request", 64, &inputs, job->err));
  if (json_array_size(inputs) != 1)
    return ex__fail(job->err, EX_EINVAL, "%zu inputs; must be one, named \"input\"",
                    json_array_size(inputs));
  if (!json_is_object(json_array_get(inputs, 0)))
    return ex__fail(job->err, EX_EFORMAT, "inputs[0] must be an object");
  return read_input(job, json_array_get(inputs, 0));
}

/* ---- parameters ---------------------------------------------------------------- */

/* A number is a class's number, whatever the labels are; text is a label, or else a number,
 * or several of them. */
static enum ex_status add_classes(const struct job *job, const json_t *given) {
  struct ex_infer_request *out = job->out;
  int32_t found[EX_MAX_LIST], n = 1;
  int64_t number = json_integer_value(given);
  if (json_is_string(given))
    EX_TRY(ex__model_classes(job->model, json_string_value(given), found, &n, job->err));
  else if (!json_is_integer(given))
    return ex__fail(job->err, EX_EINVAL,
                    "parameters.classes must be \"7,Bag\" or an array of such");
  else if (number < 0 || number >= job->model->net->n_outputs)
    return ex__fail(job->err, EX_ENOTFOUND, "class %lld is unknown; must be in [0, %d]",
                    (long long)number, (int)job->model->net->n_outputs - 1);
  else
    found[0] = (int32_t)number;
  if (n > EX_MAX_LIST - out->n_classes)
    return ex__fail(job->err, EX_EINVAL, "classes: more than %d; must be at most that many",
                    EX_MAX_LIST);
  memcpy(out->classes + out->n_classes, found, (size_t)n * sizeof *found);
  out->n_classes += n;
  return EX_OK;
}

static enum ex_status read_classes(const struct job *job, const json_t *given) {
  size_t n = json_array_size(given);
  job->out->has_classes = true;
  if (n == 0) return add_classes(job, given);
  for (size_t i = 0; i < n; i++) EX_TRY(add_classes(job, json_array_get(given, i)));
  return EX_OK;
}

static enum ex_status read_integer(const json_t *object, const char *key, int64_t max, int64_t *out,
                                   struct ex_error *err) {
  if (json_object_get(object, key) == NULL) return EX_OK;
  return ex__json_int(object, key, "parameters", 0, max, out, err);
}

static enum ex_status read_parameters(struct job *job, const json_t *request) {
  const json_t *given = json_object_get(request, "parameters");
  struct ex_infer_request *out = job->out;
  if (given == NULL) return EX_OK;
  if (!json_is_object(given)) return ex__fail(job->err, EX_EFORMAT, "parameters must be an object");
  int64_t max_exit = -1, later = 0;
  EX_TRY(read_integer(given, "deadline_us", INT64_MAX / 1000000, &out->deadline_us, job->err));
  EX_TRY(read_integer(given, "max_exit", job->model->net->n_points - 1, &max_exit, job->err));
  EX_TRY(read_integer(given, "exits_later", EX_MAX_POINTS, &later, job->err));
  out->max_exit = (int32_t)max_exit;
  out->later = (int32_t)later;
  if (json_object_get(given, "max_risk") != NULL)
    EX_TRY(ex__json_real(given, "max_risk", "parameters", 0, 2, &out->max_risk, job->err));
  const json_t *classes = json_object_get(given, "classes");
  if (classes != NULL) EX_TRY(read_classes(job, classes));
  const json_t *binary = json_object_get(given, "binary_data_output");
  if (binary != NULL && !json_is_boolean(binary))
    return ex__fail(job->err, EX_EINVAL, "parameters.binary_data_output must be true or false");
  job->all_binary = json_is_true(binary);
  return EX_OK;
}

/* ---- outputs ------------------------------------------------------------------- */

static enum ex_status read_output(const struct job *job, const json_t *output) {
  struct ex_infer_request *out = job->out;
  const char *name;
  if (!json_is_object(output)) return ex__fail(job->err, EX_EFORMAT, "outputs must hold objects");
  EX_TRY(ex__json_string(output, "name", "outputs", &name, job->err));
  int what = 0;
  while (what < EX_INFER_OUTPUTS && strcmp(name, ex__infer_output_name[what]) != 0) what++;
  if (what == EX_INFER_OUTPUTS)
    return ex__fail(job->err, EX_EINVAL,
                    "outputs: \"%.40s\" is unknown; must be label, name, confidence, exit, macs or "
                    "logits",
                    name);
  for (int32_t i = 0; i < out->n_outputs; i++)
    if ((int)out->output[i].what == what)
      return ex__fail(job->err, EX_EINVAL, "outputs: \"%s\" is asked for twice", name);
  const json_t *binary = json_object_get(json_object_get(output, "parameters"), "binary_data");
  out->output[out->n_outputs].what = (enum ex_infer_output)what;
  out->output[out->n_outputs].binary = binary != NULL ? json_is_true(binary) : job->all_binary;
  out->n_outputs++;
  return EX_OK;
}

static enum ex_status read_outputs(const struct job *job, const json_t *request) {
  struct ex_infer_request *out = job->out;
  if (json_object_get(request, "outputs") == NULL) {
    for (int what = 0; what < EX_INFER_OUTPUTS; what++) {
      out->output[what].what = (enum ex_infer_output)what;
      out->output[what].binary = job->all_binary;
    }
    out->n_outputs = EX_INFER_OUTPUTS;
    return EX_OK;
  }
  const json_t *outputs;
  EX_TRY(ex__json_array(request, "outputs", "request", EX_INFER_OUTPUTS, &outputs, job->err));
  for (size_t i = 0; i < json_array_size(outputs); i++)
    EX_TRY(read_output(job, json_array_get(outputs, i)));
  return EX_OK;
}

/* ---- the whole ------------------------------------------------------------------- */

static enum ex_status read_id(const struct job *job, const json_t *request) {
  const json_t *id = json_object_get(request, "id");
  if (id == NULL) return EX_OK;
  if (!json_is_string(id) || json_string_length(id) > 1000)
    return ex__fail(job->err, EX_EINVAL, "id must be a string of at most 1000 bytes");
  return ex__json_dump(id, false, &job->out->id);
}

static enum ex_status read_request(struct job *job, const json_t *request) {
  if (!json_is_object(request))
    return ex__fail(job->err, EX_EFORMAT, "request must be a JSON object");
  EX_TRY(read_id(job, request));
  EX_TRY(read_parameters(job, request));
  EX_TRY(read_outputs(job, request));
  return read_inputs(job, request);
}

enum ex_status ex__infer_parse(const ex_model *model, int32_t max_n, const void *body, size_t size,
                               int64_t header_length, struct ex_infer_request *out,
                               struct ex_error *err) {
  *out = (struct ex_infer_request){.max_exit = -1, .deadline_us = INT64_MAX, .max_risk = NAN};
  if (header_length > (int64_t)size)
    return ex__fail(err, EX_EINVAL,
                    "Inference-Header-Content-Length = %lld; the body has %zu bytes",
                    (long long)header_length, size);
  size_t json_size = header_length >= 0 ? (size_t)header_length : size;
  struct job job = {.model = model,
                    .max_n = max_n,
                    .binary = (const uint8_t *)body + json_size,
                    .binary_size = size - json_size,
                    .json_size = json_size,
                    .out = out,
                    .err = err};
  json_t *request;
  EX_TRY(ex__json_parse(body, json_size, "request", &request, err));
  enum ex_status status = read_request(&job, request);
  json_decref(request);
  return status;
}

void ex__infer_clear(struct ex_infer_request *request) {
  ex__free(request->id);
  ex__free(request->x);
  request->id = NULL;
  request->x = NULL;
}
