/* The table of ddpm bench.
 *
 * Operations are counted as for a direct convolution: a 3×3 convolution is 9·2·C·K per pixel,
 * however it is computed. The bound of a call is the longer of operations / peak and bytes /
 * bandwidth; `bound` is that time divided by the measured one, so a Winograd convolution can exceed
 * 100 %. Convolutions use the peak of the step's precision; everything else uses the fp32 peak,
 * because it computes in fp32 whatever the activations are. */
#ifndef BENCH_TABLE_H
#define BENCH_TABLE_H

#include "formats/json.h"
#include "graph/graph.h"

/* A line of the table: all calls of one kernel, or with --kernels those with one shape. */
struct ddpm_bench_row {
    const char *op, *kernel;
    struct ddpm_tensor shape; /* of the first call's first input */
    int calls;
    double seconds, flops, bytes, bound; /* lower bound on this machine, in seconds */
};

struct ddpm_bench_table {
    struct ddpm_bench_row *rows; /* freed by the caller */
    size_t count, capacity;
    bool by_shape;
    double peak_flops, peak_f32, peak_bytes; /* per second; 0: not known */
};

/* Count a call that takes `seconds` and runs `times` times in a step. */
ddpm_status ddpm_bench_add_call(struct ddpm_bench_table *table, const struct ddpm_call *call,
                                double seconds, int64_t times);

/* Append a row of work that only moves bytes; sets its bound. */
ddpm_status ddpm_bench_add_bytes(struct ddpm_bench_table *table, struct ddpm_bench_row row);

/* The slowest rows first. */
void ddpm_bench_sort(struct ddpm_bench_table *table);

/* Seconds of all rows. */
double ddpm_bench_seconds(const struct ddpm_bench_table *table);

void ddpm_bench_print(const struct ddpm_bench_table *table);

/* A new array, or NULL without memory. */
json_t *ddpm_bench_rows_as_json(const struct ddpm_bench_table *table);

#endif
