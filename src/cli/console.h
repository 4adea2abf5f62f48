/* SPDX-License-Identifier: Apache-2.0
 *
 * cli/console: what a person sees: errors, and one live line of progress.
 */
#ifndef EX_CLI_CONSOLE_H
#define EX_CLI_CONSOLE_H

#include <jansson.h>

#include "base/progress.h"
#include "cli/command.h"

/* `exeunt NAME: text` on standard error; returns EXIT_FAILED. */
int console_fail(const struct command *command, const struct ex_error *err);
/* A wrong usage that the table cannot see; returns EXIT_USAGE. */
int console_misuse(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Prints a JSON document to standard output and releases it; EXIT_FAILED
 * where it is NULL (memory) or cannot be printed. */
int console_json(const struct command *command, json_t *json);

/* Draws on standard error: a line that rewrites itself where that is a
 * terminal, the finished lines alone where it is not, nothing when quiet.
 * SIGINT and SIGTERM ask the work to stop at the next safe point. */
struct ex_progress console_progress(const struct common_options *options);
/* Processors of the machine where the option says 0. */
int32_t console_threads(const struct common_options *options);
/* "2026-11-24", UTC. */
void console_date(char text[11]);
/* 13002352 → "13.0 M"; into text, which is returned. */
const char *console_macs(double macs, char text[16]);
/* 1234 → "1.23 µs"; into text, which is returned. */
const char *console_ns(double ns, char text[24]);

#endif
