/* Which weights each rank updates with --shard optimizer; tests/ranks has the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/backend.h"
#include "ranks/state.h"
#include "training/trainer_state.h"

static void assert_divided(const double *costs, size_t count, size_t parts, const size_t *wanted)
{
    size_t ends[8];
    ddpm_shard_divide(costs, count, parts, ends);
    for (size_t i = 0; i < parts; ++i)
        assert_int_equal(ends[i], wanted[i]);
}

static void the_slowest_rank_has_as_little_as_possible(void **state)
{
    (void)state;
    const double costs[] = {1, 2, 3, 4, 5, 6};
    assert_divided(costs, 6, 1, (size_t[]){6});
    assert_divided(costs, 6, 2, (size_t[]){4, 6});    /* 10 and 11, not 6 and 15 */
    assert_divided(costs, 6, 3, (size_t[]){3, 5, 6}); /* 6, 9 and 6 */
    assert_divided(costs, 6, 6, (size_t[]){1, 2, 3, 4, 5, 6});
}

static void every_rank_has_something(void **state)
{
    (void)state;
    const double huge[] = {1, 1, 100, 1, 1}, equal[] = {1, 1, 1, 1, 1};
    assert_divided(huge, 5, 2, (size_t[]){3, 5});
    assert_divided(huge, 5, 4, (size_t[]){2, 3, 4, 5});
    assert_divided(equal, 5, 4, (size_t[]){2, 3, 4, 5});
    assert_divided(huge + 2, 1, 1, (size_t[]){1});
}

/* Four parameters: [64, 64], [8], [64, 64], [64, 64]; ranks 0 to `ranks` - 1, of which this is
 * `index`. */
static ddpm_status plan(int ranks, int index, int optimizer, struct ddpm_trainer *trainer)
{
    static struct ddpm_ranks all;
    static struct ddpm_network network;
    static const struct ddpm_backend backend = {.host_memory = true};
    static struct ddpm_device device = {.backend = &backend};
    static struct ddpm_parameter items[4];
    for (int64_t i = 0; i < 4; ++i)
        items[i] = (struct ddpm_parameter){
            .rank = i == 1 ? 1 : 2,
            .shape = {i == 1 ? 8 : 64, 64},
            .k = i == 1 ? 8 : 64,
            .r = 1,
            .s = 1,
            .c = i == 1 ? 1 : 64,
            .offset = i == 0   ? 0
                      : i == 1 ? 4096
                               : 4112 + (i - 2) * 4096,
        };
    network.weights.parameters =
        (struct ddpm_parameters){.items = items, .count = 4, .slab_count = 4112 + 2 * 4096};
    all = (struct ddpm_ranks){.count = ranks, .index = index};
    memset(trainer, 0, sizeof *trainer);
    trainer->device = &device;
    trainer->team.ranks = &all;
    trainer->config.run.shard = DDPM_SHARD_OPTIMIZER;
    trainer->config.training.optimizer = optimizer;
    trainer->players[0].network = &network;
    trainer->players[0].optimizer.set = &network.weights;
    return ddpm_shard_plan(trainer);
}

static void matrices_stay_whole(void **state)
{
    (void)state;
    struct ddpm_trainer trainer;
    for (int index = 0; index < 2; ++index) {
        assert_int_equal(plan(2, index, DDPM_MUON, &trainer), DDPM_OK);
        assert_int_equal(trainer.players[0].optimizer.first, index == 0 ? 0 : 4112);
        assert_int_equal(trainer.players[0].optimizer.count, index == 0 ? 4112 : 2 * 4096);
        ddpm_shard_release(&trainer);
        assert_null(trainer.shard_plan.ranks);
    }
    assert_int_equal(plan(4, 1, DDPM_ADAMW, &trainer), DDPM_OK);
    assert_int_equal(trainer.players[0].optimizer.first, 4096);
    assert_int_equal(trainer.players[0].optimizer.count, 16); /* with the gap */
    ddpm_shard_release(&trainer);
}

static void more_ranks_than_matrices_and_vectors_are_refused(void **state)
{
    (void)state;
    struct ddpm_trainer trainer;
    assert_int_equal(plan(5, 0, DDPM_ADAMW, &trainer), DDPM_ERROR_UNSUPPORTED);
    assert_non_null(strstr(ddpm_error_message(), "got 5 ranks for a network of 4 matrices"));
    ddpm_shard_release(&trainer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_slowest_rank_has_as_little_as_possible),
        cmocka_unit_test(every_rank_has_something),
        cmocka_unit_test(matrices_stay_whole),
        cmocka_unit_test(more_ranks_than_matrices_and_vectors_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
