/* tokenizer.json, and encoding of a text with what was accepted. */
#include "fuzz.h"

#include <string.h>

#include "base/mem.h"
#include "text/tokenizer.h"

static const char *const seeds[] = {
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":6,\"content\":\"<s>\",\"single_word\":false,"
    "\"lstrip\":false,\"rstrip\":true,"
    "\"normalized\":false,\"special\":true}],\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{"
    "\"type\":\"Sequence\","
    "\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true},{\"type\":\"Split\","
    "\"pattern\":{\"Regex\":"
    "\"\\\\p{L}+|[^\\\\s]\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\","
    "\"add_prefix_space\":false,"
    "\"trim_offsets\":true,\"use_regex\":false}]},\"post_processor\":{\"type\":"
    "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
    "{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"
    "\"special_tokens\":{\"<s>\":{\"id\":"
    "\"<s>\",\"ids\":[6],\"tokens\":[\"<s>\"]}}},\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_"
    "space\":true,\"trim_offsets\":true,"
    "\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
    "\"continuing_subword_prefix\":null,"
    "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":"
    "false,\"vocab\":{\"a\":0,\"b\":1,"
    "\"c\":2,\"ab\":3,\"abc\":4,\"\\u0120\":5},\"merges\":[\"a b\",\"ab c\"]}}",
    "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":{\"type\":\"Sequence\","
    "\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
    "\"\\u2581\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" "
    "\"},\"content\":\"\\u2581\"}]},\"pre_tokenizer\":null,"
    "\"post_processor\":null,\"decoder\":null,\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_"
    "token\":\"<unk>\","
    "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":true,\"byte_"
    "fallback\":false,\"vocab\":{\"<unk>\":0,"
    "\"a\":1,\"b\":2,\"\\u2581\":3,\"\\u2581a\":4},\"merges\":[[\"\\u2581\",\"a\"]]}}"};

void fuzz_seeds(const char *folder)
{
    fuzz_seed_text(folder, "bytes", seeds[0]);
    fuzz_seed_text(folder, "metaspace", seeds[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "abc ab <s> a1\xc3\xa9 b";
    pons_tokenizer *t = NULL;
    int32_t *ids = NULL;
    int64_t count;
    if (pons_tokenizer_open(fuzz_file("tokenizer.json", data, size), &t) != PONS_OK) return 0;
    if (pons_tokenizer_encode(t, text, strlen(text), true, &ids, &count) == PONS_OK)
        pons_mem_free(ids);
    pons_tokenizer_close(&t);
    return 0;
}
