/* SPDX-License-Identifier: Apache-2.0
 *
 * report/svg: the few marks that the report's charts are made of.
 *
 * Colours and fonts are classes of the page's style sheet, so that one drawing
 * serves light and dark. Every mark that stands for a number carries a <title>,
 * which browsers show and screen readers read.
 */
#ifndef EX_REPORT_SVG_H
#define EX_REPORT_SVG_H

#include "base/text.h"

/* Text from outside, safe between tags and inside quoted attributes. Control
 * characters, which HTML forbids, become spaces. */
void ex__html_escape(struct ex_text *text, const char *raw);

/* A plot: data ranges, and the rectangle in pixels that they are drawn in. */
struct ex_plot {
  double x_min, x_max, y_min, y_max;
  double left, top, width, height;
};
double ex__plot_x(const struct ex_plot *plot, double x);
double ex__plot_y(const struct ex_plot *plot, double y);

/* 1, 2 or 5 times a power of ten: about `count` ticks over a range. */
double ex__nice_step(double range, int count);

/* A drawing of width × height pixels, scaled down where there is less room.
 * `title` says what is seen; it is escaped. */
void ex__svg_open(struct ex_text *text, const char *class, double width, double height,
                  const char *title);
void ex__svg_close(struct ex_text *text);
/* Horizontal rules and labels at the multiples of `step`: value × `scale`, then `unit`. */
void ex__svg_y_axis(struct ex_text *text, const struct ex_plot *plot, double step, double scale,
                    const char *unit);
void ex__svg_x_axis(struct ex_text *text, const struct ex_plot *plot, double step, double scale,
                    const char *unit);
/* points [n][2]: x, y in data units. */
void ex__svg_line(struct ex_text *text, const struct ex_plot *plot, const double (*points)[2],
                  int32_t n, const char *class);
/* A round mark; the title is formatted and escaped. */
__attribute__((format(printf, 6, 7))) void ex__svg_dot(struct ex_text *text,
                                                       const struct ex_plot *plot,
                                                       const double point[2], double radius,
                                                       const char *class, const char *format, ...);
/* A label at pixels x, y; anchor "start", "middle" or "end"; formatted and escaped. */
__attribute__((format(printf, 6, 7))) void ex__svg_label(struct ex_text *text, double x, double y,
                                                         const char *anchor, const char *class,
                                                         const char *format, ...);

#endif
