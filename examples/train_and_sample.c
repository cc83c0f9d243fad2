/* Train a small diffusion model on pictures made in memory, and draw new pictures with it.
 *
 *     train_and_sample [STEPS [OUT.ppm]]        defaults: 300 discs.ppm
 *
 * The pictures are bright discs on dark ground, 16×16. Nothing is read from disk: the program
 * itself makes the pictures, timesteps and noise of every step and passes them to
 * ddpm_trainer_step_given(). The result is a row of eight drawn pictures in one PPM file.
 *
 *     cc -std=c11 -o train_and_sample train_and_sample.c $(pkg-config --cflags --libs ddpm) -lm
 *
 * or make, or CMake, in this folder. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <ddpm/ddpm.h>

enum { SIDE = 16, CHANNELS = 3, BATCH = 8, TIMESTEPS = 100, DRAWN = 8 };
enum { PICTURE = CHANNELS * SIDE * SIDE };

/* Everything that this program must free. */
struct session {
    struct ddpm_config *config;
    struct ddpm_network *network;
    struct ddpm_trainer *trainer;
};

static double uniform(void)
{
    return ((double)rand() + 0.5) / ((double)RAND_MAX + 1.0);
}

static float normal(void)
{
    return (float)(sqrt(-2.0 * log(uniform())) * cos(6.283185307179586 * uniform()));
}

/* One disc as fp32 [3, SIDE, SIDE] in [-1,1]. */
static void draw_disc(float *picture)
{
    const double x = 4 + 8 * uniform(), y = 4 + 8 * uniform(), radius = 2.5 + 2.5 * uniform();
    const double colour[CHANNELS] = {1, 0.2 + 0.6 * uniform(), -0.6};
    for (int c = 0; c < CHANNELS; ++c)
        for (int row = 0; row < SIDE; ++row)
            for (int column = 0; column < SIDE; ++column) {
                const double inside = radius - hypot(column + 0.5 - x, row + 0.5 - y);
                const double cover = inside < -0.5 ? 0 : inside > 0.5 ? 1 : inside + 0.5;
                *picture++ = (float)(-0.8 + cover * (colour[c] + 0.8));
            }
}

static ddpm_status configure(struct ddpm_config *config)
{
    static const char *const options[][2] = {
        {"network", "TwoResUNet"}, {"dim", "16"},        {"dim-mults", "1,2"},
        {"image-size", "16"},      {"timesteps", "100"}, {"schedule", "cosine"},
        {"batch-size", "8"},       {"lr", "1e-3"},       {"ema-decay", "0.98"},
        {"ema-every", "1"},        {"ema-after", "50"},  {"seed", "1"},
    };
    ddpm_status status = DDPM_OK;
    for (size_t i = 0; i < sizeof options / sizeof *options && status == DDPM_OK; ++i)
        status = ddpm_config_set(config, options[i][0], options[i][1]);
    return status;
}

static ddpm_status open_session(struct session *session)
{
    ddpm_status status = ddpm_config_create(&session->config);
    if (status == DDPM_OK)
        status = configure(session->config);
    if (status == DDPM_OK)
        status = ddpm_network_create(session->config, &session->network);
    if (status == DDPM_OK)
        status = ddpm_trainer_create(session->network, session->config, NULL, &session->trainer);
    if (status == DDPM_OK)
        printf("%lld weights on %s\n", (long long)ddpm_network_weight_count(session->network),
               ddpm_network_device(session->network));
    return status;
}

static void close_session(struct session *session)
{
    ddpm_trainer_destroy(&session->trainer);
    ddpm_network_destroy(&session->network);
    ddpm_config_destroy(&session->config);
}

static ddpm_status train(struct session *session, int steps)
{
    static float pictures[BATCH * PICTURE], noise[BATCH * PICTURE];
    int64_t timesteps[BATCH];
    double smooth = 1;
    for (int step = 1; step <= steps; ++step) {
        struct ddpm_step_result result;
        for (int b = 0; b < BATCH; ++b) {
            draw_disc(pictures + b * PICTURE);
            timesteps[b] = (int64_t)(uniform() * TIMESTEPS);
        }
        for (int i = 0; i < BATCH * PICTURE; ++i)
            noise[i] = normal();
        const struct ddpm_step_input input = {
            .size = sizeof input,
            .pictures = pictures,
            .picture_count = BATCH * PICTURE,
            .timesteps = timesteps,
            .timestep_count = BATCH,
            .noise = noise,
            .noise_count = BATCH * PICTURE,
        };
        ddpm_status status = ddpm_trainer_step_given(session->trainer, &input, &result);
        if (status != DDPM_OK)
            return status;
        smooth = 0.95 * smooth + 0.05 * result.loss;
        if (step % 50 == 0 || step == steps)
            printf("step %4d   loss %.4f   gradient norm %.3f\n", step, smooth, result.grad_norm);
    }
    return DDPM_OK;
}

/* Called after every reverse step; returning anything but 0 would stop the draw. */
static int show_progress(void *user, const struct ddpm_sample_progress *progress)
{
    (void)user;
    if (progress->timestep % 25 == 0)
        printf("drawing: %lld of %lld\n", (long long)progress->done, (long long)progress->total);
    return 0;
}

static ddpm_status sample(struct session *session, uint8_t *pictures)
{
    struct ddpm_sample_options options = DDPM_SAMPLE_OPTIONS_INIT;
    options.count = DRAWN;
    options.seed = 7;
    options.callback = show_progress;
    return ddpm_sample(session->network, &options, pictures, DRAWN * PICTURE);
}

/* The pictures side by side, as binary PPM. */
static int write_row(const char *path, const uint8_t *pictures)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return -1;
    fprintf(file, "P6\n%d %d\n255\n", DRAWN * SIDE, SIDE);
    for (int row = 0; row < SIDE; ++row)
        for (int k = 0; k < DRAWN; ++k)
            fwrite(pictures + k * PICTURE + row * SIDE * CHANNELS, CHANNELS, SIDE, file);
    int failed = ferror(file);
    return fclose(file) != 0 || failed ? -1 : 0;
}

int main(int count, char **arguments)
{
    static uint8_t pictures[DRAWN * PICTURE];
    const int steps = count > 1 ? atoi(arguments[1]) : 300;
    const char *path = count > 2 ? arguments[2] : "discs.ppm";
    struct session session = {0};
    if (steps < 1) {
        fprintf(stderr, "usage: %s [STEPS [OUT.ppm]]\n", arguments[0]);
        return 2;
    }
    ddpm_status status = open_session(&session);
    if (status == DDPM_OK)
        status = train(&session, steps);
    if (status == DDPM_OK)
        status = sample(&session, pictures);
    close_session(&session);
    if (status != DDPM_OK) {
        fprintf(stderr, "%s: %s\n", ddpm_status_name(status), ddpm_error_message());
        return 1;
    }
    if (write_row(path, pictures) != 0) {
        perror(path);
        return 1;
    }
    printf("%s holds %d drawn pictures\n", path, DRAWN);
    return 0;
}
