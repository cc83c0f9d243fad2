#!/usr/bin/env bash
# count-files-for-an-op.sh [--cuda]: how many files does a new operation touch? Adds y = -x, with kernels, a builder and
# a gradient, to a copy of the sources, builds it, runs the operation's tests on the CPU (with --cuda on the emulated
# GPU too), and fails if more than 8 files differ. Run it in the project's root. CMAKE_ARGUMENTS is passed to cmake.
set -eu -o pipefail
LIMIT=8
cuda=false
[ "${1:-}" = --cuda ] && cuda=true
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
tar -c --exclude='./build*' --exclude=./.git --exclude=./.cache . | tar -x -C "$copy"

# after FILE LINE: insert standard input after the first line that contains LINE.
after() {
  local text
  grep -qF -- "$2" "$copy/$1" || { echo "count-files-for-an-op.sh: $1 has no line with \"$2\""; exit 1; }
  text=$(cat)
  ANCHOR=$2 TEXT=$text awk '{ print } !done && index($0, ENVIRON["ANCHOR"]) { print ENVIRON["TEXT"]; done = 1 }' \
    "$copy/$1" >"$copy/edited"
  mv "$copy/edited" "$copy/$1"
}

after src/kernels/ops.inc 'OP(ADD, add,' <<'END'

/* y = -x. y may be x. */
OP(NEGATE, negate, 1, 1, 1 << 0, 0, 1)
END

cat >>"$copy/src/kernels/ref/elementwise.c" <<'END'

/* y = -x; y may be x. */
ddpm_status ddpm_ref_negate(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    for (int64_t p = 0; p < ddpm_tensor_pixels(y); ++p)
        for (int64_t c = 0; c < y->c; ++c)
            ref_set(y, p, c, -ref_get(x, p, c));
    return DDPM_OK;
}
END

cat >>"$copy/src/kernels/cpu/elementwise.simd.c" <<'END'

static inline vf negate_map(vf x, vf unused)
{
    (void)unused;
    return -x;
}

MAP_RANGE(negate_range, 1, negate_map)

static bool negate_supports(const struct ddpm_call *call)
{
    return same_dtype(call, 1);
}

static ddpm_status negate_run(const struct ddpm_call *call)
{
    for_pixels(call, negate_range);
    return DDPM_OK;
}

static const struct ddpm_kernel negate_kernel = {
    .name = SIMD_NAME("negate"), .supports = negate_supports, .run = negate_run};
KERNELS_OF(negate, &negate_kernel);
END

cat >>"$copy/src/kernels/cuda/elementwise.cu" <<'END'

template <class T, int V> struct negate_map {
    struct plane<T> x, y;
    __device__ void operator()(struct place at) const
    {
        float v[V];
        load<V>(x.data + at.p * x.stride + at.c, v);
        for (int i = 0; i < V; ++i)
            v[i] = -v[i];
        store<V>(y.data + at.p * y.stride + at.c, v);
    }
};

template <class T, int V> static ddpm_status negate_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *y = &call->out[0];
    struct negate_map<T, V> f = {ddpm_plane<T>(&call->in[0]), ddpm_plane<T>(y)};
    return ddpm_cuda_map(call, f, ddpm_tensor_pixels(y), y->c, V);
}

DISPATCH(negate)

static const struct ddpm_kernel negate_kernel = {"negate_cuda", same_types, NULL,
                                                 NULL,          negate_run, NULL};
CUDA_KERNELS_OF(negate, &negate_kernel);
END

cat >>"$copy/src/graph/ops/elementwise.c" <<'END'

struct ddpm_value *ddpm_negate(struct ddpm_graph *graph, struct ddpm_value *x)
{
    if (!x)
        return NULL;
    return output(ddpm_simple_node(graph, DDPM_OP_NEGATE, "negate", x->tensor, DDPM_INPUTS(x)));
}

void ddpm_negate_gradient(struct ddpm_graph *graph, const struct ddpm_node *node)
{
    ddpm_graph_add_gradient(graph, node->in[0], ddpm_negate(graph, ddpm_graph_gradient(graph, node->out[0])));
}
END

after src/graph/ops.h 'struct ddpm_value *ddpm_gelu(' <<'END'
struct ddpm_value *ddpm_negate(struct ddpm_graph *graph, struct ddpm_value *x);
END
after src/graph/ops.h 'typedef void ddpm_gradient_rule(' <<'END'
ddpm_gradient_rule ddpm_negate_gradient;
END
after src/graph/differentiate.c '[DDPM_OP_ADD] = ddpm_add_gradient,' <<'END'
    [DDPM_OP_NEGATE] = ddpm_negate_gradient,
END

after tests/grad/grad_test.c 'BUILDER(gelu,' <<'END'
BUILDER(negate, ddpm_negate(g, in[0]))
END
after tests/grad/grad_test.c 'static const struct layer layers[] = {' <<'END'
    {"negate", 1, {{2, 3, 4, 3}}, negate},
END

# diff exits with 1 if files differ
touched=$({ diff -rq --exclude='build*' --exclude=.git --exclude=.cache . "$copy" || true; } | awk '{ print $2 }')
echo "$touched"

targets=(test_kernel test_grad)
"$cuda" && targets+=(ddpm_cuda_emulated)
# shellcheck disable=SC2086
cmake -S "$copy" -B "$copy/build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DDDPM_WERROR=ON -DDDPM_CUDA=OFF \
  ${CMAKE_ARGUMENTS:-} >"$copy/log" 2>&1 &&
  cmake --build "$copy/build" --parallel 2 --target "${targets[@]}" >>"$copy/log" 2>&1 ||
  { tail -n 40 "$copy/log"; exit 1; }
for dtype in fp32 bf16; do
  "$copy/build/tests/kernel/test_kernel" --backend cpu --threads 1,2 --dtype "$dtype" --op negate
  if "$cuda"; then
    DDPM_CUDA_PLUGIN=$(find "$copy/build" -name 'libddpm_cuda_emulated.so') \
      "$copy/build/tests/kernel/test_kernel" --backend cuda --dtype "$dtype" --op negate
  fi
done
"$copy/build/tests/grad/test_grad"

count=$(echo "$touched" | wc -l)
echo "a new operation touches $count files, want at most $LIMIT"
[ "$count" -le "$LIMIT" ]
