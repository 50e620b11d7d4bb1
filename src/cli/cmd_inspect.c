/* Owns `pons inspect`: what the linears of a model directory or GGUF file hold, counted from the
 * stored codes or weights. Does not judge quality: errors are those recorded when it was
 * compressed. Rank 0 works alone. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "io/file.h"
#include "model/model.h"
#include "pack/digest.h"

enum { KEY_DIGEST = 0x100 };

static const struct argp_option options[] = {
    {"digest", KEY_DIGEST, NULL, 0,
     "Also print the SHA-256 of codes, scales and zero points of all packed linears", 0},
    {0}};

typedef struct arguments {
    const char *path;
    bool digest;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
    case KEY_DIGEST: a->digest = true; return 0;
    case ARGP_KEY_ARG:
        if (a->path) return ARGP_ERR_UNKNOWN;
        a->path = arg;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "PATH",
    .doc = "Print rows, columns, bits per weight, zeros and recorded relative error of each linear "
           "of a model, then totals.\n\n"
           "PATH is a Hugging Face directory, plain or written by Pons, a .gguf file, or a file of "
           "Hessians (RUN/hessians/block-NNN.h5), which is read completely and checked. Zeros are "
           "counted from the stored codes or weights. In the totals, bytes are those of all "
           "tensors, and bits are stored bits per weight of the linears, including scales."};

/* Zeros of a packed linear: codes equal to their group's zero point. */
static pons_status count_codes(const pons_model *model, int64_t layer, int linear, int64_t rows,
                               int64_t cols, int64_t groups, int64_t *zeros)
{
    pons_status st = PONS_OK;
    int8_t *codes = NULL, *zero = NULL;
    float *scale = NULL;
    PONS_ALLOC(st, codes, rows * cols);
    PONS_ALLOC(st, zero, rows * groups);
    PONS_ALLOC(st, scale, rows * groups);
    PONS_TRY(st, pons_model_read_codes(model, layer, linear, codes, scale, zero));
    int64_t n = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            n += codes[r * cols + c] == zero[r * groups + c / (cols / groups)];
    *zeros = n;
done:
    pons_mem_free(scale);
    pons_mem_free(zero);
    pons_mem_free(codes);
    return st;
}

static pons_status count_weights(const pons_model *model, int64_t layer, int linear, int64_t rows,
                                 int64_t cols, int64_t *zeros)
{
    enum { PANEL = 256 };
    pons_status st = PONS_OK;
    float *W = NULL;
    int64_t n = 0;
    PONS_ALLOC(st, W, PANEL * cols);
    for (int64_t row = 0; row < rows; row += PANEL) {
        int64_t panel = rows - row < PANEL ? rows - row : PANEL;
        PONS_TRY(st, pons_model_read_linear(model, layer, linear, row, panel, W));
        for (int64_t i = 0; i < panel * cols; i++)
            n += W[i] == 0.0f;
    }
    *zeros = n;
done:
    pons_mem_free(W);
    return st;
}

/* Relative error of a linear in pons.json, null when not recorded. */
static json_t *recorded_error(const json_t *manifest, const char *name)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(manifest, "linears"), i, entry)
    {
        const char *its = json_string_value(json_object_get(entry, "name"));
        if (!its || strcmp(its, name)) continue;
        json_t *error = json_object_get(entry, "relative_error");
        return json_is_number(error) ? json_incref(error) : json_null();
    }
    return json_null();
}

static pons_status inspect_linear(const pons_model *model, const json_t *manifest, int64_t layer,
                                  int linear, json_t *list, int64_t *weights, int64_t *zeros)
{
    int64_t rows, cols, groups, count = 0;
    int bits;
    bool symmetric;
    const pons_arch *arch = pons_model_get_config(model)->arch;
    pons_linear_shape(pons_model_get_config(model), linear, &rows, &cols);
    pons_model_linear_format(model, layer, linear, &bits, &groups, &symmetric);
    pons_status st = bits < 16 && pons_model_is_packed(model)
                         ? count_codes(model, layer, linear, rows, cols, groups, &count)
                         : count_weights(model, layer, linear, rows, cols, &count);
    if (st != PONS_OK) return st;
    bool ok = true;
    char name[128];
    snprintf(name, sizeof name, "model.layers.%lld.%s", (long long)layer,
             arch->linear[linear].name);
    json_t *entry = json_object();
    pons_cli_set(entry, "name", json_string(name), &ok);
    pons_cli_set(entry, "rows", json_integer(rows), &ok);
    pons_cli_set(entry, "cols", json_integer(cols), &ok);
    pons_cli_set(entry, "bits", json_integer(pons_model_linear_bits(model, layer, linear)), &ok);
    pons_cli_set(entry, "zeros", json_integer(count), &ok);
    pons_cli_set(entry, "relative_error", recorded_error(manifest, name), &ok);
    if (json_array_append_new(list, entry) || !ok)
        return pons_fail(PONS_ERR_NOMEM, "out of memory for the table");
    *weights += rows * cols;
    *zeros += count;
    return PONS_OK;
}

/* pons.json beside the weights, or NULL: models not written by Pons have none. */
static pons_status read_manifest(const char *path, json_t **manifest)
{
    *manifest = NULL;
    if (!pons_dir_exists(path)) return PONS_OK;
    char *file = pons_mem_printf("%s/pons.json", path);
    if (!file) return PONS_ERR_NOMEM;
    pons_status st = pons_file_exists(file) ? pons_json_read(file, manifest) : PONS_OK;
    pons_mem_free(file);
    return st;
}

static void print_table(const json_t *result)
{
    size_t i;
    json_t *entry;
    printf("%-36s %7s %7s %5s %12s %7s %14s\n", "linear", "rows", "cols", "bits", "zeros", "share",
           "relative error");
    json_array_foreach(json_object_get(result, "linears"), i, entry)
    {
        int64_t rows = json_integer_value(json_object_get(entry, "rows"));
        int64_t cols = json_integer_value(json_object_get(entry, "cols"));
        int64_t zeros = json_integer_value(json_object_get(entry, "zeros"));
        const json_t *error = json_object_get(entry, "relative_error");
        printf("%-36s %7lld %7lld %5lld %12lld %7.4f ",
               json_string_value(json_object_get(entry, "name")), (long long)rows, (long long)cols,
               (long long)json_integer_value(json_object_get(entry, "bits")), (long long)zeros,
               (double)zeros / ((double)rows * (double)cols));
        if (json_is_number(error))
            printf("%14.6f\n", json_number_value(error));
        else
            printf("%14s\n", "-");
    }
    putchar('\n');
}

static pons_status print(json_t *result, bool json)
{
    if (!json) {
        print_table(result);
        json_object_del(result, "linears");
    }
    return pons_cli_print(result, json);
}

static pons_status inspect(const arguments *a, bool json)
{
    pons_status st = PONS_OK;
    pons_model *model = NULL;
    json_t *manifest = NULL, *result = json_object(), *list = json_array(), *totals = json_object();
    int64_t weights = 0, zeros = 0, linear_bytes = 0;
    bool ok = true;
    PONS_TRY(st, pons_model_open(a->path, &model));
    PONS_TRY(st, read_manifest(a->path, &manifest));
    const pons_arch *arch = pons_model_get_config(model)->arch;
    int64_t layers = pons_model_get_config(model)->layers;
    for (int64_t layer = 0; layer < layers; layer++)
        for (int linear = 0; linear < arch->linears; linear++) {
            PONS_TRY(st, inspect_linear(model, manifest, layer, linear, list, &weights, &zeros));
            linear_bytes += pons_model_linear_bytes(model, layer, linear);
        }
    pons_cli_set(totals, "weights", json_integer(weights), &ok);
    pons_cli_set(totals, "zeros", json_integer(zeros), &ok);
    pons_cli_set(totals, "sparsity", pons_cli_real((double)zeros / (double)weights), &ok);
    pons_cli_set(totals, "bits", pons_cli_real(8.0 * (double)linear_bytes / (double)weights), &ok);
    pons_cli_set(totals, "bytes", json_integer(pons_model_bytes(model)), &ok);
    pons_cli_set(result, "path", pons_json_name(a->path), &ok);
    pons_cli_set(result, "layers", json_integer(layers), &ok);
    pons_cli_set(result, "linears", json_incref(list), &ok);
    pons_cli_set(result, "totals", json_incref(totals), &ok);
    if (a->digest) {
        char hex[65];
        PONS_TRY(st, pons_pack_digest(a->path, hex));
        pons_cli_set(result, "digest", json_string(hex), &ok);
    }
    if (!ok) PONS_TRY(st, pons_fail(PONS_ERR_NOMEM, "out of memory for the table"));
    PONS_TRY(st, print(result, json));
done:
    json_decref(totals);
    json_decref(list);
    json_decref(result);
    json_decref(manifest);
    pons_model_close(&model);
    return st;
}

static pons_status check(const arguments *a, const char *command)
{
    return a->path ? PONS_OK
                   : pons_fail(PONS_ERR_USAGE, "PATH is missing (see %s --help)", command);
}

pons_status pons_cmd_inspect(pons_comm *comm, int argc, char **argv, pons_cli_common *common)
{
    pons_status st = PONS_OK;
    arguments a = {0};
    PONS_TRY(st, pons_cli_parse(comm, &argp, argc, argv, common, &a));
    if (common->help) goto done;
    PONS_TRY_ALL(st, comm, check(&a, argv[0]));
    if (pons_comm_rank(comm) == 0)
        st = pons_cli_is_hessians(a.path) ? pons_cli_inspect_hessians(a.path, common->json)
                                          : inspect(&a, common->json);
    PONS_TRY_ALL(st, comm, st);
done:
    return st;
}
