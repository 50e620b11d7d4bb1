/* Owns the rotary frequencies and their cos / sin tables. Does not read files. */
#include "model/rope.h"

#include <math.h>

/* pow and cos run in double and are rounded once: fp32 results that do not depend on the maths
 * library's float versions. */
float pons_rope_base_frequency(const pons_model_config *config, int64_t i)
{
    float exponent = (float)(2 * i) / (float)config->head_dim;
    return 1.0f / (float)pow(config->rope.theta, exponent);
}

/* Llama 3: wavelengths below original/high stay, above original/low are stretched by `factor`,
 * between them the two are blended linearly in original/wavelength. */
static float llama3(const pons_model_config *config, float f)
{
    float factor = (float)config->rope.factor, low = (float)config->rope.low_freq_factor,
          high = (float)config->rope.high_freq_factor,
          original = (float)config->rope.original_max_positions;
    float wavelength = (float)(2 * M_PI) / f;
    if (wavelength < original / high) return f;
    if (wavelength > original / low) return f / factor;
    float smooth = (original / wavelength - low) / (high - low);
    return (1.0f - smooth) * f / factor + smooth * f;
}

float pons_rope_frequency(const pons_model_config *config, int64_t i)
{
    float f = pons_rope_base_frequency(config, i);
    switch (config->rope.type) {
    case PONS_ROPE_LINEAR: return f / (float)config->rope.factor;
    case PONS_ROPE_LLAMA3: return llama3(config, f);
    default: return f;
    }
}

void pons_rope_tables(const pons_model_config *config, int64_t T, float *cosine, float *sine)
{
    int64_t half = config->head_dim / 2;
    for (int64_t i = 0; i < half; i++) {
        float f = pons_rope_frequency(config, i);
        for (int64_t t = 0; t < T; t++) {
            float angle = (float)t * f;
            cosine[t * half + i] = (float)cos(angle);
            sine[t * half + i] = (float)sin(angle);
        }
    }
}
