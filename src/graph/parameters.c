/* The parameters of a network and their slab. */
#include "graph/parameters.h"

#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "core/processors.h"
#include "core/random.h"
#include "core/threads.h"

size_t ddpm_parameters_find(const struct ddpm_parameters *parameters, const char *name)
{
    size_t i = 0;
    while (i < parameters->count && strcmp(parameters->items[i].name, name) != 0)
        ++i;
    return i;
}

int64_t ddpm_parameter_count(const struct ddpm_parameter *parameter)
{
    return parameter->k * parameter->r * parameter->s * parameter->c;
}

int64_t ddpm_parameters_total(const struct ddpm_parameters *parameters)
{
    int64_t total = 0;
    for (size_t i = 0; i < parameters->count; ++i)
        total += ddpm_parameter_count(&parameters->items[i]);
    return total;
}

static bool same_shape(const struct ddpm_parameter *a, const struct ddpm_parameter *b)
{
    return a->k == b->k && a->r == b->r && a->s == b->s && a->c == b->c;
}

ddpm_status ddpm_parameters_declare(struct ddpm_parameters *parameters,
                                    const struct ddpm_parameter *wanted, size_t *index)
{
    *index = ddpm_parameters_find(parameters, wanted->name);
    if (*index < parameters->count) {
        if (same_shape(&parameters->items[*index], wanted))
            return DDPM_OK;
        return ddpm_raise(DDPM_ERROR_MISMATCH, "parameter %s is declared twice with two shapes",
                          wanted->name);
    }
    DDPM_TRY(ddpm_grow_array((void **)&parameters->items, &parameters->capacity,
                             parameters->count + 1, sizeof *parameters->items, "parameters"));
    struct ddpm_parameter *added = &parameters->items[parameters->count];
    *added = *wanted;
    DDPM_TRY(ddpm_copy_string(&added->name, wanted->name));
    added->offset = parameters->slab_count;
    const int64_t granule = (int64_t)(DDPM_ALIGNMENT / sizeof(float));
    int64_t count = ddpm_parameter_count(added);
    parameters->slab_count += (count + granule - 1) / granule * granule;
    ++parameters->count;
    return DDPM_OK;
}

/* Visit every element, with its index in PyTorch's order, [K][C][R][S], and in the slab's,
 * [K][R][S][C]. */
#define FOR_EACH_ELEMENT(p, torch, place)                                                          \
    for (int64_t k = 0, torch = 0; k < (p)->k; ++k)                                                \
        for (int64_t c = 0; c < (p)->c; ++c)                                                       \
            for (int64_t r = 0; r < (p)->r; ++r)                                                   \
                for (int64_t s = 0, place = ((k * (p)->r + r) * (p)->s) * (p)->c + c; s < (p)->s;  \
                     ++s, ++torch, place += (p)->c)

void ddpm_parameter_to_slab(const struct ddpm_parameter *parameter, const float *dense, float *slab)
{
    float *to = slab + parameter->offset;
    FOR_EACH_ELEMENT (parameter, torch, place)
        to[place] = dense[torch];
}

void ddpm_parameter_from_slab(const struct ddpm_parameter *parameter, const float *slab,
                              float *dense)
{
    const float *from = slab + parameter->offset;
    FOR_EACH_ELEMENT (parameter, torch, place)
        dense[torch] = from[place];
}

struct initialization {
    const struct ddpm_parameter *parameter;
    float *to, bound;
    uint64_t seed;
    uint32_t sample;
};

/* Element i in PyTorch's order. Called with consecutive i: four elements share a block, *random. */
static inline float initial_value(const struct initialization *init, int64_t i, bool first,
                                  struct ddpm_random4 *random)
{
    if (init->parameter->initial != DDPM_INITIAL_UNIFORM)
        return init->parameter->initial == DDPM_INITIAL_ONE ? 1.0f : 0.0f;
    if (first || i % 4 == 0)
        *random = ddpm_philox(init->seed, (uint32_t)(i / 4), init->sample, 0, DDPM_STREAM_WEIGHTS);
    return (2.0f * ddpm_uniform(random->v[i % 4]) - 1.0f) * init->bound;
}

/* Output channels [begin, end) of a parameter. */
static void initialize_channels(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct initialization *init = context;
    const struct ddpm_parameter *p = init->parameter;
    const int64_t taps = p->r * p->s, first = begin * p->c * taps;
    struct ddpm_random4 random = {{0}};
    int64_t i = first;
    for (int64_t k = begin; k < end; ++k)
        for (int64_t c = 0; c < p->c; ++c)
            for (int64_t tap = 0; tap < taps; ++tap, ++i)
                init->to[(k * taps + tap) * p->c + c] = initial_value(init, i, i == first, &random);
}

void ddpm_parameters_initialize(const struct ddpm_parameters *parameters, uint64_t seed,
                                float *slab)
{
    for (size_t i = 0; i < parameters->count; ++i) {
        const struct ddpm_parameter *p = &parameters->items[i];
        struct initialization init = {.parameter = p,
                                      .to = slab + p->offset,
                                      .bound = 1.0f / sqrtf((float)(p->fan_in > 0 ? p->fan_in : 1)),
                                      .seed = seed,
                                      .sample = ddpm_hash_name(p->name)};
        ddpm_parallel_for(ddpm_processor_count(), p->k, 8, initialize_channels, &init);
    }
}

void ddpm_parameters_clear(struct ddpm_parameters *parameters)
{
    for (size_t i = 0; i < parameters->count; ++i)
        free(parameters->items[i].name);
    free(parameters->items);
    *parameters = (struct ddpm_parameters){0};
}
