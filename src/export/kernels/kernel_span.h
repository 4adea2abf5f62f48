/* SPDX-License-Identifier: Apache-2.0
 *
 * export/kernels/kernel_span: what part of a kernel lies inside the input.
 */
#ifndef EX_EXPORT_KERNELS_KERNEL_SPAN_H
#define EX_EXPORT_KERNELS_KERNEL_SPAN_H

#include <stdint.h>

/* Elements first to end of a kernel, `dilation` apart, that lie inside [0, size) where
 * the kernel begins at `begin`. */
struct span {
  int first, end;
};

static struct span span_of(int begin, int kernel, int dilation, int size) {
  struct span span = {0, kernel};
  while (span.first < kernel && begin + span.first * dilation < 0) span.first++;
  while (span.end > span.first && begin + (span.end - 1) * dilation >= size) span.end--;
  return span;
}

#endif
