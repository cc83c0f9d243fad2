# Where the program looks for plug-ins, and what it says when one is installed but the driver is not. Broken files show
# which of them was tried.
load "$DDPM_SUPPORT"

setup() {
    cd "$BATS_TEST_TMPDIR"
    unset LD_LIBRARY_PATH DDPM_CUDA_PLUGIN
    "$DDPM" synth --out pictures --count 4 --size 16 2>/dev/null
}

# train PROGRAM [OPTION…]
train() {
    "$1" train --data pictures --out run "${TINY[@]}" --steps 1 --sample-every 0 --device cuda "${@:2}"
}

@test "the plug-in beside a program is found however the program was started" {
    mkdir bin elsewhere
    cp "$DDPM" bin/ddpm
    echo broken >bin/libddpm_cuda.so
    ln -s ../bin/ddpm elsewhere/link
    for program in "$PWD/bin/ddpm" bin/ddpm elsewhere/link; do
        run train "$program"
        fails 1 "CUDA plug-in cannot be loaded" "bin/libddpm_cuda.so"
    done
    PATH=$PWD/bin:$PATH run train ddpm
    fails 1 "CUDA plug-in cannot be loaded" "$PWD/bin/libddpm_cuda.so"
}

@test "a plug-in in the current folder is not loaded" {
    mkdir bin ddpm
    cp "$DDPM" bin/ddpm
    echo broken | tee libddpm_cuda.so >ddpm/libddpm_cuda.so
    PATH=$PWD/bin:$PATH run train ddpm
    fails 1 "no CUDA backend" "install ddpm-cuda or build it"
}

@test "a plug-in without NVIDIA's driver is not the same as no plug-in" {
    [ -n "$EMULATED" ] || skip "no emulated device"
    export DDPM_CUDA_PLUGIN=$EMULATED DDPM_EMULATED_DEVICES=none
    run train "$DDPM"
    fails 1 "no CUDA device: the plug-in is installed, but NVIDIA's driver (libcuda.so.1) is not"
    run train "$DDPM" --device auto --verbose
    succeeds
    says "NVIDIA's driver (libcuda.so.1) is not" "no CUDA device, using the CPU"
}
