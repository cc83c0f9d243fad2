/* What surrounds the network: pictures in, and random draws. The formulas are in kernels/ops.inc.
 *
 * Pictures have few channels, so these kernels use one thread per element. */
#include "kernels/cuda/map.cuh"
#include "kernels/cuda/philox.cuh"
#include "kernels/cuda/rows.cuh"

/* ---- normalize_pictures ---- */

struct normalize_map {
    struct plane<uint8_t> p, flip;
    struct plane<float> x;
    unsigned width, image_pixels;
    __device__ void operator()(struct place at) const
    {
        unsigned pixel = (unsigned)at.p, image = pixel / image_pixels;
        unsigned row = (pixel - image * image_pixels) / width, column = pixel % width;
        unsigned how = flip.data[(int64_t)image * flip.stride], turns = how >> 1;
        if (turns & 1) { /* a square */
            unsigned above = row;
            row = column;
            column = width - 1 - above;
        }
        if (turns & 2) {
            row = image_pixels / width - 1 - row;
            column = width - 1 - column;
        }
        if (how & 1)
            column = width - 1 - column;
        int64_t from = (int64_t)image * image_pixels + row * width + column;
        float value = 2.0f * (float)p.data[from * p.stride + at.c] / 255.0f - 1.0f;
        x.data[at.p * x.stride + at.c] = value;
    }
};

static bool normalize_supports(const struct ddpm_call *call)
{
    return ddpm_cuda_takes(&call->in[0], DDPM_U8) && ddpm_cuda_takes(&call->in[1], DDPM_U8) &&
           ddpm_cuda_takes(&call->out[0], DDPM_F32);
}

static ddpm_status normalize_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->out[0];
    struct normalize_map f = {ddpm_plane<uint8_t>(&call->in[0]), ddpm_plane<uint8_t>(&call->in[1]),
                              ddpm_plane<float>(x), (unsigned)x->w, (unsigned)(x->h * x->w)};
    return ddpm_cuda_map(call, f, ddpm_tensor_pixels(x), x->c, 1);
}

/* ---- draw_timesteps: one thread per image ---- */

static __global__ void draw_timesteps(struct plane<int32_t> counters, struct plane<int32_t> t,
                                      int images, bool per_batch, uint32_t timesteps, uint64_t seed,
                                      uint32_t stream)
{
    int b = (int)(blockIdx.x * MAP_THREADS + threadIdx.x);
    if (b >= images)
        return;
    const int32_t *counter = counters.data + (per_batch ? 0 : b) * counters.stride;
    uint32_t bits = philox(seed, 0, (uint32_t)counter[0], (uint32_t)counter[1], stream).x;
    t.data[b * t.stride] = (int32_t)(((uint64_t)bits * timesteps) >> 32);
}

static bool draw_timesteps_supports(const struct ddpm_call *call)
{
    return ddpm_cuda_takes(&call->in[0], DDPM_I32) && ddpm_cuda_takes(&call->out[0], DDPM_I32);
}

static ddpm_status draw_timesteps_run(const struct ddpm_call *call)
{
    const struct ddpm_attributes *a = &call->attributes;
    int images = (int)call->out[0].n;
    return ddpm_cuda_launch(
        call, draw_timesteps, dim3((unsigned)ddpm_ceil_div(images, MAP_THREADS)), dim3(MAP_THREADS),
        0, ddpm_plane<int32_t>(&call->in[0]), ddpm_plane<int32_t>(&call->out[0]), images,
        a->per_batch, (uint32_t)a->timesteps, a->seed, a->stream);
}

/* ---- coordinates: one thread per pixel ---- */

/* h and w: of the output; height and width: of the whole picture. */
template <class T>
static __global__ void coordinates(struct plane<int32_t> corners, struct plane<T> out,
                                   unsigned pixels, unsigned h, unsigned w, int height, int width)
{
    unsigned p = blockIdx.x * MAP_THREADS + threadIdx.x;
    if (p >= pixels)
        return;
    int row = (int)(p / w % h), column = (int)(p % w);
    if (corners.data) {
        const int32_t *corner = corners.data + p / (h * w) * corners.stride;
        row += corner[0];
        column += corner[1];
    }
    T *y = out.data + p * out.stride;
    from_float(y, (float)(2 * row + 1 - height) / (float)height);
    from_float(y + 1, (float)(2 * column + 1 - width) / (float)width);
}

static bool coordinates_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *corners = &call->in[0], *out = &call->out[0];
    return (!ddpm_tensor_present(corners) || ddpm_cuda_takes(corners, DDPM_I32)) &&
           ddpm_cuda_is_activation(out) && ddpm_tensor_pixels(out) <= INT32_MAX;
}

template <class T> static ddpm_status coordinates_typed(const struct ddpm_call *call)
{
    const struct ddpm_attributes *a = &call->attributes;
    const struct ddpm_tensor *out = &call->out[0];
    int64_t pixels = ddpm_tensor_pixels(out);
    return ddpm_cuda_launch(
        call, coordinates<T>, dim3((unsigned)ddpm_ceil_div(pixels, MAP_THREADS)), dim3(MAP_THREADS),
        0, ddpm_plane<int32_t>(&call->in[0]), ddpm_plane<T>(out), (unsigned)pixels,
        (unsigned)out->h, (unsigned)out->w, a->picture_h, a->picture_w);
}

static ddpm_status coordinates_run(const struct ddpm_call *call)
{
    return call->out[0].dtype == DDPM_F32 ? coordinates_typed<float>(call)
                                          : coordinates_typed<bf16>(call);
}

static const struct ddpm_kernel coordinates_kernel = {
    "coordinates_cuda", coordinates_supports, NULL, NULL, coordinates_run, NULL};
CUDA_KERNELS_OF(coordinates, &coordinates_kernel);

/* ---- draw_normal: one thread per Philox block of four elements of an image ---- */

/* grid: (ceil(blocks/256), B) */
static __global__ void draw_normal(struct plane<int32_t> counters, struct plane<float> out,
                                   unsigned elements, unsigned channels, unsigned image_pixels,
                                   bool seeded, uint64_t seed, uint32_t stream)
{
    unsigned block = blockIdx.x * MAP_THREADS + threadIdx.x, b = blockIdx.y;
    if (4 * (uint64_t)block >= elements)
        return;
    const int32_t *counter = counters.data + b * counters.stride;
    if (seeded)
        seed = (uint64_t)(uint32_t)counter[3] << 32 | (uint32_t)counter[2];
    uint4 r = philox(seed, block, (uint32_t)counter[0], (uint32_t)counter[1], stream);
    float four[4];
    philox_normal2(r.x, r.y, four);
    philox_normal2(r.z, r.w, four + 2);
    for (unsigned k = 0; k < 4; ++k) {
        unsigned i = 4 * block + k, p = i / channels;
        if (i < elements)
            out.data[((int64_t)b * image_pixels + p) * out.stride + (i - p * channels)] = four[k];
    }
}

static bool draw_normal_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *out = &call->out[0];
    return ddpm_cuda_takes(&call->in[0], DDPM_I32) && ddpm_cuda_takes(out, DDPM_F32) &&
           out->n <= 65535 && out->h * out->w * out->c <= INT32_MAX;
}

static ddpm_status draw_normal_run(const struct ddpm_call *call)
{
    const struct ddpm_attributes *a = &call->attributes;
    const struct ddpm_tensor *out = &call->out[0];
    int64_t elements = out->h * out->w * out->c;
    dim3 grid((unsigned)ddpm_ceil_div(ddpm_ceil_div(elements, 4), MAP_THREADS), (unsigned)out->n);
    return ddpm_cuda_launch(call, draw_normal, grid, dim3(MAP_THREADS), 0,
                            ddpm_plane<int32_t>(&call->in[0]), ddpm_plane<float>(out),
                            (unsigned)elements, (unsigned)out->c, (unsigned)(out->h * out->w),
                            call->in[0].c == 4, a->seed, a->stream);
}

static const struct ddpm_kernel normalize_pictures_kernel = {
    "normalize_pictures_cuda", normalize_supports, NULL, NULL, normalize_run, NULL};
CUDA_KERNELS_OF(normalize_pictures, &normalize_pictures_kernel);
static const struct ddpm_kernel draw_timesteps_kernel = {
    "draw_timesteps_cuda", draw_timesteps_supports, NULL, NULL, draw_timesteps_run, NULL};
CUDA_KERNELS_OF(draw_timesteps, &draw_timesteps_kernel);
static const struct ddpm_kernel draw_normal_kernel = {
    "draw_normal_cuda", draw_normal_supports, NULL, NULL, draw_normal_run, NULL};
CUDA_KERNELS_OF(draw_normal, &draw_normal_kernel);
