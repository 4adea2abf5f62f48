/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/export_target_onnx: `exeunt export --to onnx`.
 */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/export_target.h"
#include "export/export_onnx.h"

static const struct {
  const char *name;
  enum ex_onnx_form form;
} forms[] = {{"batch", EX_ONNX_FORM_BATCH}, {"single", EX_ONNX_FORM_SINGLE}};

static enum ex_status find_form(const char *name, enum ex_onnx_form *out, struct ex_error *err) {
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    *out = forms[i].form;
    if (name == NULL || strcmp(forms[i].name, name) == 0) return EX_OK;
  }
  return ex__fail(err, EX_EINVAL, "--form %.32s; must be batch or single", name);
}

/* --output, or in the current folder the model's file name with another ending. */
static enum ex_status file_name(const struct export_options *options, const char *path,
                                char name[4096], struct ex_error *err) {
  const char *from = strrchr(path, '/');
  from = from != NULL ? from + 1 : path;
  int length = options->output != NULL
                   ? snprintf(name, 4096, "%s", options->output)
                   : snprintf(name, 4096, "%.*s.onnx", (int)strcspn(from, "."), from);
  if (length > 0 && length < 4096) return EX_OK;
  return ex__fail(err, EX_EINVAL, "--output: the file's name is too long");
}

enum ex_status export_target_onnx(const struct export_options *options, const char *path,
                                  const ex_model *model, const ex_policy *policy, json_t *report,
                                  struct ex_error *err) {
  char name[4096];
  void *data = NULL;
  size_t size = 0;
  struct ex_export_onnx job = {.model = model, .policy = policy};
  EX_TRY(find_form(options->form, &job.form, err));
  EX_TRY(file_name(options, path, name, err));
  EX_TRY(ex__export_onnx(&job, &data, &size, err));
  enum ex_status status = ex__file_write_whole(name, data, size, err);
  ex__free(data);
  json_object_set_new(report, "files", json_pack("[s]", name));
  json_object_set_new(report, "form", json_string(forms[job.form].name));
  json_object_set_new(report, "bytes", json_integer((json_int_t)size));
  return status;
}
