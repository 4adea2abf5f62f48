/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/console: standard error is for the person who watches, standard output
 * for results, so that `exeunt … --json | …` works beside a progress line.
 */
#include "cli/console.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"

/* A signal handler has no other way in. */
static volatile sig_atomic_t stop_requested;

static void request_stop(int signal_number) {
  stop_requested = 1;
  signal(signal_number, SIG_DFL); /* the second one is final */
}

int console_fail(const struct command *command, const struct ex_error *err) {
  fprintf(stderr, "exeunt %s: %s\n", command->name, err->text);
  return EXIT_FAILED;
}

int console_misuse(const struct command *command, const char *format, ...) {
  va_list list;
  va_start(list, format);
  fprintf(stderr, "exeunt %s: ", command->name);
  vfprintf(stderr, format, list);
  fprintf(stderr, "; see `exeunt %s --help`\n", command->name);
  va_end(list);
  return EXIT_USAGE;
}

int console_json(const struct command *command, json_t *json) {
  char *text = NULL;
  bool made = json != NULL && ex__json_dump(json, true, &text) == EX_OK;
  json_decref(json);
  if (!made) {
    fprintf(stderr, "exeunt %s: out of memory\n", command->name);
    return EXIT_FAILED;
  }
  size_t length = strlen(text);
  fwrite(text, 1, length, stdout);
  if (length == 0 || text[length - 1] != '\n') putchar('\n');
  ex__free(text);
  return EXIT_SUCCESS;
}

static void format_left(double seconds, char *text, size_t size) {
  if (seconds < 90)
    snprintf(text, size, "%.0f s", seconds);
  else if (seconds < 5400)
    snprintf(text, size, "%.0f min", seconds / 60);
  else
    snprintf(text, size, "%.1f h", seconds / 3600);
}

static void draw(const struct ex_progress_event *event) {
  double rate = event->seconds > 0 ? (double)event->done / event->seconds : 0;
  char left[24] = "";
  if (rate > 0 && event->total > event->done)
    format_left((double)(event->total - event->done) / rate, left, sizeof left);
  fprintf(stderr, "\r\033[K%s  %3.0f %%  %.0f %s/s  %s%s%s%s", event->task,
          event->total > 0 ? 100.0 * (double)event->done / (double)event->total : 0.0, rate,
          event->unit, left, left[0] != '\0' ? " left  " : "",
          event->note != NULL ? event->note : "", event->done == event->total ? "\r\033[K" : "");
}

static bool report_terminal(void *context, const struct ex_progress_event *event) {
  int64_t *drawn = context;
  if (event->finished) { /* without a note there is nothing worth keeping */
    fprintf(stderr, "\r\033[K");
    if (event->note != NULL) fprintf(stderr, "%s  %s\n", event->task, event->note);
    return !stop_requested;
  }
  int64_t now = ex__now_ns();
  if (now - *drawn > 100000000 || event->done == event->total) {
    *drawn = now;
    draw(event);
  }
  return !stop_requested;
}

static bool report_plain(void *context, const struct ex_progress_event *event) {
  (void)context;
  if (event->finished && event->note != NULL) fprintf(stderr, "%s  %s\n", event->task, event->note);
  return !stop_requested;
}

static bool report_nothing(void *context, const struct ex_progress_event *event) {
  (void)context;
  (void)event;
  return !stop_requested;
}

struct ex_progress console_progress(const struct common_options *options) {
  static int64_t drawn; /* one terminal, one line */
  struct sigaction action = {.sa_handler = request_stop};
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  struct ex_progress progress = {report_nothing, NULL};
  if (options->quiet) return progress;
  progress.report = isatty(STDERR_FILENO) ? report_terminal : report_plain;
  progress.context = &drawn;
  return progress;
}

int32_t console_threads(const struct common_options *options) {
  if (options->threads > 0) return (int32_t)options->threads;
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
  return processors < 1 ? 1 : processors > 256 ? 256 : (int32_t)processors;
}

void console_date(char text[11]) {
  time_t now = time(NULL);
  struct tm utc;
  if (gmtime_r(&now, &utc) == NULL || strftime(text, 11, "%Y-%m-%d", &utc) == 0)
    snprintf(text, 11, "unknown");
}

const char *console_macs(double macs, char text[16]) {
  static const char *const unit[] = {"", " k", " M", " G", " T"};
  int32_t i = 0;
  while (i < 4 && macs >= 1000) {
    macs /= 1000;
    i++;
  }
  snprintf(text, 16, macs < 10 ? "%.2f%s" : macs < 100 ? "%.1f%s" : "%.0f%s", macs, unit[i]);
  return text;
}

const char *console_ns(double ns, char text[24]) {
  static const char *const unit[] = {"ns", "µs", "ms", "s"};
  int32_t i = 0;
  while (i < 3 && ns >= 1000) {
    ns /= 1000;
    i++;
  }
  snprintf(text, 24, ns < 10 ? "%.2f %s" : ns < 100 ? "%.1f %s" : "%.0f %s", ns, unit[i]);
  return text;
}
