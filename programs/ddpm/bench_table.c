/* Rows by kernel, their bounds, and how they are printed. */
#include "bench_table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

static bool same_row(const struct ddpm_bench_table *table, const struct ddpm_bench_row *row,
                     const struct ddpm_call *call)
{
    return strcmp(row->kernel, call->kernel->name) == 0 &&
           strcmp(row->op, ddpm_op_info[call->op].name) == 0 &&
           (!table->by_shape || ddpm_tensor_same_shape(&row->shape, &call->in[0]));
}

static ddpm_status append_row(struct ddpm_bench_table *table, struct ddpm_bench_row row)
{
    DDPM_TRY(ddpm_grow_array((void **)&table->rows, &table->capacity, table->count + 1,
                             sizeof *table->rows, "a table"));
    table->rows[table->count++] = row;
    return DDPM_OK;
}

static bool is_convolution(enum ddpm_op op)
{
    switch (op) {
    case DDPM_OP_CONV2D:
    case DDPM_OP_CONV2D_BACKWARD_DATA:
    case DDPM_OP_CONV2D_BACKWARD_WEIGHT:
    case DDPM_OP_DEPTHWISE_CONV2D:
    case DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA:
    case DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_WEIGHT:
        return true;
    default:
        return false;
    }
}

ddpm_status ddpm_bench_add_call(struct ddpm_bench_table *table, const struct ddpm_call *call,
                                double seconds, int64_t times)
{
    size_t i = 0;
    while (i < table->count && !same_row(table, &table->rows[i], call))
        ++i;
    if (i == table->count)
        DDPM_TRY(append_row(table, (struct ddpm_bench_row){.op = ddpm_op_info[call->op].name,
                                                           .kernel = call->kernel->name,
                                                           .shape = call->in[0]}));
    struct ddpm_bench_row *row = &table->rows[i];
    double flops = (double)times * ddpm_call_flops(call);
    double bytes = (double)times * ddpm_call_bytes(call);
    double peak = is_convolution(call->op) ? table->peak_flops : table->peak_f32;
    double by_flops = peak > 0 ? flops / peak : 0;
    double by_bytes = table->peak_bytes > 0 ? bytes / table->peak_bytes : 0;
    row->calls += (int)times;
    row->seconds += (double)times * seconds;
    row->flops += flops;
    row->bytes += bytes;
    row->bound += by_flops > by_bytes ? by_flops : by_bytes;
    return DDPM_OK;
}

static int by_falling_time(const void *a, const void *b)
{
    const struct ddpm_bench_row *x = a, *y = b;
    return x->seconds < y->seconds ? 1 : x->seconds > y->seconds ? -1 : 0;
}

ddpm_status ddpm_bench_add_bytes(struct ddpm_bench_table *table, struct ddpm_bench_row row)
{
    row.bound = table->peak_bytes > 0 ? row.bytes / table->peak_bytes : 0;
    return append_row(table, row);
}

void ddpm_bench_sort(struct ddpm_bench_table *table)
{
    qsort(table->rows, table->count, sizeof *table->rows, by_falling_time);
}

double ddpm_bench_seconds(const struct ddpm_bench_table *table)
{
    double sum = 0;
    for (size_t i = 0; i < table->count; ++i)
        sum += table->rows[i].seconds;
    return sum;
}

static double share(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

static void shape_text(const struct ddpm_bench_table *table, const struct ddpm_bench_row *row,
                       char text[64])
{
    text[0] = '\0';
    if (table->by_shape && ddpm_tensor_present(&row->shape))
        snprintf(text, 64, "[%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 "]", row->shape.n,
                 row->shape.h, row->shape.w, row->shape.c);
}

void ddpm_bench_print(const struct ddpm_bench_table *table)
{
    const double sum = ddpm_bench_seconds(table);
    printf("%-46s%6s%10s%7s%9s%8s%7s  %s\n", "kernel", "calls", "ms", "share", "GFLOP/s", "GB/s",
           "bound", table->by_shape ? "first input" : "");
    for (size_t i = 0; i < table->count; ++i) {
        const struct ddpm_bench_row *row = &table->rows[i];
        char shape[64];
        shape_text(table, row, shape);
        printf("%-46s%6d%10.3f%6.1f%%%9.1f%8.1f%6.0f%%  %s\n", row->kernel, row->calls,
               1e3 * row->seconds, share(row->seconds, sum), row->flops / row->seconds / 1e9,
               row->bytes / row->seconds / 1e9, share(row->bound, row->seconds), shape);
    }
}

json_t *ddpm_bench_rows_as_json(const struct ddpm_bench_table *table)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < table->count; ++i) {
        const struct ddpm_bench_row *row = &table->rows[i];
        char shape[64];
        shape_text(table, row, shape);
        json_array_append_new(rows,
                              json_pack("{s:s,s:s,s:s,s:i,s:f,s:f,s:f,s:f}", "op", row->op,
                                        "kernel", row->kernel, "shape", shape, "calls", row->calls,
                                        "seconds", row->seconds, "flops", row->flops, "bytes",
                                        row->bytes, "bound_seconds", row->bound));
    }
    return rows;
}
