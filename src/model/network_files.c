/* Networks from and to files: bare .safetensors, checkpoints, run folders. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/arguments.h"
#include "core/memory.h"
#include "formats/checksum.h"
#include "formats/json.h"
#include "model/checkpoint_find.h"
#include "model/model.h"
#include "model/start_files.h"

ddpm_status ddpm_network_load(struct ddpm_network *network, enum ddpm_weights which,
                              const char *path)
{
    DDPM_TRY(ddpm_network_check_use(network, which));
    DDPM_REQUIRE(path);
    const size_t bytes = ddpm_weight_set_bytes(&network->weights);
    float *host;
    DDPM_TRY(ddpm_new_aligned((void **)&host, bytes, "weights to read"));
    struct ddpm_named_target target = {"", host};
    ddpm_status status = ddpm_slabs_read(&network->weights.parameters, &target, 1, path);
    if (status == DDPM_OK)
        status = network->device->backend->upload(network->device, network->weights.slabs[which],
                                                  host, bytes);
    ddpm_free_aligned(host);
    ddpm_weight_set_changed(&network->weights);
    return status;
}

ddpm_status ddpm_network_save(const struct ddpm_network *network, enum ddpm_weights which,
                              const char *path)
{
    DDPM_TRY(ddpm_network_check_use(network, which));
    DDPM_REQUIRE(path);
    const size_t bytes = ddpm_weight_set_bytes(&network->weights);
    float *host;
    DDPM_TRY(ddpm_new_aligned((void **)&host, bytes, "weights to write"));
    ddpm_status status = network->device->backend->download(network->device, host,
                                                            network->weights.slabs[which], bytes);
    struct ddpm_named_slab slab = {"", host};
    if (status == DDPM_OK)
        status = ddpm_slabs_write(&network->weights.parameters, &slab, 1, path, NULL, 0);
    ddpm_free_aligned(host);
    return status;
}

static const char *weights_file(enum ddpm_weights which)
{
    return which == DDPM_WEIGHTS_EMA ? "ema.safetensors" : "model.safetensors";
}

ddpm_status ddpm_model_files_check(const struct ddpm_model_files *files, enum ddpm_weights which)
{
    char path[PATH_MAX];
    json_t *state;
    if (!files->folder[0])
        return DDPM_OK;
    DDPM_TRY(ddpm_path_format(path, sizeof path, "%s/state.json", files->folder));
    if (!ddpm_path_exists(path))
        return DDPM_OK; /* no state.json: somebody put weights and a configuration together */
    DDPM_TRY(ddpm_json_read(&state, path));
    ddpm_status status = ddpm_file_check(state, files->folder, weights_file(which));
    json_decref(state);
    return status;
}

ddpm_status ddpm_model_files_find(const char *path, enum ddpm_weights which,
                                  struct ddpm_model_files *out)
{
    const char *file = weights_file(which);
    memset(out, 0, sizeof *out);
    if (!ddpm_path_exists(path))
        return ddpm_raise(DDPM_ERROR_IO, "%s: no such run, checkpoint or file", path);
    if (!ddpm_path_is_directory(path))
        return ddpm_path_format(out->weights, sizeof out->weights, "%s", path);
    DDPM_TRY(ddpm_checkpoint_find(path, out->folder, sizeof out->folder));
    DDPM_TRY(ddpm_path_format(out->weights, sizeof out->weights, "%s/%s", out->folder, file));
    DDPM_TRY(ddpm_path_format(out->config, sizeof out->config, "%s/config.json", out->folder));
    if (!ddpm_path_exists(out->weights))
        return ddpm_raise(DDPM_ERROR_IO,
                          "%s is neither a run with a checkpoint nor a checkpoint: it has no %s",
                          path, ddpm_checkpoint_is_run(path) ? "whole checkpoint" : file);
    return DDPM_OK;
}

/* The configuration to use: the files', else the caller's. The group run comes from the caller's,
 * if given. */
static ddpm_status effective_config(const struct ddpm_model_files *found,
                                    const struct ddpm_config *config, struct ddpm_config **out)
{
    if (config)
        DDPM_TRY(ddpm_config_copy(config, out));
    else
        DDPM_TRY(ddpm_config_create(out));
    if (!found->config[0])
        return DDPM_OK;
    const struct ddpm_run_config run = (*out)->run;
    ddpm_status status = ddpm_config_read(*out, found->config);
    if (config)
        (*out)->run = run;
    if (status != DDPM_OK)
        ddpm_config_destroy(out);
    return status;
}

ddpm_status ddpm_network_load_both(struct ddpm_network *network, enum ddpm_weights which,
                                   const char *path)
{
    struct ddpm_weight_set *weights = &network->weights;
    const struct ddpm_backend *backend = network->device->backend;
    if (backend->host_memory) {
        struct ddpm_named_target target = {"", weights->slabs[which]};
        DDPM_TRY(ddpm_slabs_read(&weights->parameters, &target, 1, path));
    } else {
        DDPM_TRY(ddpm_network_load(network, which, path));
    }
    ddpm_weight_set_changed(weights);
    return backend->copy(network->device, weights->slabs[!which], weights->slabs[which],
                         ddpm_weight_set_bytes(weights));
}

/* A .safetensors file begins with 8 bytes for the length of its header, which is a JSON object. */
static bool looks_like_weights(const char *path)
{
    char head[9];
    FILE *file = fopen(path, "rb");
    const bool does = file && fread(head, 1, sizeof head, file) == sizeof head && head[8] == '{';
    if (file)
        (void)fclose(file);
    return does;
}

static ddpm_status raise_no_config(const char *path)
{
    if (looks_like_weights(path))
        return ddpm_raise(
            DDPM_ERROR_ARGUMENT,
            "%s: a weights file does not describe its network; give its configuration", path);
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "%s: not a weights file; want a .safetensors file, with its configuration, "
                      "or the folder of a run or of a checkpoint",
                      path);
}

static ddpm_status open_network(struct ddpm_device *device, const char *path,
                                const struct ddpm_config *config, enum ddpm_weights which,
                                struct ddpm_network **out)
{
    struct ddpm_model_files found;
    struct ddpm_config *effective = NULL;
    DDPM_TRY(ddpm_check_weights(which));
    DDPM_TRY(ddpm_model_files_find(path, which, &found));
    if (!found.config[0] && !config)
        return raise_no_config(path);
    DDPM_TRY(effective_config(&found, config, &effective));
    ddpm_status status = ddpm_model_files_check(&found, which);
    if (status == DDPM_OK)
        status = ddpm_network_declare(device, effective, out);
    if (status == DDPM_OK)
        status = ddpm_network_allocate_unset(*out);
    if (status == DDPM_OK)
        status = ddpm_network_load_both(*out, which, found.weights);
    if (status == DDPM_OK && found.folder[0])
        status = ddpm_start_load(found.folder, &(*out)->start);
    ddpm_config_destroy(&effective);
    if (status != DDPM_OK)
        ddpm_network_destroy(out);
    return status;
}

ddpm_status ddpm_network_open(const char *path, const struct ddpm_config *config,
                              enum ddpm_weights which, struct ddpm_network **out)
{
    DDPM_REQUIRE(out);
    *out = NULL;
    DDPM_REQUIRE(path);
    return open_network(NULL, path, config, which, out);
}

ddpm_status ddpm_network_open_on(struct ddpm_device *device, const char *path,
                                 const struct ddpm_config *config, enum ddpm_weights which,
                                 struct ddpm_network **out)
{
    DDPM_REQUIRE(out);
    *out = NULL;
    DDPM_REQUIRE(device);
    DDPM_REQUIRE(path);
    return open_network(device, path, config, which, out);
}
