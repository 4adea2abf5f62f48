/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/cpufreq: small files below sysfs, read and written whole.
 *
 * The guard is a child that waits on a pipe whose other end dies with this process. If
 * no word came before that, it puts back what was found. Between fork and its end it
 * calls nothing but what a signal handler may, so other threads do no harm; it leaves
 * the process group, so that a Ctrl-C does not reach it.
 */
#include "engine/cpufreq.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"

enum { MAX_CPUS = 1024, PATH = 512, WORD = 64, LINE = 1024 };

struct cpu {
  char folder[PATH];
  char governor[WORD], speed[WORD]; /* as found; speed: "" where it was not set by hand */
};

struct ex_cpufreq {
  char sysfs[PATH];
  struct cpu *cpus; /* [n_cpus] */
  int32_t n_cpus, n_changed, n_levels;
  int64_t khz[EX_MAX_FREQUENCIES];
  int guard_pipe; /* −1: no guard */
  pid_t guard;
};

/* ---- files ------------------------------------------------------------------ */

/* Without a newline; false where it cannot be read or does not fit. */
static bool read_file(const char *folder, const char *name, char *text, size_t size) {
  char path[PATH + WORD];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  ssize_t n = read(file, text, size - 1);
  close(file);
  if (n < 0 || (size_t)n == size - 1) return false;
  text[n] = '\0';
  text[strcspn(text, "\n")] = '\0';
  return true;
}

/* As a signal handler may, too. Returns errno, 0: it was written. */
static int write_path(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (file < 0) return errno;
  size_t n = strlen(text);
  int error = write(file, text, n) == (ssize_t)n ? 0 : errno;
  close(file);
  return error;
}

static void path_of(const struct cpu *cpu, const char *name, char path[PATH + WORD]) {
  snprintf(path, PATH + WORD, "%s/%s", cpu->folder, name);
}

static enum ex_status write_file(const struct cpu *cpu, const char *name, const char *text,
                                 struct ex_error *err) {
  char path[PATH + WORD];
  path_of(cpu, name, path);
  int error = write_path(path, text);
  if (error == 0) return EX_OK;
  return ex__fail(err, EX_EIO,
                  "cpufreq: %.160s: %s; must be allowed to write \"%s\" there (as root, mostly)",
                  path, strerror(error), text);
}

/* ---- what the machine has ---------------------------------------------------- */

static bool has_word(const char *list, const char *word) {
  size_t n = strlen(word);
  for (const char *at = list; (at = strstr(at, word)) != NULL; at += n)
    if ((at == list || at[-1] == ' ') && (at[n] == '\0' || at[n] == ' ')) return true;
  return false;
}

/* cpu0, cpu1, … that have a folder cpufreq; some may have none. */
static enum ex_status find_cpus(ex_cpufreq *cpufreq, struct ex_error *err) {
  cpufreq->cpus = ex__calloc(MAX_CPUS, sizeof *cpufreq->cpus);
  if (cpufreq->cpus == NULL) return ex__fail(err, EX_ENOMEM, "cpufreq: no memory");
  for (int32_t i = 0; i < MAX_CPUS; i++) {
    struct cpu *cpu = &cpufreq->cpus[cpufreq->n_cpus];
    snprintf(cpu->folder, PATH, "%.400s/devices/system/cpu/cpu%d/cpufreq", cpufreq->sysfs, (int)i);
    if (access(cpu->folder, F_OK) == 0) cpufreq->n_cpus++;
  }
  if (cpufreq->n_cpus > 0) return EX_OK;
  return ex__fail(err, EX_EUNSUPPORTED,
                  "cpufreq: %.120s/devices/system/cpu has no cpu*/cpufreq: this machine does not "
                  "let its frequency be set, as virtual ones seldom do",
                  cpufreq->sysfs);
}

static enum ex_status look_at(struct cpu *cpu, struct ex_error *err) {
  char offered[LINE];
  if (!read_file(cpu->folder, "scaling_governor", cpu->governor, WORD) ||
      !read_file(cpu->folder, "scaling_available_governors", offered, LINE))
    return ex__fail(err, EX_EUNSUPPORTED, "cpufreq: %.200s: does not tell its governors",
                    cpu->folder);
  if (!has_word(offered, "userspace"))
    return ex__fail(err, EX_EUNSUPPORTED,
                    "cpufreq: %.120s offers the governors \"%.80s\"; must offer userspace",
                    cpu->folder, offered);
  bool by_hand = strcmp(cpu->governor, "userspace") == 0 &&
                 read_file(cpu->folder, "scaling_setspeed", cpu->speed, WORD);
  if (!by_hand) cpu->speed[0] = '\0';
  return EX_OK;
}

static int rising(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* Of the first processor; the others must have the same. */
static enum ex_status find_levels(ex_cpufreq *cpufreq, struct ex_error *err) {
  enum { MOST = 128 };
  char first[LINE] = "", other[LINE] = "";
  int64_t khz[MOST];
  int32_t n = 0;
  for (int32_t i = 0; i < cpufreq->n_cpus; i++) {
    char *list = i == 0 ? first : other;
    if (!read_file(cpufreq->cpus[i].folder, "scaling_available_frequencies", list, LINE))
      return ex__fail(err, EX_EUNSUPPORTED,
                      "cpufreq: %.200s: must have a readable scaling_available_frequencies",
                      cpufreq->cpus[i].folder);
    if (i > 0 && strcmp(first, other) != 0)
      return ex__fail(err, EX_EUNSUPPORTED,
                      "cpufreq: %.120s has other frequencies than the first processor; all must "
                      "have the same",
                      cpufreq->cpus[i].folder);
  }
  char *rest = first;
  for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL && n < MOST;)
    if (ex__text_to_int(word, &khz[n]) && khz[n] > 0) n++;
  if (n < 2)
    return ex__fail(err, EX_EUNSUPPORTED,
                    "cpufreq: %.160s has %d frequencies; must have at least 2",
                    cpufreq->cpus[0].folder, (int)n);
  qsort(khz, (size_t)n, sizeof *khz, rising);
  cpufreq->n_levels = n < EX_MAX_FREQUENCIES ? n : EX_MAX_FREQUENCIES;
  for (int32_t l = 0; l < cpufreq->n_levels; l++)
    cpufreq->khz[l] = khz[(int64_t)l * (n - 1) / (cpufreq->n_levels - 1)];
  return EX_OK;
}

/* ---- putting back ------------------------------------------------------------- */

/* As a signal handler may, too. Returns the errno of the last that failed. */
static int put_back(const ex_cpufreq *cpufreq) {
  int error = 0;
  for (int32_t i = 0; cpufreq->cpus != NULL && i < cpufreq->n_changed; i++) {
    const struct cpu *cpu = &cpufreq->cpus[i];
    char path[PATH + WORD];
    size_t n = strlen(cpu->folder);
    memcpy(path, cpu->folder, n);
    memcpy(path + n, "/scaling_governor", sizeof "/scaling_governor");
    int failed = write_path(path, cpu->governor);
    memcpy(path + n, "/scaling_setspeed", sizeof "/scaling_setspeed");
    if (failed == 0 && cpu->speed[0] != '\0') failed = write_path(path, cpu->speed);
    if (failed != 0) error = failed;
  }
  return error;
}

_Noreturn static void stand_guard(const ex_cpufreq *cpufreq, int from) {
  char word;
  ssize_t n;
  setsid();
  do n = read(from, &word, 1);
  while (n < 0 && errno == EINTR);
  if (n != 1) put_back(cpufreq);
  _exit(0);
}

static enum ex_status set_guard(ex_cpufreq *cpufreq, struct ex_error *err) {
  int ends[2];
  if (pipe(ends) != 0)
    return ex__fail(err, EX_EIO, "cpufreq: no pipe for the guard: %s", strerror(errno));
  fcntl(ends[1], F_SETFD, FD_CLOEXEC);
  cpufreq->n_changed = cpufreq->n_cpus; /* for the guard: it may have to mend any */
  cpufreq->guard = fork();
  if (cpufreq->guard == 0) {
    close(ends[1]);
    stand_guard(cpufreq, ends[0]);
  }
  cpufreq->n_changed = 0;
  close(ends[0]);
  cpufreq->guard_pipe = ends[1];
  if (cpufreq->guard > 0) return EX_OK;
  return ex__fail(err, EX_EIO, "cpufreq: no process for the guard: %s", strerror(errno));
}

static void dismiss_guard(ex_cpufreq *cpufreq) {
  if (cpufreq->guard_pipe < 0) return;
  ssize_t told = cpufreq->guard > 0 ? write(cpufreq->guard_pipe, "", 1) : 0;
  (void)told; /* were it not: it puts back once more */
  close(cpufreq->guard_pipe);
  while (cpufreq->guard > 0 && waitpid(cpufreq->guard, NULL, 0) < 0 && errno == EINTR) continue;
}

enum ex_status ex__cpufreq_close(ex_cpufreq *cpufreq, struct ex_error *err) {
  if (cpufreq == NULL) return EX_OK;
  int error = put_back(cpufreq);
  enum ex_status status = EX_OK;
  if (error != 0)
    status = ex__fail(err, EX_EIO, "cpufreq: what was found could not be put back: %s; it was %s",
                      strerror(error), cpufreq->cpus[0].governor);
  dismiss_guard(cpufreq);
  ex__free(cpufreq->cpus);
  ex__free(cpufreq);
  return status;
}

/* ---- setting -------------------------------------------------------------------- */

static enum ex_status take_over(ex_cpufreq *cpufreq, struct ex_error *err) {
  EX_TRY(find_cpus(cpufreq, err));
  for (int32_t i = 0; i < cpufreq->n_cpus; i++) EX_TRY(look_at(&cpufreq->cpus[i], err));
  EX_TRY(find_levels(cpufreq, err));
  EX_TRY(set_guard(cpufreq, err));
  for (int32_t i = 0; i < cpufreq->n_cpus; i++) {
    EX_TRY(write_file(&cpufreq->cpus[i], "scaling_governor", "userspace", err));
    cpufreq->n_changed = i + 1;
    char khz[WORD];
    snprintf(khz, sizeof khz, "%lld", (long long)cpufreq->khz[cpufreq->n_levels - 1]);
    EX_TRY(write_file(&cpufreq->cpus[i], "scaling_setspeed", khz, err));
  }
  return EX_OK;
}

enum ex_status ex__cpufreq_open(const char *sysfs, ex_cpufreq **out, struct ex_error *err) {
  *out = NULL;
  if (strlen(sysfs) > 400)
    return ex__fail(err, EX_EINVAL, "sysfs \"%.40s…\": must have at most 400 characters", sysfs);
  ex_cpufreq *cpufreq = ex__calloc(1, sizeof *cpufreq);
  if (cpufreq == NULL) return ex__fail(err, EX_ENOMEM, "cpufreq: no memory");
  memcpy(cpufreq->sysfs, sysfs, strlen(sysfs) + 1);
  cpufreq->guard_pipe = -1;
  enum ex_status status = take_over(cpufreq, err);
  if (status == EX_OK)
    *out = cpufreq;
  else
    ex__cpufreq_close(cpufreq, NULL);
  return status;
}

int32_t ex__cpufreq_levels(const ex_cpufreq *cpufreq, double *hz) {
  for (int32_t l = 0; l < cpufreq->n_levels; l++) hz[l] = 1000.0 * (double)cpufreq->khz[l];
  return cpufreq->n_levels;
}

enum ex_status ex__cpufreq_set(ex_cpufreq *cpufreq, int32_t level) {
  char khz[WORD];
  if (level < 0 || level >= cpufreq->n_levels) return EX_EINVAL;
  snprintf(khz, sizeof khz, "%lld", (long long)cpufreq->khz[level]);
  for (int32_t i = 0; i < cpufreq->n_cpus; i++)
    EX_TRY(write_file(&cpufreq->cpus[i], "scaling_setspeed", khz, NULL));
  return EX_OK;
}

bool ex__cpufreq_joules(const ex_cpufreq *cpufreq, double *joules) {
  char folder[PATH], text[WORD];
  int64_t microjoules;
  snprintf(folder, sizeof folder, "%.400s/class/powercap/intel-rapl:0", cpufreq->sysfs);
  if (!read_file(folder, "energy_uj", text, sizeof text) || !ex__text_to_int(text, &microjoules))
    return false;
  *joules = 1e-6 * (double)microjoules;
  return true;
}
