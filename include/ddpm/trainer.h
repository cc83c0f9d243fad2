/** @file
 * Training, from a data source or from pictures, timesteps and noise that you supply. Checkpoints
 * that survive a kill.
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

/** A source of pictures. */
struct ddpm_data;

/** Open the configured pictures: a folder (searched recursively for JPEG, PNG, WebP, BMP, TIFF) or
 * a packed uint8 [N,H,W,C] or [N,H,W] .npy file, converted to the configuration's size and
 * channels. Bad files are skipped and listed once in the log; if more than half are bad or none is
 * good, the call fails with DDPM_ERROR_FORMAT. On success the caller owns *out and closes it with
 * ddpm_data_close(), after destroying every trainer that uses it. On failure *out is NULL. */
DDPM_API ddpm_status ddpm_data_open(const struct ddpm_config *config, struct ddpm_data **out);

/** The same for an array of pictures in memory, uint8 [count, height, width, channels]; `bytes`
 * must be its size. The option `channels` gives its channels. Height and width are those of the
 * option `image-size`, or larger with `crop random`. The option `data` must be empty. The array is
 * borrowed: it must not change, and must outlive the data. The data is the same as that of a packed
 * file with these pictures, so a run started on one can be resumed on the other. */
DDPM_API ddpm_status ddpm_data_open_array(const struct ddpm_config *config, const uint8_t *pictures,
                                          int64_t count, int64_t height, int64_t width,
                                          size_t bytes, struct ddpm_data **out);

/** Close a data source and set the pointer to NULL. Does nothing for NULL or a pointer to NULL. */
DDPM_API void ddpm_data_close(struct ddpm_data **data);

/** How many pictures there are, including those skipped as bad; 0 for NULL. */
DDPM_API int64_t ddpm_data_count(const struct ddpm_data *data);

/** How many pictures have been found bad so far; 0 for NULL. In a large folder, pictures that only
 * decoding shows to be bad are found during training. */
DDPM_API int64_t ddpm_data_skipped(const struct ddpm_data *data);

/** A hash that identifies the pictures: of the files' names and sizes, or of a packed file's shape
 * and bytes. 0 for NULL. */
DDPM_API uint64_t ddpm_data_fingerprint(const struct ddpm_data *data);

/** Set pictures aside for validation as the option `validation` says: either a fraction of the
 * pictures, chosen by a hash of their content and not trained on, or the pictures of another folder
 * or packed file. "auto" becomes "0.05", or "off" for fewer than 200 pictures; `config` is updated,
 * so make the network and the trainer from it afterwards. Reads every picture's bytes once, except
 * those whose hash is in the file `hashes` that ddpm_data_keep_hashes() wrote (may be NULL). Call
 * it at most once, and before ddpm_data_measure(); without it nothing is set aside.
 * DDPM_ERROR_ARGUMENT if nothing or everything would be set aside, or if validation pictures are
 * among the training pictures; or any error of reading pictures. After a failure the data is
 * unchanged. */
DDPM_API ddpm_status ddpm_data_split(struct ddpm_data *data, struct ddpm_config *config,
                                     const char *hashes);

/** Write the content hashes that ddpm_data_split() computed to the file `path`, so that the next
 * run need not read every picture. Writes nothing if no pictures were set aside. DDPM_ERROR_IO. */
DDPM_API ddpm_status ddpm_data_keep_hashes(const struct ddpm_data *data, const char *path);

/** Make a trainer of `network` (borrowed; must outlive the trainer). From `config` it copies the
 * groups training, data and run; network and diffusion are those of the network. NULL: the
 * configuration that the network was made from. A network from ddpm_network_open() is trained
 * further, from the weights DDPM_WEIGHTS_MODEL. `data` (borrowed; must outlive the trainer) may be
 * NULL if you only use ddpm_trainer_step_given(). All memory for steps is planned here, so no step
 * runs out of it: if there is too little, this call fails with DDPM_ERROR_MEMORY and says how much
 * is needed. The exception is a run with the option `patches`: a step on pictures of a different
 * size allocates again. If other programs have taken the memory meanwhile, it fails with
 * DDPM_ERROR_MEMORY, with the state intact. Writing a checkpoint allocates room for one tensor, for
 * names and JSON, and on an accelerator for a copy of the state; the plan counts this. On success
 * the caller owns *out and frees it with ddpm_trainer_destroy(). On failure *out is NULL. */
DDPM_API ddpm_status ddpm_trainer_create(struct ddpm_network *network,
                                         const struct ddpm_config *config, struct ddpm_data *data,
                                         struct ddpm_trainer **out);

/** Free a trainer and set the pointer to NULL. Does nothing for NULL or a pointer to NULL. */
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

/** One optimizer step (all its accumulated micro-batches) on pictures from the data source;
 * timesteps and noise are drawn from (seed, step). DDPM_ERROR_NOT_FINITE if the loss or gradient is
 * not finite: the text names the step, the first layer and the pictures, and the weights are
 * unchanged. */
DDPM_API ddpm_status ddpm_trainer_step(struct ddpm_trainer *trainer,
                                       struct ddpm_step_result *result);

/** The same without waiting for the accelerator: queue one step and return the result of the step
 * before it (`result->step` says which; 0: none yet), so that the device never waits for the host.
 * On the CPU, the result is that of the step itself. If the earlier step failed, its error is
 * returned here and the new step is dropped. If the new step fails, *result may still hold that of
 * the earlier one. ddpm_trainer_flush() returns the last result. Until you call it, a step is
 * queued: the trainer's other steps, gradients and checkpoints fail with DDPM_ERROR_ARGUMENT, and
 * ddpm_trainer_steps_done() does not count it. The network's weights already include it. */
DDPM_API ddpm_status ddpm_trainer_step_late(struct ddpm_trainer *trainer,
                                            struct ddpm_step_result *result);

/** Return the result of the step that ddpm_trainer_step_late() queued last; `result->step` is 0 if
 * there is none. */
DDPM_API ddpm_status ddpm_trainer_flush(struct ddpm_trainer *trainer,
                                        struct ddpm_step_result *result);

/** Fill in the options that depend on the pictures: if sigma-data of objective edm is 0, it becomes
 * the standard deviation of the pictures' values in [-1,1], measured on at most 10,000 pictures.
 * Call it before making a network from the configuration. Fails with any error of reading
 * pictures. */
DDPM_API ddpm_status ddpm_data_measure(const struct ddpm_data *data, struct ddpm_config *config);

/** The input of one step: accumulate·batch-size pictures. Zero the struct, then set `size`,
 * pictures, noise, and timesteps or sigmas. */
struct ddpm_step_input {
    size_t size;              /**< sizeof(struct ddpm_step_input) */
    const float *pictures;    /**< [pictures, C, H, W] in [-1,1] */
    size_t picture_count;     /**< elements of pictures */
    const int64_t *timesteps; /**< [pictures], each in [0, T-1]; for objectives with a schedule */
    size_t timestep_count;    /**< elements of timesteps */
    const float *noise;       /**< [pictures, C, H, W] */
    size_t noise_count;       /**< elements of noise */
    /** [pictures], instead of timesteps for objectives with continuous noise levels: flow's t in
     * (0,1], edm's sigma above 0. */
    const double *sigmas;
    size_t sigma_count; /**< elements of sigmas */
};

/** One optimizer step on the given values, borrowed during the call. Pictures and noise are whole,
 * whatever the option `patches` says. Errors are those of ddpm_trainer_step(), and
 * DDPM_ERROR_ARGUMENT for values that do not fit. */
DDPM_API ddpm_status ddpm_trainer_step_given(struct ddpm_trainer *trainer,
                                             const struct ddpm_step_input *input,
                                             struct ddpm_step_result *result);

/** The gradient of the last step for the parameter `name`, before clipping, in PyTorch's element
 * order. `count` is the length of `values` and must equal the parameter's element count. */
DDPM_API ddpm_status ddpm_trainer_gradient(const struct ddpm_trainer *trainer, const char *name,
                                           float *values, size_t count);

/** Steps done so far; 0 for NULL. */
DDPM_API int64_t ddpm_trainer_steps_done(const struct ddpm_trainer *trainer);

/** Memory of a trainer, including its network's; all 0 for NULL. */
DDPM_API struct ddpm_memory_plan ddpm_trainer_memory(const struct ddpm_trainer *trainer);

/** How much memory a trainer of `network` would need, including the network's. Allocates nothing.
 * `config` as for ddpm_trainer_create(). The network may be one without weights
 * (ddpm_network_declare()). *out is written on success only. DDPM_ERROR_MEMORY; DDPM_ERROR_ARGUMENT
 * for a configuration that cannot be trained. */
DDPM_API ddpm_status ddpm_trainer_measure(struct ddpm_network *network,
                                          const struct ddpm_config *config,
                                          struct ddpm_memory_plan *out);

/** Check that a trainer of `network` would fit, including the weights that a declared network has
 * not allocated yet. DDPM_ERROR_MEMORY, with advice on what would fit, if not; DDPM_OK if so, or if
 * the device does not report its free memory. `beside` bytes are kept free for something else.
 * Allocates nothing large. */
DDPM_API ddpm_status ddpm_trainer_check_memory(struct ddpm_network *network,
                                               const struct ddpm_config *config, uint64_t beside);

/** Bands of noise levels: the levels of training, from clean to noisy, in eight equal parts. */
#define DDPM_VALIDATION_BANDS 8

/** How the validation loss is measured; all 0 if nothing is set aside. */
struct ddpm_validation_plan {
    int64_t set_aside;    /**< pictures that are not trained on */
    int64_t trained_on;   /**< pictures that are */
    int64_t pictures;     /**< how many of each of the two are measured */
    int64_t levels;       /**< noise levels per picture, 1 to 8; pictures cycle through the bands */
    double cost_in_steps; /**< cost of one measurement in average steps of the run, counted in
                               operations */
    double reserved[4];   /**< 0; for later versions */
};

/** Fill *out. */
DDPM_API ddpm_status ddpm_trainer_validation_plan(const struct ddpm_trainer *trainer,
                                                  struct ddpm_validation_plan *out);

/** The loss of the EMA weights on pictures set aside, and on as many training pictures. */
struct ddpm_validation_result {
    int64_t step;                        /**< steps done */
    double loss;                         /**< mean over the pictures set aside and their levels */
    double training_loss;                /**< the same for training pictures */
    double bands[DDPM_VALIDATION_BANDS]; /**< of `loss`, by band */
    double training_bands[DDPM_VALIDATION_BANDS]; /**< of `training_loss`, by band */
    double reserved[4];                           /**< 0; for later versions */
};

/** Measure the validation loss: the unweighted loss on the objective's own target, always on the
 * same pictures at the same noise levels (the middles of the bands) with the same noise, which
 * depends on each picture's content. Does not affect training. DDPM_ERROR_ARGUMENT if
 * ddpm_data_split() set nothing aside. */
DDPM_API ddpm_status ddpm_trainer_validate(struct ddpm_trainer *trainer,
                                           struct ddpm_validation_result *result);

/** Write checkpoint `<run>/checkpoints/step-NNNNNN/` (model, EMA, optimizer, state; see
 * docs/file-formats.md) and point `<run>/checkpoints/latest` at it (a link, or a text file if the
 * file system has no links); then remove all but the newest `keep` (0: keep all) and the best. If
 * the process is killed or the disk fills up, the last good checkpoint is still there.
 * DDPM_ERROR_IO, DDPM_ERROR_MEMORY; DDPM_ERROR_NOT_FINITE, with nothing written, if a weight is NaN
 * or infinite.
 *
 * Nothing else is written into `run`: its config.json, log.csv and grids of samples are the work of
 * `ddpm train`. `ddpm train --resume` continues such a run on its pictures, with the options in the
 * checkpoint's config.json; ddpm sample, info and evaluate open it like any other. */
DDPM_API ddpm_status ddpm_trainer_save(struct ddpm_trainer *trainer, const char *run);

/** Start writing a checkpoint: copy the state and, if the device has its own memory, write it while
 * training continues. The checkpoint holds the state at the time of this call, although on CUDA the
 * copy to the host is still running when the call returns. Only one is written at a time: this call
 * first waits for the one before. */
DDPM_API ddpm_status ddpm_trainer_save_begin(struct ddpm_trainer *trainer, const char *run);

/** The same for the best checkpoint so far: `<run>/checkpoints/best` then points at it too, and
 * `keep` does not remove it until another takes its place. */
DDPM_API ddpm_status ddpm_trainer_save_best_begin(struct ddpm_trainer *trainer, const char *run);

/** Wait for the checkpoint that was started and return its status; DDPM_OK if none was. */
DDPM_API ddpm_status ddpm_trainer_save_end(struct ddpm_trainer *trainer);

/** Continue from the checkpoint that a run's `latest` names, or from the given checkpoint folder:
 * weights, EMA, moments, step. Call it before the first step. Options that say what is learned must
 * be those of the checkpoint (docs/options.md lists them): DDPM_ERROR_MISMATCH names the first that
 * is not, or says that the data is different. The learning rate and other options of the update may
 * change, and so may `steps`; `steps` moves whatever depends on the length of the run: the decay of
 * the learning rate, the end of the patches, the stages of distilling. On a CPU the checkpoint is
 * read straight into the state, so that resuming takes no more memory than training. After a
 * failure the state, the network's weights included, may be half read: steps and checkpoints then
 * fail with DDPM_ERROR_ARGUMENT, and only another ddpm_trainer_resume() helps. */
DDPM_API ddpm_status ddpm_trainer_resume(struct ddpm_trainer *trainer, const char *path);

#ifdef __cplusplus
}
#endif
#endif
