/* Fuzz target: the text of a checkpoint's state.json, checked against a run and against a missing
 * folder. */
#include "config/config.h"
#include "formats/json.h"
#include "training/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ddpm_config *config;
    json_t *state;
    if (!config && ddpm_config_create(&config) != DDPM_OK)
        return 0;
    if (ddpm_json_parse(&state, data, size, "input") != DDPM_OK)
        return 0;
    const struct ddpm_run_state snapshot = {.config = config, .has_data = true};
    (void)ddpm_checkpoint_check_run(state, "no-such-folder", &snapshot);
    (void)ddpm_checkpoint_check_files(state, "no-such-folder");
    json_decref(state);
    return 0;
}
