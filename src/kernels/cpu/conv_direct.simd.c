/* Convolutions as implicit matrix products: no patch of the picture is copied, gemm_rows is given a
 * pointer per (pixel, tap) instead, to a row of zeros where a tap lies outside (the indirect
 * convolution of Dukhan 2019).
 *
 *   y[pixel][n] = bias[n] + residual[pixel][n] + Σ_taps Σ_c x[pixel + tap][c] · packed[tap·C +
 * c][n]
 *
 * The gradient of the data is the same with the taps turned round and k as depth; where kernel size
 * and stride are equal (2×2 stride 2) it is one product per tap, written to every second pixel.
 * Pictures of few channels are first copied with a border of zeros, so that the S·C numbers under
 * a row of the kernel are one segment.
 *
 * Blocking: a unit is BLOCK_PIXELS pixels × a group of panels. Per block of about GEMM_DEPTH of the
 * depth, per panel (in L1), all rows of the unit (in L2) pass; between blocks of the depth the sums
 * rest in y. Every sum is made in the same order whatever the number of threads. */
#include "core/memory.h"
#include "core/threads.h"
#include "kernels/cpu/conv.h"
#include "kernels/cpu/rows.h"

#define BLOCK_PIXELS 96 /* a multiple of GEMM_ROWS at every level */
#define BLOCK_TILES (BLOCK_PIXELS / GEMM_ROWS)
#define FEW_CHANNELS 8
#define UNITS 64 /* cut the work at least so fine, for machines of many cores */

/* y is computed on a grid of pixels; pixel (h,w) of it reads x[h·stride + r - pad_h, …] for every
 * tap and is written to y[h·y_step + y_h0, w·y_step + y_w0]. */
struct conv {
    struct ddpm_tensor x, y, residual;
    const float *bias; /* or NULL */
    int taps_h, taps_w, stride, pad_h, pad_w;
    int64_t grid_h, grid_w;
    int y_step, y_h0, y_w0;
    const float *packed;
    const float *zeros; /* x.c of them */
    const float **tables;
    int64_t table_size; /* pointers of one thread */
    int64_t blocks, groups, panels;
};

static int64_t conv_taps(const struct conv *conv)
{
    return (int64_t)conv->taps_h * conv->taps_w;
}

static void conv_finish(struct conv *conv)
{
    conv->panels = ddpm_ceil_div(conv->y.c, GEMM_COLUMNS);
    conv->blocks = ddpm_ceil_div(conv->x.n * conv->grid_h * conv->grid_w, BLOCK_PIXELS);
    conv->groups = ddpm_ceil_div(UNITS, conv->blocks);
    if (conv->groups > conv->panels)
        conv->groups = conv->panels;
    conv->table_size = BLOCK_PIXELS * (conv_taps(conv) + 2);
}

static struct conv conv_forward(const struct ddpm_call *call)
{
    const struct ddpm_attributes *at = &call->attributes;
    struct conv conv = {.x = call->in[0],
                        .y = call->out[0],
                        .residual = call->in[3],
                        .bias = ddpm_tensor_present(&call->in[2]) ? call->in[2].data : NULL,
                        .taps_h = at->kernel_h,
                        .taps_w = at->kernel_w,
                        .stride = at->stride,
                        .pad_h = at->padding,
                        .pad_w = at->padding,
                        .grid_h = call->out[0].h,
                        .grid_w = call->out[0].w,
                        .y_step = 1,
                        .packed = call->packed};
    if (conv.x.c <= FEW_CHANNELS && conv.taps_w > 1) {
        conv.x.h += 2 * at->padding;
        conv.x.w += 2 * at->padding;
        conv.x.pixel_stride = conv.x.c;
        conv.x.c *= conv.taps_w;
        conv.taps_w = 1;
        conv.pad_h = conv.pad_w = 0;
    }
    conv_finish(&conv);
    return conv;
}

static struct conv conv_backward(const struct ddpm_call *call)
{
    const struct ddpm_attributes *at = &call->attributes;
    bool strided = at->stride > 1;
    struct conv conv = {.x = call->in[0],
                        .y = call->out[0],
                        .taps_h = strided ? 1 : at->kernel_h,
                        .taps_w = strided ? 1 : at->kernel_w,
                        .stride = 1,
                        .pad_h = strided ? 0 : at->kernel_h - 1 - at->padding,
                        .pad_w = strided ? 0 : at->kernel_w - 1 - at->padding,
                        .grid_h = strided ? call->in[0].h : call->out[0].h,
                        .grid_w = strided ? call->in[0].w : call->out[0].w,
                        .y_step = at->stride,
                        .packed = call->packed};
    conv_finish(&conv);
    return conv;
}

/* Where the pixels of a block begin: x under every tap [tile][tap][GEMM_ROWS], then y and what is
 * added to it [BLOCK_PIXELS]. Returns the number of pixels. */
static int64_t fill_table(const struct conv *conv, int64_t block, const float **table)
{
    int64_t first = block * BLOCK_PIXELS, taps = conv_taps(conv);
    int64_t count = conv->x.n * conv->grid_h * conv->grid_w - first;
    count = count < BLOCK_PIXELS ? count : BLOCK_PIXELS;
    int64_t filled = ddpm_ceil_div(count, GEMM_ROWS) * GEMM_ROWS;
    const struct ddpm_tensor *x = &conv->x, *y = &conv->y, *add = &conv->residual;
    const float **out = table + BLOCK_PIXELS * taps, **added = out + BLOCK_PIXELS;
    for (int64_t m = 0; m < filled; ++m) {
        int64_t pixel = first + (m < count ? m : count - 1);
        int64_t w = pixel % conv->grid_w, row = pixel / conv->grid_w;
        int64_t h = row % conv->grid_h, n = row / conv->grid_h;
        int64_t y_pixel =
            (n * y->h + h * conv->y_step + conv->y_h0) * y->w + w * conv->y_step + conv->y_w0;
        out[m] = (const float *)y->data + y_pixel * y->pixel_stride;
        if (ddpm_tensor_present(add))
            added[m] = (const float *)add->data + y_pixel * add->pixel_stride;
        const float **at = table + m / GEMM_ROWS * taps * GEMM_ROWS + m % GEMM_ROWS;
        for (int r = 0; r < conv->taps_h; ++r) {
            int64_t x_h = h * conv->stride + r - conv->pad_h;
            bool inside = x_h >= 0 && x_h < x->h;
            int64_t start = (n * x->h + x_h) * x->w;
            for (int s = 0; s < conv->taps_w; ++s, at += GEMM_ROWS) {
                int64_t x_w = w * conv->stride + s - conv->pad_w;
                *at = inside && x_w >= 0 && x_w < x->w
                          ? (const float *)x->data + (start + x_w) * x->pixel_stride
                          : conv->zeros;
            }
        }
    }
    return count;
}

/* All panels [panel, end) over the pixels of a filled table, for `segments` taps from `tap` on and
 * `depth` channels of each from `channel` on. */
static void conv_depth_block(const struct conv *conv, const float *const *table, int64_t count,
                             int64_t panel, int64_t end, int64_t tap, int64_t segments,
                             int64_t channel, int64_t depth)
{
    int64_t taps = conv_taps(conv), whole_depth = taps * conv->x.c;
    bool first = tap == 0 && channel == 0;
    float *const *y = (float *const *)(const void *)(table + BLOCK_PIXELS * taps);
    const float *const *add = table + BLOCK_PIXELS * (taps + 1);
    if (!first)
        add = (const float *const *)(const void *)y;
    else if (!ddpm_tensor_present(&conv->residual))
        add = NULL;
    for (; panel < end; ++panel) {
        int64_t columns = conv->y.c - panel * GEMM_COLUMNS;
        struct ddpm_gemm_rows g = {
            .segments = segments,
            .depth = depth,
            .a_offset = channel,
            .b = conv->packed + (panel * whole_depth + tap * conv->x.c + channel) * GEMM_COLUMNS,
            .offset = panel * GEMM_COLUMNS,
            .bias = first ? conv->bias : NULL,
            .columns = (int)(columns < GEMM_COLUMNS ? columns : GEMM_COLUMNS)};
        for (int64_t m = 0; m < count; m += GEMM_ROWS) {
            g.a = table + m * taps + tap * GEMM_ROWS;
            g.y = y + m;
            g.add = add ? add + m : NULL;
            g.rows = (int)(count - m < GEMM_ROWS ? count - m : GEMM_ROWS);
            SIMD(gemm_rows)(&g);
        }
    }
}

static void conv_units(void *context, int64_t begin, int64_t end, int thread)
{
    const struct conv *conv = context;
    const float **table = conv->tables + thread * conv->table_size;
    int64_t taps = conv_taps(conv), channels = conv->x.c;
    int64_t cuts = ddpm_ceil_div(channels, GEMM_DEPTH); /* of one tap's channels */
    int64_t depth = ddpm_ceil_div(channels, cuts);
    int64_t taps_once = 1;
    if (cuts == 1)
        taps_once = ddpm_ceil_div(taps, ddpm_ceil_div(taps * channels, GEMM_DEPTH));
    for (int64_t unit = begin; unit < end; ++unit) {
        int64_t group = unit % conv->groups;
        int64_t panel = group * conv->panels / conv->groups;
        int64_t panel_end = (group + 1) * conv->panels / conv->groups;
        int64_t count = fill_table(conv, unit / conv->groups, table);
        for (int64_t tap = 0; tap < taps; tap += taps_once) {
            int64_t segments = taps - tap < taps_once ? taps - tap : taps_once;
            for (int64_t channel = 0; channel < channels; channel += depth)
                conv_depth_block(conv, table, count, panel, panel_end, tap, segments, channel,
                                 channels - channel < depth ? channels - channel : depth);
        }
    }
}

static void conv_run(struct conv *conv, const struct ddpm_call *call)
{
    float *zeros = call->scratch;
    memset(zeros, 0, (size_t)conv->x.c * sizeof *zeros);
    conv->zeros = zeros;
    conv->tables =
        (const float **)((char *)call->scratch + ddpm_align_up((size_t)conv->x.c * sizeof *zeros));
    ddpm_parallel_for(call->device->threads, conv->blocks * conv->groups, 1, conv_units, conv);
}

static size_t conv_scratch(const struct conv *conv, const struct ddpm_call *call)
{
    size_t tables = (size_t)call->device->threads * (size_t)conv->table_size * sizeof(float *);
    return ddpm_align_up((size_t)conv->x.c * sizeof(float)) + ddpm_align_up(tables);
}

/* --- forward --- */

static bool forward_supports(const struct ddpm_call *call)
{
    return ddpm_call_is_f32(call) && ddpm_tensor_dense(&call->in[1]);
}

static ddpm_status forward_prepare(struct ddpm_call *call)
{
    struct conv conv = conv_forward(call);
    int64_t depth = conv_taps(&conv) * conv.x.c;
    call->packed_bytes = (size_t)(conv.panels * GEMM_COLUMNS * depth) * sizeof(float);
    call->scratch_bytes = conv_scratch(&conv, call);
    if (conv.x.c != call->in[0].c) /* the copy with a border */
        call->scratch_bytes += ddpm_tensor_bytes(&conv.x);
    return DDPM_OK;
}

static void forward_pack_panels(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *w = &call->in[1];
    int64_t depth = w->h * w->w * w->c;
    for (int64_t panel = begin; panel < end; ++panel) {
        float *to = (float *)call->packed + panel * depth * GEMM_COLUMNS;
        for (int n = 0; n < GEMM_COLUMNS; ++n) {
            int64_t k = panel * GEMM_COLUMNS + n;
            const float *from = (const float *)w->data + k * depth;
            for (int64_t i = 0; i < depth; ++i)
                to[i * GEMM_COLUMNS + n] = k < w->n ? from[i] : 0.0f;
        }
    }
}

static ddpm_status forward_pack(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, ddpm_ceil_div(call->in[1].n, GEMM_COLUMNS), 1,
                      forward_pack_panels, (void *)(uintptr_t)call);
    return DDPM_OK;
}

struct border {
    const struct ddpm_tensor *x;
    int64_t padding;
    float *to;
};

/* Rows [begin, end) of the copy with a border of zeros. */
static void copy_with_border(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct border *border = context;
    const struct ddpm_tensor *x = border->x;
    int64_t padding = border->padding, height = x->h + 2 * padding;
    int64_t row_size = (x->w + 2 * padding) * x->c;
    for (int64_t row = begin; row < end; ++row) {
        int64_t n = row / height, h = row % height - padding;
        float *to = border->to + row * row_size;
        memset(to, 0, (size_t)row_size * sizeof *to);
        if (h < 0 || h >= x->h)
            continue;
        const float *from = (const float *)x->data + (n * x->h + h) * x->w * x->pixel_stride;
        for (int64_t w = 0; w < x->w; ++w)
            for (int64_t c = 0; c < x->c; ++c)
                to[(padding + w) * x->c + c] = from[w * x->pixel_stride + c];
    }
}

static ddpm_status forward_run(const struct ddpm_call *call)
{
    struct conv conv = conv_forward(call);
    if (conv.x.c != call->in[0].c) {
        struct border border = {&call->in[0], call->attributes.padding,
                                (float *)((char *)call->scratch + conv_scratch(&conv, call))};
        conv.x.data = border.to;
        ddpm_parallel_for(call->device->threads, conv.x.n * conv.x.h, 16, copy_with_border,
                          &border);
    }
    conv_run(&conv, call);
    return DDPM_OK;
}

/* --- gradient of the data --- */

static bool backward_supports(const struct ddpm_call *call)
{
    const struct ddpm_attributes *at = &call->attributes;
    const struct ddpm_tensor *dy = &call->in[0], *dx = &call->out[0];
    if (!ddpm_call_is_f32(call) || !ddpm_tensor_dense(&call->in[1]))
        return false;
    if (at->stride == 1)
        return at->padding < at->kernel_h && at->padding < at->kernel_w;
    return at->kernel_h == at->stride && at->kernel_w == at->stride && at->padding == 0 &&
           dx->h / at->stride == dy->h && dx->w / at->stride == dy->w;
}

static ddpm_status backward_prepare(struct ddpm_call *call)
{
    struct conv conv = conv_backward(call);
    const struct ddpm_tensor *w = &call->in[1];
    call->packed_bytes = (size_t)(conv.panels * GEMM_COLUMNS * w->n * w->h * w->w) * sizeof(float);
    call->scratch_bytes = conv_scratch(&conv, call);
    return DDPM_OK;
}

/* Per panel [tap][k][GEMM_COLUMNS] with the taps turned round; strided, per tap [panel][k][…]. */
static void backward_pack_panels(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *w = &call->in[1];
    bool strided = call->attributes.stride > 1;
    int64_t taps = w->h * w->w, panels = ddpm_ceil_div(w->c, GEMM_COLUMNS);
    for (int64_t panel = begin; panel < end; ++panel)
        for (int64_t tap = 0; tap < taps; ++tap) {
            int64_t place = strided ? tap * panels + panel : panel * taps + taps - 1 - tap;
            float *to = (float *)call->packed + place * w->n * GEMM_COLUMNS;
            const float *from = (const float *)w->data + tap * w->c + panel * GEMM_COLUMNS;
            int64_t columns = w->c - panel * GEMM_COLUMNS;
            for (int64_t k = 0; k < w->n; ++k, from += taps * w->c)
                for (int n = 0; n < GEMM_COLUMNS; ++n)
                    *to++ = n < columns ? from[n] : 0.0f;
        }
}

static ddpm_status backward_pack(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, ddpm_ceil_div(call->in[1].c, GEMM_COLUMNS), 1,
                      backward_pack_panels, (void *)(uintptr_t)call);
    return DDPM_OK;
}

/* Pixels at the lower and right edge that no tap of a strided convolution reached. */
static void zero_unreached(const struct ddpm_call *call)
{
    const struct ddpm_tensor *dx = &call->out[0], *dy = &call->in[0];
    const int64_t reached_h = dy->h * call->attributes.stride;
    const int64_t reached_w = dy->w * call->attributes.stride;
    if (reached_h == dx->h && reached_w == dx->w)
        return;
    for (int64_t pixel = 0; pixel < ddpm_tensor_pixels(dx); ++pixel)
        if (pixel / dx->w % dx->h >= reached_h || pixel % dx->w >= reached_w)
            memset((float *)dx->data + pixel * dx->pixel_stride, 0, (size_t)dx->c * sizeof(float));
}

static ddpm_status backward_run(const struct ddpm_call *call)
{
    struct conv conv = conv_backward(call);
    int stride = call->attributes.stride;
    if (stride == 1) {
        conv_run(&conv, call);
        return DDPM_OK;
    }
    zero_unreached(call);
    for (int tap = 0; tap < stride * stride; ++tap) {
        conv.y_h0 = tap / stride;
        conv.y_w0 = tap % stride;
        conv_run(&conv, call);
        conv.packed += conv.panels * GEMM_COLUMNS * conv.x.c;
    }
    return DDPM_OK;
}

const struct ddpm_kernel SIMD(conv2d_direct) = {.name = SIMD_NAME("conv2d_direct"),
                                                .supports = forward_supports,
                                                .prepare = forward_prepare,
                                                .pack = forward_pack,
                                                .run = forward_run};

const struct ddpm_kernel SIMD(conv2d_backward_data_direct) = {
    .name = SIMD_NAME("conv2d_backward_data_direct"),
    .supports = backward_supports,
    .prepare = backward_prepare,
    .pack = backward_pack,
    .run = backward_run};
