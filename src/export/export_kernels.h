/* SPDX-License-Identifier: Apache-2.0
 *
 * export/export_kernels: the files of kernels/ as text, which CMake puts into the
 * library (cmake/ExeuntEmbed.cmake).
 */
#ifndef EX_EXPORT_EXPORT_KERNELS_H
#define EX_EXPORT_EXPORT_KERNELS_H

/* Of "float_conv2d", NUL-terminated; NULL: there is no such kernel. */
const char *ex__kernel_text(const char *name);

#endif
