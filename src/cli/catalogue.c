/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/catalogue: the claims stand in the tree before they are tested, so what
 * is printed here is the entry with its result beside it, never the reverse.
 */
#include "cli/catalogue.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/open.h"

enum { MAX_RESULT = 4 << 20 };

static const char folder[] = "papers/";

const char *catalogue_at(int32_t index) {
  static char name[64]; /* overwritten by the next call; the command has one thread */
  int32_t seen = 0;
  for (int32_t i = 0; embedded_at(i) != NULL; i++) {
    const char *file = embedded_at(i);
    if (strncmp(file, folder, strlen(folder)) != 0 || seen++ != index) continue;
    file += strlen(folder);
    snprintf(name, sizeof name, "%.*s", (int)(strlen(file) - strlen(".json")), file);
    return name;
  }
  return NULL;
}

enum ex_status catalogue_find(const char *name, json_t **entry, struct ex_error *err) {
  char path[96];
  snprintf(path, sizeof path, "%s%.64s.json", folder, name);
  const char *text = embedded_find(path);
  if (text != NULL) return ex__json_parse(text, strlen(text), path, entry, err);
  char known[160] = "";
  for (int32_t i = 0; catalogue_at(i) != NULL; i++) {
    size_t used = strlen(known);
    snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "", catalogue_at(i));
  }
  *entry = NULL;
  return ex__fail(err, EX_ENOTFOUND, "paper \"%.64s\" is unknown; must be one of %s", name, known);
}

json_t *catalogue_result(const char *name) {
  char path[96];
  snprintf(path, sizeof path, "results/%.64s.json", name);
  json_t *json = NULL;
  return ex__json_load(path, MAX_RESULT, &json, NULL) == EX_OK ? json : NULL;
}

static void print_row(const json_t *claim, const json_t *found) {
  const json_t *interval = json_object_get(found, "interval");
  const char *verdict = json_string_value(json_object_get(found, "verdict"));
  bool least = json_object_get(claim, "at-least") != NULL;
  printf("| %s | `%s` %s %.6g | ", json_string_value(json_object_get(claim, "says")),
         json_string_value(json_object_get(claim, "value")), least ? "≥" : "≤",
         json_number_value(json_object_get(claim, least ? "at-least" : "at-most")));
  if (json_is_number(json_object_get(found, "mean")))
    printf("%.4f", json_number_value(json_object_get(found, "mean")));
  if (json_array_size(interval) == 2)
    printf(" [%.4f, %.4f]", json_number_value(json_array_get(interval, 0)),
           json_number_value(json_array_get(interval, 1)));
  printf(" | %s |\n", verdict != NULL ? verdict : "not run");
}

void catalogue_print_result(const json_t *entry, const json_t *result) {
  const json_t *reproduction = json_object_get(entry, "reproduction");
  printf("%s", json_string_value(json_object_get(reproduction, "summary")));
  if (result != NULL)
    printf(" %lld seeds, %s%s.", (long long)json_integer_value(json_object_get(result, "seeds")),
           json_string_value(json_object_get(result, "date")),
           json_is_true(json_object_get(result, "quick")) ? ", a quick run: nothing counts as met"
                                                          : "");
  printf("\n\n| claim | inequality | measured, 95 %% interval | verdict |\n|---|---|---|---|\n");
  size_t i;
  const json_t *claim;
  json_array_foreach(json_object_get(reproduction, "claims"), i, claim) {
    print_row(claim, json_array_get(json_object_get(result, "claims"), i));
  }
  catalogue_print_comparison(json_object_get(result, "comparison"));
}
