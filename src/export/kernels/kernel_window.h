/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/kernel_window: windows of pooling layers, as tables: padding,
 * rounding up, whole maps and uneven (adaptive) windows are all only other numbers.
 */
#ifndef EX_EXPORT_KERNELS_KERNEL_WINDOW_H
#define EX_EXPORT_KERNELS_KERNEL_WINDOW_H

#include <stdint.h>

/* Rows (or columns) begin to end of a window; `length` is what a mean divides by. */
struct window {
  uint16_t begin, end, length;
};

#endif
