/**
 * Charts as SVG elements of an HTML page. Colours are the classes s0 to s7 of the page's style
 * sheet. Local; write errors stay in the stream.
 */
#ifndef PONS_REPORT_SVG_H
#define PONS_REPORT_SVG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { PONS_SVG_COLOURS = 8 };

typedef struct pons_svg_series {
    char name[160];
    const double *y; /* y[i * stride] at x = i; NaN: no point */
    int64_t stride, points;
} pons_svg_series;

typedef struct pons_svg_chart {
    const char *title, *x, *y; /* what the axes are */
    bool log;                  /* y on a logarithmic axis; else it starts at 0 */
    int count;
    const pons_svg_series *series; /* [count] */
} pons_svg_chart;

/** A figure with one line per series and a legend when there are several. Nothing when no series
 * has a point. */
void pons_svg_lines(FILE *out, const pons_svg_chart *chart);

/** A figure with one bar per value of the first series, `label[i]` below it; long labels on two rows. */
void pons_svg_bars(FILE *out, const pons_svg_chart *chart, const char *const *label);

/** Text with HTML's reserved characters escaped. */
void pons_html_text(FILE *out, const char *text);

#endif
