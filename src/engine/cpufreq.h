/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/cpufreq: the processors' real frequency, where the machine lets it be set:
 * Linux's cpufreq with the governor `userspace`, through sysfs.
 *
 * All processors run at one level. What is found when it is opened (each processor's
 * governor, and its speed where that was set by hand) is put back when it is closed,
 * and by a guarding process when this one ends without closing, however it ends.
 */
#ifndef EX_ENGINE_CPUFREQ_H
#define EX_ENGINE_CPUFREQ_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { EX_MAX_FREQUENCIES = 16 };

typedef struct ex_cpufreq ex_cpufreq;

/* `sysfs`: "/sys", or a folder that looks like it. EX_EUNSUPPORTED where the machine has
 * no cpufreq or not that governor; EX_EIO where it may not be written. After an error
 * everything is as it was. On success all processors run at the fastest level. */
enum ex_status ex__cpufreq_open(const char *sysfs, ex_cpufreq **out, struct ex_error *err);
/* Puts back what was found; accepts NULL. EX_EIO where that failed, with the file; the
 * object is released in any case. */
enum ex_status ex__cpufreq_close(ex_cpufreq *cpufreq, struct ex_error *err);

/* Levels, slowest first: hz [EX_MAX_FREQUENCIES]; of more that the machine offers, evenly
 * spread. Returns how many. */
int32_t ex__cpufreq_levels(const ex_cpufreq *cpufreq, double *hz);
enum ex_status ex__cpufreq_set(ex_cpufreq *cpufreq, int32_t level);

/* Joules that the processors' package has used, from a start that is anybody's; false
 * where there is no counter (powercap) or it may not be read. */
bool ex__cpufreq_joules(const ex_cpufreq *cpufreq, double *joules);

#endif
