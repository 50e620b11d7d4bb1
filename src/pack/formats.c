/* Owns the list of forms of an output. */
#include <string.h>

#include "pack/format.h"

static const pons_format *const formats[] = {&pons_format_compressed_tensors, &pons_format_dense};
enum { FORMATS = sizeof formats / sizeof *formats };

const pons_format *pons_format_at(int i) { return i < FORMATS ? formats[i] : NULL; }

const pons_format *pons_format_find(const char *name)
{
    for (int i = 0; i < FORMATS; i++)
        if (!strcmp(formats[i]->name, name)) return formats[i];
    return NULL;
}
