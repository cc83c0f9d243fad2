/* Which weights each rank updates with --shard optimizer; tests/ranks has the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/backend.h"
#include "kernels/squares.h"
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

/* Four parameters: [64, 64], [8], [64, 64], [64, 64]; ranks 0 to `ranks` - 1; this one is `index`.
 */
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

/* Three ranks of five blocks; no block begins in the second. */
static void sums_of_squares_are_those_of_one_rank(void **state)
{
    (void)state;
    enum { BLOCK = DDPM_SQUARES_BLOCK, ALL = 4 * BLOCK + 160 };
    static float gradients[ALL];
    static struct ddpm_network network;
    struct ddpm_device device = {.threads = 1};
    struct ddpm_stretch stretches[] = {
        {0, BLOCK + 48}, {BLOCK + 48, 32}, {BLOCK + 80, ALL - BLOCK - 80}};
    struct ddpm_ranks ranks = {.count = 3};
    struct ddpm_trainer trainer = {
        .device = &device,
        .team = {.shares = 1},
        .shard_plan = {.ranks = &ranks, .stretches = stretches},
        .players = {{.network = &network, .optimizer = {.set = &network.weights}}}};
    const int64_t ends[] = {2 * BLOCK, BLOCK + 80, ALL};
    double sums[3][3] = {{0}};
    for (int64_t i = 0; i < ALL; ++i)
        gradients[i] = (float)(i % 1013) * 1e-3f;
    network.weights.gradients = gradients;
    network.weights.parameters.slab_count = ALL;
    assert_int_equal(ddpm_shard_squares_bytes(&trainer), sizeof sums[0]);
    for (int rank = 0; rank < 3; ++rank) {
        const struct ddpm_stretch summed = ddpm_shard_summed(&trainer, rank);
        assert_int_equal(summed.first, stretches[rank].first);
        assert_int_equal(summed.first + summed.count, ends[rank]);
        ranks.index = rank;
        ddpm_shard_measure(&trainer, (char *)sums[rank]);
    }
    for (int block = 0; block < 5; ++block) {
        const double sum = block < 2 ? sums[0][block] : sums[2][block - 2];
        assert_true(sum == ddpm_squares(gradients + block * BLOCK, block < 4 ? BLOCK : 160));
    }
    assert_true(sums[0][2] == 0 && sums[1][0] == 0);
    trainer.team.shares = 0; /* fast: each its own, in blocks from its beginning */
    double fast[4];
    assert_int_equal(ddpm_shard_summed(&trainer, 0).count, stretches[0].count);
    assert_int_equal(ddpm_shard_squares_bytes(&trainer), sizeof fast);
    ddpm_shard_measure(&trainer, (char *)fast);
    assert_true(fast[0] == ddpm_squares(gradients + BLOCK + 80, BLOCK));
    assert_true(fast[3] == ddpm_squares(gradients + 4 * BLOCK + 80, 80));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_slowest_rank_has_as_little_as_possible),
        cmocka_unit_test(every_rank_has_something),
        cmocka_unit_test(matrices_stay_whole),
        cmocka_unit_test(more_ranks_than_matrices_and_vectors_are_refused),
        cmocka_unit_test(sums_of_squares_are_those_of_one_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
