/* SPDX-License-Identifier: Apache-2.0
 *
 * The labels in a header of exported C, as its compiler reads them.
 */
#include "tests/odd_network.h"

/* The compiler reads the labels that the model has, whatever is in them. */
static void labels_are_those_of_the_model(void **state) {
  (void)state;
  static const char *const odd[] = {"a \"bag\"",
                                    "back\\slash",
                                    "two\nlines",
                                    "na\xc3\xafve",
                                    "?\?/ */ //",
                                    "",
                                    "9",
                                    ("\001"
                                     "7"),
                                    "%s",
                                    "last"};
  ex_model *plain = odd_model(true, true), *model;
  struct ex_error err = {0};
  assert_ok(ex__model_new(plain->net, &plain->preprocess, odd, &model, &err), &err);
  ex_policy policy = export_policy(model, "fixed");
  const struct ex_export_c job = {.model = model, .policy = &policy, .name = "net"};
  struct exported exported = export_compile(&job);
  char command[512], path[96];
  snprintf(path, sizeof path, "%s/labels.c", exported.folder);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs("#include \"net.h\"\nextern const char *const labels[];\n"
        "const char *const labels[] = NET_LABELS;\n",
        file);
  assert_int_equal(fclose(file), 0);
  snprintf(command, sizeof command,
           "cc -std=c99 -Wall -Wextra -Wpedantic -Werror -shared -fPIC -o %s/labels.so %s",
           exported.folder, path);
  assert_int_equal(system(command), 0);
  snprintf(path, sizeof path, "%s/labels.so", exported.folder);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  assert_non_null(library);
  const char *const *labels = dlsym(library, "labels");
  assert_non_null(labels);
  for (int32_t c = 0; c < 10; c++) assert_string_equal(labels[c], odd[c]);
  dlclose(library);
  export_close(&exported);
  plain->net = NULL; /* which `model` has taken */
  ex_model_free(plain);
  ex_model_free(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(labels_are_those_of_the_model),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
