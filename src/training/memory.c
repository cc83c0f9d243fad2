/* How much memory a trainer takes, and failing before anything large is allocated. */
#include <stdio.h>

#include "core/limits.h"
#include "core/memory.h"
#include "training/trainer_state.h"

/* What writing and reading back a checkpoint takes: room for one tensor, and the largest file,
 * which is mapped. A mapping costs no memory unless the address space is limited. */
static size_t checkpoint_bytes(const struct ddpm_trainer *trainer)
{
    const struct ddpm_weight_set *set = &trainer->players[0].network->weights;
    int64_t largest = 0;
    for (size_t i = 0; i < set->parameters.count; ++i) {
        const int64_t count = ddpm_parameter_count(&set->parameters.items[i]);
        largest = count > largest ? count : largest;
    }
    const size_t mapped = ddpm_address_space_is_limited() ? 2 * ddpm_weight_set_bytes(set) : 0;
    return (size_t)largest * sizeof(float) + mapped;
}

/* Host memory in addition to the device's: batches read ahead, and a checkpoint being written. */
static size_t host_bytes(const struct ddpm_trainer *trainer)
{
    const struct ddpm_config *config = &trainer->config;
    const struct ddpm_tensor *pictures = &trainer->pictures->tensor;
    const size_t batch =
        ddpm_tensor_bytes(pictures) * (size_t)trainer->team.count; /* of one step */
    size_t bytes = ddpm_tensor_bytes(&trainer->x0->tensor) + ddpm_team_bytes(trainer) +
                   checkpoint_bytes(trainer);
    if (trainer->data || config->data.data[0])
        bytes += batch * (size_t)(config->data.prefetch + 1);
    for (int p = 0; p < trainer->player_count && !trainer->device->backend->host_memory; ++p)
        bytes += (size_t)ddpm_state_slabs(&config->training) *
                 ddpm_weight_set_bytes(&trainer->players[p].network->weights);
    return bytes;
}

/* Device memory still to be allocated, in addition to the graph's own. */
static size_t bytes_beside_graph(const struct ddpm_trainer *trainer)
{
    size_t bytes = trainer->device->backend->host_memory ? host_bytes(trainer) : 0;
    bytes += ddpm_shard_bytes(trainer) + ddpm_team_device_bytes(trainer);
    for (int p = 0; p < trainer->player_count; ++p) {
        const struct ddpm_weight_set *set = &trainer->players[p].network->weights;
        bytes += ddpm_optimizer_bytes(&trainer->players[p].optimizer);
        if (!set->device) /* so far only declared */
            bytes += ddpm_optimizer_set_bytes(&trainer->players[p].optimizer);
    }
    return bytes;
}

/* Clear the values of the destroyed graph: building the next one may fail before it sets them. */
static void forget_values(struct ddpm_trainer *trainer)
{
    trainer->pictures = trainer->flips = trainer->counters = trainer->first_counters = NULL;
    trainer->x0 = trainer->noise = trainer->table = trainer->t = trainer->rows = NULL;
    trainer->offset = trainer->loss = trainer->losses = NULL;
    trainer->corners = trainer->coordinates = NULL;
}

static ddpm_status lay_out_graph(struct ddpm_trainer *trainer, struct ddpm_size size, int64_t batch,
                                 bool low_memory)
{
    ddpm_graph_destroy(&trainer->graph);
    forget_values(trainer);
    trainer->size = size;
    DDPM_TRY(trainer->task->build(trainer, batch, low_memory));
    return ddpm_graph_lay_out(trainer->graph, trainer->device);
}

ddpm_status ddpm_trainer_lay_out_size(struct ddpm_trainer *trainer, struct ddpm_size size)
{
    return lay_out_graph(trainer, size, trainer->team.size, trainer->config.run.low_memory);
}

static ddpm_status lay_out(struct ddpm_trainer *trainer, int64_t batch, bool low_memory,
                           uint64_t *need)
{
    const struct ddpm_size whole = ddpm_whole_size(&trainer->config);
    DDPM_TRY(lay_out_graph(trainer, whole, batch, low_memory));
    DDPM_TRY(ddpm_validator_lay_out(trainer, batch));
    *need = trainer->graph->arena_bytes + ddpm_packing_bytes_needed(trainer) +
            ddpm_validator_bytes(&trainer->validator) + bytes_beside_graph(trainer);
    return DDPM_OK;
}

/* Bytes free for this trainer; 0 if unknown. */
static size_t available_to(const struct ddpm_trainer *trainer)
{
    const bool divided = trainer->divides_memory && trainer->device->backend->host_memory;
    const int ranks = divided ? ddpm_ranks_here(trainer->team.ranks) : 1;
    return ddpm_device_available(trainer->device) / (size_t)ranks;
}

/* `need` bytes and `beside` more; guards against overflow. */
static uint64_t together(uint64_t need, uint64_t beside)
{
    return beside < UINT64_MAX - need ? need + beside : UINT64_MAX;
}

bool ddpm_trainer_has_room(const struct ddpm_trainer *trainer, uint64_t need, uint64_t beside)
{
    const size_t available = available_to(trainer);
    return !available || together(need, beside) <= available;
}

ddpm_status ddpm_trainer_lay_out_step(struct ddpm_trainer *trainer, uint64_t beside, uint64_t *need)
{
    const bool low_memory = trainer->config.run.low_memory;
    trainer->keeps_results = !low_memory && !trainer->device->backend->host_memory;
    if (trainer->keeps_results) {
        DDPM_TRY(lay_out(trainer, trainer->team.size, low_memory, need));
        trainer->keeps_results = together(*need, beside) <= available_to(trainer) / 2;
        if (trainer->keeps_results)
            return DDPM_OK;
    }
    return lay_out(trainer, trainer->team.size, low_memory, need);
}

/* Would the step fit if it were cut into more micro-batches, of `batch` pictures each? */
static bool would_fit(struct ddpm_trainer *trainer, int64_t batch, bool low_memory, uint64_t beside)
{
    struct ddpm_team *team = &trainer->team;
    const int64_t size = team->size, count = team->count, total = team->total;
    uint64_t need;
    team->size = batch;
    team->count = count * (size / batch);
    team->total = total * (size / batch);
    const bool fits = lay_out(trainer, batch, low_memory, &need) == DDPM_OK &&
                      together(need, beside) <= available_to(trainer);
    team->size = size;
    team->count = count;
    team->total = total;
    return fits;
}

static ddpm_status suggest_batch(struct ddpm_trainer *trainer, int64_t micro, bool low_memory,
                                 const char *why)
{
    const struct ddpm_config *config = &trainer->config;
    const int64_t batch = micro * trainer->team.cuts;
    const int64_t times = config->training.batch_size / batch;
    const char *how = low_memory && !config->run.low_memory ? " with memory low" : "";
    trainer->smaller =
        (struct ddpm_smaller_step){batch, config->training.accumulate * times, low_memory};
    return ddpm_raise(DDPM_ERROR_MEMORY,
                      "%s; batch-size %lld%s would fit (training is equivalent with accumulate "
                      "%lld)",
                      why, (long long)batch, how, (long long)trainer->smaller.accumulate);
}

/* The plan does not fit: say what would. */
static ddpm_status suggest_smaller(struct ddpm_trainer *trainer, uint64_t beside, const char *why)
{
    const struct ddpm_config *config = &trainer->config;
    const int64_t size = trainer->team.size;
    if (!config->run.low_memory && would_fit(trainer, size, true, beside)) {
        trainer->smaller = (struct ddpm_smaller_step){config->training.batch_size,
                                                      config->training.accumulate, true};
        return ddpm_raise(DDPM_ERROR_MEMORY, "%s; memory low would fit", why);
    }
    for (int64_t batch = size / 2; batch > 0; batch /= 2)
        if (size % batch == 0 && would_fit(trainer, batch, config->run.low_memory, beside))
            return suggest_batch(trainer, batch, config->run.low_memory, why);
    for (int64_t batch = size / 2; batch > 0 && !config->run.low_memory; batch /= 2)
        if (size % batch == 0 && would_fit(trainer, batch, true, beside))
            return suggest_batch(trainer, batch, true, why);
    return ddpm_raise(DDPM_ERROR_MEMORY,
                      "%s; not even one picture would fit: reduce dim or image-size", why);
}

ddpm_status ddpm_trainer_lay_out(struct ddpm_trainer *trainer, uint64_t beside)
{
    const size_t available = available_to(trainer);
    uint64_t need;
    char why[256];
    DDPM_TRY(ddpm_trainer_lay_out_step(trainer, beside, &need));
    need = together(need, beside);
    if (!available || need <= available)
        return DDPM_OK;
    snprintf(why, sizeof why,
             "not enough memory to start: the plan needs %.2f GB, %.2f GB are free",
             (double)need / 1e9, (double)available / 1e9);
    return suggest_smaller(trainer, beside, why);
}

struct ddpm_memory_plan ddpm_trainer_plan_of(const struct ddpm_trainer *trainer)
{
    const struct ddpm_graph *g = trainer->graph, *validation = trainer->validator.graph;
    /* Gradients of several ranks, or of several shares, take memory in addition to the weights. */
    const uint64_t team = trainer->device->backend->host_memory ? ddpm_team_bytes(trainer) : 0;
    uint64_t weights = ddpm_shard_bytes(trainer) + ddpm_team_device_bytes(trainer) + team;
    for (int p = 0; p < trainer->player_count; ++p)
        weights += (uint64_t)ddpm_optimizer_set_bytes(&trainer->players[p].optimizer) +
                   ddpm_optimizer_bytes(&trainer->players[p].optimizer);
    const double flops =
        ddpm_graph_flops(g, trainer->parts.forward) + ddpm_graph_flops(g, trainer->parts.backward);
    return (struct ddpm_memory_plan){
        .activations = g->arena_bytes + (validation ? validation->arena_bytes : 0),
        .packed = ddpm_packing_bytes(trainer) + (validation ? validation->packed_bytes : 0),
        .weights = weights,
        .host = host_bytes(trainer) - team,
        .available = ddpm_device_available(trainer->device),
        .flops_per_step = flops * (double)trainer->team.count,
    };
}
