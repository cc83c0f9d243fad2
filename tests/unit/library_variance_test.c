/* Networks that learn the variance, through the public interface: invalid options, resuming, and
 * how samplers use their outputs. */
#include "run_support.h"

enum { SIDE = 8, VALUES = 3 * SIDE * SIDE };

static const char learned[] = "learned-variance=on";

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *options, *text;
    } refused[] = {
        {"learned-variance=on objective=v", "want objective noise"},
        {"learned-variance=on objective=x0", "want objective noise"},
        {"learned-variance=on objective=flow", "want objective noise"},
        {"learned-variance=on objective=edm", "want objective noise"},
        {"learned-variance=on timesteps=1", "want at least 2"},
        {"learned-variance=on out-dim=3", "got 3 with learned-variance, want 0 or 6"},
    };
    struct ddpm_network *network;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; ++i) {
        struct ddpm_config *config = tiny_config(refused[i].options);
        assert_error(ddpm_network_create(config, &network), DDPM_ERROR_ARGUMENT, refused[i].text);
        assert_null(network);
        ddpm_config_destroy(&config);
    }
    struct ddpm_picture_format format;
    network = tiny_network("learned-variance=on out-dim=6");
    assert_ok(ddpm_network_picture_format(network, &format));
    assert_int_equal(format.channels, 3);
    assert_int_equal(format.out_channels, 6);
    ddpm_network_destroy(&network);
}

static void going_on_is_as_never_having_stopped(void **state)
{
    (void)state;
    static const char options[] = "learned-variance=on accumulate=2 loss-weight=min-snr threads=2";
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), 7, SIDE);
    struct run straight, first, second, other;
    start(&straight, folder, options);
    steps(&straight, 6);
    start(&first, folder, options);
    steps(&first, 3);
    assert_ok(ddpm_trainer_save(first.trainer, in_folder(folder, "run")));
    end(&first);
    start(&second, folder, options);
    assert_ok(ddpm_trainer_resume(second.trainer, in_folder(folder, "run")));
    steps(&second, 3);
    assert_same_weights(straight.network, second.network, DDPM_WEIGHTS_MODEL);
    assert_same_weights(straight.network, second.network, DDPM_WEIGHTS_EMA);
    end(&second);
    end(&straight);
    /* A network with the same number of outputs is still a different run. */
    start(&other, folder, "accumulate=2 loss-weight=min-snr threads=2");
    assert_error(ddpm_trainer_resume(other.trainer, in_folder(folder, "run")), DDPM_ERROR_MISMATCH,
                 "learned-variance");
    end(&other);
    remove_folder(folder);
}

/* Sampling with the EMA's weights, as they were initialized. */
static void draw(struct ddpm_network *network, const char *name, int64_t count, int64_t batch,
                 float *values)
{
    struct ddpm_sampler *sampler;
    const struct ddpm_sampler_options options = {.size = sizeof options,
                                                 .sampler = name,
                                                 .steps = 6,
                                                 .batch = batch,
                                                 .weights = DDPM_WEIGHTS_EMA,
                                                 .clip = 1};
    const struct ddpm_draw draw = {.size = sizeof draw, .count = count, .seed = 4};
    assert_ok(ddpm_sampler_create(network, &options, &sampler));
    assert_ok(ddpm_sampler_draw_array(sampler, &draw, values, (size_t)(count * VALUES)));
    ddpm_sampler_destroy(&sampler);
}

static void a_picture_does_not_depend_on_its_batch(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("learned-variance=on dim=16 threads=2");
    float wanted[7 * VALUES], got[7 * VALUES];
    for (int64_t batch = 1; batch <= 4; ++batch) {
        draw(network, "ancestral", 7, batch, batch == 1 ? wanted : got);
        if (batch > 1)
            assert_memory_equal(got, wanted, sizeof got);
    }
    ddpm_network_destroy(&network);
}

/* Copy to `to` the weights of `from`, whose output is half as wide; every v becomes `v`. */
static void widen(struct ddpm_network *from, struct ddpm_network *to, float v)
{
    for (size_t i = 0; i < ddpm_network_parameter_count(from); ++i) {
        const struct ddpm_parameter_info info = ddpm_network_parameter(from, i);
        const size_t count = (size_t)info.count;
        const bool last = strncmp(info.name, "final_conv.", strlen("final_conv.")) == 0;
        float *values = calloc(2 * count, sizeof *values);
        assert_non_null(values);
        assert_ok(ddpm_network_get(from, DDPM_WEIGHTS_EMA, info.name, values, count));
        for (size_t k = count; k < 2 * count && strstr(info.name, "bias"); ++k)
            values[k] = v;
        assert_ok(
            ddpm_network_set(to, DDPM_WEIGHTS_EMA, info.name, values, last ? 2 * count : count));
        free(values);
    }
}

static double largest_difference(const float *a, const float *b, int count)
{
    double largest = 0;
    for (int i = 0; i < count; ++i) { /* gcc 12 for ARM crashes on fmax() here */
        const double difference = fabs((double)a[i] - (double)b[i]);
        largest = difference > largest ? difference : largest;
    }
    return largest;
}

/* v = -1 is the fixed variance of every other model; v = 1 is β. Samplers that do not use it read
 * only the first half of the output. */
static void v_chooses_between_the_bounds(void **state)
{
    (void)state;
    struct ddpm_network *fixed = tiny_network(NULL), *wide = tiny_network(learned);
    float wanted[2 * VALUES], got[2 * VALUES];
    for (size_t i = 0; i < ordinary_samplers(); ++i) {
        const char *name = ddpm_sampler_at(i).name;
        const bool reads = strcmp(name, "ancestral") == 0;
        draw(fixed, name, 2, 2, wanted);
        widen(fixed, wide, -1);
        draw(wide, name, 2, 2, got);
        if (!(largest_difference(got, wanted, 2 * VALUES) < 1e-4))
            fail_msg("%s: v = -1 is not the fixed variance", name);
        widen(fixed, wide, 1);
        draw(wide, name, 2, 2, got);
        if ((largest_difference(got, wanted, 2 * VALUES) > 1e-2) != reads)
            fail_msg("%s: reads the variance although it should not, or the other way round", name);
    }
    ddpm_network_destroy(&fixed);
    ddpm_network_destroy(&wide);
}

int main(void)
{
    if (!has_test_device())
        return EXIT_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(going_on_is_as_never_having_stopped),
        cmocka_unit_test(a_picture_does_not_depend_on_its_batch),
        cmocka_unit_test(v_chooses_between_the_bounds),
    };
    return cmocka_run_group_tests_name("learned variance, library", tests, NULL, NULL);
}
