/* SPDX-License-Identifier: Apache-2.0
 *
 * data/data_samples: a folder of pictures, one sub-folder per class.
 *
 * Names are sorted bytewise, so that labels and order depend neither on the
 * file system nor on the locale. Names that begin with a dot are passed over,
 * and so are files beside the sub-folders (a LICENSE). Inside one, whatever is
 * no picture is an error, a deeper folder too, and so is a sub-folder without
 * any: a class that lost its files in silence would spoil every figure after.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "base/text.h"
#include "data/data_samples.h"
#include "data/image.h"

enum { MAX_NAMES = 1 << 24 };

struct names {
  char **item; /* [n], full paths */
  size_t n, capacity;
};

static void names_free(struct names *names) {
  for (size_t i = 0; i < names->n; i++) ex__free(names->item[i]);
  ex__free(names->item);
  *names = (struct names){0};
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool names_add(struct names *names, const char *folder, const char *name) {
  if (names->n == names->capacity) {
    size_t capacity = names->capacity == 0 ? 256 : 2 * names->capacity;
    char **item =
        capacity <= MAX_NAMES ? ex__grow(names->item, names->n, capacity, sizeof *item) : NULL;
    if (item == NULL) return false;
    names->item = item;
    names->capacity = capacity;
  }
  struct ex_text path = {0};
  ex__text_add(&path, "%s/%s", folder, name);
  if (path.failed) {
    ex__text_clear(&path);
    return false;
  }
  names->item[names->n++] = path.data;
  return true;
}

/* The entries of a folder that do not begin with a dot, sorted. */
static enum ex_status list_folder(const char *folder, struct names *names, struct ex_error *err) {
  DIR *dir = opendir(folder);
  if (dir == NULL)
    return ex__fail(err, errno == ENOENT ? EX_ENOTFOUND : EX_EIO, "%s: cannot open the folder: %s",
                    folder, strerror(errno));
  bool ok = true;
  int failure = 0;
  while (ok) {
    errno = 0; /* NULL is the end of the folder, or a failure that errno tells */
    const struct dirent *entry = readdir(dir);
    if (entry == NULL) {
      failure = errno;
      break;
    }
    ok = entry->d_name[0] == '.' || names_add(names, folder, entry->d_name);
  }
  closedir(dir);
  if (failure != 0)
    return ex__fail(err, EX_EIO, "%s: cannot read the folder: %s", folder, strerror(failure));
  if (!ok) return ex__fail(err, EX_ENOMEM, "%s: no memory for its names", folder);
  if (names->n > 0) qsort(names->item, names->n, sizeof *names->item, compare_names);
  return EX_OK;
}

static bool is_folder(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static const char *last_part(const char *path) { return strrchr(path, '/') + 1; }

/* Only sub-folders count as classes; a LICENSE beside them does no harm. */
static enum ex_status list_classes(const char *path, struct names *classes, struct ex_error *err) {
  EX_TRY(list_folder(path, classes, err));
  size_t kept = 0;
  for (size_t i = 0; i < classes->n; i++) {
    if (is_folder(classes->item[i]))
      classes->item[kept++] = classes->item[i];
    else
      ex__free(classes->item[i]);
  }
  classes->n = kept;
  if (kept < 1 || kept > EX_MAX_CLASSES)
    return ex__fail(err, EX_EFORMAT, "%s: %zu sub-folders; must have one per class, at most %d",
                    path, kept, EX_MAX_CLASSES);
  return EX_OK;
}

static enum ex_status set_class_names(struct ex_samples *out, const char *const *given,
                                      int32_t n_given, const struct names *classes,
                                      const char *path, struct ex_error *err) {
  int32_t n = given != NULL ? n_given : (int32_t)classes->n;
  out->class_names = ex__calloc((size_t)n, sizeof *out->class_names);
  if (out->class_names != NULL) out->n_classes = n;
  for (int32_t i = 0; out->class_names != NULL && i < n; i++) {
    out->class_names[i] = ex__strdup(given != NULL ? given[i] : last_part(classes->item[i]));
    if (out->class_names[i] == NULL)
      return ex__fail(err, EX_ENOMEM, "%s: no memory for its classes", path);
  }
  return out->class_names != NULL ? EX_OK
                                  : ex__fail(err, EX_ENOMEM, "%s: no memory for its classes", path);
}

static enum ex_status find_class(const struct ex_samples *samples, const char *folder,
                                 int32_t *label, struct ex_error *err) {
  for (*label = 0; *label < samples->n_classes; ++*label)
    if (strcmp(samples->class_names[*label], last_part(folder)) == 0) return EX_OK;
  return ex__fail(
      err, EX_EFORMAT,
      "%s: is not one of the %d classes that the training folder, or \"classes\", names", folder,
      (int)samples->n_classes);
}

/* All pictures with their labels, before any is read. */
static enum ex_status list_pictures(const struct names *classes, struct ex_samples *samples,
                                    struct names *pictures, struct ex_error *err) {
  for (size_t c = 0; c < classes->n; c++) {
    int32_t label;
    EX_TRY(find_class(samples, classes->item[c], &label, err));
    struct names files = {0};
    enum ex_status status = list_folder(classes->item[c], &files, err);
    if (status == EX_OK && files.n == 0)
      status = ex__fail(err, EX_EFORMAT, "%s: has no pictures; every class must have some",
                        classes->item[c]);
    size_t before = pictures->n, total = before + files.n;
    char **item = status == EX_OK ? ex__grow(pictures->item, before, total, sizeof *item) : NULL;
    if (item != NULL) pictures->item = item;
    int32_t *y = item != NULL ? ex__grow(samples->y, before, total, sizeof *y) : NULL;
    if (y == NULL) {
      names_free(&files);
      return status != EX_OK
                 ? status
                 : ex__fail(err, EX_ENOMEM, "%s: no memory for its names", classes->item[c]);
    }
    samples->y = y;
    for (size_t i = 0; i < files.n; i++) y[before + i] = label;
    for (size_t i = 0; i < files.n; i++) item[before + i] = files.item[i];
    pictures->n = pictures->capacity = total;
    ex__free(files.item);
  }
  return EX_OK;
}

static enum ex_status read_pictures(const struct names *pictures, const char *path,
                                    struct ex_samples *out, struct ex_error *err) {
  size_t features = (size_t)ex__samples_features(out);
  if (pictures->n == 0 || pictures->n > INT32_MAX)
    return ex__fail(err, EX_EFORMAT, "%s: %zu pictures; must have 1 to %d", path, pictures->n,
                    INT32_MAX);
  out->x = ex__alloc(pictures->n, features);
  if (out->x == NULL)
    return ex__fail(err, EX_ENOMEM, "%s: no memory for %zu pictures", path, pictures->n);
  for (size_t i = 0; i < pictures->n; i++) {
    struct ex_image image;
    EX_TRY(ex__image_read(pictures->item[i], out->dim[0], &image, err));
    ex__image_fit(&image, out->dim[1], out->dim[2], (uint8_t *)out->x + i * features);
    ex__image_free(&image);
  }
  out->n = (int64_t)pictures->n;
  return EX_OK;
}

enum ex_status ex__samples_read_folder(const char *path, const int32_t dim[3],
                                       const char *const *class_names, int32_t n_classes,
                                       struct ex_samples *out, struct ex_error *err) {
  *out = (struct ex_samples){0};
  if ((dim[0] != 1 && dim[0] != 3) || dim[1] < 1 || dim[1] > EX_IMAGE_MAX_SIDE || dim[2] < 1 ||
      dim[2] > EX_IMAGE_MAX_SIDE)
    return ex__fail(
        err, EX_EINVAL,
        "%s: pictures of [%d, %d, %d]; must be [1 or 3 channels, height, width up to %d]", path,
        (int)dim[0], (int)dim[1], (int)dim[2], EX_IMAGE_MAX_SIDE);
  struct ex_samples samples = {.rank = 3, .dim = {dim[0], dim[1], dim[2]}, .dtype = EX_DTYPE_U8};
  struct names classes = {0}, pictures = {0};
  enum ex_status status = list_classes(path, &classes, err);
  if (status == EX_OK)
    status = set_class_names(&samples, class_names, n_classes, &classes, path, err);
  if (status == EX_OK) status = list_pictures(&classes, &samples, &pictures, err);
  if (status == EX_OK) status = read_pictures(&pictures, path, &samples, err);
  if (status == EX_OK)
    *out = samples;
  else
    ex__samples_free(&samples);
  names_free(&classes);
  names_free(&pictures);
  return status;
}
