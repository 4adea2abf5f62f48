/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/transform_temperature: exit transform of net/transform.c.
 */
#ifndef EX_EXPORT_KERNELS_TRANSFORM_TEMPERATURE_H
#define EX_EXPORT_KERNELS_TRANSFORM_TEMPERATURE_H

/* Exit transform temperature: outputs over the temperature of their exit. */
static void transform(int exit, const float *raw, int n, float *state, float *answer) {
  (void)state;
  for (int i = 0; i < n; i++) answer[i] = raw[i] / temperatures[exit];
}

#endif
