/* Checkpoints on disk: a folder with model.safetensors, ema.safetensors, optimizer.safetensors,
 * config.json and state.json. A run with a second EMA adds ema-second.safetensors, one with enough
 * pictures start.safetensors. See docs/file-formats.md. */
#ifndef DDPM_TRAINING_CHECKPOINT_H
#define DDPM_TRAINING_CHECKPOINT_H

#include <jansson.h>

#include "config/config.h"
#include "diffusion/start.h"
#include "graph/parameters.h"
#include "model/checkpoint_find.h"

enum ddpm_slab {
    DDPM_SLAB_WEIGHTS,
    DDPM_SLAB_EMA,
    DDPM_SLAB_M,
    DDPM_SLAB_V,
    DDPM_SLAB_SECOND_EMA, /* last: not every run has one */
    DDPM_MAX_STATE_SLABS
};

/* The slabs of a player's state, and the files that hold them. */
int ddpm_state_slabs(const struct ddpm_training_config *config);
size_t ddpm_state_files(const struct ddpm_training_config *config);

#define DDPM_MAX_PLAYERS 4

/* The training state of one network, in host memory. */
struct ddpm_player_state {
    const char *name; /* prefix of its file names: "" for the first */
    const struct ddpm_parameters *parameters;
    float *slabs[DDPM_MAX_STATE_SLABS];
};

/* The state of a run. */
struct ddpm_run_state {
    struct ddpm_player_state players[DDPM_MAX_PLAYERS];
    int player_count;
    const struct ddpm_config *config;
    bool has_data;
    uint64_t data_fingerprint;
    const char *validation;         /* text of struct ddpm_aside; NULL: nothing is set aside */
    bool best;                      /* make `best` name this checkpoint */
    const struct ddpm_start *start; /* fitted start for drawing; NULL: none */
    int64_t step;
};

/* Write `<run>/checkpoints/step-NNNNNN`, make `latest` (and `best`, if it is the best) point to
 * it, and delete old ones. */
ddpm_status ddpm_checkpoint_write(const struct ddpm_run_state *run_state, const char *run);

/* Read a checkpoint into a run state whose slabs are allocated; its other members say what is
 * expected. Sets step. DDPM_ERROR_MISMATCH names the field that differs. */
ddpm_status ddpm_checkpoint_read(const char *folder, struct ddpm_run_state *run_state);

/* The path of a player's file number `file`: "FOLDER/model.safetensors", or
 * "FOLDER/NAME-model.safetensors" if the player has a name. `path` has PATH_MAX bytes. */
ddpm_status ddpm_checkpoint_file_path(char *path, const char *folder, const char *player,
                                      size_t file);

/* state.json (checkpoint_state.c): write it; read it; check the files against it; check that it
 * belongs to this run (`folder` is that of the checkpoint). */
ddpm_status ddpm_checkpoint_write_state(const struct ddpm_run_state *run_state, const char *folder);
ddpm_status ddpm_checkpoint_read_state(const char *folder, json_t **state);
ddpm_status ddpm_checkpoint_check_files(const json_t *state, const char *folder);
ddpm_status ddpm_checkpoint_check_run(const json_t *state, const char *folder,
                                      const struct ddpm_run_state *run_state);

#endif
