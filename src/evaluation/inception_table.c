/* The layers of FID's Inception, as tables. Names are PyTorch's. */
#include <stdio.h>
#include <string.h>

#include "evaluation/inception.h"

#define CONV DDPM_INCEPTION_CONV
#define MAX DDPM_INCEPTION_MAX
#define IN DDPM_INCEPTION_IN
#define A DDPM_INCEPTION_A
#define B DDPM_INCEPTION_B
#define OUT DDPM_INCEPTION_OUT

/* Placeholders in a row, for the pool and the channels of the block that uses it. */
#define POOL 3
#define SOME (-1)

struct row {
    enum ddpm_inception_slot from, to;
    int kind; /* or POOL */
    const char *name;
    int channels; /* or SOME; for a pool, those of its input */
    int kernel_h, kernel_w, stride, padding_h, padding_w;
};

static const struct row stem[] = {
    {IN, A, CONV, "Conv2d_1a_3x3", 32, 3, 3, 2, 0, 0},
    {A, B, CONV, "Conv2d_2a_3x3", 32, 3, 3, 1, 0, 0},
    {B, A, CONV, "Conv2d_2b_3x3", 64, 3, 3, 1, 1, 1},
    {A, B, MAX, NULL, 0, 3, 3, 2, 0, 0},
    {B, A, CONV, "Conv2d_3b_1x1", 80, 1, 1, 1, 0, 0},
    {A, B, CONV, "Conv2d_4a_3x3", 192, 3, 3, 1, 0, 0},
    {B, OUT, MAX, NULL, 0, 3, 3, 2, 0, 0},
};

static const struct row block_a[] = {
    {IN, OUT, CONV, "branch1x1", 64, 1, 1, 1, 0, 0},
    {IN, A, CONV, "branch5x5_1", 48, 1, 1, 1, 0, 0},
    {A, OUT, CONV, "branch5x5_2", 64, 5, 5, 1, 2, 2},
    {IN, A, CONV, "branch3x3dbl_1", 64, 1, 1, 1, 0, 0},
    {A, B, CONV, "branch3x3dbl_2", 96, 3, 3, 1, 1, 1},
    {B, OUT, CONV, "branch3x3dbl_3", 96, 3, 3, 1, 1, 1},
    {IN, A, POOL, NULL, 0, 3, 3, 1, 1, 1},
    {A, OUT, CONV, "branch_pool", SOME, 1, 1, 1, 0, 0},
};

static const struct row block_b[] = {
    {IN, OUT, CONV, "branch3x3", 384, 3, 3, 2, 0, 0},
    {IN, A, CONV, "branch3x3dbl_1", 64, 1, 1, 1, 0, 0},
    {A, B, CONV, "branch3x3dbl_2", 96, 3, 3, 1, 1, 1},
    {B, OUT, CONV, "branch3x3dbl_3", 96, 3, 3, 2, 0, 0},
    {IN, OUT, MAX, NULL, 0, 3, 3, 2, 0, 0},
};

static const struct row block_c[] = {
    {IN, OUT, CONV, "branch1x1", 192, 1, 1, 1, 0, 0},
    {IN, A, CONV, "branch7x7_1", SOME, 1, 1, 1, 0, 0},
    {A, B, CONV, "branch7x7_2", SOME, 1, 7, 1, 0, 3},
    {B, OUT, CONV, "branch7x7_3", 192, 7, 1, 1, 3, 0},
    {IN, A, CONV, "branch7x7dbl_1", SOME, 1, 1, 1, 0, 0},
    {A, B, CONV, "branch7x7dbl_2", SOME, 7, 1, 1, 3, 0},
    {B, A, CONV, "branch7x7dbl_3", SOME, 1, 7, 1, 0, 3},
    {A, B, CONV, "branch7x7dbl_4", SOME, 7, 1, 1, 3, 0},
    {B, OUT, CONV, "branch7x7dbl_5", 192, 1, 7, 1, 0, 3},
    {IN, A, POOL, NULL, 0, 3, 3, 1, 1, 1},
    {A, OUT, CONV, "branch_pool", 192, 1, 1, 1, 0, 0},
};

static const struct row block_d[] = {
    {IN, A, CONV, "branch3x3_1", 192, 1, 1, 1, 0, 0},
    {A, OUT, CONV, "branch3x3_2", 320, 3, 3, 2, 0, 0},
    {IN, A, CONV, "branch7x7x3_1", 192, 1, 1, 1, 0, 0},
    {A, B, CONV, "branch7x7x3_2", 192, 1, 7, 1, 0, 3},
    {B, A, CONV, "branch7x7x3_3", 192, 7, 1, 1, 3, 0},
    {A, OUT, CONV, "branch7x7x3_4", 192, 3, 3, 2, 0, 0},
    {IN, OUT, MAX, NULL, 0, 3, 3, 2, 0, 0},
};

static const struct row block_e[] = {
    {IN, OUT, CONV, "branch1x1", 320, 1, 1, 1, 0, 0},
    {IN, A, CONV, "branch3x3_1", 384, 1, 1, 1, 0, 0},
    {A, OUT, CONV, "branch3x3_2a", 384, 1, 3, 1, 0, 1},
    {A, OUT, CONV, "branch3x3_2b", 384, 3, 1, 1, 1, 0},
    {IN, A, CONV, "branch3x3dbl_1", 448, 1, 1, 1, 0, 0},
    {A, B, CONV, "branch3x3dbl_2", 384, 3, 3, 1, 1, 1},
    {B, OUT, CONV, "branch3x3dbl_3a", 384, 1, 3, 1, 0, 1},
    {B, OUT, CONV, "branch3x3dbl_3b", 384, 3, 1, 1, 1, 0},
    {IN, A, POOL, NULL, 0, 3, 3, 1, 1, 1},
    {A, OUT, CONV, "branch_pool", 192, 1, 1, 1, 0, 0},
};

#define ROWS(rows) rows, sizeof rows / sizeof *rows
static const struct block {
    const char *name;
    const struct row *rows;
    size_t count;
    int channels; /* SOME of its rows */
    enum ddpm_inception_kind pool;
} blocks[] = {
    {"", ROWS(stem), 0, DDPM_INCEPTION_AVERAGE},
    {"Mixed_5b", ROWS(block_a), 32, DDPM_INCEPTION_AVERAGE},
    {"Mixed_5c", ROWS(block_a), 64, DDPM_INCEPTION_AVERAGE},
    {"Mixed_5d", ROWS(block_a), 64, DDPM_INCEPTION_AVERAGE},
    {"Mixed_6a", ROWS(block_b), 0, DDPM_INCEPTION_AVERAGE},
    {"Mixed_6b", ROWS(block_c), 128, DDPM_INCEPTION_AVERAGE},
    {"Mixed_6c", ROWS(block_c), 160, DDPM_INCEPTION_AVERAGE},
    {"Mixed_6d", ROWS(block_c), 160, DDPM_INCEPTION_AVERAGE},
    {"Mixed_6e", ROWS(block_c), 192, DDPM_INCEPTION_AVERAGE},
    {"Mixed_7a", ROWS(block_d), 0, DDPM_INCEPTION_AVERAGE},
    {"Mixed_7b", ROWS(block_e), 0, DDPM_INCEPTION_AVERAGE},
    {"Mixed_7c", ROWS(block_e), 0, DDPM_INCEPTION_MAX}, /* the 2015 network's own */
};
enum { BLOCKS = sizeof blocks / sizeof *blocks };

static int size_behind(int size, int kernel, int stride, int padding)
{
    return (size + 2 * padding - kernel) / stride + 1;
}

static struct ddpm_inception_step step_of(const struct block *block, const struct row *row,
                                          const struct ddpm_inception_shape *input)
{
    struct ddpm_inception_step step = {
        .kind = row->kind == POOL ? block->pool : (enum ddpm_inception_kind)row->kind,
        .from = row->from,
        .to = row->to,
        .kernel_h = row->kernel_h,
        .kernel_w = row->kernel_w,
        .stride = row->stride,
        .padding_h = row->padding_h,
        .padding_w = row->padding_w,
        .input = *input,
    };
    step.output = (struct ddpm_inception_shape){
        .height = size_behind(input->height, row->kernel_h, row->stride, row->padding_h),
        .width = size_behind(input->width, row->kernel_w, row->stride, row->padding_w),
        .channels = row->channels,
    };
    if (row->channels == SOME)
        step.output.channels = block->channels;
    if (row->kind != CONV)
        step.output.channels = input->channels;
    snprintf(step.name, sizeof step.name, "%s%s%s", block->name,
             *block->name && row->name ? "." : "", row->name ? row->name : "");
    return step;
}

/* The steps of a block, from its input's shape to its results' shape. */
static void add_block(struct ddpm_inception_plan *plan, const struct block *block)
{
    struct ddpm_inception_step *const first = plan->steps + plan->count;
    struct ddpm_inception_shape shapes[DDPM_INCEPTION_SLOTS] = {[IN] = plan->output};
    int channels = 0;
    for (size_t i = 0; i < block->count; ++i) {
        struct ddpm_inception_step *step = &plan->steps[plan->count++];
        *step = step_of(block, &block->rows[i], &shapes[block->rows[i].from]);
        step->all = step->output.channels;
        shapes[step->to] = step->output;
        if (step->to == OUT) {
            step->first = channels;
            channels += step->output.channels;
        }
    }
    shapes[OUT].channels = channels;
    for (size_t i = 0; i < block->count; ++i) {
        struct ddpm_inception_step *step = &first[i];
        if (step->to == OUT)
            step->all = channels;
        const int64_t values = (int64_t)step->output.height * step->output.width * step->all;
        if (plan->slots[step->to] < values)
            plan->slots[step->to] = values;
    }
    first[block->count - 1].ends_block = true;
    plan->output = shapes[OUT];
}

void ddpm_inception_plan(struct ddpm_inception_plan *plan)
{
    *plan = (struct ddpm_inception_plan){
        .output = {DDPM_INCEPTION_SIDE, DDPM_INCEPTION_SIDE, 3},
        .slots[IN] = (int64_t)DDPM_INCEPTION_SIDE * DDPM_INCEPTION_SIDE * 3,
    };
    for (int i = 0; i < BLOCKS; ++i)
        add_block(plan, &blocks[i]);
    if (plan->slots[OUT] > plan->slots[IN])
        plan->slots[IN] = plan->slots[OUT];
    plan->slots[OUT] = plan->slots[IN];
}
