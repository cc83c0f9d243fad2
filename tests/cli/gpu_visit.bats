# scripts/gpu-visit.sh with stand-ins for everything it runs: the driver's tools, PyTorch, and our programs. One of
# those hangs, one crashes, one skips itself, and one is only correct when every launch is waited for.
load "$DDPM_SUPPORT"

setup() {
    cd "$BATS_TEST_TMPDIR"
    script=$BATS_TEST_DIRNAME/../../scripts/gpu-visit.sh
    mkdir -p bin visit/bin visit/lib
    stand_in bin/nvidia-smi 'case "$*" in
        *lms*) while :; do echo "98, 700"; sleep 0.05; done ;;
        *name*) echo "A GPU, 9.0, 580, 80000 MiB" ;;
    esac'
    stand_in bin/compute-sanitizer 'echo "memcheck: Invalid read"; exit 1'
    stand_in bin/ncu 'echo profiled'
    stand_in visit/bin/libddpm_cuda.so ''
    for name in cuda_device cuda_gelu golden_networks golden_training golden_diffusion library_late library_kept; do
        stand_in "visit/bin/test_$name" 'exit 0'
    done
    stand_in visit/bin/test_library_copies 'exit 77'
    stand_in visit/bin/test_kernel 'case "$*" in
        *"bf16 --op conv2d_backward_data"*) sleep 30 ;;
        *"bf16 --op add"*) kill -SEGV $$ ;;
        *"fp32 --op conv2d "*) [ -n "${CUDA_LAUNCH_BLOCKING:-}" ] || exit 1 ;;
    esac'
    stand_in visit/bin/ddpm 'verb=$1
    while [ $# -gt 0 ]; do
        case $1 in --out) out=$2 ;; esac
        shift
    done
    case $verb in
        --version) echo "ddpm 9" ;;
        bench) echo "8 threads made 40 of 52 plans for 20 kinds of convolution in 9.00 s" >&2
            [ -z "${DDPM_CUDA_ASIDE:-}" ] || STEP=0.0125
            printf "{\n  \"step_seconds\": ${STEP:-0.010},\n  \"step_flops\": 4e12\n}\n" ;;
        sample) echo "drew 2 pictures in 1.5 s: 0 black; with a sampler" ;;
        train)
            sleep 0.5 # so that there is something to ask nvidia-smi about
            mkdir -p "$out/checkpoints/latest"
            printf "step,seconds,validation_loss\n1,0.5,\n2,0.51,1\n3,0.52,\n" >"$out/log.csv"
            for file in model ema optimizer; do echo same >"$out/checkpoints/latest/$file.safetensors"; done
            echo "cuDNN served 7 of 9 kinds of convolution" ;;
    esac'
    export PATH=$BATS_TEST_TMPDIR/bin:$PATH PYTHON=no-such-python
}

# stand_in FILE TEXT
stand_in() {
    printf '#!/bin/bash\n%s\n' "$2" >"$1"
    chmod +x "$1"
}

# A Python whose torch knows the device, and a comparison whose PyTorch takes twice our time. Compiled, batch 8 fails.
pytorch() {
    stand_in bin/python 'case "$*" in
        *"import torch"*) echo yes ;;
        *pytorch_bench.py*) ;;
        *compare.py*"--batch 8 "*compile*) echo "no memory | none" >&2; exit 1 ;;
        *compare.py*) echo "[{\"ratio\": 2.0, \"memory\": {\"ratio\": 0.5},
            \"pytorch\": {\"seconds\": 0.02}, \"ddpm\": {\"seconds\": 0.01}}]" ;;
        *) exec python3 "$@" ;;
    esac'
    export PYTHON=$PWD/bin/python
}

# visit FORM [OPTION…]
visit() {
    run "$script" "$1" --small --folder "$PWD/visit" --out "$PWD/out" --jobs 16 "${@:2}"
}

@test "the first command: programs that hang, crash or skip themselves are named, and the rest runs" {
    visit first --patience 1
    [ "$status" -eq 1 ]
    says "A GPU, 9.0" "kernel-conv2d_backward_data-bf16-own: FAILED: not done in 1 s" \
        "kernel-add-bf16: FAILED: ended by signal 11" "kernel-conv2d-fp32-own: FAILED: 1" \
        "library-copies: FAILED: skipped itself" "convolutions in cuDNN | cuDNN served 7 of 9" \
        "| training step, batch 4 | 10.00 ms, 400 TFLOP/s | ≤ 12 ms | reached |" \
        "| the same with DDPM_CUDA_ASIDE=off | 12.50 ms, 320 TFLOP/s | slower |" \
        "| our own with DDPM_CUDA_WGMMA=on | 10.00 ms, 400 TFLOP/s | faster |" "PyTorch, eager | not measured" \
        "cuDNN's plans | 8 threads made 40 of 52 plans" \
        "3 steps with checkpoints | 10.00 ms a step" "GPU busy meanwhile | 98 %, 700 MiB"
    grep -q "gelu"$'\t'"passed" out/steps.tsv
    grep -q "kernel-conv2d-wgmma"$'\t'"passed" out/steps.tsv
    grep -q "library-kept"$'\t'"passed" out/steps.tsv
    grep -q "kernel-conv2d-fp32-own-blocking"$'\t'"passed" out/steps.tsv
    grep -q "kernel-conv2d-fp32-own-memcheck"$'\t'"FAILED" out/steps.tsv
    [ "${#output}" -le 12000 ]
    tar -tzf out/visit.tar.gz | grep -q table.md
}

@test "the first command without a fault" {
    stand_in visit/bin/test_kernel 'exit 0'
    stand_in visit/bin/test_library_copies 'exit 0'
    visit first
    succeeds
    says "| tests | " "passed, 0 failed, 0 skipped, 0 not run | none fails | reached |"
    grep -q "kernel-conv2d_backward_weight-wgmma"$'\t'"passed" out/steps.tsv
    for dtype in fp32 bf16; do
        for conv in own cudnn; do
            for name in golden-networks golden-training resume; do
                grep -q "^$name-$dtype-$conv"$'\t'passed out/steps.tsv
            done
        done
    done
    sed -i 's/ 9.0,/ 10.0,/' bin/nvidia-smi # another GPU has no such instructions
    visit first
    succeeds
    if grep wgmma out/steps.tsv; then false; fi
}

@test "a convolution that did not run in cuDNN fails the check" {
    stand_in visit/bin/test_kernel 'exit 0'
    stand_in visit/bin/test_library_copies 'exit 0'
    sed -i 's/cuDNN served 7/cuDNN served 0/' visit/bin/ddpm
    visit first
    [ "$status" -eq 1 ]
    says "served-by-cudnn-bf16: FAILED: 1"
}

@test "what is measured has limits that leave time for the tests, and runs alone" {
    stand_in bin/timeout "[ \"\$1\" != --kill-after ] || echo \"\${*:3}\" >>$PWD/limits"'; exec /usr/bin/timeout "$@"'
    pytorch
    visit first
    awk '/-c resume|cuDNN served|bin\/test_[gcl]|--op / { tests = 1; next } { late += tests; sum += $1; steps++ }
        END { exit late || steps < 10 || sum > 310 }' limits
    rm limits
    visit second
    awk '/compare.py .*--batch 8 .*compile/ { exit } /racecheck/ || /pytorch_bench/ && warm++ { next } { sum += $1; steps++ }
        END { exit steps < 8 || sum > 310 }' limits
}

@test "steps beside PyTorch: its time, its memory, or why there is none" {
    pytorch
    visit first
    says "| PyTorch's time to ours, eager | 2.00: 20.00 ms to 10.00 | ≥ 1.5 | reached |" \
        "| our memory to PyTorch's, eager | 0.50 | < 1 | reached |"
    visit second
    says "| PyTorch's time to ours, eager, batch 4 | 2.00" "| PyTorch's time to ours, compile, batch 4 | 2.00" \
        "| PyTorch's time to ours, eager, batch 8 | 2.00" "| PyTorch's time to ours, drawing, batch 4 | 2.00" \
        "| PyTorch's time to ours, compile, batch 8 | not measured: FAILED: 1; no memory / none | ≥ 1.5 |"
}

@test "steps that fail: every figure has its reason, and output and archive stay small" {
    for name in bin/ncu visit/bin/*; do
        stand_in "$name" '{ head -c 300000 /dev/urandom; echo; echo broken; } >&2; exit 1'
    done
    stand_in visit/bin/ddpm '[ "$1" != --version ] || exit 0
        { head -c 300000 /dev/urandom; echo; echo broken; } >&2; exit 1'
    visit first
    [ "$status" -eq 1 ]
    [ "${#output}" -le 12000 ]
    says "| training step, batch 4 | not measured: FAILED: 1; broken | ≤ 12 ms |" \
        "| four slowest kernels | not measured: FAILED: 1; broken |" "| convolutions in cuDNN | none: not measured: FAILED: 1; broken | some |" \
        "| 3 steps with checkpoints | not measured: FAILED: 1; broken |" "the longest steps"
    [ "$(stat -c %s out/visit.tar.gz)" -le $((16 << 20)) ]
    visit second
    says "| 2 pictures, all 30 steps | not measured: FAILED: 1; broken | ≤ 3.5 s | FALLS SHORT |"
}

@test "the second command and the long run" {
    visit second
    says "2 pictures, all 30 steps | 1.5 s | ≤ 3.5 s | reached" "batch 8 | 10.00 ms" "4 steps with checkpoints"
    stand_in bin/compute-sanitizer 'exit 0'
    visit second
    succeeds
    visit run
    succeeds
    says "5 steps with checkpoints | 10.00 ms a step"
    STEP=0.015 visit run
    says "not run: a step takes too long for one command"
}

@test "no time, no programs" {
    visit first --limit 0
    [ "$status" -eq 1 ]
    says "NOT RUN: no time was left" "not run because no time was left: "
    rm visit/bin/*
    mkdir visit/libraries
    touch visit/libraries/ddpm.cmake
    stand_in bin/cmake 'exit 1'
    visit run
    [ "$status" -eq 1 ]
    says "what was packed does not load; building" "load-built: FAILED"
}

@test "wrong usage" {
    for wrong in "" third "first --color" "first --out"; do
        # shellcheck disable=SC2086 # words
        run "$script" $wrong
        [ "$status" -eq 2 ]
    done
}
