/* Muon on one matrix: momentum, five Newton–Schulz iterations, the update. The formulas are in
 * kernels/ops.inc. Everything is in fp32: the polynomial is steep, and the matrices cost little
 * compared with their gradients. */
#include "kernels/cuda/numeric.cuh"
#include "kernels/cuda/rows.cuh"

#define MUON_THREADS 256
#define MUON_BLOCKS 1024
#define TILE 64 /* side of the part of a product that a block computes; a thread computes 4×4 */
#define TILE_DEPTH 16

struct muon {
    const float *g, *norm, *hyper;
    float *w, *m, *x;
    double *partial;
    float *scale; /* 1 / the norm of the matrix to orthogonalize */
    int64_t rows, columns, count;
};

/* Where element i of the matrix is in x, which has no more rows than columns. */
static __device__ inline int64_t place_in_x(const struct muon *m, int64_t i)
{
    return m->rows > m->columns ? i % m->columns * m->rows + i / m->columns : i;
}

static __global__ void __launch_bounds__(MUON_THREADS) muon_momentum(struct muon m)
{
    __shared__ double warps[MUON_THREADS / 32];
    const float norm = m.norm[0], max_norm = m.hyper[DDPM_HYPER_MAX_NORM];
    const float momentum = m.hyper[DDPM_HYPER_MOMENTUM];
    if (!isfinite(norm))
        return;
    const float clip = max_norm > 0.0f ? min(1.0f, max_norm / (norm + 1e-6f)) : 1.0f;
    double sum = 0.0;
    for (int64_t i = (int64_t)blockIdx.x * MUON_THREADS + threadIdx.x; i < m.count;
         i += (int64_t)gridDim.x * MUON_THREADS) {
        const float gradient = m.g[i] * clip;
        const float moment = momentum * m.m[i] + (1.0f - momentum) * gradient;
        const float u = momentum * moment + (1.0f - momentum) * gradient;
        m.m[i] = moment;
        m.x[place_in_x(&m, i)] = u;
        sum += (double)u * u;
    }
    sum = block_sum(sum, warps, (int)threadIdx.x, MUON_THREADS / 32);
    if (threadIdx.x == 0)
        m.partial[blockIdx.x] = sum;
}

/* One block. */
static __global__ void __launch_bounds__(MUON_THREADS) muon_norm(struct muon m, int count)
{
    __shared__ double warps[MUON_THREADS / 32];
    double sum = 0.0;
    for (int i = (int)threadIdx.x; i < count; i += MUON_THREADS)
        sum += m.partial[i];
    sum = block_sum(sum, warps, (int)threadIdx.x, MUON_THREADS / 32);
    if (threadIdx.x == 0)
        m.scale[0] = (float)(1.0 / (sqrt(sum) + 1e-7));
}

static __global__ void __launch_bounds__(MUON_THREADS) muon_scale(struct muon m)
{
    int64_t i = (int64_t)blockIdx.x * MUON_THREADS + threadIdx.x;
    if (i < m.count)
        m.x[i] *= m.scale[0];
}

/* y[rows,columns] = factor·a[rows,depth]·b[depth,columns] + keep·add; with b transposed:
 * [columns,depth]. add may be NULL. */
struct product {
    const float *a, *b, *add;
    float *y;
    int rows, depth, columns;
    float factor, keep;
    bool turned;
};

/* The tiles of a, transposed, and of b for one step of the depth; zeros outside. */
static __device__ inline void load_tiles(const struct product *p, int row, int column, int depth,
                                         float a[TILE_DEPTH][TILE], float b[TILE_DEPTH][TILE])
{
    for (int i = (int)threadIdx.x; i < TILE * TILE_DEPTH; i += MUON_THREADS) {
        int k = i % TILE_DEPTH, r = row + i / TILE_DEPTH, d = depth + k;
        bool inside = r < p->rows && d < p->depth;
        a[k][i / TILE_DEPTH] = inside ? p->a[(int64_t)r * p->depth + d] : 0.0f;
        if (p->turned) {
            int n = column + i / TILE_DEPTH;
            inside = n < p->columns && d < p->depth;
            b[k][i / TILE_DEPTH] = inside ? p->b[(int64_t)n * p->depth + d] : 0.0f;
        } else {
            int n = column + i % TILE;
            d = depth + i / TILE;
            inside = n < p->columns && d < p->depth;
            b[i / TILE][i % TILE] = inside ? p->b[(int64_t)d * p->columns + n] : 0.0f;
        }
    }
}

/* grid: (tiles of columns, tiles of rows). */
static __global__ void __launch_bounds__(MUON_THREADS) muon_product(struct product p)
{
    __shared__ float a[TILE_DEPTH][TILE], b[TILE_DEPTH][TILE];
    const int row = (int)blockIdx.y * TILE, column = (int)blockIdx.x * TILE;
    const int r = (int)threadIdx.x / 16 * 4, c = (int)threadIdx.x % 16 * 4;
    float sum[4][4] = {};
    for (int depth = 0; depth < p.depth; depth += TILE_DEPTH) {
        __syncthreads();
        load_tiles(&p, row, column, depth, a, b);
        __syncthreads();
        for (int k = 0; k < TILE_DEPTH; ++k)
            for (int i = 0; i < 4; ++i)
                for (int j = 0; j < 4; ++j)
                    sum[i][j] += a[k][r + i] * b[k][c + j];
    }
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) {
            if (row + r + i >= p.rows || column + c + j >= p.columns)
                continue;
            int64_t at = (int64_t)(row + r + i) * p.columns + column + c + j;
            p.y[at] = p.factor * sum[i][j] + (p.add ? p.keep * p.add[at] : 0.0f);
        }
}

static __global__ void __launch_bounds__(MUON_THREADS) muon_step(struct muon m)
{
    int64_t i = (int64_t)blockIdx.x * MUON_THREADS + threadIdx.x;
    if (!isfinite(m.norm[0]) || i >= m.count)
        return;
    const double lr = m.hyper[DDPM_HYPER_LR];
    const float keep = (float)(1.0 - lr * m.hyper[DDPM_HYPER_WEIGHT_DECAY]);
    const double most = (double)(m.rows > m.columns ? m.rows : m.columns);
    const float rate = (float)(lr * DDPM_MUON_SCALE * sqrt(most));
    m.w[i] = m.w[i] * keep - rate * m.x[place_in_x(&m, i)];
}

static int64_t room(int64_t numbers)
{
    return ddpm_ceil_div(numbers, 32) * 32;
}

static int64_t least_of(const struct ddpm_call *call)
{
    const int64_t rows = call->attributes.rows, columns = call->out[0].c / rows;
    return rows < columns ? rows : columns;
}

static int momentum_blocks(int64_t count)
{
    const int64_t blocks = ddpm_ceil_div(count, MUON_THREADS);
    return (int)(blocks < MUON_BLOCKS ? blocks : MUON_BLOCKS);
}

static bool is_slab(const struct ddpm_tensor *t)
{
    return t->dtype == DDPM_F32 && ddpm_tensor_pixels(t) == 1 && t->c <= INT32_MAX;
}

static bool muon_supports(const struct ddpm_call *call)
{
    return is_slab(&call->in[0]) && is_slab(&call->in[1]) && is_slab(&call->in[2]) &&
           is_slab(&call->out[0]) && is_slab(&call->out[1]);
}

/* x and its successor, the gram matrix and the polynomial, the scale, partial sums. */
static ddpm_status muon_prepare(struct ddpm_call *call)
{
    const int64_t count = call->out[0].c, least = least_of(call);
    const int64_t numbers = 2 * room(count) + 2 * room(least * least) + room(1);
    call->scratch_bytes =
        (size_t)numbers * sizeof(float) + (size_t)momentum_blocks(count) * sizeof(double);
    return DDPM_OK;
}

static ddpm_status multiply(const struct ddpm_call *call, struct product p)
{
    dim3 grid((unsigned)ddpm_ceil_div(p.columns, TILE), (unsigned)ddpm_ceil_div(p.rows, TILE));
    return ddpm_cuda_launch(call, muon_product, grid, dim3(MUON_THREADS), 0, p);
}

/* next = a·x + (b·A + c·A·A)·x with A = x·xᵀ */
static ddpm_status iterate(const struct ddpm_call *call, const float *x, float *next, float *gram,
                           float *polynomial)
{
    const int least = (int)least_of(call), most = (int)(call->out[0].c / least);
    DDPM_TRY(multiply(call, {x, x, NULL, gram, least, most, least, 1.0f, 0.0f, true}));
    DDPM_TRY(multiply(call, {gram, gram, gram, polynomial, least, least, least, (float)DDPM_MUON_C,
                             (float)DDPM_MUON_B, false}));
    return multiply(call,
                    {polynomial, x, x, next, least, least, most, 1.0f, (float)DDPM_MUON_A, false});
}

static ddpm_status muon_run(const struct ddpm_call *call)
{
    struct muon m;
    m.count = call->out[0].c;
    m.rows = call->attributes.rows;
    m.columns = m.count / m.rows;
    m.g = (const float *)call->in[0].data;
    m.norm = (const float *)call->in[1].data;
    m.hyper = (const float *)call->in[2].data;
    m.w = (float *)call->out[0].data;
    m.m = (float *)call->out[1].data;
    m.x = (float *)call->scratch;
    const int64_t least = least_of(call);
    float *next = m.x + room(m.count), *gram = next + room(m.count);
    float *polynomial = gram + room(least * least);
    m.scale = polynomial + room(least * least);
    m.partial = (double *)(m.scale + room(1));
    const int blocks = momentum_blocks(m.count);
    const dim3 all((unsigned)ddpm_ceil_div(m.count, MUON_THREADS)), threads(MUON_THREADS);
    DDPM_TRY(ddpm_cuda_launch(call, muon_momentum, dim3((unsigned)blocks), threads, 0, m));
    DDPM_TRY(ddpm_cuda_launch(call, muon_norm, dim3(1), threads, 0, m, blocks));
    DDPM_TRY(ddpm_cuda_launch(call, muon_scale, all, threads, 0, m));
    for (int i = 0; i < DDPM_MUON_ITERATIONS; ++i) {
        DDPM_TRY(iterate(call, m.x, next, gram, polynomial));
        float *done = m.x;
        m.x = next;
        next = done;
    }
    return ddpm_cuda_launch(call, muon_step, all, threads, 0, m);
}

static const struct ddpm_kernel muon_kernel = {"muon_cuda", muon_supports, muon_prepare,
                                               NULL,        muon_run,      NULL};
CUDA_KERNELS_OF(muon, &muon_kernel);
