/* Shared by the golden tests. */
#include "golden/golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/random.h"

struct golden golden_open(const char *name)
{
    struct golden golden;
    char path[256];
    json_error_t error;
    snprintf(path, sizeof path, GOLDEN_DATA "%s.safetensors", name);
    assert_ok(ddpm_safetensors_open(&golden.file, path));
    golden.json = json_loads(ddpm_safetensors_metadata(golden.file, "golden"), 0, &error);
    assert_non_null(golden.json);
    return golden;
}

void golden_close(struct golden *golden)
{
    ddpm_safetensors_close(&golden->file);
    json_decref(golden->json);
}

float *golden_values(const struct golden *golden, const char *name, int64_t *count)
{
    const struct ddpm_safetensors_tensor *tensor = ddpm_safetensors_find(golden->file, name);
    if (!tensor)
        fail_msg("the golden file has no %s", name);
    float *values = malloc((size_t)tensor->count * sizeof *values);
    assert_ok(ddpm_safetensors_read_f32(tensor, values, tensor->count));
    if (count)
        *count = tensor->count;
    return values;
}

int64_t *golden_integers(const struct golden *golden, const char *name, int64_t *count)
{
    const struct ddpm_safetensors_tensor *tensor = ddpm_safetensors_find(golden->file, name);
    if (!tensor)
        fail_msg("the golden file has no %s", name);
    int64_t *values = malloc((size_t)tensor->count * sizeof *values);
    assert_ok(ddpm_safetensors_read_i64(tensor, values, tensor->count));
    if (count)
        *count = tensor->count;
    return values;
}

static json_int_t integer(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return (json_int_t)json_number_value(value);
}

static const char *precision(void)
{
    const char *name = getenv("DDPM_TEST_PRECISION");
    return name ? name : "fp32";
}

void golden_config(const struct golden *golden, struct ddpm_config *config, int64_t *batch)
{
    const json_t *json = json_object_get(golden->json, "config");
    struct ddpm_config *defaults;
    assert_ok(ddpm_config_create(&defaults));
    assert_ok(
        ddpm_config_set(defaults, "network", json_string_value(json_object_get(json, "network"))));
    const char *device = getenv("DDPM_TEST_DEVICE");
    assert_ok(ddpm_config_set(defaults, "device", device ? device : "cpu"));
    assert_ok(ddpm_config_set(defaults, "precision", precision()));
    *config = *defaults;
    ddpm_config_destroy(&defaults);
    struct ddpm_network_config *network = &config->network;
    network->dim = integer(json, "dim");
    network->init_dim = integer(json, "init_dim");
    network->out_dim = integer(json, "out_dim");
    network->channels = integer(json, "channels");
    network->theta = (double)integer(json, "theta");
    network->mult = integer(json, "mult");
    network->norm = json_is_true(json_object_get(json, "norm"));
    network->attention = json_is_true(json_object_get(json, "attention"));
    network->coordinates = json_is_true(json_object_get(json, "coordinates"));
    const json_t *mults = json_object_get(json, "dim_mults");
    network->levels = (int)json_array_size(mults);
    for (int i = 0; i < network->levels; ++i)
        network->dim_mults[i] = json_integer_value(json_array_get(mults, (size_t)i));
    config->diffusion.image_height = integer(json, "height");
    config->diffusion.image_width = integer(json, "width");
    config->training.batch_size = integer(json, "batch");
    if (batch)
        *batch = config->training.batch_size;
}

double golden_tolerance(double fp32, double bf16)
{
    return strcmp(precision(), "bf16") == 0 ? bf16 : fp32;
}

static double uniform(uint32_t sample, int64_t i)
{
    uint32_t bits = ddpm_philox(1234, (uint32_t)(i / 4), sample, 0, 1).v[i % 4];
    return 2.0 * (double)ddpm_uniform(bits) - 1.0;
}

float *golden_formula(const char *name, int64_t count, double scale)
{
    float *values = malloc((size_t)count * sizeof *values);
    uint32_t sample = ddpm_hash_name(name);
    for (int64_t i = 0; i < count; ++i)
        values[i] = (float)(scale * uniform(sample, i));
    return values;
}

float *golden_parameter(const struct ddpm_parameter *parameter)
{
    int64_t count = ddpm_parameter_count(parameter);
    /* Norms are the parameters that do not start with a uniform distribution; biases, which start
     * at 0, count too. */
    const bool norm = parameter->initial != DDPM_INITIAL_UNIFORM;
    double scale = norm ? 0.1 : 1.0 / sqrt((double)parameter->fan_in);
    float *values = golden_formula(parameter->name, count, scale);
    if (parameter->initial == DDPM_INITIAL_ONE) {
        uint32_t sample = ddpm_hash_name(parameter->name);
        for (int64_t i = 0; i < count; ++i)
            values[i] = (float)(1.0 + 0.1 * uniform(sample, i));
    }
    return values;
}

double golden_error(const float *a, const float *b, int64_t count)
{
    double difference = 0, size = 0;
    for (int64_t i = 0; i < count; ++i) {
        double d = (double)a[i] - (double)b[i];
        difference += d * d;
        size += (double)b[i] * (double)b[i];
    }
    /* If all wanted values are zero, the difference itself is the error. */
    return size > 0 ? sqrt(difference / size) : sqrt(difference);
}

double golden_sampled_error(const struct golden *golden, const char *kind, const char *name,
                            const float *values, int64_t count)
{
    char key[300];
    int64_t kept;
    snprintf(key, sizeof key, "%s_stat.%s", kind, name);
    float *stat = golden_values(golden, key, NULL);
    snprintf(key, sizeof key, "%s.%s", kind, name);
    float *wanted = golden_values(golden, key, &kept);
    const int64_t stride = (int64_t)stat[2];
    assert_int_equal(kept, (count + stride - 1) / stride);

    snprintf(key, sizeof key, "probe:%s", name);
    const uint32_t probe_sample = ddpm_hash_name(key);
    double norm = 0, probe = 0, difference = 0;
    for (int64_t i = 0; i < count; ++i) {
        norm += (double)values[i] * (double)values[i];
        probe += (double)values[i] * uniform(probe_sample, i);
        if (i % stride == 0) {
            double d = (double)values[i] - (double)wanted[i / stride];
            difference += d * d;
        }
    }
    const double size = (double)stat[0] > 1e-12 ? (double)stat[0] : 1e-12;
    double worst = fabs(sqrt(norm) - (double)stat[0]) / size;
    worst = fmax(worst, fabs(probe - (double)stat[1]) / size);
    /* Only some elements are stored: scale the tensor's norm to their number. */
    double kept_size = size * sqrt((double)kept / (double)count);
    worst = fmax(worst, sqrt(difference) / kept_size);
    free(stat);
    free(wanted);
    return worst;
}

double golden_norm(const struct golden *golden, const char *kind, const char *name)
{
    char key[300];
    snprintf(key, sizeof key, "%s_stat.%s", kind, name);
    float *stat = golden_values(golden, key, NULL);
    const double norm = (double)stat[0];
    free(stat);
    return norm;
}
