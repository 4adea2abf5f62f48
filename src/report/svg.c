/* SPDX-License-Identifier: Apache-2.0
 *
 * report/svg: marks as text. Coordinates are written with one decimal, which
 * is finer than a screen shows and keeps the page small.
 */
#include "report/svg.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

void ex__html_escape(struct ex_text *text, const char *raw) {
  for (const char *at = raw; *at != '\0';) {
    size_t plain = strcspn(at, "&<>\"'\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
                               "\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"
                               "\x7f");
    ex__text_add_bytes(text, at, plain);
    at += plain;
    if (*at == '\0') return;
    switch (*at++) {
      case '&': ex__text_add(text, "&amp;"); break;
      case '<': ex__text_add(text, "&lt;"); break;
      case '>': ex__text_add(text, "&gt;"); break;
      case '"': ex__text_add(text, "&quot;"); break;
      case '\'': ex__text_add(text, "&#39;"); break;
      default: ex__text_add(text, " ");
    }
  }
}

static void add_escaped(struct ex_text *text, const char *format, va_list args) {
  struct ex_text raw = {0};
  ex__text_add_list(&raw, format, args);
  if (raw.data != NULL) ex__html_escape(text, raw.data);
  text->failed = text->failed || raw.failed;
  ex__text_clear(&raw);
}

double ex__plot_x(const struct ex_plot *plot, double x) {
  return plot->left + (x - plot->x_min) / (plot->x_max - plot->x_min) * plot->width;
}

double ex__plot_y(const struct ex_plot *plot, double y) {
  return plot->top + (plot->y_max - y) / (plot->y_max - plot->y_min) * plot->height;
}

double ex__nice_step(double range, int count) {
  if (!(range > 0)) return 1;
  double rough = range / count, power = pow(10, floor(log10(rough))), lead = rough / power;
  return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

void ex__svg_open(struct ex_text *text, const char *class, double width, double height,
                  const char *title) {
  ex__text_add(text,
               "<svg class=\"%s\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" "
               "role=\"img\"><title>",
               class, width, height, width, height);
  ex__html_escape(text, title);
  ex__text_add(text, "</title>\n");
}

void ex__svg_close(struct ex_text *text) { ex__text_add(text, "</svg>\n"); }

/* ceil may give −0, which nobody wants to read. */
static double tick(double i, double step) { return i == 0 ? 0 : i * step; }

/* Decimals that tell the ticks of a step apart. */
static int digits(double step) {
  int n = 0;
  for (; n < 6 && step < 0.999; n++) step *= 10;
  return n;
}

void ex__svg_y_axis(struct ex_text *text, const struct ex_plot *plot, double step, double scale,
                    const char *unit) {
  for (double i = ceil(plot->y_min / step - 1e-9); i * step <= plot->y_max + 1e-9 * step; i++) {
    double y = ex__plot_y(plot, i * step);
    ex__text_add(text, "<path class=\"grid\" d=\"M%.1f %.1fh%.1f\"/>", plot->left, y, plot->width);
    ex__svg_label(text, plot->left - 8, y + 4, "end", "tick", "%.*f%s", digits(step * scale),
                  tick(i, step * scale), unit);
  }
}

void ex__svg_x_axis(struct ex_text *text, const struct ex_plot *plot, double step, double scale,
                    const char *unit) {
  double bottom = plot->top + plot->height;
  ex__text_add(text, "<path class=\"axis\" d=\"M%.1f %.1fh%.1f\"/>", plot->left, bottom,
               plot->width);
  for (double i = ceil(plot->x_min / step - 1e-9); i * step <= plot->x_max + 1e-9 * step; i++) {
    double x = ex__plot_x(plot, i * step);
    ex__text_add(text, "<path class=\"axis\" d=\"M%.1f %.1fv4\"/>", x, bottom);
    ex__svg_label(text, x, bottom + 18, "middle", "tick", "%.*f%s", digits(step * scale),
                  tick(i, step * scale), unit);
  }
}

void ex__svg_line(struct ex_text *text, const struct ex_plot *plot, const double (*points)[2],
                  int32_t n, const char *class) {
  if (n < 2) return;
  ex__text_add(text, "<polyline class=\"%s\" points=\"", class);
  for (int32_t i = 0; i < n; i++)
    ex__text_add(text, "%s%.1f,%.1f", i > 0 ? " " : "", ex__plot_x(plot, points[i][0]),
                 ex__plot_y(plot, points[i][1]));
  ex__text_add(text, "\"/>\n");
}

void ex__svg_dot(struct ex_text *text, const struct ex_plot *plot, const double point[2],
                 double radius, const char *class, const char *format, ...) {
  va_list args;
  ex__text_add(text, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"><title>", class,
               ex__plot_x(plot, point[0]), ex__plot_y(plot, point[1]), radius);
  va_start(args, format);
  add_escaped(text, format, args);
  va_end(args);
  ex__text_add(text, "</title></circle>\n");
}

void ex__svg_label(struct ex_text *text, double x, double y, const char *anchor, const char *class,
                   const char *format, ...) {
  va_list args;
  ex__text_add(text, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", class, x, y,
               anchor);
  va_start(args, format);
  add_escaped(text, format, args);
  va_end(args);
  ex__text_add(text, "</text>\n");
}
