/* Memory of the windows of one rank. Does not run them; that is walk.c's. */
#include "calib/stream.h"

#include "base/mem.h"
#include "calib/block.h"

pons_status pons_stream_create(const pons_model_config *config, bool keep_inputs,
                               pons_stream *stream)
{
    pons_status st = PONS_OK;
    int64_t count = pons_stream_count(stream);
    stream->hidden = config->hidden;
    stream->width = pons_block_width(config);
    stream->inputs = keep_inputs ? count : 1;
    PONS_ALLOC(st, stream->h, count * stream->length * stream->hidden);
    PONS_ALLOC(st, stream->x, stream->inputs * stream->length * stream->width);
done:
    if (st != PONS_OK) pons_stream_free(stream);
    return st;
}

void pons_stream_free(pons_stream *stream)
{
    pons_mem_free(stream->x);
    pons_mem_free(stream->h);
    stream->x = stream->h = NULL;
}
