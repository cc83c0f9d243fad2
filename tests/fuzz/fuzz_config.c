/* Fuzz target: a configuration as JSON text; one that is accepted must survive writing and reading
 * back, and is checked. */
#include <stdlib.h>
#include <string.h>

#include "config/config_json.h"
#include "formats/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_and_read(const struct ddpm_config *config)
{
    struct ddpm_config *again;
    json_t *root;
    if (ddpm_config_create(&again) != DDPM_OK)
        return;
    if (ddpm_config_to_json(config, &root) != DDPM_OK ||
        ddpm_config_from_json(again, root, "again") != DDPM_OK ||
        memcmp(config, again, sizeof *config) != 0)
        abort();
    json_decref(root);
    ddpm_config_destroy(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ddpm_config *config;
    json_t *root;
    if (ddpm_json_parse(&root, data, size, "input") != DDPM_OK)
        return 0;
    if (ddpm_config_create(&config) == DDPM_OK &&
        ddpm_config_from_json(config, root, "input") == DDPM_OK) {
        (void)ddpm_config_check(config);
        config->training.recipe_warmup = 0; /* not written */
        write_and_read(config);
    }
    ddpm_config_destroy(&config);
    json_decref(root);
    return 0;
}
