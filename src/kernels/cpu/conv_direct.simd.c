/* Convolutions as implicit matrix products: no patches of the picture are copied. Instead gemm_rows
 * gets a pointer per (pixel, tap), to a row of zeros where a tap is outside (the indirect
 * convolution of Dukhan 2019).
 *
 *   y[pixel][n] = bias[n] + residual[pixel][n] + Σ_taps Σ_c x[pixel + tap][c] · packed[tap, c][n]
 *
 * The gradient of the data is the same with reversed taps and k as depth. With a stride s, only
 * every s-th tap reaches a given pixel of dx. So the pixels fall into s·s classes, each with a
 * small kernel of its own: 3×3 taps with stride 2 become 2×2, 2×1, 1×2 and one. Pictures with few
 * channels are first copied with a border of zeros, so that the S·C numbers under a row of the
 * kernel are one segment.
 *
 * If an activation is bf16, the operands are bf16 (a packed step is a pair of channels, see
 * gemm.h). An input that is fp32 or has an odd number of channels is copied first. A segment with
 * an odd number of channels is extended by one, with a weight of zero: there an infinite pixel also
 * makes its neighbour's sum NaN.
 *
 * Blocking: a unit is BLOCK_PIXELS pixels × a group of panels. For each block of about GEMM_DEPTH
 * of the depth, and each panel (in L1), all rows of the unit (in L2) are processed; between blocks
 * of the depth the sums are kept in y. The order of every sum is independent of the number of
 * threads. */
#include "core/memory.h"
#include "core/threads.h"
#include "kernels/cpu/conv.h"
#include "kernels/cpu/element.h"

#define BLOCK_PIXELS (96 / GEMM_ROWS * GEMM_ROWS)
#define UNITS 64 /* split the work at least this finely, for machines with many cores */

/* y is computed on a grid of pixels. Pixel (h,w) of it reads x[h·stride + r - pad_h, …] for every
 * tap and is written to y[h·y_step + y_h0, w·y_step + y_w0]. */
struct conv {
    struct ddpm_tensor x, y, residual; /* x: the operand, perhaps a copy of the input */
    int64_t border;                    /* of the copy, in pixels */
    bool copied;
    const float *bias; /* or NULL */
    int taps_h, taps_w, stride, pad_h, pad_w;
    int64_t grid_h, grid_w;
    int y_step, y_h0, y_w0;
    int64_t steps; /* of the depth, of a tap */
    const float *packed;
    const void *zeros; /* steps of them */
    const void **tables;
    int64_t table_size; /* pointers of one thread */
    int64_t blocks, groups, panels;
};

static int64_t conv_taps(const struct conv *conv)
{
    return (int64_t)conv->taps_h * conv->taps_w;
}

/* fp32 if all activations are, otherwise bf16. */
static enum ddpm_dtype conv_dtype(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_F32 && call->out[0].dtype == DDPM_F32 ? DDPM_F32 : DDPM_BF16;
}

static void conv_finish(struct conv *conv, enum ddpm_dtype dtype)
{
    if (!conv->copied && dtype == DDPM_BF16 && (conv->x.dtype != dtype || conv->x.c % 2)) {
        conv->copied = true;
        conv->x.c += conv->x.c % 2;
        conv->x.pixel_stride = conv->x.c;
    }
    conv->x.dtype = dtype;
    conv->steps = dtype == DDPM_BF16 ? ddpm_ceil_div(conv->x.c, 2) : conv->x.c;
    conv->panels = ddpm_ceil_div(conv->y.c, GEMM_COLUMNS);
    conv->blocks = ddpm_ceil_div(conv->x.n * conv->grid_h * conv->grid_w, BLOCK_PIXELS);
    conv->groups =
        conv->blocks ? ddpm_smaller(ddpm_ceil_div(UNITS, conv->blocks), conv->panels) : 0;
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
    if (ddpm_few_channels(call)) {
        conv.copied = true;
        conv.border = at->padding;
        conv.x.h += 2 * at->padding;
        conv.x.w += 2 * at->padding;
        conv.x.pixel_stride = conv.x.c;
        conv.x.c *= conv.taps_w;
        conv.taps_w = 1;
        conv.pad_h = conv.pad_w = 0;
    }
    conv_finish(&conv, conv_dtype(call));
    return conv;
}

/* Along one axis: the pixels of dx that taps first, first + stride, … reach. Pixel `start` +
 * i·stride is reached by tap first + j·stride from pixel `from` + i - j of dy. */
struct reach {
    int64_t start, pixels, from;
    int taps;
};

static struct reach reach(const struct ddpm_call *call, int first, int64_t size, int kernel)
{
    const int64_t stride = call->attributes.stride, padding = call->attributes.padding;
    struct reach r = {.taps = first < kernel ? (int)ddpm_ceil_div(kernel - first, stride) : 0};
    r.from = first < padding ? ddpm_ceil_div(padding - first, stride) : 0;
    r.start = first - padding + r.from * stride;
    r.pixels = r.start < size ? ddpm_ceil_div(size - r.start, stride) : 0;
    return r;
}

/* The class of pixels that tap (first_h, first_w) reaches; both are less than the stride. */
static struct conv conv_backward(const struct ddpm_call *call, int first_h, int first_w)
{
    const struct ddpm_attributes *at = &call->attributes;
    const struct reach h = reach(call, first_h, call->out[0].h, at->kernel_h);
    const struct reach w = reach(call, first_w, call->out[0].w, at->kernel_w);
    struct conv conv = {.x = call->in[0],
                        .y = call->out[0],
                        .taps_h = h.taps,
                        .taps_w = w.taps,
                        .stride = 1,
                        .pad_h = h.taps - 1 - (int)h.from,
                        .pad_w = w.taps - 1 - (int)w.from,
                        .grid_h = h.pixels,
                        .grid_w = w.pixels,
                        .y_step = at->stride,
                        .y_h0 = (int)h.start,
                        .y_w0 = (int)w.start};
    conv_finish(&conv, conv_dtype(call));
    return conv;
}

static int64_t pixel_bytes(const struct ddpm_tensor *t)
{
    return t->pixel_stride * (int64_t)ddpm_dtype_size(t->dtype);
}

/* The pixels of one register tile: where the window of each starts in x (perhaps outside). */
struct window {
    int64_t h[GEMM_ROWS], w[GEMM_ROWS], bytes[GEMM_ROWS]; /* bytes from x's data */
};

/* Where each tap of a tile reads x: at[tap][GEMM_ROWS]. */
static void fill_taps(const struct conv *conv, const struct window *window, const void **at)
{
    const struct ddpm_tensor *x = &conv->x;
    const char *data = x->data;
    const int64_t step = pixel_bytes(x);
    for (int r = 0; r < conv->taps_h; ++r)
        for (int s = 0; s < conv->taps_w; ++s, at += GEMM_ROWS) {
            const int64_t tap = (r * x->w + s) * step;
            for (int m = 0; m < GEMM_ROWS; ++m) {
                const bool inside = (uint64_t)(window->h[m] + r) < (uint64_t)x->h &&
                                    (uint64_t)(window->w[m] + s) < (uint64_t)x->w;
                at[m] = inside ? data + (tap + window->bytes[m]) : conv->zeros;
            }
        }
}

/* Where the pixels of a block start: x under every tap [tile][tap][GEMM_ROWS], then y and what is
 * added to it [BLOCK_PIXELS]. Returns the number of pixels; the rest of the block repeats the last
 * one. */
static int64_t fill_table(const struct conv *conv, int64_t block, const void **table)
{
    const int64_t first = block * BLOCK_PIXELS, taps = conv_taps(conv);
    const int64_t left = conv->x.n * conv->grid_h * conv->grid_w - first;
    const int64_t count = left < BLOCK_PIXELS ? left : BLOCK_PIXELS;
    const struct ddpm_tensor *x = &conv->x, *y = &conv->y, *add = &conv->residual;
    const int64_t x_step = pixel_bytes(x), y_step = pixel_bytes(y), add_step = pixel_bytes(add);
    const void **out = table + BLOCK_PIXELS * taps, **added = out + BLOCK_PIXELS;
    int64_t w = first % conv->grid_w, row = first / conv->grid_w;
    int64_t h = row % conv->grid_h, n = row / conv->grid_h;
    for (int64_t tile = 0; tile < count; tile += GEMM_ROWS) {
        struct window window;
        for (int64_t m = 0; m < GEMM_ROWS; ++m) {
            int64_t y_h = h * conv->y_step + conv->y_h0, y_w = w * conv->y_step + conv->y_w0;
            int64_t y_pixel = (n * y->h + y_h) * y->w + y_w;
            out[tile + m] = (const char *)y->data + y_pixel * y_step;
            if (ddpm_tensor_present(add))
                added[tile + m] = (const char *)add->data + y_pixel * add_step;
            window.h[m] = h * conv->stride - conv->pad_h;
            window.w[m] = w * conv->stride - conv->pad_w;
            window.bytes[m] = ((n * x->h + window.h[m]) * x->w + window.w[m]) * x_step;
            if (tile + m + 1 >= count)
                continue;
            w = w + 1 == conv->grid_w ? 0 : w + 1;
            h = w > 0 ? h : h + 1 == conv->grid_h ? 0 : h + 1;
            n += w == 0 && h == 0;
        }
        fill_taps(conv, &window, table + tile * taps);
    }
    return count;
}

/* All panels [panel, end) over the pixels of a filled table: `segments` taps from `tap` on, `depth`
 * steps of each from `step` on. */
static void conv_depth_block(const struct conv *conv, const void *const *table, int64_t count,
                             int64_t panel, int64_t end, int64_t tap, int64_t segments,
                             int64_t step, int64_t depth)
{
    int64_t taps = conv_taps(conv), whole_depth = taps * conv->steps;
    bool first = tap == 0 && step == 0;
    void *const *y = (void *const *)(const void *)(table + BLOCK_PIXELS * taps);
    const void *const *add = table + BLOCK_PIXELS * (taps + 1);
    if (!first)
        add = (const void *const *)y;
    else if (!ddpm_tensor_present(&conv->residual))
        add = NULL;
    for (; panel < end; ++panel) {
        int64_t columns = conv->y.c - panel * GEMM_COLUMNS;
        struct ddpm_gemm_rows g = {
            .segments = segments,
            .depth = depth,
            .a_offset = step,
            .b = conv->packed + (panel * whole_depth + tap * conv->steps + step) * GEMM_COLUMNS,
            .offset = panel * GEMM_COLUMNS,
            .bias = first ? conv->bias : NULL,
            .columns = (int)(columns < GEMM_COLUMNS ? columns : GEMM_COLUMNS),
            .y_dtype = conv->y.dtype};
        for (int64_t m = 0; m < count; m += GEMM_ROWS) {
            g.a = table + m * taps + tap * GEMM_ROWS;
            g.y = y + m;
            g.add = add ? add + m : NULL;
            g.rows = (int)(count - m < GEMM_ROWS ? count - m : GEMM_ROWS);
            if (conv->x.dtype == DDPM_BF16)
                SIMD(gemm_rows_bf16)(&g);
            else
                SIMD(gemm_rows)(&g);
        }
    }
}

static void conv_units(void *context, int64_t begin, int64_t end, int thread)
{
    const struct conv *conv = context;
    const void **table = conv->tables + thread * conv->table_size;
    int64_t taps = conv_taps(conv), depth = conv->steps, taps_once = taps;
    if (conv->x.dtype == DDPM_F32) {
        int64_t cuts = ddpm_ceil_div(conv->steps, GEMM_DEPTH); /* of one tap's channels */
        depth = ddpm_ceil_div(conv->steps, cuts);
        taps_once =
            cuts > 1 ? 1 : ddpm_ceil_div(taps, ddpm_ceil_div(taps * conv->steps, GEMM_DEPTH));
    }
    for (int64_t unit = begin; unit < end; ++unit) {
        int64_t group = unit % conv->groups;
        int64_t panel = group * conv->panels / conv->groups;
        int64_t panel_end = (group + 1) * conv->panels / conv->groups;
        int64_t count = fill_table(conv, unit / conv->groups, table);
        for (int64_t tap = 0; tap < taps; tap += taps_once) {
            int64_t segments = taps - tap < taps_once ? taps - tap : taps_once;
            for (int64_t step = 0; step < conv->steps; step += depth)
                conv_depth_block(conv, table, count, panel, panel_end, tap, segments, step,
                                 conv->steps - step < depth ? conv->steps - step : depth);
        }
    }
}

/* The copy of an input: with a border of zeros, in a different dtype, or with a channel of zeros.
 */
struct copy {
    const struct ddpm_tensor *from;
    enum ddpm_dtype dtype;
    int64_t border, channels; /* of the copy; ≥ from's */
    char *to;
};

static size_t copy_bytes(const struct conv *conv)
{
    if (!conv->copied)
        return 0;
    /* a segment with an odd number of channels reads one element past the last pixel */
    return ddpm_align_up(ddpm_tensor_bytes(&conv->x) + sizeof(float));
}

/* Rows [begin, end) of the copy. */
static void copy_rows(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct copy *copy = context;
    const struct ddpm_tensor *x = copy->from;
    const int64_t border = copy->border, height = x->h + 2 * border;
    const int64_t size = (int64_t)ddpm_dtype_size(copy->dtype);
    const int64_t row_bytes = (x->w + 2 * border) * copy->channels * size;
    for (int64_t row = begin; row < end; ++row) {
        int64_t n = row / height, h = row % height - border;
        char *to = copy->to + row * row_bytes;
        memset(to, 0, (size_t)row_bytes);
        if (h < 0 || h >= x->h)
            continue;
        for (int64_t w = 0; w < x->w; ++w) {
            int64_t from = ((n * x->h + h) * x->w + w) * x->pixel_stride;
            for (int64_t c = 0; c < x->c; ++c) {
                int64_t at = (border + w) * copy->channels + c;
                float value = x->dtype == DDPM_F32
                                  ? ((const float *)x->data)[from + c]
                                  : ddpm_bf16_to_float(((const uint16_t *)x->data)[from + c]);
                if (copy->dtype == DDPM_F32)
                    ((float *)(void *)to)[at] = value;
                else
                    ((uint16_t *)(void *)to)[at] = ddpm_float_to_bf16(value);
            }
        }
    }
}

/* Scratch: zeros, tables, the copy. */
static void conv_start(struct conv *conv, const struct ddpm_call *call)
{
    const size_t zeros = ddpm_align_up((size_t)conv->steps * sizeof(float));
    const size_t tables =
        ddpm_align_up((size_t)call->device->threads * (size_t)conv->table_size * sizeof(void *));
    memset(call->scratch, 0, zeros);
    conv->zeros = call->scratch;
    conv->tables = (const void **)((char *)call->scratch + zeros);
    if (!conv->copied)
        return;
    struct copy copy = {.from = &call->in[0],
                        .dtype = conv->x.dtype,
                        .border = conv->border,
                        .channels = conv->x.pixel_stride,
                        .to = (char *)call->scratch + zeros + tables};
    conv->x.data = copy.to;
    const size_t copied =
        (size_t)(ddpm_tensor_pixels(&conv->x) * copy.channels) * ddpm_dtype_size(copy.dtype);
    memset(copy.to + copied, 0, copy_bytes(conv) - copied);
    ddpm_parallel_for(call->device->threads, conv->x.n * conv->x.h, 16, copy_rows, &copy);
}

static void conv_run(struct conv *conv, const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, conv->blocks * conv->groups, 1, conv_units, conv);
}

static void conv_prepare(const struct conv *conv, struct ddpm_call *call, int64_t taps)
{
    const size_t tables = (size_t)call->device->threads * (size_t)conv->table_size * sizeof(void *);
    call->packed_bytes = (size_t)(conv->panels * GEMM_COLUMNS * taps * conv->steps) * sizeof(float);
    call->scratch_bytes = ddpm_align_up((size_t)conv->steps * sizeof(float)) +
                          ddpm_align_up(tables) + copy_bytes(conv);
}

/* One tap of one column of a panel: `channels` neighbouring weights. */
static void put_column(const struct conv *conv, float *to, const float *from, int64_t channels)
{
    if (conv->x.dtype == DDPM_F32) {
        for (int64_t c = 0; c < channels; ++c)
            to[c * GEMM_COLUMNS] = from[c];
        return;
    }
    uint32_t *pairs = (uint32_t *)(void *)to;
    for (int64_t c = 0; c < channels; c += 2) {
        uint32_t high = c + 1 < channels ? ddpm_float_to_bf16(from[c + 1]) : 0;
        pairs[c / 2 * GEMM_COLUMNS] = ddpm_float_to_bf16(from[c]) | high << 16;
    }
}

/* --- forward --- */

static bool forward_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *residual = &call->in[3];
    return is_activation_dtype(call->in[0].dtype) && is_activation_dtype(call->out[0].dtype) &&
           (!ddpm_tensor_present(residual) || residual->dtype == call->out[0].dtype) &&
           ddpm_tensor_dense(&call->in[1]);
}

static ddpm_status forward_prepare(struct ddpm_call *call)
{
    struct conv conv = conv_forward(call);
    conv_prepare(&conv, call, conv_taps(&conv));
    return DDPM_OK;
}

static void forward_pack_panels(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *w = &call->in[1];
    const struct conv conv = conv_forward(call);
    const int64_t taps = conv_taps(&conv), depth = w->h * w->w * w->c, channels = depth / taps;
    const int64_t size = taps * conv.steps * GEMM_COLUMNS;
    for (int64_t panel = begin; panel < end; ++panel) {
        float *to = (float *)call->packed + panel * size;
        memset(to, 0, (size_t)size * sizeof *to);
        for (int n = 0; n < GEMM_COLUMNS && panel * GEMM_COLUMNS + n < w->n; ++n) {
            const float *from = (const float *)w->data + (panel * GEMM_COLUMNS + n) * depth;
            for (int64_t tap = 0; tap < taps; ++tap)
                put_column(&conv, to + tap * conv.steps * GEMM_COLUMNS + n, from + tap * channels,
                           channels);
        }
    }
}

static ddpm_status forward_pack(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, ddpm_ceil_div(call->in[1].n, GEMM_COLUMNS), 1,
                      forward_pack_panels, (void *)(uintptr_t)call);
    return DDPM_OK;
}

static ddpm_status forward_run(const struct ddpm_call *call)
{
    struct conv conv = conv_forward(call);
    conv_start(&conv, call);
    conv_run(&conv, call);
    return DDPM_OK;
}

/* --- gradient of the data --- */

static bool backward_supports(const struct ddpm_call *call)
{
    return is_activation_dtype(call->in[0].dtype) && is_activation_dtype(call->out[0].dtype) &&
           ddpm_tensor_dense(&call->in[1]);
}

/* The first class has the most taps, so its tables are large enough for all. */
static ddpm_status backward_prepare(struct ddpm_call *call)
{
    struct conv conv = conv_backward(call, 0, 0);
    conv_prepare(&conv, call, call->in[1].h * call->in[1].w);
    return DDPM_OK;
}

/* Floats of packed weights for one panel of a class. */
static int64_t panel_size(const struct conv *conv)
{
    return conv_taps(conv) * conv->steps * GEMM_COLUMNS;
}

/* A row of outputs of one step: the weights of a channel and, in bf16, of the next one, or NULL. */
static void put_row(const struct conv *conv, float *to, const float *from, const float *next,
                    int64_t columns)
{
    if (conv->x.dtype == DDPM_F32) {
        memcpy(to, from, (size_t)columns * sizeof *to);
        return;
    }
    uint32_t *pairs = (uint32_t *)(void *)to;
    for (int64_t n = 0; n < columns; ++n) {
        uint32_t high = next ? ddpm_float_to_bf16(next[n]) : 0;
        pairs[n] = ddpm_float_to_bf16(from[n]) | high << 16;
    }
}

/* One panel of a class, [tap][step][GEMM_COLUMNS] with reversed taps. */
static void backward_pack_panel(const struct ddpm_call *call, const struct conv *conv, int first_h,
                                int first_w, int64_t panel, float *to)
{
    const struct ddpm_tensor *w = &call->in[1];
    const int64_t columns = ddpm_smaller(w->c - panel * GEMM_COLUMNS, GEMM_COLUMNS);
    const int64_t output = w->h * w->w * w->c; /* weights of one */
    const int stride = call->attributes.stride, together = conv->x.dtype == DDPM_F32 ? 1 : 2;
    memset(to, 0, (size_t)panel_size(conv) * sizeof *to);
    for (int r = conv->taps_h - 1; r >= 0; --r)
        for (int s = conv->taps_w - 1; s >= 0; --s, to += conv->steps * GEMM_COLUMNS) {
            const int64_t tap = (first_h + r * stride) * w->w + first_w + s * stride;
            const float *from = (const float *)w->data + tap * w->c + panel * GEMM_COLUMNS;
            for (int64_t k = 0; k < w->n; k += together)
                put_row(conv, to + k / together * GEMM_COLUMNS, from + k * output,
                        k + 1 < w->n ? from + (k + 1) * output : NULL, columns);
        }
}

/* Class after class, each [panel][tap][step][GEMM_COLUMNS]. */
static void backward_pack_panels(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const int stride = call->attributes.stride;
    float *to = call->packed;
    for (int class = 0; class < stride * stride; ++class) {
        const int h = class / stride, w = class % stride;
        const struct conv conv = conv_backward(call, h, w);
        for (int64_t panel = begin; panel < end; ++panel)
            backward_pack_panel(call, &conv, h, w, panel, to + panel * panel_size(&conv));
        to += conv.panels * panel_size(&conv);
    }
}

static ddpm_status backward_pack(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, ddpm_ceil_div(call->in[1].c, GEMM_COLUMNS), 1,
                      backward_pack_panels, (void *)(uintptr_t)call);
    return DDPM_OK;
}

/* The gradient for pixels that no tap reaches. */
static void zero_class(const struct conv *conv)
{
    const struct ddpm_tensor *y = &conv->y;
    for (int64_t i = 0; i < y->n * conv->grid_h * conv->grid_w; ++i) {
        const int64_t w = i % conv->grid_w, h = i / conv->grid_w % conv->grid_h;
        const int64_t row = i / conv->grid_w / conv->grid_h * y->h + conv->y_h0 + h * conv->y_step;
        const int64_t pixel = row * y->w + conv->y_w0 + w * conv->y_step;
        memset((char *)y->data + pixel * pixel_bytes(y), 0,
               (size_t)y->c * ddpm_dtype_size(y->dtype));
    }
}

static ddpm_status backward_run(const struct ddpm_call *call)
{
    struct conv first = conv_backward(call, 0, 0);
    const int stride = call->attributes.stride;
    const float *packed = call->packed;
    conv_start(&first, call);
    for (int class = 0; class < stride * stride; ++class) {
        struct conv conv = conv_backward(call, class / stride, class % stride);
        conv.x = first.x;
        conv.zeros = first.zeros;
        conv.tables = first.tables;
        conv.packed = packed;
        if (conv_taps(&conv))
            conv_run(&conv, call);
        else
            zero_class(&conv);
        packed += conv.panels * panel_size(&conv);
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
