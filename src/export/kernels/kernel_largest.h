/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/kernel_largest: the largest numbers of a row.
 */
#ifndef EX_EXPORT_KERNELS_KERNEL_LARGEST_H
#define EX_EXPORT_KERNELS_KERNEL_LARGEST_H

/* most[0 … count − 1]: the largest of z [n], falling; what is missing is far below all. */
static void largest(const float *z, int n, int count, float *most) {
  for (int i = 0; i < count; i++) most[i] = -0x1.fffffep+127f;
  for (int c = 0; c < n; c++) {
    int i = count - 1;
    if (z[c] <= most[i]) continue;
    for (; i > 0 && most[i - 1] < z[c]; i--) most[i] = most[i - 1];
    most[i] = z[c];
  }
}

#endif
