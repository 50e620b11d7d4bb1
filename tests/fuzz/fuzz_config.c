/* config.json with its rotary, window and quantization sections. */
#include "fuzz.h"

#include <jansson.h>
#include <string.h>

#include "model/config.h"

static void seed(const char *folder, const char *name, pons_rope_type rope)
{
    json_t *object = NULL;
    pons_model_config c;
    memset(&c, 0, sizeof c);
    c.arch = pons_arch_at(0);
    c.vocab = 40;
    c.hidden = 32;
    c.intermediate = 64;
    c.layers = c.kv_heads = 2;
    c.heads = 4;
    c.head_dim = 8;
    c.max_positions = 256;
    c.rms_eps = 1e-5;
    c.rope.type = rope;
    c.rope.theta = 1e4;
    c.rope.factor = 8;
    c.rope.low_freq_factor = 1;
    c.rope.high_freq_factor = 4;
    c.rope.original_max_positions = 64;
    fuzz_must(pons_model_config_to_json(&c, PONS_DTYPE_BF16, &object) == PONS_OK, name);
    fuzz_must(!json_dump_file(object, fuzz_path(folder, name), JSON_INDENT(1)), name);
    json_decref(object);
}

void fuzz_seeds(const char *folder)
{
    seed(folder, "default", PONS_ROPE_DEFAULT);
    seed(folder, "linear", PONS_ROPE_LINEAR);
    seed(folder, "llama3", PONS_ROPE_LLAMA3);
    fuzz_seed_text(
        folder, "quantized",
        "{\"architectures\":[\"Qwen2ForCausalLM\"],\"model_type\":\"qwen2\",\"vocab_size\":40,"
        "\"hidden_size\":32,"
        "\"intermediate_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"use_sliding_"
        "window\":true,"
        "\"sliding_window\":16,\"max_window_layers\":1,\"quantization_config\":{\"quant_method\":"
        "\"compressed-tensors\",\"format\":\"pack-quantized\",\"quantization_status\":"
        "\"compressed\","
        "\"ignore\":[\"lm_head\",\"re:.*layers\\\\.1\\\\.\"],\"config_groups\":{\"g\":{\"targets\":"
        "[\"Linear\"],"
        "\"weights\":{\"num_bits\":4,\"type\":\"int\",\"symmetric\":true,\"strategy\":\"group\","
        "\"group_size\":8}}}}}");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pons_model_config config;
    (void)!pons_model_config_read(fuzz_file("config.json", data, size), &config);
    return 0;
}
