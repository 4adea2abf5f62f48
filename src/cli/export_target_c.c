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

enum ex_status export_target_c(const struct export_options *options, const char *path,
                               const ex_model *model, const ex_policy *policy, json_t *report,
                               struct ex_error *err) {
  char name[EX_EXPORT_NAME_SIZE];
  default_name(path, name);
  struct ex_export_c job = {.model = model,
                            .policy = policy,
                            .name = options->name != NULL ? options->name : name,
                            .int8 = options->int8,
                            .samples = (int32_t)options->samples};
  ex_data *data = NULL;
  if (options->int8) EX_TRY(open_model_data(model, options->data, &data, err));
  job.data = data;
  enum ex_status status = write_both(options, &job, report, err);
  ex__data_free(data);
  return status;
}
