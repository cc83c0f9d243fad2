# ddpm evaluate --features FILE: features of FID's network, with weights from a file; invalid files.
load "$DDPM_SUPPORT"

setup_file() {
    cd "$BATS_FILE_TMPDIR"
    "$DDPM" synth --out real --count 12 --size 16 --seed 1 2>/dev/null
    "$DDPM" synth --out fresh --count 10 --size 16 --seed 2 2>/dev/null
    "$DDPM" pack fresh --out fresh.npy --size 16 >/dev/null 2>&1
    "$INCEPTION" weights.safetensors
    # The Fréchet distance of 2048 features takes half a minute, and is not tested here.
    mkdir lib
    echo "no library" > lib/liblapacke.so.3
    cp lib/liblapacke.so.3 lib/libopenblas.so.0
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    at=$BATS_FILE_TMPDIR
    torch=$BATS_TEST_DIRNAME/../golden/data/torch
}

# evaluate ARGUMENT…: stdout in $output, stderr in the file `errors`
evaluate() {
    run bash -c 'LD_LIBRARY_PATH=$0/lib "$DDPM" evaluate "$@" --threads 2 2> errors' "$at" "$@"
}

@test "pictures of folders and packed files, with weights from a file" {
    evaluate "$at/fresh" --against "$at/real" --features "$at/weights.safetensors"
    succeeds
    says "features     inception, 2048 numbers" "kernel distance" "by features"
    evaluate "$at/fresh" --against "$at/real" --features "$at/weights.safetensors" --json --save-statistics real.npz
    succeeds
    says '"features": "inception"' '"width": 2048'
    folder=$(grep -v '"generated":' <<<"$output")
    evaluate "$at/fresh.npy" --against "$at/real" --features "$at/weights.safetensors" --json --threads 1
    succeeds
    [ "$folder" = "$(grep -v '"generated":' <<<"$output")" ]
    evaluate "$at/fresh" --against real.npz --features "$at/weights.safetensors" --json
    succeeds
    says '"width": 2048'
}

@test "held-out pictures get features from the same network" {
    "$DDPM" synth --out held --count 11 --size 16 --seed 3 2>/dev/null
    evaluate "$at/fresh" --against "$at/real" --held-out held --features "$at/weights.safetensors"
    succeeds
    says "features     inception, 2048 numbers" "by features"
}

@test "a run's pictures" {
    make_run run "$at/real" 1
    evaluate run --against "$at/real" -n 10 --sampler ddim --sampling-steps 2 --features "$at/weights.safetensors"
    succeeds
    says "generated    10 pictures of 16x16: run" "features     inception, 2048 numbers"
}

@test "files that do not hold weights of Inception" {
    evaluate "$at/fresh" --against "$at/real" --features "$torch/first_layer.older.pt"
    [ "$status" -eq 1 ]
    grep -q "first_layer.older.pt: no tensor Conv2d_2a_3x3.conv.weight" errors
    evaluate "$at/fresh" --against "$at/real" --features "$torch/nested.safetensors"
    [ "$status" -eq 1 ]
    grep -q "nested.safetensors: no tensor Conv2d_1a_3x3.conv.weight" errors
    cp "$at/fresh/000000.png" picture.pth
    evaluate "$at/fresh" --against "$at/real" --features picture.pth
    [ "$status" -eq 1 ]
    grep -q "picture.pth: not a file of tensors" errors
    evaluate "$at/fresh" --against "$at/real" --features nowhere.pth
    [ "$status" -eq 1 ]
    grep -q "nowhere.pth" errors
    head -c 5000 "$torch/first_layer.older.pt" > short.pt
    evaluate "$at/fresh" --against "$at/real" --features short.pt
    [ "$status" -eq 1 ]
    grep -q "short.pt: .*damaged or truncated" errors
}

@test "a file that asks for a command: it is not run" {
    evaluate "$at/fresh" --against "$at/real" --features "$torch/command.older.pt"
    [ "$status" -eq 1 ]
    grep -q "got an object of posix.system, want only tensors; nothing in the file is executed" errors
    [ ! -e executed ]
}

@test "the option's other values" {
    npy features.npy '<f4' '12, 3' 144
    for value in inception features.npy weights.bin; do
        evaluate "$at/fresh" --against "$at/real" --features "$value"
        [ "$status" -eq 2 ]
        grep -q "got \"$value\", want builtin, a file of Inception's weights (.safetensors, .pth, .pt) or" errors
    done
    evaluate features.npy --against features.npy --features "$at/weights.safetensors"
    [ "$status" -eq 2 ]
    grep -q "got the network .*, but features for both sets; want pictures" errors
}

@test "Ctrl-C while features are computed" {
    "$DDPM" synth --out many --count 4000 --size 16 2>/dev/null
    start_job "$DDPM" evaluate many --against many --features "$at/weights.safetensors" --threads 1
    wait_for grep -q "reading real" errors
    kill -INT "$pid"
    job_ends 130
}
