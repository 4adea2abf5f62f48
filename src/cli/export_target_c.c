/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/export_target_c: `exeunt export --to c`: NAME.c and NAME.h.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/export_target.h"
#include "cli/open.h"
#include "export/export.h"

/* From the file's name, where none is given: "models/B-LeNet.safetensors" → b_lenet. */
static void default_name(const char *path, char name[EX_EXPORT_NAME_SIZE]) {
  const char *slash = strrchr(path, '/'), *from = slash != NULL ? slash + 1 : path;
  size_t length = strcspn(from, "."), n = 0;
  if (!isalpha((unsigned char)from[0])) name[n++] = 'n';
  for (size_t i = 0; i < length && n < EX_EXPORT_NAME_SIZE - 1; i++)
    name[n++] = isalnum((unsigned char)from[i]) ? (char)tolower((unsigned char)from[i]) : '_';
  name[n] = '\0';
}

static enum ex_status write_file(const struct export_options *options, const char *name,
                                 const char *suffix, const struct ex_text *text, json_t *files,
                                 struct ex_error *err) {
  char path[4096];
  const char *folder = options->output != NULL ? options->output : ".";
  int length = snprintf(path, sizeof path, "%s/%s.%s", folder, name, suffix);
  if (length < 0 || length >= (int)sizeof path)
    return ex__fail(err, EX_EINVAL, "--output: the folder's name is too long");
  json_array_append_new(files, json_string(path));
  return ex__file_write_whole(path, text->data, text->size, err);
}

static enum ex_status write_both(const struct export_options *options,
                                 const struct ex_export_c *job, json_t *report,
                                 struct ex_error *err) {
  struct ex_text source = {0}, header = {0};
  json_t *files = json_array();
  enum ex_status status = ex__export_c(job, &source, &header, err);
  if (status == EX_OK) status = write_file(options, job->name, "c", &source, files, err);
  if (status == EX_OK) status = write_file(options, job->name, "h", &header, files, err);
  json_object_set_new(report, "files", files);
  json_object_set_new(report, "name", json_string(job->name));
  json_object_set_new(report, "numbers", json_string(job->int8 ? "int8" : "float"));
  ex__text_clear(&source);
  ex__text_clear(&header);
  return status;
}

enum { MOST_HELD_OUT = 1000 }; /* unless told otherwise */

/* Held-out inputs, spread over select: what chooses may see no other. */
struct held_out {
  ex_data *data;
  int32_t size, wanted;
};

static void read_held_out(void *context, int32_t index, ex_real *x) {
  const struct held_out *held = context;
  int64_t at = (int64_t)index * held->size / held->wanted;
  ex__data_raw(held->data, EX_SPLIT_SELECT, (int32_t)at, x);
}

static enum ex_status open_held_out(const struct export_options *options, const ex_model *model,
                                    struct held_out *held, struct ex_error *err) {
  EX_TRY(open_model_data(model, options->data, &held->data, err));
  held->size = ex__data_size(held->data, EX_SPLIT_SELECT);
  int32_t wanted = options->samples > 0 ? (int32_t)options->samples : MOST_HELD_OUT;
  held->wanted = wanted < held->size ? wanted : held->size;
  if (held->size > 0) return EX_OK;
  return ex__fail(err, EX_EINVAL, "int8: the select split has no samples; must have some");
}

enum ex_status export_target_c(const struct export_options *options, const char *path,
                               const ex_model *model, const ex_policy *policy, json_t *report,
                               struct ex_error *err) {
  char name[EX_EXPORT_NAME_SIZE];
  struct held_out held = {0};
  default_name(path, name);
  enum ex_status status = options->int8 ? open_held_out(options, model, &held, err) : EX_OK;
  const struct ex_export_c job = {.model = model,
                                  .policy = policy,
                                  .name = options->name != NULL ? options->name : name,
                                  .int8 = options->int8,
                                  .read = read_held_out,
                                  .context = &held,
                                  .samples = held.wanted};
  if (status == EX_OK) status = write_both(options, &job, report, err);
  ex__data_free(held.data);
  return status;
}
