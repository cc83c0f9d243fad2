/* Gradient of convolution weights, computed directly:
 *
 *   dw[k][r][s][c] += Σ_pixels dy[pixel][k] · x[pixel·stride + (r,s) - padding][c]
 *   dbias[k]       += Σ_pixels dy[pixel][k]
 *
 * gemm_outer over blocks of about BLOCK_PIXELS pixels. A unit is (group of pixel blocks, block of
 * k, block of c). For each pixel block it copies its channels of x (with the border that the taps
 * reach) and of dy, with strides that spread them over the cache sets, and then computes the
 * products of all taps. Groups of pixels have sums of their own, added in order at the end. The
 * number of groups depends only on the shapes, so the result does not depend on the threads.
 * Pictures with few channels use the S·C numbers under a row of the kernel as their channels.
 *
 * If an activation is bf16, the copies hold pairs of neighbouring pixels of dy, and of the x under
 * them, channel by channel, see gemm.h. x then has one copy per column of taps, because each column
 * pairs different pixels. */
#include "kernels/cpu/conv_weight.h"
#include "core/memory.h"

#define BLOCK_PIXELS 128
#define BLOCK_K 96
#define BLOCK_C 64      /* with more than one tap */
#define BLOCK_C_1X1 192 /* fewer products per copied number: copy it less often */
#define UNITS 64        /* split the work at least this finely, for machines with many cores, but */
#define BLOCKS_PER_GROUP 8 /* the sums of a group must be worth adding up */
#define SKEW 16            /* elements between rows, which spread them over the cache sets */

struct weight {
    struct ddpm_tensor x, dy;
    int taps_h, taps_w, stride, padding;
    bool pairs, few;
    int64_t depth; /* R·S·C */
    struct weight_cut cut;
    int64_t rows, cols;         /* of a pixel block */
    int64_t blocks_h, blocks_w; /* pixel blocks of a picture */
    int64_t steps;              /* depth in a row of a block: its pixels, or pairs */
    int64_t x_rows, x_cols;     /* pixels of x under a block; pairs: steps of one copy's row */
    int64_t x_step, dy_step;    /* between pixels or pairs in the copies, in units of 4 bytes */
    int64_t x_copy, dy_copy;    /* units of 4 bytes */
    int64_t row_copy;           /* the same, of copy_window_pairs */
    float *copies;
};

/* Pixels of x under a row of a block, including the second one of the last pair. */
static int64_t few_row_pixels(const struct weight *p)
{
    return (2 * p->steps - 1) * p->stride + p->cut.c_size / p->x.c;
}

static struct weight weight_plan(const struct ddpm_call *call)
{
    const struct ddpm_attributes *at = &call->attributes;
    struct weight p = {.x = call->in[0],
                       .dy = call->in[1],
                       .taps_h = at->kernel_h,
                       .taps_w = at->kernel_w,
                       .stride = at->stride,
                       .padding = at->padding,
                       .cut = {.k_size = call->in[1].c, .c_size = call->in[0].c}};
    p.pairs = p.x.dtype == DDPM_BF16 || p.dy.dtype == DDPM_BF16;
    if (at->kernel_h == 1 && at->kernel_w == 1 && at->stride == 1 && at->padding == 0) {
        p.x.w = p.dy.w = ddpm_tensor_pixels(&p.x);
        p.x.n = p.x.h = p.dy.n = p.dy.h = 1;
    }
    p.depth = (int64_t)p.taps_h * p.taps_w * p.cut.c_size;
    p.cols = weight_even_block(p.dy.w, BLOCK_PIXELS, 1);
    p.rows = BLOCK_PIXELS / p.cols;
    p.rows = p.rows < p.dy.h ? p.rows : p.dy.h;
    p.blocks_h = ddpm_ceil_div(p.dy.h, p.rows);
    p.blocks_w = ddpm_ceil_div(p.dy.w, p.cols);
    p.cut.blocks = p.dy.n * p.blocks_h * p.blocks_w;
    p.x_rows = (p.rows - 1) * p.stride + p.taps_h;
    p.steps = p.pairs ? ddpm_ceil_div(p.cols, 2) : p.cols;
    p.x_cols = p.pairs ? p.steps : (p.cols - 1) * p.stride + p.taps_w;
    p.few = ddpm_few_channels(call);
    if (p.few) {
        p.cut.c_size *= p.taps_w;
        p.taps_w = 1;
        p.cut.c_block = ddpm_ceil_div(p.cut.c_size, GEMM_COLUMNS) * GEMM_COLUMNS;
    } else {
        p.cut.c_block = weight_even_block(
            p.cut.c_size, p.depth > p.cut.c_size ? BLOCK_C : BLOCK_C_1X1, GEMM_COLUMNS);
    }
    /* windows of few channels overlap in the copy, but not as pairs */
    p.x_step = p.few && !p.pairs ? p.x.c : p.cut.c_block + SKEW;
    p.cut.k_block = weight_even_block(p.cut.k_size, BLOCK_K, GEMM_ROWS);
    p.dy_step = ddpm_ceil_div(p.cut.k_block, SKEW) * SKEW + SKEW;
    p.x_copy = (p.pairs ? p.taps_w : 1) * p.x_rows * p.x_cols * p.x_step + p.cut.c_block;
    p.dy_copy = p.rows * p.steps * p.dy_step;
    if (p.few && p.pairs) /* the last vector reads past the end */
        p.row_copy = few_row_pixels(&p) * p.x.c + LANES;
    weight_cut_finish(&p.cut, p.depth, UNITS, BLOCKS_PER_GROUP);
    return p;
}

static size_t thread_bytes(const struct weight *p)
{
    return ddpm_align_up((size_t)(p->x_copy + p->dy_copy + p->row_copy) * sizeof(float));
}

static bool weight_supports(const struct ddpm_call *call)
{
    return is_activation_dtype(call->in[0].dtype) && is_activation_dtype(call->in[1].dtype);
}

static ddpm_status weight_prepare(struct ddpm_call *call)
{
    struct weight p = weight_plan(call);
    call->scratch_bytes =
        (size_t)call->device->threads * thread_bytes(&p) + weight_sums_bytes(&p.cut);
    return DDPM_OK;
}

/* Channels [channel, channel + count) of one row of pixels; zeros outside the picture. */
static void copy_row(const struct ddpm_tensor *t, int64_t n, int64_t h, int64_t w, int64_t pixels,
                     int64_t channel, int64_t count, float *to, int64_t step)
{
    const float *from = t->data;
    int64_t first = (n * t->h + h) * t->w + w;
    bool inside = h >= 0 && h < t->h;
    for (int64_t i = 0; i < pixels; ++i, to += step) {
        if (inside && w + i >= 0 && w + i < t->w)
            memcpy(to, from + (first + i) * t->pixel_stride + channel, (size_t)count * sizeof *to);
        else
            memset(to, 0, (size_t)count * sizeof *to);
    }
}

/* Pairs of pixels of one row, w and w + stride, then w + 2·stride and …, channel by channel; zeros
 * from column `end` on. */
static void copy_pairs(const struct ddpm_tensor *t, int64_t n, int64_t h, int64_t w, int64_t end,
                       int64_t stride, int64_t pairs, int64_t channel, int64_t count, float *to,
                       int64_t step)
{
    const int64_t first = (n * t->h + h) * t->w;
    const bool inside = h >= 0 && h < t->h;
    for (int64_t i = 0; i < pairs; ++i, to += step) {
        const int64_t low = w + 2 * i * stride, high = low + stride;
        const bool has_low = inside && low >= 0 && low < end;
        const bool has_high = inside && high >= 0 && high < end;
        const int64_t at_low = (first + low) * t->pixel_stride + channel;
        const int64_t at_high = (first + high) * t->pixel_stride + channel;
        for (int64_t c = 0; c < count; c += LANES) {
            vf a = {0}, b = {0};
            if (has_low)
                a = vf_load_upto(t->data, at_low + c, count - c, t->dtype);
            if (has_high)
                b = vf_load_upto(t->data, at_high + c, count - c, t->dtype);
            vf_store_upto(to, c, (vf)vf_to_bf16_pairs(a, b), count - c, DDPM_F32);
        }
    }
}

/* The copies of a block's pixels, as fp32 … */
static void copy_block(const struct weight *p, int64_t n, int64_t h, int64_t w, int64_t k0,
                       int64_t k_count, int64_t c0, int64_t c_count, float *x, float *dy)
{
    for (int64_t i = 0; i < p->x_rows; ++i)
        copy_row(&p->x, n, h * p->stride - p->padding + i, w * p->stride - p->padding, p->x_cols,
                 p->few ? 0 : c0, p->few ? p->x.c : c_count, x + i * p->x_cols * p->x_step,
                 p->x_step);
    for (int64_t i = 0; i < p->rows; ++i)
        copy_row(&p->dy, n, h + i, w, p->cols, k0, k_count, dy + i * p->steps * p->dy_step,
                 p->dy_step);
}

/* Few channels: pairs of windows of S·C numbers under a row of the kernel, taken from `row`, an
 * fp32 copy of the row with a border. */
static void copy_window_pairs(const struct weight *p, int64_t n, int64_t h, int64_t w, float *row,
                              float *to)
{
    const int64_t channels = p->x.c, pixels = few_row_pixels(p);
    const int64_t first = (n * p->x.h + h) * p->x.w;
    for (int64_t i = 0; i < pixels; ++i) {
        const bool inside = h >= 0 && h < p->x.h && w + i >= 0 && w + i < p->x.w;
        const int64_t from = (first + w + i) * p->x.pixel_stride;
        for (int64_t c = 0; c < channels; ++c) {
            if (!inside)
                row[i * channels + c] = 0.0f;
            else if (p->x.dtype == DDPM_F32)
                row[i * channels + c] = ((const float *)p->x.data)[from + c];
            else
                row[i * channels + c] = ddpm_bf16_to_float(((const uint16_t *)p->x.data)[from + c]);
        }
    }
    const int64_t step = p->stride * channels;
    for (int64_t i = 0; i < p->steps; ++i, to += p->x_step)
        for (int64_t c = 0; c < p->cut.c_size; c += LANES) {
            const float *low = row + 2 * i * step + c;
            vf_store(to + c, (vf)vf_to_bf16_pairs(vf_load(low), vf_load(low + step)));
        }
}

/* … and as pairs. After the block's last pixel, dy is zero. */
static void copy_block_pairs(const struct weight *p, int64_t n, int64_t h, int64_t w, int64_t k0,
                             int64_t k_count, int64_t c0, int64_t c_count, float *x, float *dy)
{
    const int64_t h0 = h * p->stride - p->padding, w0 = w * p->stride - p->padding;
    for (int64_t i = 0; i < p->x_rows; ++i) {
        float *to = x + i * p->x_cols * p->x_step;
        if (p->few)
            copy_window_pairs(p, n, h0 + i, w0, dy + p->dy_copy, to);
        for (int s = 0; s < p->taps_w && !p->few; ++s)
            copy_pairs(&p->x, n, h0 + i, w0 + s, p->x.w, p->stride, p->steps, c0, c_count,
                       to + s * p->x_rows * p->x_cols * p->x_step, p->x_step);
    }
    const int64_t end = w + p->cols < p->dy.w ? w + p->cols : p->dy.w;
    for (int64_t i = 0; i < p->rows; ++i)
        copy_pairs(&p->dy, n, h + i, w, end, 1, p->steps, k0, k_count,
                   dy + i * p->steps * p->dy_step, p->dy_step);
}

static void add_bias(const float *dy, int64_t step, int64_t steps, bool pairs, int64_t count,
                     float *dbias)
{
    for (int64_t k = 0; k < count; k += LANES) {
        vf sum = {0};
        for (int64_t p = 0; p < steps; ++p) {
            vf value = vf_load(dy + p * step + k);
            sum += pairs ? (vf)((vu)value << 16) + (vf)((vu)value & 0xffff0000) : value;
        }
        int64_t left = count - k < LANES ? count - k : LANES;
        vf_store_part(dbias + k, vf_load_part(dbias + k, left) + sum, left);
    }
}

/* The products of all taps for a pixel block that has been copied. */
static void weight_block(const struct weight *p, const float *x, const float *dy, int64_t k0,
                         int64_t k_count, int64_t c0, int64_t c_count, float *dw)
{
    struct ddpm_gemm_outer g = {.a_step = p->dy_step,
                                .b_step = p->pairs ? p->x_step : p->x_step * p->stride,
                                .segments = p->rows,
                                .depth = p->steps,
                                .a_segment = p->steps * p->dy_step,
                                .b_segment = p->x_cols * p->x_step * p->stride,
                                .c_stride = p->depth};
    const int64_t x_column = p->pairs ? p->x_rows * p->x_cols * p->x_step : p->x_step;
    for (int r = 0; r < p->taps_h; ++r)
        for (int s = 0; s < p->taps_w; ++s)
            for (int64_t c = 0; c < c_count; c += GEMM_COLUMNS) {
                int64_t column = (r * p->taps_w + s) * p->cut.c_size + c0 + c;
                g.b = x + r * p->x_cols * p->x_step + s * x_column + c;
                g.columns = (int)(c_count - c < GEMM_COLUMNS ? c_count - c : GEMM_COLUMNS);
                for (int64_t k = 0; k < k_count; k += GEMM_ROWS) {
                    g.a = dy + k;
                    g.c = dw + (k0 + k) * p->depth + column;
                    g.rows = (int)(k_count - k < GEMM_ROWS ? k_count - k : GEMM_ROWS);
                    if (p->pairs)
                        SIMD(gemm_outer_bf16)(&g);
                    else
                        SIMD(gemm_outer)(&g);
                }
            }
}

static void run_unit(const struct weight *p, const struct weight_unit *unit, float *x, float *dy)
{
    const int64_t k_count = ddpm_smaller(p->cut.k_size - unit->k, p->cut.k_block);
    const int64_t c_count = ddpm_smaller(p->cut.c_size - unit->c, p->cut.c_block);
    const int64_t taps = (int64_t)p->taps_h * p->taps_w;
    for (int64_t row = unit->k * taps; unit->fresh && row < (unit->k + k_count) * taps; ++row)
        memset(unit->dw + row * p->cut.c_size + unit->c, 0, (size_t)c_count * sizeof *unit->dw);
    for (int64_t block = unit->begin; block < unit->end; ++block) {
        int64_t w = block % p->blocks_w * p->cols, row = block / p->blocks_w;
        int64_t h = row % p->blocks_h * p->rows, n = row / p->blocks_h;
        if (p->pairs)
            copy_block_pairs(p, n, h, w, unit->k, k_count, unit->c, c_count, x, dy);
        else
            copy_block(p, n, h, w, unit->k, k_count, unit->c, c_count, x, dy);
        weight_block(p, x, dy, unit->k, k_count, unit->c, c_count, unit->dw);
        if (unit->dbias)
            add_bias(dy, p->dy_step, p->rows * p->steps, p->pairs, k_count, unit->dbias + unit->k);
    }
}

static void weight_units(void *context, int64_t begin, int64_t end, int thread)
{
    const struct weight *p = context;
    float *x = p->copies + (size_t)thread * (thread_bytes(p) / sizeof(float));
    for (int64_t i = begin; i < end; ++i) {
        const struct weight_unit unit = weight_unit_begin(&p->cut, i);
        run_unit(p, &unit, x, x + p->x_copy);
    }
}

static ddpm_status weight_run(const struct ddpm_call *call)
{
    struct weight p = weight_plan(call);
    p.copies = call->scratch;
    float *sums = p.copies + (size_t)call->device->threads * (thread_bytes(&p) / sizeof(float));
    SIMD(weight_run_units)(call, &p.cut, sums, weight_units, &p);
    return DDPM_OK;
}

/* --- shared by all gradients of weights, see conv_weight.h --- */

struct groups {
    const float *from;
    float *to;
    int64_t stride, count;
    bool fresh; /* write instead of adding */
};

static void add_groups_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct groups *groups = context;
    for (int64_t i = begin; i < end; i += LANES) {
        vf total = {0}, before = {0};
        for (int64_t group = 0; group < groups->count; ++group)
            total += vf_load_upto(groups->from, group * groups->stride + i, end - i, DDPM_F32);
        if (!groups->fresh)
            before = vf_load_upto(groups->to, i, end - i, DDPM_F32);
        vf_store_upto(groups->to, i, before + total, end - i, DDPM_F32);
    }
}

/* Output `o` += Σ_group from[group]. */
static void add_groups(const struct ddpm_call *call, int o, const float *from, int64_t stride,
                       int64_t groups)
{
    const struct ddpm_tensor *to = &call->out[o];
    struct groups context = {from, to->data, stride, groups, ddpm_call_overwrites(call, o)};
    ddpm_parallel_for(call->device->threads, ddpm_tensor_count(to), 4096, add_groups_range,
                      &context);
}

void SIMD(weight_run_units)(const struct ddpm_call *call, struct weight_cut *cut, float *sums,
                            ddpm_range_function *function, void *context)
{
    const int threads = call->device->threads;
    const struct ddpm_tensor *dw = &call->out[0], *dbias = &call->out[1];
    const bool grouped = cut->groups > 1, bias = ddpm_tensor_present(dbias);
    cut->dw = grouped ? sums : dw->data;
    cut->dbias = !bias ? NULL : grouped ? sums + cut->groups * cut->group_dw : dbias->data;
    cut->fresh_dw = grouped || ddpm_call_overwrites(call, 0);
    cut->fresh_dbias = grouped || ddpm_call_overwrites(call, 1);
    ddpm_parallel_for(threads, cut->groups * cut->k_blocks * cut->c_blocks, 1, function, context);
    if (grouped)
        add_groups(call, 0, cut->dw, cut->group_dw, cut->groups);
    if (grouped && bias)
        add_groups(call, 1, cut->dbias, cut->group_dbias, cut->groups);
}

const struct ddpm_kernel SIMD(conv2d_backward_weight_direct) = {
    .name = SIMD_NAME("conv2d_backward_weight_direct"),
    .supports = weight_supports,
    .prepare = weight_prepare,
    .run = weight_run};
