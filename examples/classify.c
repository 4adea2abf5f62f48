/* SPDX-License-Identifier: Apache-2.0
 *
 * classify MODEL INPUT...: loads a model and says what each input is, and at
 * which exit that was known. An input is a file that ends in the model's
 * input as 32-bit floats: raw numbers, or NumPy's .npy, whose header lies
 * before them.
 */
#include <exeunt.h>
#include <stdio.h>
#include <stdlib.h>

static int read_floats(const char *path, float *x, size_t n) {
  FILE *file = fopen(path, "rb");
  int ok = file != NULL && fseek(file, -(long)(n * sizeof *x), SEEK_END) == 0 &&
           fread(x, sizeof *x, n, file) == n;
  if (file != NULL) fclose(file);
  return ok;
}

static int classify(const ex_model *model, ex_engine *engine, const char *path) {
  struct ex_model_info info = {.size = sizeof info};
  ex_model_describe(model, &info);
  size_t n = 1;
  for (int i = 0; i < info.rank; i++) n *= (size_t)info.dim[i];
  float *x = malloc(n * sizeof *x);
  struct ex_result result = {.logits = NULL};
  int ok = x != NULL && read_floats(path, x, n) && ex_engine_run(engine, x, &result) == EX_OK;
  free(x);
  if (ok)
    printf("%s: %s (%.1f %%), exit %d of %d, %.0f %% of the multiply-adds\n", path,
           ex_model_label(model, result.label), 100 * result.confidence, (int)result.exit + 1,
           (int)info.n_exits, 100.0 * (double)result.macs / (double)info.full_macs);
  else
    fprintf(stderr, "%s: must hold %zu floats, with a finite answer\n", path, n);
  return ok;
}

int main(int argc, char **argv) {
  struct ex_error err = {EX_EINVAL, "usage: classify MODEL INPUT..."};
  ex_model *model = NULL;
  ex_engine *engine = NULL;
  int ok = argc > 2 && ex_model_load(argv[1], &model, &err) == EX_OK &&
           ex_engine_new(model, NULL, &engine, &err) == EX_OK;
  if (!ok) fprintf(stderr, "%s\n", err.text);
  for (int i = 2; i < argc && ok; i++) ok = classify(model, engine, argv[i]);
  ex_engine_free(engine);
  ex_model_free(model);
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
