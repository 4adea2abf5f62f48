/* SPDX-License-Identifier: Apache-2.0
 *
 * graph/plan: a plan is kept as the JSON object that it is written as, since
 * that is a hash table already, and then reading and writing cannot disagree.
 * What a choice means is checked by whoever asks for it: a plan from a file
 * may name an implementation that this build does not have.
 */
#include "graph/plan.h"

#include <string.h>

#include "base/json.h"
#include "base/memory.h"

enum { MAX_KEY = 240, MAX_CHOICE = 80, MAX_ENTRIES = 100000 };

struct ex_plan {
  json_t *entries; /* {key: {choice, ns}} */
};

enum ex_status ex__plan_new(ex_plan **out) {
  *out = NULL;
  ex_plan *plan = ex__calloc(1, sizeof *plan);
  json_t *entries = json_object();
  if (plan == NULL || entries == NULL) {
    ex__free(plan);
    json_decref(entries);
    return EX_ENOMEM;
  }
  plan->entries = entries;
  *out = plan;
  return EX_OK;
}

void ex__plan_free(ex_plan *plan) {
  if (plan == NULL) return;
  json_decref(plan->entries);
  ex__free(plan);
}

static bool is_printable(const char *text, size_t limit) {
  size_t length = strlen(text);
  for (size_t i = 0; i < length; i++)
    if (text[i] < ' ' || text[i] > '~') return false;
  return length >= 1 && length <= limit;
}

const char *ex__plan_find(const ex_plan *plan, const char *key) {
  return json_string_value(json_object_get(json_object_get(plan->entries, key), "choice"));
}

enum ex_status ex__plan_put(ex_plan *plan, const char *key, const char *choice, int64_t ns) {
  if (!is_printable(key, MAX_KEY) || !is_printable(choice, MAX_CHOICE) || ns < 0) return EX_EINVAL;
  if (ex__plan_find(plan, key) == NULL && ex__plan_count(plan) >= MAX_ENTRIES) return EX_EINVAL;
  json_t *entry = json_pack("{s:s, s:I}", "choice", choice, "ns", (json_int_t)ns);
  return json_object_set_new(plan->entries, key, entry) == 0 ? EX_OK : EX_ENOMEM;
}

int32_t ex__plan_count(const ex_plan *plan) { return (int32_t)json_object_size(plan->entries); }

json_t *ex__plan_to_json(const ex_plan *plan) { return json_deep_copy(plan->entries); }

static enum ex_status read_entry(const char *key, const json_t *entry, ex_plan *plan,
                                 struct ex_error *err) {
  const char *choice;
  int64_t ns;
  if (!is_printable(key, MAX_KEY))
    return ex__fail(err, EX_EFORMAT, "plan: a key must be 1 to %d printable ASCII characters",
                    MAX_KEY);
  EX_TRY(ex__json_string(entry, "choice", key, &choice, err));
  EX_TRY(ex__json_int(entry, "ns", key, 0, INT64_MAX, &ns, err));
  if (json_object_size(entry) != 2)
    return ex__fail(err, EX_EFORMAT, "%.150s: must have the keys \"choice\" and \"ns\" alone", key);
  if (!is_printable(choice, MAX_CHOICE))
    return ex__fail(err, EX_EFORMAT, "%.150s: \"choice\" must be 1 to %d printable characters", key,
                    MAX_CHOICE);
  if (ex__plan_put(plan, key, choice, ns) != EX_OK)
    return ex__fail(err, EX_ENOMEM, "plan: no memory for its entries");
  return EX_OK;
}

enum ex_status ex__plan_from_json(const json_t *json, ex_plan **out, struct ex_error *err) {
  *out = NULL;
  if (!json_is_object(json) || json_object_size(json) > MAX_ENTRIES)
    return ex__fail(err, EX_EFORMAT, "plan: must be an object with at most %d keys", MAX_ENTRIES);
  ex_plan *plan;
  if (ex__plan_new(&plan) != EX_OK) return ex__fail(err, EX_ENOMEM, "plan: no memory");
  const char *key;
  json_t *entry;
  json_object_foreach((json_t *)(uintptr_t)json, key, entry) {
    enum ex_status status = read_entry(key, entry, plan, err);
    if (status == EX_OK) continue;
    ex__plan_free(plan);
    return status == EX_EFORMAT ? ex__wrap(err, status, "plan") : status;
  }
  *out = plan;
  return EX_OK;
}
