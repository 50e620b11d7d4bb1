/* What each task asks, word for word: strings written here by hand after the rules of lm-eval 0.4. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "tasks/item.h"

/* Context and continuation of one choice, and the characters acc_norm divides by. */
typedef struct asked {
    const char *context, *continuation;
    int64_t characters;
} asked;

static void check(pons_task_kind kind, const char *line, int gold, int choices, const asked *want)
{
    pons_task_item item;
    json_t *object = json_loads(line, 0, NULL);
    assert_non_null(object);
    if (pons_task_item_read(kind, "f:1", object, &item)) fail_msg("%s", pons_error_message());
    assert_int_equal(item.choices, choices);
    assert_int_equal(item.gold, gold);
    for (int i = 0; i < choices; i++) {
        assert_string_equal(item.context[i], want[i].context);
        assert_string_equal(item.continuation[i], want[i].continuation);
        assert_int_equal(item.characters[i], want[i].characters);
    }
    pons_task_item_free(&item);
    json_decref(object);
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* Nothing is stripped: white space is the data set's own. */
static void plain(void **state)
{
    (void)state;
    check(PONS_TASK_PIQA,
          "{\"goal\": \"open it \", \"sol1\": \" pull\", \"sol2\": \"\\u00e9t\\u00e9\", \"label\": "
          "1}",
          1, 2,
          (const asked[]){{"Question: open it \nAnswer:", "  pull", 5},
                          {"Question: open it \nAnswer:", " \xc3\xa9t\xc3\xa9", 3}});
    check(PONS_TASK_BOOLQ, "{\"passage\": \"A -- B.\", \"question\": \"is it\", \"answer\": false}",
          0, 2,
          (const asked[]){{"A -- B.\nQuestion: is it?\nAnswer:", " no", 2},
                          {"A -- B.\nQuestion: is it?\nAnswer:", " yes", 3}});
    const asked arc[] = {{"Question: Why?\nAnswer:", " a", 1},
                         {"Question: Why?\nAnswer:", " bb", 2},
                         {"Question: Why?\nAnswer:", " ccc", 3}};
    check(PONS_TASK_ARC_EASY,
          "{\"question\": \"Why?\", \"choices\": {\"text\": [\"a\", \"bb\", \"ccc\"], \"label\": "
          "[\"1\", \"2\", "
          "\"3\"]}, \"answerKey\": \"2\"}",
          1, 3, arc);
    check(PONS_TASK_ARC_CHALLENGE,
          "{\"question\": {\"stem\": \"Why?\", \"choices\": [{\"text\": \"a\", \"label\": \"A\"}, "
          "{\"text\": \"bb\", "
          "\"label\": \"B\"}, {\"text\": \"ccc\", \"label\": \"C\"}]}, \"answerKey\": \"C\"}",
          2, 3, arc);
}

/* The context ends at the first gap; what follows it, a second one too, is the continuation. */
static void winogrande(void **state)
{
    (void)state;
    check(
        PONS_TASK_WINOGRANDE,
        "{\"sentence\": \"Ann met _ , and _ ran. \", \"option1\": \"Bo\", \"option2\": \"Cy \", "
        "\"answer\": \"2\"}",
        1, 2,
        (const asked[]){{"Ann met Bo", " , and _ ran.", 12}, {"Ann met Cy ", " , and _ ran.", 12}});
}

static void hellaswag(void **state)
{
    (void)state;
    const char *context = "Cook: Mix it. Then  stir. [a\nb] \xc3\x89"
                          "crit \xc3\xa9t\xc3\xa9";
    check(PONS_TASK_HELLASWAG,
          "{\"activity_label\": \" Cook\", \"ctx_a\": \"Mix it [title]Then   stir. [a\\nb]\", "
          "\"ctx_b\": \"\\u00e9CRIT "
          "\\u00c9T\\u00c9\", \"endings\": [\"[step] x  y\", \"\\u00a0a [b [c] d] e\\t\", \"open [ "
          "end\", \" [title] "
          "z\"], \"label\": \"2\"}",
          2, 4,
          (const asked[]){{context, "  x y", 4},
                          {context, " a d] e", 6},
                          {context, " open [ end", 10},
                          {context, "  z", 2}});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(plain), cmocka_unit_test(winogrande),
                                       cmocka_unit_test(hellaswag)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
