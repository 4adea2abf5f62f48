/* SPDX-License-Identifier: Apache-2.0
 *
 * task/task: the register of tasks, made from tasks.def.
 */
#include "task/task.h"

#include <string.h>

#define EX_TASK(name) extern const struct ex_task ex__task_##name;
#include "task/tasks.def"
#undef EX_TASK

static const struct ex_task *const tasks[] = {
#define EX_TASK(name) &ex__task_##name,
#include "task/tasks.def"
#undef EX_TASK
};

const struct ex_task *ex__task_find(const char *name) {
  for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
    if (strcmp(tasks[i]->name, name) == 0) return tasks[i];
  return NULL;
}
