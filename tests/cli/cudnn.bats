# A run with cuDNN's rows on the emulated CUDA device, with the stand-in for cuDNN.
load "$DDPM_SUPPORT"

setup() {
    [ -n "$EMULATED" ] || skip "no emulated device"
    cd "$BATS_TEST_TMPDIR"
    export DDPM_CUDA_PLUGIN=$EMULATED DDPM_CUDNN=$FAKE_CUDNN DDPM_CUDA_CONV=cudnn
}

train() {
    "$DDPM" train --data pictures --out "$1" --steps "$2" --device cuda --network OneResUNet --dim 8 --dim-mults 1 \
        --image-size 8 --batch-size 2 --precision bf16 --sample-every 0 "${@:3}"
}

@test "cuDNN serves every convolution, and a stopped run resumes bit for bit" {
    "$DDPM" synth --out pictures --count 8 --size 8
    DDPM_LOG=debug DDPM_CUDA_PLAN_THREADS=3 run train straight 3 # the second and third step are recorded
    succeeds
    says "3 threads made 33 of 33 plans" "cuDNN served 33 of 33 kinds of convolution" \
        "cuDNN's fused2_2=7: right" "cuDNN's weight2_2=7: right"
    export DDPM_CUDA_PLAN_THREADS=1 # which changes no bit
    DDPM_CUDA_GRAPH=off train stopped 1
    [[ "$(DDPM_CUDA_GRAPH=off train stopped 3 --resume 2>&1)" != *served* ]]
    for file in model ema optimizer; do
        cmp straight/checkpoints/latest/$file.safetensors stopped/checkpoints/latest/$file.safetensors
    done
}
