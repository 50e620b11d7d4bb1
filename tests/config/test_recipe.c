/* Recipes: what is written comes back, what is wrong is refused with place, key, found and allowed,
 * what contradicts is refused, what is left out follows from the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "config/recipe.h"

static char path[] = "/tmp/pons-recipe-XXXXXX";

static int make_path(void **state)
{
    (void)state;
    int file = mkstemp(path);
    if (file < 0) return -1;
    return close(file);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path) || pons_mem_outstanding() != 0;
}

static void write_bytes(const char *text, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

static pons_status load(const char *text, pons_recipe *recipe)
{
    write_bytes(text, strlen(text));
    return pons_recipe_load(path, NULL, 0, recipe);
}

static void accept(const char *text, pons_recipe *recipe)
{
    if (load(text, recipe) != PONS_OK)
        fail_msg("refused: %s\nfor:\n%s", pons_error_message(), text);
}

static void expect_message(const char *const *parts)
{
    for (; *parts; parts++)
        if (!strstr(pons_error_message(), *parts))
            fail_msg("\"%s\" lacks \"%s\"", pons_error_message(), *parts);
}

/* Refused with CONFIG; the message holds "FILE:LINE: " and every part. */
static void refuse(int line, const char *text, const char *const *parts)
{
    pons_recipe recipe, before;
    memset(&recipe, 0x5a, sizeof recipe);
    before = recipe;
    if (load(text, &recipe) != PONS_ERR_CONFIG) fail_msg("not refused as a recipe: %s", text);
    assert_memory_equal(&recipe, &before, sizeof recipe);
    char place[64];
    snprintf(place, sizeof place, "%s:%d: ", path, line);
    expect_message((const char *const[]){place, NULL});
    expect_message(parts);
}
#define REFUSE(line, text, ...) refuse(line, text, (const char *const[]){__VA_ARGS__, NULL})

static void refuse_set(const char *option, const char *const *parts)
{
    pons_recipe recipe;
    assert_int_equal(pons_recipe_load(NULL, &option, 1, &recipe), PONS_ERR_CONFIG);
    expect_message((const char *const[]){"--set", option, NULL});
    expect_message(parts);
}
#define REFUSE_SET(option, ...) refuse_set(option, (const char *const[]){__VA_ARGS__, NULL})

/* Print, read back, compare bytes (also those of floating-point values). */
static void round_trip(const pons_recipe *recipe)
{
    pons_recipe back;
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(pons_recipe_print(recipe, f), PONS_OK);
    assert_int_equal(fclose(f), 0);
    if (pons_recipe_load(path, NULL, 0, &back) != PONS_OK)
        fail_msg("printed recipe refused: %s", pons_error_message());
    assert_memory_equal(&back, recipe, sizeof back);
}

static void defaults(void **state)
{
    (void)state;
    pons_recipe standard, r;
    pons_recipe_default(&standard);
    assert_int_equal(pons_recipe_load(NULL, NULL, 0, &r), PONS_OK);
    assert_memory_equal(&r, &standard, sizeof r);
    static const char *const empty[] = {"",
                                        "\n# nothing\n",
                                        "---\n",
                                        "weights:\n  # bits: 3\n",
                                        "weights: {}\n",
                                        "\xef\xbb\xbfseed: 0\n"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        accept(empty[i], &r);
        assert_memory_equal(&r, &standard, sizeof r);
    }
    assert_int_equal(r.method, PONS_METHOD_OBR_GPTQ);
    assert_int_equal(r.rotation.kind, PONS_ROTATION_SPINQUANT);
    assert_true(r.rotation.online && r.weights.symmetric && r.weights.mse_clip);
    assert_true(r.activations.o_proj_head_groups && r.kv.per_head);
    assert_false(r.activations.symmetric || r.kv.symmetric || r.rotation.center_embedding);
    assert_int_equal(r.weights.bits, 4);
    assert_int_equal(r.activations.bits, 4);
    assert_int_equal(r.kv.bits, 4);
    assert_int_equal(r.calibration.windows, 128);
    assert_int_equal(r.calibration.length, 2048);
    assert_int_equal(r.output.dtype, PONS_DTYPE_BF16);
    assert_true(r.prune.sparsity == 0.5 && r.obr.alpha == 0.5 && r.obr.damping == 0.01);
    round_trip(&r);
}

/* Every key away from its default, against values written here by hand. */
static void every_key(void **state)
{
    (void)state;
    static const char text[] =
        "seed: 4294967295\n"
        "method: sparsegpt_gptq\n"
        "compat: corrected\n"
        "compute: bf16\n"
        "int8_down_proj: true\n"
        "coordinator_works: false\n"
        "hessians: keep\n"
        "calibration: {windows: 7, length: 33}\n"
        "rotation:\n"
        "  kind: quarot\n"
        "  mode: random\n"
        "  online: false\n"
        "  center_embedding: true\n"
        "  seed: 12\n"
        "weights: {bits: 3, symmetric: false, group_size: 64, clip: none}\n"
        "prune: {sparsity: 0.3}\n"
        "obr: {alpha: 1, damping: 1e-3, block: 32, act_order: true, solver: dual, precision: bf16, "
        "tolerance: 1e-4}\n"
        "activations:\n"
        "  bits: 8\n"
        "  symmetric: true\n"
        "  group_size: 128\n"
        "  o_proj_head_groups: false\n"
        "  clip_ratio: 0.9\n"
        "kv: {bits: 16, symmetric: true, per_head: false, clip_ratio: .95}\n"
        "values: {bits: 3, symmetric: false, per_head: true, clip_ratio: .7}\n"
        "output: {format: dense, dtype: 'f16'}\n"
        "evaluate: {text: \"a \\\"b\\\" \\\\ \xc3\xa9  #c.txt\", windows: 0, "
        "length: 2}\n";
    pons_recipe r;
    accept(text, &r);
    assert_true(r.seed == 4294967295u && r.rotation.seed == 12);
    assert_int_equal(r.method, PONS_METHOD_SPARSEGPT_GPTQ);
    assert_int_equal(r.compute, PONS_COMPUTE_BF16);
    assert_true(r.weights.down_proj_bits == 8 && r.activations.down_proj_bits == 8);
    assert_true(r.keep_hessians && !r.coordinator_works);
    assert_true(r.calibration.windows == 7 && r.calibration.length == 33);
    assert_int_equal(r.rotation.kind, PONS_ROTATION_QUAROT);
    assert_int_equal(r.rotation.mode, PONS_ROTATE_RANDOM);
    assert_true(!r.rotation.online && r.rotation.center_embedding);
    assert_true(r.weights.bits == 3 && !r.weights.symmetric && r.weights.group_size == 64);
    assert_false(r.weights.mse_clip);
    assert_true(r.prune.sparsity == 0.3 && r.prune.n == 0 && r.prune.m == 0);
    assert_true(r.obr.alpha == 1.0 && r.obr.damping == 1e-3 && r.obr.block == 32);
    assert_int_equal(r.obr.solver, PONS_SOLVER_DUAL);
    assert_int_equal(r.obr.precision, PONS_COMPUTE_BF16);
    assert_true(r.obr.tolerance == 1e-4);
    assert_true(r.activations.bits == 8 && r.activations.symmetric);
    assert_true(r.activations.group_size == 128 && !r.activations.o_proj_head_groups);
    assert_true(r.activations.clip_ratio == 0.9f && r.kv.clip_ratio == 0.95f);
    assert_true(r.kv.bits == 16 && r.kv.symmetric && !r.kv.per_head);
    assert_true(r.values.bits == 3 && !r.values.symmetric && r.values.per_head);
    assert_true(r.values.clip_ratio == 0.7f && r.obr.act_order);
    assert_int_equal(r.output.format, PONS_OUTPUT_DENSE);
    assert_int_equal(r.output.dtype, PONS_DTYPE_F16);
    assert_string_equal(r.evaluate.text, "a \"b\" \\ \xc3\xa9  #c.txt");
    assert_true(r.evaluate.windows == 0 && r.evaluate.length == 2);
    round_trip(&r);
}

/* Values are as kv says, but for what is said of them. */
static void values_follow(void **state)
{
    (void)state;
    pons_recipe r;
    accept("kv: {bits: 3, symmetric: true, per_head: false, clip_ratio: .9}", &r);
    assert_true(r.values.bits == 3 && r.values.symmetric && !r.values.per_head);
    assert_true(r.values.clip_ratio == 0.9f);
    round_trip(&r);
    accept("kv: {bits: 3, symmetric: true}\nvalues: {bits: 16}", &r);
    assert_true(r.kv.bits == 3 && r.values.bits == 16 && r.values.symmetric && r.values.per_head);
    round_trip(&r);
    REFUSE(1, "values: {bits: 1}", "values.bits", "found 1", "16");
    REFUSE(1, "values: {clip_ratio: 0}", "values.clip_ratio", "0 < x <= 1");
}

static void round_trips(void **state)
{
    (void)state;
    static const char *const texts[] = {"method: none\n",
                                        "method: rtn\nprune: {sparsity: 0}\n",
                                        "method: wanda\nprune: {pattern: 1:4}",
                                        "prune: {pattern: '4:8', sparsity: 0.5}",
                                        "prune: {sparsity: 0.1234567890123456789}",
                                        "compat: faithful\nseed: 3",
                                        "compat: faithful\nrotation: {center_embedding: false}",
                                        "kv: {clip_ratio: 0.123456789}",
                                        "weights.bits: 5\nweights: {clip: none}",
                                        "obr: {target: compensated_inputs, residual: true}",
                                        ("obr: {target: quantized_inputs}\n"
                                         "calibration: {windows: 9, holdout: 0}")};
    pons_recipe r;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        accept(texts[i], &r);
        round_trip(&r);
    }
    for (int method = PONS_METHOD_NONE; method <= PONS_METHOD_OBR_GPTQ; method++) {
        char text[64];
        snprintf(text, sizeof text, "method: %s\n", pons_method_name((pons_method)method));
        accept(text, &r);
        assert_int_equal(r.method, method);
        round_trip(&r);
    }
}

static void implied_values(void **state)
{
    (void)state;
    pons_recipe r;
    accept("seed: 9\n", &r);
    assert_int_equal(r.rotation.seed, 9);
    accept("seed: 9\nrotation: {seed: 0}\n", &r);
    assert_int_equal(r.rotation.seed, 0);
    accept("compat: faithful\n", &r);
    assert_true(r.rotation.center_embedding);
    accept("compat: faithful\nrotation: {kind: none}\n", &r);
    assert_false(r.rotation.center_embedding);
    accept("method: wanda\n", &r);
    assert_int_equal(r.output.format, PONS_OUTPUT_DENSE);
    accept("prune: {pattern: 1:4}\n", &r);
    assert_true(r.prune.n == 1 && r.prune.m == 4 && r.prune.sparsity == 0.25);
    accept("calibration: {windows: 17}\nobr: {target: quantized_inputs}\n", &r);
    assert_int_equal(r.calibration.holdout, 3);
    accept("calibration: {holdout: 0}\nobr: {target: quantized_inputs}\n", &r);
    assert_int_equal(r.calibration.holdout, 0);
}

static void wrong_values(void **state)
{
    (void)state;
    REFUSE(1, "seed: -1", "seed", "found -1", "allowed: an integer 0..4294967295");
    REFUSE(1, "seed: 4294967296", "found 4294967296");
    REFUSE(1, "seed: 1.0", "found 1.0", "an integer");
    REFUSE(1, "seed: 0x10", "found 0x10");
    REFUSE(1, "seed: 010", "found 010");
    REFUSE(1, "seed: \"1\"", "the string \"1\"");
    REFUSE(1, "seed:", "found nothing");
    REFUSE(2, "seed: 1\nmethod: obr", "method", "found obr",
           "none, rtn, gptq, wanda, wanda_rtn, sparsegpt_gptq, obr_rtn, obr_gptq");
    REFUSE(3, "\nweights:\n  bits: 9", "weights.bits", "found 9", "an integer 2..8");
    REFUSE(1, "activations: {bits: 9}", "activations.bits", "2..8, or 16");
    REFUSE(1, "weights: {bits: 16}", "weights.bits", "found 16");
    REFUSE(1, "weights: {group_size: -128}", "weights.group_size", "found -128");
    REFUSE(1, "weights: {clip: true}", "weights.clip", "found true", "none, mse");
    REFUSE(1, "rotation: {online: off}", "rotation.online", "found off", "false, true");
    REFUSE(1, "rotation: {online: 'true'}", "the string \"true\"");
    REFUSE(1, "prune: {sparsity: 0.5x}", "prune.sparsity", "found 0.5x", "0 <= x < 1");
    REFUSE(1, "prune: {sparsity: 1}", "found 1", "0 <= x < 1");
    REFUSE(1, "prune: {sparsity: -0.1}", "found -0.1");
    REFUSE(1, "prune: {sparsity: .nan}", "found .nan");
    REFUSE(1, "prune: {sparsity: nan}", "found nan");
    REFUSE(1, "prune: {sparsity: 50%}", "found 50%");
    REFUSE(1, "prune: {pattern: 4:4}", "prune.pattern", "found 4:4", "N of every M are pruned");
    REFUSE(1, "prune: {pattern: 0:4}", "found 0:4");
    REFUSE(1, "prune: {pattern: 2of4}", "found 2of4");
    REFUSE(1, "prune: {pattern: '2:4:8'}", "2:4:8");
    REFUSE(1, "obr: {alpha: -.1}", "obr.alpha", "0 <= x <= 1");
    REFUSE(1, "obr: {alpha: 1.5}", "obr.alpha", "found 1.5");
    REFUSE(1, "kv: {clip_ratio: 1e-60}", "kv.clip_ratio", "0 < x <= 1");
    REFUSE(1, "kv: {clip_ratio: 1e999}", "kv.clip_ratio");
    REFUSE(1, "calibration: {windows: 0}", "calibration.windows", "found 0");
    REFUSE(1, "calibration: {windows: 99999999999999999999}", "calibration.windows");
    REFUSE(1, "evaluate: {text: null}", "evaluate.text", "found null");
    REFUSE(1, "evaluate: {text: \"a\\nb\"}", "evaluate.text", "on one line");
    REFUSE(1, "evaluate: {text: \"a\\0b\"}", "evaluate.text", "zero byte");
    char longer[1200] = "evaluate: {text: ";
    memset(longer + strlen(longer), 'x', 1024);
    strcat(longer, "}");
    REFUSE(1, longer, "evaluate.text", "at most 1023 bytes");
}

static void wrong_structure(void **state)
{
    (void)state;
    REFUSE(2, "seed: 1\nweight: {bits: 4}", "unknown key weight", "nearest known one is weights");
    REFUSE(2, "weights:\n  bit: 4", "unknown key weights.bit", "nearest known one is weights.bits");
    REFUSE(1, "sparsity: 0.5", "unknown key sparsity", "prune.sparsity");
    REFUSE(1, "obr: {sparsity: 0.5}", "unknown key obr.sparsity", "prune.sparsity");
    REFUSE(1, "<<: {seed: 1}", "unknown key <<");
    REFUSE(1, "weights: 4", "weights", "found 4", "a section");
    REFUSE(1, "weights: [4]", "weights", "found a list", "a section");
    REFUSE(1, "seed: [4]", "seed", "found a list", "an integer");
    REFUSE(1, "seed: {a: 4}", "seed", "found a section");
    REFUSE(1, "? [a]\n: b", "a list as a key");
    REFUSE(3, "seed: 1\nmethod: rtn\nseed: 2", "seed a second time", "line 1");
    REFUSE(3, "kv: {bits: 4}\nmethod: rtn\nkv: {per_head: true}", "kv a second time", "line 1");
    REFUSE(2, "kv: {bits: 4}\nkv.bits: 4", "kv.bits a second time");
    REFUSE(1, "seed: &s 1\nrotation: {seed: *s}", "an anchor");
    REFUSE(1, "seed: *s", "an alias");
    REFUSE(1, "seed: !!int 1", "a tag");
    REFUSE(1, "- seed", "found a list");
    REFUSE(1, "seed", "found seed");
    REFUSE(2, "seed: 1\n---\nseed: 2", "second YAML document");
    REFUSE(2, "weights:\n\tbits: 4", "tab");
    REFUSE(2, "weights: {bits: 4", "not valid YAML", "flow mapping from line 1");
    REFUSE(2, "seed: 1\nmethod: \xff\n", "UTF-8");
    REFUSE(2, "seed: 1\nevaluate: {text: \"\xc3\"}\n", "UTF-8");
    pons_recipe r;
    write_bytes("seed: 1\0\n", 9);
    assert_int_equal(pons_recipe_load(path, NULL, 0, &r), PONS_ERR_CONFIG);
    assert_int_equal(pons_recipe_load("/nonexistent/r.yaml", NULL, 0, &r), PONS_ERR_IO);
    expect_message((const char *const[]){"/nonexistent/r.yaml", "No such file", NULL});
    assert_int_equal(pons_recipe_load("/tmp", NULL, 0, &r), PONS_ERR_IO);
    expect_message((const char *const[]){"/tmp", "directory", NULL});
}

static void contradictions(void **state)
{
    (void)state;
    pons_recipe r;
    REFUSE(2, "method: rtn\nprune: {sparsity: 0.5}", "prune.sparsity", "found 0.5",
           "method rtn does not prune");
    REFUSE(2, "method: gptq\nprune: {pattern: 2:4}", "prune.pattern", "method gptq does not prune");
    accept("method: rtn\nprune: {sparsity: 0, pattern: unstructured}", &r);
    REFUSE(2, "method: wanda\nweights: {bits: 4}", "weights.bits", "does not quantize");
    REFUSE(2, "method: wanda\noutput: {format: pack-quantized}", "output.format", "dense");
    REFUSE(2, "method: none\noutput: {format: pack-quantized}", "output.format", "dense");
    REFUSE(2, "compat: faithful\nweights: {symmetric: false}", "weights.symmetric", "faithful");
    REFUSE(2, "compat: faithful\nweights: {group_size: 64}", "weights.group_size", "found 64",
           "faithful");
    REFUSE(2, "compat: faithful\nobr: {alpha: .25}", "obr.alpha", "found 0.25", "0.5", "faithful");
    accept("compat: faithful\nmethod: obr_rtn\nobr: {alpha: .25}", &r);
    REFUSE(2, "compat: faithful\nobr: {act_order: true}", "obr.act_order", "false", "obr_gptq");
    accept("compat: faithful\nmethod: gptq\nobr: {act_order: true}", &r);
    REFUSE(2, "method: obr_rtn\nobr: {act_order: true}", "obr.act_order", "sweep over columns");
    REFUSE(1, "obr: {act_order: true, blocks: 3}", "obr.act_order", "obr.blocks");
    REFUSE(2, "compat: faithful\nprune: {mask: admm}", "prune.mask", "found admm", "wanda");
    REFUSE(2, "compat: faithful\nobr: {blocks: 4}", "obr.blocks", "found 4", "2 under");
    REFUSE(2, "method: sparsegpt_gptq\nprune: {mask: obs}", "prune.mask", "found obs", "wanda",
           "take a mask");
    REFUSE(2, "method: gptq\nweights: {scale_from: compensated}", "weights.scale_from", "dense",
           "compensate");
    REFUSE(2, "method: obr_rtn\nobr: {blocks: 3}", "obr.blocks", "found 3", "block by block");
    REFUSE(2, "method: rtn\npolish: {sweeps: 2}", "polish.sweeps", "found 2", "0 (",
           "polish codes");
    REFUSE(2, "method: rtn\nweights: {refit: closed_form}", "weights.refit", "none",
           "polish codes");
    accept("method: gptq\npolish: {sweeps: 2}\nweights: {refit: closed_form}", &r);
    assert_int_equal(r.polish.sweeps, 2);
    accept("method: wanda_rtn\nprune: {mask: dual_swap}", &r);
    assert_int_equal(r.prune.mask, PONS_MASK_DUAL_SWAP);
    REFUSE(1, "rotation: {mode: random}", "rotation.mode", "spinquant");
    REFUSE(1, "rotation: {kind: none, center_embedding: true}", "rotation.center_embedding",
           "none");
    REFUSE(1, "rotation: {kind: quarot, file: R.bin}", "rotation.file", "quarot");
    REFUSE(1, "rotation: {seed: 0, file: R.bin}", "rotation.seed", "with rotation.file");
    REFUSE(1, "rotation: {tolerance: .01}", "rotation.tolerance", "without rotation.file");
    REFUSE(1, "rotation: {learn_steps: 5}", "rotation.learn_steps", "without rotation.learn");
    REFUSE(1, "rotation: {learn: true, kind: quarot}", "rotation.learn", "quarot");
    REFUSE(1, "rotation: {learn: true, file: R.bin}", "rotation.learn", "with rotation.file");
    REFUSE(1, "calibration: {windows: 7}\nrotation: {learn: true}", "learn_windows", "at most",
           "7");
    accept("rotation: {learn: true, learn_windows: 3, learn_steps: 7}", &r);
    assert_true(r.rotation.learn && r.rotation.learn_windows == 3 && r.rotation.learn_steps == 7);
    round_trip(&r);
    accept("seed: 3\nrotation: {file: R.bin, tolerance: .01}", &r);
    assert_true(r.rotation.seed == 0 && !strcmp(r.rotation.file, "R.bin"));
    round_trip(&r);
    REFUSE(1, "rotation: {kind: flatquant}", "rotation.file", "found nothing", "flat_matrices.pth");
    REFUSE(1, "rotation: {kind: flatquant, file: f, online: false}", "rotation.online");
    REFUSE(1, "rotation: {kind: flatquant, file: f, center_embedding: true}", "flatquant");
    REFUSE(2, "rotation: {kind: flatquant, file: f}\nactivations: {group_size: 8}",
           "activations.group_size", "0 with rotation.kind flatquant");
    REFUSE(2, "rotation: {kind: flatquant, file: f}\nactivations: {o_proj_head_groups: true}",
           "activations.o_proj_head_groups");
    REFUSE(2, "rotation: {kind: flatquant, file: f}\nkv: {clip_ratio: .9}", "kv.clip_ratio");
    REFUSE(2, "rotation: {kind: flatquant, file: f}\nvalues: {clip_ratio: .9}",
           "values.clip_ratio");
    REFUSE(2, "rotation: {kind: flatquant, file: f}\nvalues: {per_head: false}", "values.per_head");
    accept("compat: faithful\nrotation: {kind: flatquant, file: f}", &r);
    assert_false(r.rotation.center_embedding || r.activations.o_proj_head_groups);
    round_trip(&r);
    REFUSE(1, "prune: {pattern: 1:4, sparsity: 0.5}", "prune.sparsity", "0.25", "1:4");
    accept("prune: {pattern: 2:4, sparsity: 0.5}", &r);
    REFUSE(1, "prune: {sparsity: .1, allocate: budget}", "prune.spread", "at most 0.1");
    REFUSE(1, "prune: {pattern: 2:4, allocate: budget}", "prune.allocate", "n:m");
    REFUSE(1, "prune: {spread: 0.1}", "prune.spread", "prune.allocate uniform");
    REFUSE(1, "weights: {allocate_bits: '3,4'}", "weights.allocate_bits", "prune.allocate uniform");
    REFUSE(2, "prune: {allocate: budget}\nweights: {allocate_bits: '5,8'}", "weights.allocate_bits",
           "found 5,8", "up to and some from weights.bits, 4");
    REFUSE(3, "int8_down_proj: true\nprune: {allocate: budget}\nweights: {allocate_bits: '4,8'}",
           "weights.allocate_bits", "none with int8_down_proj");
    static const char *const sets[] = {"",    "3,",    ",3",  "3,4,3",  "1,4",   "4,9",
                                       "3;4", "3,  4", "3,x", "none,4", "[3, 4]"};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        char text[96];
        snprintf(text, sizeof text, "prune:\n  allocate: budget\nweights: {allocate_bits: '%s'}",
                 sets[i]);
        REFUSE(3, text, "weights.allocate_bits", "none, or integers 2..8 with commas");
    }
    accept("prune: {allocate: budget}\nweights:\n  allocate_bits: 8, 3,4", &r);
    assert_int_equal(r.allocate_bits, 1 << 3 | 1 << 4 | 1 << 8);
    round_trip(&r);
    accept("prune: {allocate: budget}\nweights: {allocate_bits: none}", &r);
    assert_int_equal(r.allocate_bits, 0);
    REFUSE(2, "method: rtn\nobr: {target: compensated_inputs}", "obr.target", "does not calibrate");
    REFUSE(1, "obr: {residual: true}", "obr.residual", "obr.target dense");
    REFUSE(1, "calibration: {holdout: 2}", "calibration.holdout", "0 with obr.target dense");
    REFUSE(2, "activations: {bits: 16}\nobr: {target: quantized_inputs}\nkv: {bits: 16}",
           "obr.target", "compensated_inputs");
    REFUSE(2, "compat: faithful\nobr: {target: compensated_inputs}", "obr.target", "faithful");
}

static void overrides(void **state)
{
    (void)state;
    pons_recipe r;
    static const char file[] = "weights: {bits: 3}\nprune: {sparsity: .4}\nseed: 5\n";
    write_bytes(file, strlen(file));
    const char *set[] = {"weights.bits=2", "kv.bits=16", "weights.bits=6", "evaluate.text=a=b c",
                         "prune.pattern=unstructured"};
    assert_int_equal(pons_recipe_load(path, set, 5, &r), PONS_OK);
    assert_true(r.weights.bits == 6 && r.kv.bits == 16 && r.prune.sparsity == 0.4);
    assert_true(r.seed == 5 && r.rotation.seed == 5);
    assert_string_equal(r.evaluate.text, "a=b c");
    set[0] = "evaluate.text=";
    assert_int_equal(pons_recipe_load(path, set, 1, &r), PONS_OK);
    assert_string_equal(r.evaluate.text, "");

    /* the file's stages that an overriding method lacks are dropped, the override's own are not */
    set[0] = "method=wanda", set[1] = "method=rtn", set[2] = "prune.sparsity=.4";
    assert_int_equal(pons_recipe_load(path, set, 1, &r), PONS_OK);
    assert_int_equal(r.output.format, PONS_OUTPUT_DENSE);
    assert_true(r.weights.bits == 4 && r.prune.sparsity == 0.4);
    round_trip(&r);
    write_bytes(file, strlen(file));
    assert_int_equal(pons_recipe_load(path, set, 2, &r), PONS_OK);
    assert_true(r.method == PONS_METHOD_RTN && r.weights.bits == 3);
    assert_int_equal(pons_recipe_load(path, set, 3, &r), PONS_ERR_CONFIG);
    expect_message((const char *const[]){"--set prune.sparsity=.4: ", "does not prune", NULL});

    static const char budget[] =
        "prune:\n  allocate: budget\n  spread: 0.2\nweights:\n  allocate_bits: 3,8\n";
    write_bytes(budget, strlen(budget));
    set[0] = "prune.allocate=uniform", set[1] = "prune.spread=0.1";
    assert_int_equal(pons_recipe_load(path, set, 1, &r), PONS_OK);
    assert_true(r.prune.allocate == PONS_ALLOCATE_UNIFORM && r.allocate_bits == 0);
    round_trip(&r);
    write_bytes(budget, strlen(budget));
    assert_int_equal(pons_recipe_load(path, set, 2, &r), PONS_ERR_CONFIG);
    expect_message((const char *const[]){"--set prune.spread=0.1: ", "allocate uniform", NULL});

    REFUSE_SET("weights.bits", "section.key=value");
    REFUSE_SET("=4", "section.key=value");
    REFUSE_SET("weights.bit=4", "unknown key weights.bit", "weights.bits");
    REFUSE_SET("weights=4", "section weights without a key");
    REFUSE_SET("weights.bits=12", "weights.bits", "found 12", "an integer 2..8");
    REFUSE_SET("weights.bits=", "found nothing");
    REFUSE_SET("weights.bits= 4", "an integer 2..8");
    REFUSE_SET("evaluate.text=\xff", "evaluate.text", "UTF-8");
    REFUSE_SET("rotation.mode=random", "rotation.mode", "spinquant");
}

/* A struct made by a program, not read. */
static void struct_check(void **state)
{
    (void)state;
    pons_recipe r;
    pons_recipe_default(&r);
    assert_int_equal(pons_recipe_check(&r, "here"), PONS_OK);
    r.weights.bits = 1;
    assert_int_equal(pons_recipe_check(&r, "here"), PONS_ERR_CONFIG);
    expect_message((const char *const[]){"here: weights.bits: found 1", "2..8", NULL});
    pons_recipe_default(&r);
    r.method = (pons_method)77;
    assert_int_equal(pons_recipe_check(&r, "here"), PONS_ERR_CONFIG);
    expect_message((const char *const[]){"here: method: found number 77", NULL});
    pons_recipe_default(&r);
    r.prune.sparsity = 0.0 / 0.0;
    assert_int_equal(pons_recipe_check(&r, "here"), PONS_ERR_CONFIG);
    pons_recipe_default(&r);
    r.weights.down_proj_bits = 8;
    assert_int_equal(pons_recipe_check(&r, "here"), PONS_ERR_CONFIG);
    expect_message((const char *const[]){"int8_down_proj", "8 bits for weights", NULL});
    pons_recipe_default(&r);
    r.method = PONS_METHOD_RTN;
    assert_int_equal(pons_recipe_check(&r, "here"), PONS_OK);
    r.prune.sparsity = 0.6;
    assert_int_equal(pons_recipe_check(&r, "here"), PONS_ERR_CONFIG);
    pons_recipe_default(&r);
    memset(r.evaluate.text, 'x', sizeof r.evaluate.text);
    assert_int_equal(pons_recipe_check(&r, "here"), PONS_ERR_CONFIG);
}

static void method_traits(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool prunes, quantizes, hessian, all_rows;
    } expected[] = {
        {"none", 0, 0, 0, 0},    {"rtn", 0, 1, 0, 0},       {"gptq", 0, 1, 1, 0},
        {"wanda", 1, 0, 1, 0},   {"wanda_rtn", 1, 1, 1, 0}, {"sparsegpt_gptq", 1, 1, 1, 1},
        {"obr_rtn", 1, 1, 1, 0}, {"obr_gptq", 1, 1, 1, 0},  {"exact_obs", 1, 1, 1, 0}};
    for (int i = 0; i < 9; i++) {
        pons_method m = (pons_method)i;
        assert_string_equal(pons_method_name(m), expected[i].name);
        assert_int_equal(pons_method_prunes(m), expected[i].prunes);
        assert_int_equal(pons_method_quantizes(m), expected[i].quantizes);
        assert_int_equal(pons_method_needs_hessian(m), expected[i].hessian);
        assert_int_equal(pons_method_needs_all_rows(m), expected[i].all_rows);
    }
}

/* The list of keys names every key of a printed default recipe, with its section. */
static void key_list(void **state)
{
    (void)state;
    pons_recipe r;
    pons_recipe_default(&r);
    char *list = NULL, *yaml = NULL, section[64] = "";
    size_t list_bytes, yaml_bytes;
    FILE *f = open_memstream(&list, &list_bytes), *g = open_memstream(&yaml, &yaml_bytes);
    assert_int_equal(pons_recipe_print_keys(f), PONS_OK);
    assert_int_equal(pons_recipe_print(&r, g), PONS_OK);
    fclose(f);
    fclose(g);
    int keys = 0;
    for (char *line = strtok(yaml, "\n"); line; line = strtok(NULL, "\n")) {
        char name[128], *colon = strchr(line, ':');
        assert_non_null(colon);
        *colon = 0;
        if (!colon[1]) {
            snprintf(section, sizeof section, "%s", line);
            continue;
        }
        if (*line == ' ')
            snprintf(name, sizeof name, "\n| `%s.%s` | ", section, line + 2);
        else
            snprintf(name, sizeof name, "\n| `%s` | ", line);
        if (!strstr(list, name)) fail_msg("%s is not listed", name);
        keys++;
    }
    /* all but rotation.tolerance, rotation.learn_*, prune.spread and weights.allocate_bits, which need
     * rotation.file, rotation.learn and prune.allocate budget */
    assert_int_equal(keys, 69);
    free(list);
    free(yaml);
}

/* A recipe that cannot be written is a failure, not a silent loss. */
static void full_disk(void **state)
{
    (void)state;
    pons_recipe r;
    pons_recipe_default(&r);
    FILE *f = fopen("/dev/full", "w");
    if (!f) skip();
    assert_int_equal(pons_recipe_print(&r, f), PONS_ERR_IO);
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),        cmocka_unit_test(every_key),
        cmocka_unit_test(values_follow),   cmocka_unit_test(round_trips),
        cmocka_unit_test(implied_values),  cmocka_unit_test(wrong_values),
        cmocka_unit_test(wrong_structure), cmocka_unit_test(contradictions),
        cmocka_unit_test(overrides),       cmocka_unit_test(struct_check),
        cmocka_unit_test(method_traits),   cmocka_unit_test(key_list),
        cmocka_unit_test(full_disk)};
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
