/* Training: from given pictures, timesteps and noise, or from a data source; checkpoints that
 * survive a kill. */
#ifndef DDPM_TRAINER_H
#define DDPM_TRAINER_H

#include <stdint.h>

#include <ddpm/network.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ddpm_trainer;
struct ddpm_data;

/* Pictures: a folder (searched recursively for JPEG, PNG, WebP, BMP, TIFF) or a packed uint8
 * [N,H,W,C] .npy file, brought to the configuration's size and channels. Bad files are skipped and
 * listed once in the log; more than half bad or none good is DDPM_ERROR_FORMAT. */
DDPM_API ddpm_status ddpm_data_open(const struct ddpm_config *config, struct ddpm_data **out);
DDPM_API void ddpm_data_close(struct ddpm_data **data);

/* Pictures, the skipped ones included; and how many have been found bad so far. In a large folder
 * those that only decoding can tell are found out while training. */
DDPM_API int64_t ddpm_data_count(const struct ddpm_data *data);
DDPM_API int64_t ddpm_data_skipped(const struct ddpm_data *data);

/* A hash of which pictures they are: names and sizes of files, or shape and bytes of a packed file.
 */
DDPM_API uint64_t ddpm_data_fingerprint(const struct ddpm_data *data);

/* A trainer works on `network` (borrowed, must outlive it) with the network's configuration. It
 * plans all its memory here: DDPM_ERROR_MEMORY, saying what is needed, comes before the first step
 * or not at all. `data` may be NULL when only ddpm_trainer_step_given() will be used; borrowed
 * otherwise. */
DDPM_API ddpm_status ddpm_trainer_create(struct ddpm_network *network, struct ddpm_data *data,
                                         struct ddpm_trainer **out);
DDPM_API void ddpm_trainer_destroy(struct ddpm_trainer **trainer);

struct ddpm_step_result {
    int64_t step;     /* the step just done, counted from 1 */
    double loss;      /* mean over the batch, before the update */
    double grad_norm; /* global L2 norm, before clipping */
    double lr;
    double data_wait; /* seconds spent waiting for pictures */
};

/* One optimizer step (all its accumulated micro-batches) on pictures of the data source; timesteps
 * and noise drawn from (seed, step). DDPM_ERROR_NOT_FINITE when loss or gradient is not finite: the
 * text names the step, the first layer and the pictures; the weights are then still those of before
 * the step. */
DDPM_API ddpm_status ddpm_trainer_step(struct ddpm_trainer *trainer,
                                       struct ddpm_step_result *result);

/* The same without waiting for an accelerator: queue one step and hand out the result of the step
 * before it (`result->step` says which; 0: there is none yet), so that the device never waits for
 * the host. Where the device is the CPU, the result is the step's own. A failure is that of the
 * step before; the step just queued is then dropped. ddpm_trainer_flush() takes the last result
 * (`result->step` 0 where all have been taken). Until then this trainer's other steps, gradient and
 * checkpoints are DDPM_ERROR_ARGUMENT, ddpm_trainer_steps_done() does not count the queued step,
 * and the network's weights are those after it. */
DDPM_API ddpm_status ddpm_trainer_step_late(struct ddpm_trainer *trainer,
                                            struct ddpm_step_result *result);
DDPM_API ddpm_status ddpm_trainer_flush(struct ddpm_trainer *trainer,
                                        struct ddpm_step_result *result);

/* One optimizer step on given values: pictures and noise fp32 [accumulate·batch, C, H, W] with
 * pictures in [-1,1], timesteps int64 [accumulate·batch]. */
DDPM_API ddpm_status ddpm_trainer_step_given(struct ddpm_trainer *trainer, const float *pictures,
                                             const int64_t *timesteps, const float *noise,
                                             struct ddpm_step_result *result);

/* The gradient that the last step used, before clipping, in PyTorch's element order. */
DDPM_API ddpm_status ddpm_trainer_gradient(const struct ddpm_trainer *trainer, const char *name,
                                           float *values, size_t count);

/* Steps done so far. */
DDPM_API int64_t ddpm_trainer_steps_done(const struct ddpm_trainer *trainer);

/* Memory of a trainer, that of its network included. */
DDPM_API struct ddpm_memory_plan ddpm_trainer_memory(const struct ddpm_trainer *trainer);

/* What a trainer of `network` would plan; nothing is taken beyond what the network has already.
 * *out is written on success only. DDPM_ERROR_ARGUMENT for a configuration that cannot be trained,
 * DDPM_ERROR_MEMORY. */
DDPM_API ddpm_status ddpm_trainer_measure(struct ddpm_network *network,
                                          struct ddpm_memory_plan *out);

/* Write checkpoint `<run>/checkpoints/step-NNNNNN/` (model, EMA, optimizer, state; see
 * docs/file-formats.md) and point
 * `<run>/checkpoints/latest` at it; then remove all but the newest `keep` (0: keep all). The last
 * good checkpoint is there at every moment, whatever is killed or full. */
DDPM_API ddpm_status ddpm_trainer_save(struct ddpm_trainer *trainer, const char *run);

/* The same in two: begin copies what is to be written and, where the device's memory is not the
 * host's, writes it while training goes on; end waits and says how it went. What is written is the
 * state of the moment of begin, though on CUDA it is still on its way to the host when that
 * returns. One at a time: begin ends the one before first. */
DDPM_API ddpm_status ddpm_trainer_save_begin(struct ddpm_trainer *trainer, const char *run);
DDPM_API ddpm_status ddpm_trainer_save_end(struct ddpm_trainer *trainer);

/* Go on from the checkpoint that `<run>/checkpoints/latest` names, or from the checkpoint folder
 * given: weights, EMA, moments, step. DDPM_ERROR_MISMATCH names the field that does not fit the
 * configuration or the data. The trainer is unusable after a failure. */
DDPM_API ddpm_status ddpm_trainer_resume(struct ddpm_trainer *trainer, const char *path);

#ifdef __cplusplus
}
#endif
#endif
