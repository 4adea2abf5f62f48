/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/export_target: what `exeunt export` can write: a file export_target_NAME.c and
 * a line in the table of cmd_export.c.
 */
#ifndef EX_CLI_EXPORT_TARGET_H
#define EX_CLI_EXPORT_TARGET_H

#include "cli/command.h"
#include "net/model.h"
#include "policy/policy.h"

struct export_options {
  struct common_options common;
  const char *to, *output, *name, *form, *data, *policy;
  bool int8;
  int64_t samples; /* 0: not given */
  struct assignments set;
};

/* Writes the files of one target and fills `report`, an object, with what was written:
 * {"files": [paths…], …}. */
typedef enum ex_status export_write(const struct export_options *options, const char *path,
                                    const ex_model *model, const ex_policy *policy, json_t *report,
                                    struct ex_error *err);

export_write export_target_c;
export_write export_target_onnx;

#endif
