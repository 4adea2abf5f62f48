/* SPDX-License-Identifier: Apache-2.0
 *
 * Real frequencies, on a made-up sysfs: levels are set on every processor, what was
 * found comes back however the process ends, and machines that do not allow it are told
 * so, with nothing changed.
 */
#include "engine/cpufreq.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/testing.h"

enum { CPUS = 2 };

static void write_text(const char *root, int32_t cpu, const char *name, const char *text) {
  char path[200];
  snprintf(path, sizeof path, "%s/devices/system/cpu/cpu%d/cpufreq/%s", root, (int)cpu, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static void assert_text(const char *root, int32_t cpu, const char *name, const char *expected) {
  char path[200], text[100] = "";
  snprintf(path, sizeof path, "%s/devices/system/cpu/cpu%d/cpufreq/%s", root, (int)cpu, name);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  assert_non_null(fgets(text, sizeof text, file));
  fclose(file);
  text[strcspn(text, "\n")] = '\0';
  assert_string_equal(text, expected);
}

static void make(const char *root) {
  char command[400];
  for (int32_t cpu = 0; cpu < CPUS; cpu++) {
    snprintf(command, sizeof command,
             "mkdir -p %s/devices/system/cpu/cpu%d/cpufreq %s/class/powercap/intel-rapl:0", root,
             (int)cpu * 3, root); /* numbers may have gaps */
    assert_int_equal(system(command), 0);
    write_text(root, cpu * 3, "scaling_governor", cpu == 0 ? "powersave\n" : "userspace\n");
    write_text(root, cpu * 3, "scaling_setspeed", cpu == 0 ? "<unsupported>\n" : "1200000\n");
    write_text(root, cpu * 3, "scaling_available_governors", "performance userspace powersave \n");
    write_text(root, cpu * 3, "scaling_available_frequencies", "2400000 1200000 800000 \n");
  }
}

static void assert_as_found(const char *root) {
  assert_text(root, 0, "scaling_governor", "powersave");
  assert_text(root, 3, "scaling_governor", "userspace");
  assert_text(root, 3, "scaling_setspeed", "1200000");
}

static void levels_are_set_and_put_back(void **state) {
  (void)state;
  char root[64];
  struct ex_error err;
  ex_cpufreq *cpufreq;
  double hz[EX_MAX_FREQUENCIES], joules;
  testing_folder(root);
  make(root);
  assert_ok(ex__cpufreq_open(root, &cpufreq, &err), &err);
  assert_int_equal(ex__cpufreq_levels(cpufreq, hz), 3);
  assert_true(hz[0] == 8e8 && hz[1] == 1.2e9 && hz[2] == 2.4e9);
  for (int32_t cpu = 0; cpu < 6; cpu += 3) {
    assert_text(root, cpu, "scaling_governor", "userspace");
    assert_text(root, cpu, "scaling_setspeed", "2400000");
  }
  assert_int_equal(ex__cpufreq_set(cpufreq, 0), EX_OK);
  for (int32_t cpu = 0; cpu < 6; cpu += 3) assert_text(root, cpu, "scaling_setspeed", "800000");
  assert_int_equal(ex__cpufreq_set(cpufreq, 3), EX_EINVAL);
  assert_int_equal(ex__cpufreq_set(cpufreq, -1), EX_EINVAL);
  assert_false(ex__cpufreq_joules(cpufreq, &joules));
  char path[128];
  snprintf(path, sizeof path, "%s/class/powercap/intel-rapl:0/energy_uj", root);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs("2500000\n", file);
  fclose(file);
  assert_true(ex__cpufreq_joules(cpufreq, &joules) && joules == 2.5);
  assert_ok(ex__cpufreq_close(cpufreq, &err), &err);
  assert_as_found(root);
  assert_ok(ex__cpufreq_close(NULL, &err), &err);
  testing_remove(root);
}

/* Nothing of this process runs after it is killed. */
static void a_killed_process_leaves_things_as_they_were(void **state) {
  (void)state;
  char root[64], path[200], text[32] = "";
  testing_folder(root);
  make(root);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    ex_cpufreq *cpufreq;
    if (ex__cpufreq_open(root, &cpufreq, NULL) != EX_OK || ex__cpufreq_set(cpufreq, 0) != EX_OK)
      _exit(1);
    raise(SIGKILL);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status));
  snprintf(path, sizeof path, "%s/devices/system/cpu/cpu3/cpufreq/scaling_setspeed", root);
  for (int32_t i = 0; i < 500 && strcmp(text, "1200000") != 0; i++) { /* what is put back last */
    const struct timespec pause = {.tv_nsec = 10000000};
    nanosleep(&pause, NULL);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    if (fgets(text, sizeof text, file) == NULL) text[0] = '\0';
    fclose(file);
  }
  assert_as_found(root);
  testing_remove(root);
}

static void machines_that_do_not_allow_it_are_told(void **state) {
  (void)state;
  char root[64], command[200];
  struct ex_error err;
  ex_cpufreq *cpufreq;
  testing_folder(root);
  assert_refused(ex__cpufreq_open(root, &cpufreq, &err), EX_EUNSUPPORTED, &err,
                 "does not let its frequency be set");
  assert_null(cpufreq);
  make(root);
  write_text(root, 3, "scaling_available_governors", "performance userspacex\n");
  assert_refused(ex__cpufreq_open(root, &cpufreq, &err), EX_EUNSUPPORTED, &err,
                 "must offer userspace");
  make(root);
  write_text(root, 3, "scaling_available_frequencies", "2400000 800000\n");
  assert_refused(ex__cpufreq_open(root, &cpufreq, &err), EX_EUNSUPPORTED, &err,
                 "must have the same");
  make(root);
  write_text(root, 0, "scaling_available_frequencies", "2400000 x -3\n");
  write_text(root, 3, "scaling_available_frequencies", "2400000 x -3\n");
  assert_refused(ex__cpufreq_open(root, &cpufreq, &err), EX_EUNSUPPORTED, &err, "at least 2");
  make(root);
  snprintf(command, sizeof command, "rm %s/devices/system/cpu/cpu3/cpufreq/scaling_setspeed", root);
  assert_int_equal(system(command), 0);
  assert_refused(ex__cpufreq_open(root, &cpufreq, &err), EX_EIO, &err, "must be allowed to write");
  assert_text(root, 0, "scaling_governor", "powersave"); /* the first had been changed already */
  assert_text(root, 3, "scaling_governor", "userspace");
  testing_remove(root);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(levels_are_set_and_put_back),
      cmocka_unit_test(a_killed_process_leaves_things_as_they_were),
      cmocka_unit_test(machines_that_do_not_allow_it_are_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
