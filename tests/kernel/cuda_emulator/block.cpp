/* Runs the threads of a block as fibers; see cuda_runtime.h. x86-64 only: a fiber is a stack and
 * the six registers that a called function keeps. */
#include "block.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace
{
enum { WARP = 32, MOST_THREADS = 1024 };
/* A stack plus one cache line, so that the tops of the stacks do not share one set of the cache. */
enum { STACK_BYTES = 64 << 10, STACK_STEP = STACK_BYTES + 64 };
/* What every device from compute capability 8.0 grants a block. */
enum { SHARED_BYTES = 99 << 10 };

enum state : unsigned char { RUNS, WAITS_BLOCK, WAITS_WARP, DONE };

struct copy {
    void *to;
    const void *from;
};

struct fiber {
    void *stack, *top;
    dim3 index;
    std::vector<copy> copies;    /* not yet made, oldest first */
    std::vector<size_t> commits; /* copies.size() at each commit */
    std::vector<std::function<void()>> deferred;
};

/* Apart from the fibers, because they are all looked at after every round. */
state states[MOST_THREADS];
struct emulator_collective *collectives[MOST_THREADS];

/* Everyone that can run runs once, beginning anywhere and in either direction. */
struct {
    size_t count, left, next, step;
} current_round;

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

size_t number_of(const fiber *f)
{
    return (size_t)(f - fibers.data());
}

/* Whose turn it is now; NULL at the end of the round. */
fiber *next_fiber()
{
    while (current_round.left) {
        size_t i = current_round.next;
        current_round.next = i + current_round.step;
        if (current_round.next >= current_round.count)
            current_round.next -= current_round.count;
        --current_round.left;
        if (states[i] == RUNS)
            return &fibers[i];
    }
    return NULL;
}

/* A fiber goes straight to the next one: that is half as many switches as by the scheduler. */
void yield(state state)
{
    fiber *self = current, *next;
    states[number_of(self)] = state;
    next = next_fiber();
    if (next)
        current = next;
    emulator_switch(&self->top, next ? next->top : scheduler_top);
    threadIdx = self->index;
}

void fiber_main()
{
    threadIdx = current->index;
    (*body)();
    yield(DONE);
    fail("a finished thread was run again");
}

/* Few large pages instead of two small ones per stack: a round touches every stack. */
void make_stacks()
{
    const size_t bytes = (size_t)MOST_THREADS * STACK_STEP;
    char *stacks = (char *)mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED)
        fail("no memory for the stacks");
    madvise(stacks, bytes, MADV_HUGEPAGE);
    fibers.resize(MOST_THREADS);
    for (size_t i = 0; i < MOST_THREADS; ++i)
        fibers[i].stack = stacks + i * STACK_STEP;
}

void start(fiber *f, dim3 index)
{
    void **top = (void **)((char *)f->stack + STACK_BYTES);
    *--top = NULL; /* where fiber_main would return to; also aligns its stack */
    *--top = (void *)fiber_main;
    for (int i = 0; i < 6; ++i)
        *--top = NULL;
    f->top = top;
    f->index = index;
    f->copies.clear();
    f->commits.clear();
    f->deferred.clear();
    states[number_of(f)] = RUNS;
}

float bf16_at(const uint32_t *words, int i)
{
    return __uint_as_float(i % 2 ? words[i / 2] & 0xffff0000u : words[i / 2] << 16);
}

/* c[16][8] += a[16][16]·b[16][8], fragments as in src/kernels/cuda/tensor_core.cuh */
void perform_mma(struct emulator_collective *const lanes[WARP])
{
    float a[16][16], b[16][8], c[16][8];
    for (int l = 0; l < WARP; ++l) {
        int g = l / 4, t = l % 4;
        for (int i = 0; i < 8; ++i)
            a[g + i / 2 % 2 * 8][2 * t + i % 2 + i / 4 * 8] =
                bf16_at((const uint32_t *)lanes[l]->in[0], i);
        for (int i = 0; i < 4; ++i)
            b[2 * t + i % 2 + i / 2 * 8][g] = bf16_at((const uint32_t *)lanes[l]->in[1], i);
    }
    for (int l = 0; l < WARP; ++l)
        for (int i = 0; i < 4; ++i)
            c[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2] = ((const float *)lanes[l]->out)[i];
    for (int row = 0; row < 16; ++row)
        for (int k = 0; k < 16; ++k)
            for (int column = 0; column < 8; ++column)
                c[row][column] += a[row][k] * b[k][column];
    for (int l = 0; l < WARP; ++l)
        for (int i = 0; i < 4; ++i)
            ((float *)lanes[l]->out)[i] = c[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2];
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

bool all_wait(const state *lanes)
{
    int waiting = 0;
    for (int l = 0; l < WARP; ++l)
        waiting += lanes[l] == WAITS_WARP;
    return waiting == WARP;
}

/* Release the warps whose 32 lanes have all arrived at an instruction. */
bool release_warps(size_t count)
{
    bool any = false;
    for (size_t w = 0; w + WARP <= count; w += WARP) {
        if (!all_wait(states + w))
            continue;
        perform(collectives + w);
        memset(states + w, RUNS, WARP);
        any = true;
    }
    return any;
}

/* Release all threads once every one that still runs waits at the block's barrier. */
bool release_block(size_t count)
{
    bool any = false;
    for (size_t i = 0; i < count; ++i) {
        if (states[i] == WAITS_WARP || states[i] == RUNS)
            return false;
        any = any || states[i] == WAITS_BLOCK;
    }
    for (size_t i = 0; any && i < count; ++i)
        if (states[i] == WAITS_BLOCK)
            states[i] = RUNS;
    return any;
}

void run_round(size_t count)
{
    shuffle_state = shuffle_state * 1664525u + 1013904223u;
    current_round = {count, count, (shuffle_state >> 8) % count,
                     shuffle_state >> 31 ? count - 1 : 1};
    current = next_fiber();
    if (current)
        emulator_switch(&scheduler_top, current->top);
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
            if (states[i] != DONE)
                fail("threads wait for others that never come");
        return;
    }
}
} // namespace

bool emulator_run_grid(const struct cudaLaunchConfig_t *config, const std::function<void()> &kernel)
{
    size_t count = (size_t)config->blockDim.x * config->blockDim.y * config->blockDim.z;
    const dim3 &grid = config->gridDim;
    if (count == 0 || count > MOST_THREADS || config->dynamicSmemBytes > SHARED_BYTES ||
        grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535)
        return false;
    if (fibers.empty())
        make_stacks();
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
    collectives[number_of(current)] = lane;
    yield(WAITS_WARP);
}

unsigned char *emulator_shared(void)
{
    return shared;
}

void emulator_copy_async(void *to, const void *from, bool here)
{
    if ((uintptr_t)to % 16 || (uintptr_t)from % 16)
        fail("cp.async with an address that is not a multiple of 16");
    current->copies.push_back({to, here ? from : NULL});
}

void emulator_copy_commit(void)
{
    current->commits.push_back(current->copies.size());
}

void emulator_copy_wait(int pending)
{
    std::vector<size_t> &commits = current->commits;
    std::vector<copy> &copies = current->copies;
    if (commits.size() <= (size_t)pending)
        return;
    const size_t groups = commits.size() - (size_t)pending, made = commits[groups - 1];
    for (size_t i = 0; i < made; ++i) {
        if (copies[i].from)
            memcpy(copies[i].to, copies[i].from, 16);
        else
            memset(copies[i].to, 0, 16);
    }
    copies.erase(copies.begin(), copies.begin() + (ptrdiff_t)made);
    commits.erase(commits.begin(), commits.begin() + (ptrdiff_t)groups);
    for (size_t &commit : commits)
        commit -= made;
}

void emulator_defer(std::function<void()> work)
{
    current->deferred.push_back(std::move(work));
}

void emulator_run_deferred(void)
{
    for (const std::function<void()> &work : current->deferred)
        work();
    current->deferred.clear();
}
