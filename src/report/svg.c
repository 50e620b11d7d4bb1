/* Drawing charts. Owns scales, ticks and the elements; the page's style is html.c's. */
#include "report/svg.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 640, HEIGHT = 268, LEFT = 76, RIGHT = 14, TOP = 10, BOTTOM = 52, MOST_TICKS = 12 };
enum { LETTER = 7 }; /* about the width of one below a bar */

typedef struct axis {
    double low, high; /* log10 of them on a logarithmic axis */
    bool log;
    double tick[MOST_TICKS];
    int ticks;
} axis;

void pons_html_text(FILE *out, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '&': fputs("&amp;", out); break;
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '"': fputs("&quot;", out); break;
        default: fputc(*text, out);
        }
}

/* 1, 2 or 5 times a power of ten, so that about five steps make the span. */
static double nice_step(double span)
{
    double power = pow(10, floor(log10(span / 5))), rest = span / 5 / power;
    return power * (rest > 5 ? 10 : rest > 2 ? 5 : rest > 1 ? 2 : 1);
}

static void add_tick(axis *a, double at)
{
    if (a->ticks < MOST_TICKS) a->tick[a->ticks++] = at;
}

/* From 0 to a round number above the largest value. */
static void scale_linear(axis *a, double largest)
{
    double step = nice_step(largest > 0 ? largest : 1);
    a->low = 0;
    a->high = step * ceil((largest > 0 ? largest : 1) / step - 1e-9);
    for (int i = 0; i * step <= a->high * (1 + 1e-9); i++)
        add_tick(a, i * step);
}

/* Between whole decades, or steps of 1, 2, 5 when there are few: the closest that hold all values. */
static void scale_log(axis *a, double smallest, double largest)
{
    static const double steps[] = {1, 2, 5};
    int first = (int)floor(log10(smallest)), last = (int)ceil(log10(largest));
    bool wide = log10(largest) - log10(smallest) > 2.5;
    double below = first, above = last;
    a->log = true;
    for (int decade = first; decade <= last; decade++)
        for (int s = 0; s < (wide ? 1 : 3); s++) {
            double at = log10(steps[s]) + decade;
            if (at <= log10(smallest)) below = at;
            if (at >= log10(largest) && at < above) above = at;
        }
    a->low = below;
    a->high = above > below ? above : below + 1;
    for (int decade = first; decade <= last + 1; decade++)
        for (int s = 0; s < (wide ? 1 : 3); s++) {
            double at = log10(steps[s]) + decade;
            if (at >= a->low - 1e-9 && at <= a->high + 1e-9) add_tick(a, at);
        }
}

/* Scale to the values that can be shown; false when there are none. */
static bool scale(const pons_svg_chart *chart, axis *a)
{
    double smallest = INFINITY, largest = -INFINITY;
    for (int s = 0; s < chart->count; s++)
        for (int64_t i = 0; i < chart->series[s].points; i++) {
            double y = chart->series[s].y[i * chart->series[s].stride];
            if (!isfinite(y) || (chart->log && y <= 0)) continue;
            smallest = fmin(smallest, y);
            largest = fmax(largest, y);
        }
    if (smallest > largest) return false;
    if (chart->log)
        scale_log(a, smallest, largest);
    else
        scale_linear(a, largest);
    return true;
}

static double y_of(const axis *a, double value)
{
    double share = ((a->log ? log10(value) : value) - a->low) / (a->high - a->low);
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
}

static void begin(FILE *out, const pons_svg_chart *chart, const axis *a)
{
    fputs("<figure><figcaption>", out);
    pons_html_text(out, chart->title);
    fputs("</figcaption>\n", out);
    if (chart->count > 1) {
        fputs("<p class=\"legend\">", out);
        for (int s = 0; s < chart->count; s++) {
            fprintf(out, "<span><i class=\"s%d\"></i>", s % PONS_SVG_COLOURS);
            pons_html_text(out, chart->series[s].name);
            fputs("</span> ", out);
        }
        fputs("</p>\n", out);
    }
    fprintf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    pons_html_text(out, chart->title);
    fputs("\">\n", out);
    for (int t = 0; t < a->ticks; t++) {
        double value = a->log ? pow(10, a->tick[t]) : a->tick[t], y = y_of(a, value);
        fprintf(out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>", LEFT, y, WIDTH - RIGHT);
        double unit = value >= 1e6 ? 1e6 : value >= 1e4 ? 1e3 : 1;
        fprintf(out, "<text x=\"%d\" y=\"%.1f\" class=\"end\">%g%s</text>\n", LEFT - 8, y + 4,
                value < 1e-12 ? 0 : value / unit,
                unit > 1e3 ? "M"
                : unit > 1 ? "k"
                           : "");
    }
    fprintf(out, "<text x=\"%d\" y=\"%d\" class=\"middle name\">", (WIDTH + LEFT - RIGHT) / 2,
            HEIGHT - 4);
    pons_html_text(out, chart->x);
    fprintf(out, "</text><text transform=\"translate(12 %d) rotate(-90)\" class=\"middle name\">",
            (HEIGHT - BOTTOM + TOP) / 2);
    pons_html_text(out, chart->y);
    fputs("</text>\n", out);
}

/* The longest series. */
static int64_t points_of(const pons_svg_chart *chart)
{
    int64_t points = 0;
    for (int s = 0; s < chart->count; s++)
        if (chart->series[s].points > points) points = chart->series[s].points;
    return points;
}

/* One path, broken where a value is missing; single points get a dot anyway. */
static void draw_line(FILE *out, const pons_svg_chart *chart, const axis *a, int s)
{
    const pons_svg_series *series = &chart->series[s];
    int64_t points = points_of(chart);
    double step = points > 1 ? (double)(WIDTH - LEFT - RIGHT) / (double)(points - 1) : 0;
    bool pen = false;
    fprintf(out, "<path class=\"line s%d\" d=\"", s % PONS_SVG_COLOURS);
    for (int64_t i = 0; i < series->points; i++) {
        double y = series->y[i * series->stride];
        bool shown = isfinite(y) && !(chart->log && y <= 0);
        if (shown)
            fprintf(out, "%c%.1f %.1f", pen ? 'L' : 'M', LEFT + (double)i * step, y_of(a, y));
        pen = shown;
    }
    fputs("\"/>\n", out);
    for (int64_t i = 0; i < series->points; i++) {
        double y = series->y[i * series->stride];
        if (!isfinite(y) || (chart->log && y <= 0)) continue;
        fprintf(out, "<circle class=\"s%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"><title>",
                s % PONS_SVG_COLOURS, LEFT + (double)i * step, y_of(a, y),
                points <= 48 ? "2.2" : "1.2");
        pons_html_text(out, series->name);
        fprintf(out, " %lld: %.4g</title></circle>\n", (long long)i, y);
    }
}

void pons_svg_lines(FILE *out, const pons_svg_chart *chart)
{
    axis a = {0};
    if (!scale(chart, &a)) return;
    begin(out, chart, &a);
    int64_t points = points_of(chart);
    double span = (double)(points > 1 ? points - 1 : 1), step = nice_step(span);
    for (double x = 0; x < (double)points; x += step < 1 ? 1 : step)
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" class=\"middle\">%g</text>\n",
                LEFT + x * (WIDTH - LEFT - RIGHT) / span, HEIGHT - BOTTOM + 16, x);
    for (int s = 0; s < chart->count; s++)
        draw_line(out, chart, &a, s);
    fputs("</svg></figure>\n", out);
}

void pons_svg_bars(FILE *out, const pons_svg_chart *chart, const char *const *label)
{
    axis a = {0};
    const pons_svg_series *series = chart->series;
    double slot = (double)(WIDTH - LEFT - RIGHT) / (double)series->points;
    bool two_rows = false;
    if (!scale(chart, &a)) return;
    begin(out, chart, &a);
    for (int64_t i = 0; i < series->points; i++)
        two_rows |= LETTER * (double)strlen(label[i]) > slot;
    for (int64_t i = 0; i < series->points; i++) {
        double value = series->y[i * series->stride], x = LEFT + (double)i * slot;
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" class=\"middle bar\">", x + slot / 2,
                HEIGHT - BOTTOM + (two_rows && i % 2 ? 29 : 16));
        pons_html_text(out, label[i]);
        fputs("</text>", out);
        if (!(value > 0)) continue;
        double top = y_of(&a, value);
        fprintf(out,
                "<rect class=\"s0\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>",
                x + slot * 0.12, top, slot * 0.76, HEIGHT - BOTTOM - top);
        pons_html_text(out, label[i]);
        fprintf(out, ": %.4g</title></rect>\n", value);
    }
    fputs("</svg></figure>\n", out);
}
