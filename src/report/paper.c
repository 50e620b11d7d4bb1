/* Looking up a printed number. */
#include "report/paper.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Lines of the file, its header first, NULL at the end: made by CMake. */
extern const char *const pons_paper_lines[];

/* What follows `text` and the separator in a line that begins with them; NULL when it does not. */
static const char *skip(const char *line, const char *text, size_t bytes)
{
    return !strncmp(line, text, bytes) && line[bytes] == ',' ? line + bytes + 1 : NULL;
}

/* A line is table,model,method,bits,sparsity,metric,value; the label has the first four. */
static const char *find_value(const char *line, const char *label, const char *metric)
{
    for (int field = 0; field < 4; field++) {
        size_t n = strcspn(label, " ");
        line = skip(line, label, n);
        if (!line || (field < 3) != (label[n] == ' ')) return NULL;
        label += n + (label[n] == ' ');
    }
    line = strchr(line, ',');
    return line ? skip(line + 1, metric, strlen(metric)) : NULL;
}

double pons_paper_number(const char *label, const char *metric)
{
    for (const char *const *line = pons_paper_lines + 1; *line; line++) {
        const char *value = find_value(*line, label, metric);
        if (value) return atof(value);
    }
    return NAN;
}
