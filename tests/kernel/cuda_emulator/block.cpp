/* Runs the threads of a block as fibers; see cuda_runtime.h. x86-64 only: a fiber is a stack and
 * the six registers that a called function keeps. */
#include "block.h"

#include <stdio.h>
#include <stdlib.h>

#include <deque>
#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace
{
enum { STACK_BYTES = 64 << 10, WARP = 32 };
/* What every device from compute capability 8.0 grants a block. */
enum { SHARED_BYTES = 99 << 10 };

enum state { RUNS, WAITS_BLOCK, WAITS_WARP, DONE };

struct copy {
    void *to;
    const void *from;
};

struct fiber {
    void *stack, *top;
    enum state state;
    dim3 index;
    struct emulator_collective *collective;
    std::deque<std::vector<copy>> groups; /* committed copies, oldest first */
    std::vector<copy> open;
};

std::vector<fiber> fibers;
fiber *current;
void *scheduler_top;
const std::function<void()> *body;
uint32_t shuffle_state = 1;
alignas(128) unsigned char shared[SHARED_BYTES];

[[noreturn]] void fail(const char *text)
{
    fprintf(stderr, "CUDA emulator: %s (block %u,%u,%u)\n", text, blockIdx.x, blockIdx.y,
            blockIdx.z);
    abort();
}

extern "C" void emulator_switch(void **save, void *load);
asm(".text\n.globl emulator_switch\n.hidden emulator_switch\n.type emulator_switch,@function\n"
    "emulator_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");

void yield(enum state state)
{
    fiber *self = current;
    self->state = state;
    emulator_switch(&self->top, scheduler_top);
    threadIdx = self->index;
}

void fiber_main()
{
    threadIdx = current->index;
    (*body)();
    yield(DONE);
    fail("a finished thread was run again");
}

void start(fiber *f, dim3 index)
{
    if (!f->stack)
        f->stack = aligned_alloc(64, STACK_BYTES);
    void **top = (void **)((char *)f->stack + STACK_BYTES);
    *--top = NULL; /* where fiber_main would return to; also aligns its stack */
    *--top = (void *)fiber_main;
    for (int i = 0; i < 6; ++i)
        *--top = NULL;
    f->top = top;
    f->state = RUNS;
    f->index = index;
    f->groups.clear();
    f->open.clear();
}

float bf16_at(const uint32_t *words, int i)
{
    return __uint_as_float(i % 2 ? words[i / 2] & 0xffff0000u : words[i / 2] << 16);
}

/* c[16][8] += a[16][16]·b[16][8], fragments as in src/kernels/cuda/tensor_core.cuh */
void perform_mma(struct emulator_collective *const lanes[WARP])
{
    float a[16][16], b[16][8];
    for (int l = 0; l < WARP; ++l) {
        int g = l / 4, t = l % 4;
        for (int i = 0; i < 8; ++i)
            a[g + i / 2 % 2 * 8][2 * t + i % 2 + i / 4 * 8] =
                bf16_at((const uint32_t *)lanes[l]->in[0], i);
        for (int i = 0; i < 4; ++i)
            b[2 * t + i % 2 + i / 2 * 8][g] = bf16_at((const uint32_t *)lanes[l]->in[1], i);
    }
    for (int l = 0; l < WARP; ++l) {
        float *c = (float *)lanes[l]->out;
        for (int i = 0; i < 4; ++i)
            for (int k = 0; k < 16; ++k)
                c[i] += a[l / 4 + i / 2 * 8][k] * b[k][l % 4 * 2 + i % 2];
    }
}

void perform_ldmatrix(struct emulator_collective *const lanes[WARP], bool transposed)
{
    for (int l = 0; l < WARP; ++l) {
        uint32_t *out = (uint32_t *)lanes[l]->out;
        int g = l / 4, t = l % 4;
        for (int m = 0; m < 4; ++m) {
            uint16_t two[2];
            for (int i = 0; i < 2; ++i) {
                int row = transposed ? 2 * t + i : g, column = transposed ? g : 2 * t + i;
                const uint16_t *from = (const uint16_t *)lanes[8 * m + row]->in[0];
                if ((uintptr_t)from % 16)
                    fail("ldmatrix from an address that is not a multiple of 16");
                two[i] = from[column];
            }
            memcpy(out + m, two, sizeof two);
        }
    }
}

void perform(struct emulator_collective *const lanes[WARP])
{
    enum emulator_collective::kind kind = lanes[0]->kind;
    for (int l = 0; l < WARP; ++l)
        if (lanes[l]->kind != kind)
            fail("the lanes of a warp wait for different instructions");
    if (kind == emulator_collective::MMA) {
        perform_mma(lanes);
    } else if (kind == emulator_collective::SHUFFLE_XOR ||
               kind == emulator_collective::SHUFFLE_DOWN) {
        for (int l = 0; l < WARP; ++l) {
            int p = lanes[l]->parameter;
            int from = kind == emulator_collective::SHUFFLE_XOR ? l ^ p : l + p < WARP ? l + p : l;
            memcpy(lanes[l]->out, lanes[from]->in[0], 8);
        }
    } else {
        perform_ldmatrix(lanes, kind == emulator_collective::LDMATRIX_TRANSPOSED);
    }
}

/* Let the warps go whose 32 lanes have all arrived at an instruction. */
bool release_warps(size_t count)
{
    bool any = false;
    for (size_t w = 0; w < count; w += WARP) {
        struct emulator_collective *lanes[WARP];
        int waiting = 0;
        for (size_t l = 0; l < WARP && w + l < count; ++l)
            if (fibers[w + l].state == WAITS_WARP)
                lanes[waiting++] = fibers[w + l].collective;
        if (waiting != WARP)
            continue;
        perform(lanes);
        for (size_t l = 0; l < WARP; ++l)
            fibers[w + l].state = RUNS;
        any = true;
    }
    return any;
}

/* Let all go when everyone that still runs waits at the block's barrier. */
bool release_block(size_t count)
{
    for (size_t i = 0; i < count; ++i)
        if (fibers[i].state == WAITS_WARP || fibers[i].state == RUNS)
            return false;
    bool any = false;
    for (size_t i = 0; i < count; ++i) {
        if (fibers[i].state == WAITS_BLOCK) {
            fibers[i].state = RUNS;
            any = true;
        }
    }
    return any;
}

/* Everyone that can run, once, beginning anywhere and in either direction. */
void run_round(size_t count)
{
    shuffle_state = shuffle_state * 1664525u + 1013904223u;
    size_t offset = (shuffle_state >> 8) % count;
    bool backward = shuffle_state >> 31;
    for (size_t i = 0; i < count; ++i) {
        fiber *f = &fibers[(offset + (backward ? count - i : i)) % count];
        if (f->state != RUNS)
            continue;
        current = f;
        emulator_switch(&scheduler_top, f->top);
    }
}

void run_block(size_t count, size_t shared_bytes)
{
    memset(shared, 0xff, shared_bytes);
    for (size_t i = 0; i < count; ++i)
        start(&fibers[i], dim3((unsigned)i % blockDim.x, (unsigned)i / blockDim.x % blockDim.y,
                               (unsigned)i / (blockDim.x * blockDim.y)));
    for (;;) {
        run_round(count);
        if (release_warps(count) || release_block(count))
            continue;
        for (size_t i = 0; i < count; ++i)
            if (fibers[i].state != DONE)
                fail("threads wait for others that never come");
        return;
    }
}
} // namespace

bool emulator_run_grid(const struct cudaLaunchConfig_t *config, const std::function<void()> &kernel)
{
    size_t count = (size_t)config->blockDim.x * config->blockDim.y * config->blockDim.z;
    const dim3 &grid = config->gridDim;
    if (count == 0 || count > 1024 || config->dynamicSmemBytes > SHARED_BYTES || grid.x == 0 ||
        grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535)
        return false;
    if (fibers.size() < count)
        fibers.resize(count);
    body = &kernel;
    blockDim = config->blockDim;
    gridDim = grid;
    for (unsigned z = 0; z < grid.z; ++z) {
        for (unsigned y = 0; y < grid.y; ++y) {
            for (unsigned x = 0; x < grid.x; ++x) {
                blockIdx = dim3(x, y, z);
                run_block(count, config->dynamicSmemBytes);
            }
        }
    }
    return true;
}

void emulator_wait_block(void)
{
    yield(WAITS_BLOCK);
}

void emulator_wait_warp(struct emulator_collective *lane)
{
    current->collective = lane;
    yield(WAITS_WARP);
}

unsigned char *emulator_shared(void)
{
    return shared;
}

void emulator_copy_async(void *to, const void *from)
{
    if ((uintptr_t)to % 16 || (uintptr_t)from % 16)
        fail("cp.async with an address that is not a multiple of 16");
    current->open.push_back({to, from});
}

void emulator_copy_commit(void)
{
    current->groups.push_back(current->open);
    current->open.clear();
}

void emulator_copy_wait(int pending)
{
    while (current->groups.size() > (size_t)pending) {
        for (const copy &c : current->groups.front()) {
            if (c.from)
                memcpy(c.to, c.from, 16);
            else
                memset(c.to, 0, 16);
        }
        current->groups.pop_front();
    }
}
