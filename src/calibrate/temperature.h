/* SPDX-License-Identifier: Apache-2.0
 *
 * calibrate/temperature: a temperature per exit, so that confidences mean the same
 * at every exit (Guo, Pleiss, Sun & Weinberger, "On Calibration of Modern Neural
 * Networks", ICML 2017).
 */
#ifndef EX_CALIBRATE_TEMPERATURE_H
#define EX_CALIBRATE_TEMPERATURE_H

#include "calibrate/estimate.h"
#include "trace/trace.h"

/* Of each point the temperature, in [1/50, 50], that makes the labels of a range of
 * a trace likeliest, over the trace's outputs as they are; 1 where no sample is
 * labelled and finite there. The problem is convex in 1/T, so there is one. */
void ex__fit_temperatures(const ex_trace *trace, struct ex_samples_range range,
                          struct ex_list *out);

#endif
