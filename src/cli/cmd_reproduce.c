/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/cmd_reproduce: runs a paper's small reproduction and checks its claims.
 *
 * The catalogue entry says which runs to make (a recipe and what differs), how
 * often, how to calibrate, and each claim as an inequality over the evaluations
 * of the runs (report/claims). Runs are made or found by cli/experiment; seeds go
 * round before runs are repeated, so that what a stopped reproduction leaves is
 * balanced. A quick run shows that the machinery works and never counts as met.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/catalogue.h"
#include "cli/console.h"
#include "cli/experiment.h"
#include "cli/open.h"
#include "report/claims.h"
#include "report/comparison.h"

enum { MAX_ENTRIES = 64, MAX_PATH = 512 };

struct options {
  struct common_options common;
  bool quick, all_training;
  int64_t seeds;
  const char *output;
};

static const struct option_spec table[] = {
    {"quick", 0, OPTION_FLAG, offsetof(struct options, quick), NULL, 0, 0, NULL,
     "One seed, few samples, under two minutes; never counts as met."},
    {"all-training", 0, OPTION_FLAG, offsetof(struct options, all_training), NULL, 0, 0, NULL,
     "Every entry that compares training methods, and one table of all of them."},
    {"seeds", 0, OPTION_INT, offsetof(struct options, seeds), "N", 0, EX_MAX_SEEDS, "0",
     "How many seeds; 0: as the entry says."},
    {"output", 'o', OPTION_TEXT, offsetof(struct options, output), "FOLDER", 0, 0, NULL,
     "Where NAME.json and runs/ go; default results."},
    {0},
};

struct entry {
  json_t *catalogue, *evaluations, *result; /* evaluations: per seed {run: evaluation} */
  const char *name;
  const json_t *reproduction;
  int32_t n_seeds;
};

struct work {
  const struct options *options;
  struct ex_progress progress;
  int32_t threads, n_entries;
  const char *folder;
  struct entry entry[MAX_ENTRIES];
};

/* ---- what there is to do -------------------------------------------------- */

static int32_t seeds_of(const struct work *work, const struct entry *entry, const json_t *run) {
  if (work->options->quick) return 1;
  if (work->options->seeds > 0) return (int32_t)work->options->seeds;
  const json_t *own = json_object_get(run, "seeds");
  if (own == NULL) own = json_object_get(entry->reproduction, "seeds");
  json_int_t stated = json_integer_value(own);
  return stated < 1 ? 1 : stated > EX_MAX_SEEDS ? EX_MAX_SEEDS : (int32_t)stated;
}

static enum ex_status add_entry(struct work *work, const char *name, bool only_training,
                                struct ex_error *err) {
  json_t *catalogue;
  EX_TRY(catalogue_find(name, &catalogue, err));
  const json_t *reproduction = json_object_get(catalogue, "reproduction");
  if (work->n_entries == MAX_ENTRIES || (only_training && !ex__comparison_wanted(reproduction))) {
    json_decref(catalogue);
    return EX_OK;
  }
  struct entry *entry = &work->entry[work->n_entries++];
  *entry = (struct entry){.catalogue = catalogue,
                          .evaluations = json_array(),
                          .name = json_string_value(json_object_get(catalogue, "name")),
                          .reproduction = reproduction};
  const char *run;
  json_t *spec;
  json_object_foreach(json_object_get(reproduction, "runs"), run, spec) {
    int32_t n = seeds_of(work, entry, spec);
    if (n > entry->n_seeds) entry->n_seeds = n;
  }
  for (int32_t i = 0; i < entry->n_seeds; i++)
    json_array_append_new(entry->evaluations, json_object());
  return EX_OK;
}

static enum ex_status add_entries(struct work *work, const char *name, struct ex_error *err) {
  if (name != NULL) return add_entry(work, name, false, err);
  for (int32_t i = 0; catalogue_at(i) != NULL; i++)
    EX_TRY(add_entry(work, catalogue_at(i), true, err));
  return EX_OK;
}

/* ---- doing it ------------------------------------------------------------- */

static enum ex_status run_seed(const struct work *work, const struct entry *entry, int32_t index,
                               bool wait, struct ex_error *err) {
  json_t *found = json_array_get(entry->evaluations, (size_t)index);
  struct experiment experiment = {.reproduction = entry->reproduction,
                                  .folder = work->folder,
                                  .seed = (uint64_t)(work->options->common.seed + index),
                                  .threads = work->threads,
                                  .quick = work->options->quick,
                                  .announce = !work->options->common.quiet,
                                  .progress = work->progress};
  json_t *run, *evaluation;
  json_object_foreach(json_object_get(entry->reproduction, "runs"), experiment.run, run) {
    if (index >= seeds_of(work, entry, run) || json_object_get(found, experiment.run) != NULL)
      continue;
    EX_TRY(experiment_run(&experiment, wait, &evaluation, err));
    if (evaluation != NULL) json_object_set_new(found, experiment.run, evaluation);
  }
  return EX_OK;
}

/* First whatever no other process is at, then the others' runs. */
static enum ex_status run_all(const struct work *work, struct ex_error *err) {
  for (int32_t wait = 0; wait < 2; wait++)
    for (int32_t seed = 0; seed < EX_MAX_SEEDS; seed++)
      for (int32_t i = 0; i < work->n_entries; i++)
        if (seed < work->entry[i].n_seeds)
          EX_TRY(run_seed(work, &work->entry[i], seed, wait != 0, err));
  return EX_OK;
}

/* ---- results -------------------------------------------------------------- */

static enum ex_status write_json(const struct work *work, const char *name, const json_t *json,
                                 struct ex_error *err) {
  char path[MAX_PATH], *text;
  snprintf(path, sizeof path, "%.400s/%.64s%s.json", work->folder, name,
           work->options->quick ? "-quick" : "");
  if (json == NULL || ex__json_dump(json, false, &text) != EX_OK)
    return ex__fail(err, EX_ENOMEM, "%s: out of memory", path);
  enum ex_status status = ex__file_write_whole(path, text, strlen(text), err);
  ex__free(text);
  return status;
}

/* Optimiser steps of each run, of its first seed. */
static json_t *steps_of(const struct entry *entry) {
  json_t *steps = json_object(), *evaluation;
  const char *run;
  json_object_foreach(json_array_get(entry->evaluations, 0), run, evaluation) {
    json_object_set(steps, run, json_object_get(json_object_get(evaluation, "training"), "steps"));
  }
  return steps;
}

/* The first claim is the entry's: its verdict stands at the top. */
static void add_headline(json_t *result, const json_t *claim) {
  json_object_set(result, "claim", json_object_get(claim, "claim"));
  json_object_set(result, "verdict", json_object_get(claim, "verdict"));
  json_object_set(result, "difference", json_object_get(claim, "mean"));
  json_object_set(result, "interval", json_object_get(claim, "interval"));
}

static enum ex_status conclude(const struct work *work, struct entry *entry, struct ex_error *err) {
  char date[11];
  console_date(date);
  json_t *claims = ex__claims_check(entry->reproduction, entry->evaluations, !work->options->quick);
  entry->result = json_pack(
      "{s:s, s:s, s:s, s:i, s:o, s:b, s:i, s:o, s:o, s:O}", "name", entry->name, "date", date,
      "commit", embedded_commit(), "seeds", (int)entry->n_seeds, "steps", steps_of(entry), "quick",
      (int)work->options->quick, "threads", (int)work->threads, "claims", claims, "comparison",
      ex__comparison_rows(entry->name, entry->reproduction, entry->evaluations), "evaluations",
      entry->evaluations);
  add_headline(entry->result, json_array_get(claims, 0));
  return write_json(work, entry->name, entry->result, err);
}

static json_t *rows_of_all(const struct work *work) {
  json_t *rows = json_array();
  for (int32_t i = 0; i < work->n_entries; i++)
    json_array_extend(rows, json_object_get(work->entry[i].result, "comparison"));
  return rows;
}

static enum ex_status reproduce(struct work *work, json_t **result, struct ex_error *err) {
  EX_TRY(run_all(work, err));
  for (int32_t i = 0; i < work->n_entries; i++) EX_TRY(conclude(work, &work->entry[i], err));
  if (!work->options->all_training) {
    *result = json_incref(work->entry[0].result);
    return EX_OK;
  }
  char date[11];
  console_date(date);
  *result = json_pack("{s:s, s:s, s:s, s:b, s:o}", "name", "training", "date", date, "commit",
                      embedded_commit(), "quick", (int)work->options->quick, "comparison",
                      rows_of_all(work));
  return write_json(work, "training", *result, err);
}

static void print_result(const struct work *work, const json_t *result) {
  for (int32_t i = 0; i < work->n_entries; i++) {
    if (work->n_entries > 1) printf("%s%s\n", i > 0 ? "\n" : "", work->entry[i].name);
    catalogue_print_claims(json_object_get(work->entry[i].result, "claims"));
  }
  catalogue_print_comparison(json_object_get(result, "comparison"));
}

static void close_work(struct work *work) {
  for (int32_t i = 0; i < work->n_entries; i++) {
    json_decref(work->entry[i].result);
    json_decref(work->entry[i].evaluations);
    json_decref(work->entry[i].catalogue);
  }
}

static int run(const void *given, char *const *arguments, int32_t n) {
  const struct options *options = given;
  if ((n == 1) == options->all_training)
    return console_misuse(&command_reproduce, "must have either NAME or --all-training");
  struct ex_error err = {0};
  json_t *result = NULL;
  struct work work = {.options = options,
                      .progress = console_progress(&options->common),
                      .threads = console_threads(&options->common),
                      .folder = options->output != NULL ? options->output : "results"};
  enum ex_status status = add_entries(&work, n == 1 ? arguments[0] : NULL, &err);
  if (status == EX_OK) status = reproduce(&work, &result, &err);
  int code = EXIT_SUCCESS;
  if (status != EX_OK)
    code = console_fail(&command_reproduce, &err);
  else if (options->common.json)
    code = console_json(&command_reproduce, json_incref(result));
  else
    print_result(&work, result);
  json_decref(result);
  close_work(&work);
  return code;
}

const struct command command_reproduce = {
    .name = "reproduce",
    .arguments = "[NAME]",
    .summary = "a paper's small reproduction, and its claims",
    .help = "Trains, calibrates and evaluates the runs of a catalogue entry (`exeunt papers`),\n"
            "paired by seed, and checks each claim: met, not met, no significant difference.\n"
            "Writes NAME.json into the output folder. Finished runs are kept in its runs/, where\n"
            "other entries find them again and a stopped command goes on; commands that are\n"
            "started side by side share the runs (as many as processors, with -t 1 each, is\n"
            "fastest). Remove runs/ when all is done.",
    .options = table,
    .size = sizeof(struct options),
    .min_arguments = 0,
    .max_arguments = 1,
    .run = run,
};
