/** @file
 * Training: from given pictures, timesteps and noise, or from a data source; checkpoints that
 * survive a kill.
 *
 * Every function checks its arguments as those of network.h do. */
#ifndef DDPM_TRAINER_H
#define DDPM_TRAINER_H

#include <stddef.h>
#include <stdint.h>

#include <ddpm/network.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Trains one network. */
struct ddpm_trainer;

/** Where pictures come from. */
struct ddpm_data;

/** Open the configured pictures: a folder (searched recursively for JPEG, PNG, WebP, BMP, TIFF) or
 * a packed uint8 [N,H,W,C] .npy file, brought to the configuration's size and channels. Bad files
 * are skipped and listed once in the log; more than half bad or none good is DDPM_ERROR_FORMAT. On
 * success *out is owned by the caller: close it with ddpm_data_close(), after every trainer that
 * uses it. On failure *out is NULL. */
DDPM_API ddpm_status ddpm_data_open(const struct ddpm_config *config, struct ddpm_data **out);

/** Close a data source and set the pointer to NULL. A pointer to NULL, or NULL, does nothing. */
DDPM_API void ddpm_data_close(struct ddpm_data **data);

/** How many pictures there are, those included that have been skipped as bad; 0 for NULL. */
DDPM_API int64_t ddpm_data_count(const struct ddpm_data *data);

/** How many pictures have been found bad so far; 0 for NULL. In a large folder those that only
 * decoding can tell are found out while training. */
DDPM_API int64_t ddpm_data_skipped(const struct ddpm_data *data);

/** A hash of which pictures they are: of the names and sizes of files, or of the shape and bytes of
 * a packed file. 0 for NULL. */
DDPM_API uint64_t ddpm_data_fingerprint(const struct ddpm_data *data);

/** Set pictures aside for validation as the option `validation` says: a part of the pictures,
 * chosen by a hash of what each holds and not trained on, or the pictures of another folder or
 * packed file. "auto" becomes "0.05", or "off" for fewer than 200 pictures, in `config` too, which
 * the network and the trainer are then made from. Reads every picture's bytes once, unless `hashes`
 * (or NULL) is a file of ddpm_data_keep_hashes() that knows them. To be called before
 * ddpm_data_measure() and once at most; without it nothing is set aside. DDPM_ERROR_ARGUMENT where
 * nothing or everything would be set aside, or validation pictures are among the training pictures;
 * any error of reading pictures. The data is then as before. */
DDPM_API ddpm_status ddpm_data_split(struct ddpm_data *data, struct ddpm_config *config,
                                     const char *hashes);

/** Write what ddpm_data_split() found out about the pictures' contents to the file `path`, for the
 * next time; nothing where it set none aside. DDPM_ERROR_IO. */
DDPM_API ddpm_status ddpm_data_keep_hashes(const struct ddpm_data *data, const char *path);

/** Train `network` (borrowed, must outlive the trainer) as `config` says: its groups training, data
 * and run are read, and copied; network and diffusion are the network's own. NULL: the
 * configuration that the network was made from. `data` (borrowed, must outlive the trainer) may be
 * NULL when only ddpm_trainer_step_given() will be used. All memory is planned here:
 * DDPM_ERROR_MEMORY, saying what is needed, comes before the first step or not at all. On success
 * *out is owned by the caller: free it with ddpm_trainer_destroy(). On failure *out is NULL. */
DDPM_API ddpm_status ddpm_trainer_create(struct ddpm_network *network,
                                         const struct ddpm_config *config, struct ddpm_data *data,
                                         struct ddpm_trainer **out);

/** Free a trainer and set the pointer to NULL. A pointer to NULL, or NULL, does nothing. */
DDPM_API void ddpm_trainer_destroy(struct ddpm_trainer **trainer);

/** The numbers of one step. */
struct ddpm_step_result {
    int64_t step;       /**< the step just done, counted from 1 */
    double loss;        /**< mean over the batch, before the update */
    double grad_norm;   /**< global L2 norm, before clipping */
    double lr;          /**< learning rate of the step */
    double data_wait;   /**< seconds spent waiting for pictures */
    double reserved[4]; /**< 0; for later versions */
};

/** One optimizer step (all its accumulated micro-batches) on pictures of the data source; timesteps
 * and noise are drawn from (seed, step). DDPM_ERROR_NOT_FINITE when loss or gradient is not finite:
 * the text names the step, the first layer and the pictures; the weights are then still those of
 * before the step. */
DDPM_API ddpm_status ddpm_trainer_step(struct ddpm_trainer *trainer,
                                       struct ddpm_step_result *result);

/** The same without waiting for an accelerator: queue one step and hand out the result of the step
 * before it (`result->step` says which; 0: there is none yet), so that the device never waits for
 * the host. Where the device is the CPU, the result is the step's own. A failure is that of the
 * step before; the step just queued is then dropped. ddpm_trainer_flush() takes the last result.
 * Until then this trainer's other steps, gradients and checkpoints are DDPM_ERROR_ARGUMENT,
 * ddpm_trainer_steps_done() does not count the queued step, and the network's weights are those
 * after it. */
DDPM_API ddpm_status ddpm_trainer_step_late(struct ddpm_trainer *trainer,
                                            struct ddpm_step_result *result);

/** Take the result of the step that ddpm_trainer_step_late() queued last; `result->step` is 0 where
 * all have been taken. */
DDPM_API ddpm_status ddpm_trainer_flush(struct ddpm_trainer *trainer,
                                        struct ddpm_step_result *result);

/** Fill in what the configuration leaves to the pictures: sigma-data of objective edm, where that
 * is 0, becomes the standard deviation of their values in [-1,1], measured on at most 10,000
 * pictures. Call it before making a network from the configuration. Fails as reading pictures
 * does. */
DDPM_API ddpm_status ddpm_data_measure(const struct ddpm_data *data, struct ddpm_config *config);

/** The values of one step, accumulate·batch-size pictures. Zero the struct, then set `size`,
 * pictures, noise, and timesteps or sigmas. */
struct ddpm_step_input {
    size_t size;              /**< sizeof(struct ddpm_step_input) */
    const float *pictures;    /**< [pictures, C, H, W] in [-1,1] */
    size_t picture_count;     /**< elements of pictures */
    const int64_t *timesteps; /**< [pictures], each in [0, T-1]; of a schedule */
    size_t timestep_count;    /**< elements of timesteps */
    const float *noise;       /**< [pictures, C, H, W] */
    size_t noise_count;       /**< elements of noise */
    /** [pictures], the levels of objectives whose levels are continuous, in place of timesteps:
     * flow's t in (0,1], edm's sigma above 0. */
    const double *sigmas;
    size_t sigma_count; /**< elements of sigmas */
};

/** One optimizer step on given values, which are borrowed for the call. Errors: as
 * ddpm_trainer_step(), and DDPM_ERROR_ARGUMENT for values that do not fit. */
DDPM_API ddpm_status ddpm_trainer_step_given(struct ddpm_trainer *trainer,
                                             const struct ddpm_step_input *input,
                                             struct ddpm_step_result *result);

/** The gradient that the last step used, before clipping, in PyTorch's element order. `values` has
 * room for `count` elements, which must be the parameter's element count. */
DDPM_API ddpm_status ddpm_trainer_gradient(const struct ddpm_trainer *trainer, const char *name,
                                           float *values, size_t count);

/** Steps done so far; 0 for NULL. */
DDPM_API int64_t ddpm_trainer_steps_done(const struct ddpm_trainer *trainer);

/** Memory of a trainer, that of its network included; all 0 for NULL. */
DDPM_API struct ddpm_memory_plan ddpm_trainer_memory(const struct ddpm_trainer *trainer);

/** What a trainer of `network` would plan, its network included; nothing is allocated. `config` as
 * for ddpm_trainer_create(). The network may be one without weights (ddpm_network_declare()). *out
 * is written on success only. DDPM_ERROR_MEMORY, and DDPM_ERROR_ARGUMENT for a configuration that
 * cannot be trained. */
DDPM_API ddpm_status ddpm_trainer_measure(struct ddpm_network *network,
                                          const struct ddpm_config *config,
                                          struct ddpm_memory_plan *out);

/** DDPM_ERROR_MEMORY, with words about what would fit, when a trainer of `network` would not, the
 * weights included that a declared network still lacks; DDPM_OK otherwise, also where the device
 * cannot tell. `beside` bytes are kept free for something else. Allocates nothing large. */
DDPM_API ddpm_status ddpm_trainer_check_memory(struct ddpm_network *network,
                                               const struct ddpm_config *config, uint64_t beside);

/** Bands of noise levels: the first eighth of those of training, from clear to noisy, and so on. */
#define DDPM_VALIDATION_BANDS 8

/** What a measurement of the validation loss is made of; all 0 where nothing is set aside. */
struct ddpm_validation_plan {
    int64_t set_aside;    /**< pictures that are not trained on */
    int64_t trained_on;   /**< pictures that are */
    int64_t pictures;     /**< measured of each of the two */
    int64_t levels;       /**< noise levels of each picture, 1 to 8, in bands that take turns */
    double cost_in_steps; /**< what one measurement takes, in training steps, by operations */
    double reserved[4];   /**< 0; for later versions */
};

/** Fill *out. */
DDPM_API ddpm_status ddpm_trainer_validation_plan(const struct ddpm_trainer *trainer,
                                                  struct ddpm_validation_plan *out);

/** The loss of the EMA weights on pictures that are not trained on, and on as many that are. */
struct ddpm_validation_result {
    int64_t step;                        /**< steps done */
    double loss;                         /**< mean over the pictures set aside and their levels */
    double training_loss;                /**< the same of training pictures */
    double bands[DDPM_VALIDATION_BANDS]; /**< of `loss`, by band */
    double training_bands[DDPM_VALIDATION_BANDS]; /**< of `training_loss`, by band */
    double reserved[4];                           /**< 0; for later versions */
};

/** Measure the validation loss: the loss on the objective's own target without weights, always of
 * the same pictures at the same levels (the middles of the bands) with the same noise, a function
 * of what each picture holds. Changes nothing of the training. DDPM_ERROR_ARGUMENT where
 * ddpm_data_split() set nothing aside. */
DDPM_API ddpm_status ddpm_trainer_validate(struct ddpm_trainer *trainer,
                                           struct ddpm_validation_result *result);

/** Write checkpoint `<run>/checkpoints/step-NNNNNN/` (model, EMA, optimizer, state; see
 * docs/file-formats.md) and point `<run>/checkpoints/latest` at it (a link, or a text file where
 * the file system has no links); then remove all but the newest `keep` (0: keep all) and the best.
 * Whatever is killed or full, the last good checkpoint is there at every moment. DDPM_ERROR_IO,
 * DDPM_ERROR_MEMORY; DDPM_ERROR_NOT_FINITE, with nothing written, when a weight is NaN or
 * infinite. */
DDPM_API ddpm_status ddpm_trainer_save(struct ddpm_trainer *trainer, const char *run);

/** Begin to write a checkpoint: copy what is to be written and, where the device's memory is not
 * the host's, write it while training goes on. What is written is the state of the moment of begin,
 * though on CUDA it is still on its way to the host when that returns. One at a time: begin ends
 * the one before first. */
DDPM_API ddpm_status ddpm_trainer_save_begin(struct ddpm_trainer *trainer, const char *run);

/** The same of the best checkpoint so far: `<run>/checkpoints/best` names it too from then on, and
 * `keep` does not remove it until another takes its place. */
DDPM_API ddpm_status ddpm_trainer_save_best_begin(struct ddpm_trainer *trainer, const char *run);

/** Wait for the checkpoint that was begun, and say how it went; DDPM_OK where none was. */
DDPM_API ddpm_status ddpm_trainer_save_end(struct ddpm_trainer *trainer);

/** Go on from a run's newest whole checkpoint, or from the checkpoint folder given: weights, EMA,
 * moments, step. DDPM_ERROR_MISMATCH names the field that does not fit the configuration or the
 * data. The trainer is unusable after a failure. */
DDPM_API ddpm_status ddpm_trainer_resume(struct ddpm_trainer *trainer, const char *path);

#ifdef __cplusplus
}
#endif
#endif
