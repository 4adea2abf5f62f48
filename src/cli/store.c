/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/store: a file holds what the result depends on beside the result. The lock
 * next to it is the kernel's, so it ends with the process that held it.
 */
#include "cli/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

enum { MAX_KEPT = 4 << 20 };

struct entry {
  const struct store_job *job;
  char kept[STORE_PATH], lock[STORE_PATH], model[STORE_PATH];
};

static enum ex_status make_paths(struct entry *entry, struct ex_error *err) {
  char *text, digest[EX_DIGEST_TEXT];
  if (ex__json_dump(entry->job->of, false, &text) != EX_OK)
    return ex__fail(err, EX_ENOMEM, "reproduce: out of memory");
  enum ex_status status = ex__digest_text(text, strlen(text), digest);
  ex__free(text);
  if (status != EX_OK) return ex__fail(err, EX_ENOMEM, "reproduce: out of memory");
  const char *folder = entry->job->folder;
  if (strlen(folder) + 64 > STORE_PATH)
    return ex__fail(err, EX_EINVAL, "%.64s…: a folder must have at most %d characters", folder,
                    STORE_PATH - 64);
  snprintf(entry->kept, STORE_PATH, "%s/runs", folder);
  if ((mkdir(folder, 0777) != 0 && errno != EEXIST) ||
      (mkdir(entry->kept, 0777) != 0 && errno != EEXIST))
    return ex__fail(err, EX_EIO, "%s: cannot be made: %s", entry->kept, strerror(errno));
  snprintf(entry->kept, STORE_PATH, "%s/runs/%.16s.json", folder, digest);
  snprintf(entry->lock, STORE_PATH, "%s/runs/%.16s.lock", folder, digest);
  snprintf(entry->model, STORE_PATH, "%s/runs/%.16s.safetensors", folder, digest);
  return EX_OK;
}

static json_t *find_kept(const struct entry *entry) {
  json_t *kept, *result = NULL;
  if (access(entry->kept, R_OK) != 0 || ex__json_load(entry->kept, MAX_KEPT, &kept, NULL) != EX_OK)
    return NULL;
  if (json_equal(json_object_get(kept, "of"), entry->job->of))
    result = json_incref(json_object_get(kept, "result"));
  json_decref(kept);
  return result;
}

static enum ex_status keep(const struct entry *entry, json_t *result, struct ex_error *err) {
  char *text;
  json_t *kept = json_pack("{s:O, s:O}", "of", entry->job->of, "result", result);
  enum ex_status status = kept != NULL ? ex__json_dump(kept, true, &text) : EX_ENOMEM;
  json_decref(kept);
  if (status != EX_OK) return ex__fail(err, EX_ENOMEM, "reproduce: out of memory");
  status = ex__file_write_whole(entry->kept, text, strlen(text), err);
  ex__free(text);
  return status;
}

static enum ex_status make(const struct entry *entry, json_t **result, struct ex_error *err) {
  EX_TRY(entry->job->make(entry->job->context, entry->model, result, err));
  enum ex_status status = *result != NULL ? keep(entry, *result, err) : EX_OK;
  if (status != EX_OK) {
    json_decref(*result);
    *result = NULL;
  }
  return status;
}

/* What another process finished while we waited for the lock is taken. */
static enum ex_status make_alone(const struct entry *entry, json_t **result, struct ex_error *err) {
  int lock = open(entry->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock < 0) return ex__fail(err, EX_EIO, "%s: %s", entry->lock, strerror(errno));
  enum ex_status status = EX_OK;
  if (flock(lock, entry->job->wait ? LOCK_EX : LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK)
      status = ex__fail(err, EX_EIO, "%s: cannot be locked: %s", entry->lock, strerror(errno));
  } else if ((*result = find_kept(entry)) == NULL) {
    status = make(entry, result, err);
    if (*result != NULL) unlink(entry->lock);
  }
  close(lock);
  return status;
}

enum ex_status store_get(const struct store_job *job, json_t **result, char *model,
                         struct ex_error *err) {
  *result = NULL;
  struct entry entry = {.job = job};
  EX_TRY(make_paths(&entry, err));
  if (model != NULL) snprintf(model, STORE_PATH, "%s", entry.model);
  *result = find_kept(&entry);
  return *result != NULL ? EX_OK : make_alone(&entry, result, err);
}
