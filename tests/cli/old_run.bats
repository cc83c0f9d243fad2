# A run of version 0.1 (tests/golden/data/run-0.1): it resumes bit for bit, and draws the same pictures.
#
# Uses level "generic" in fp32, whose numbers are the same on every machine; other levels differ in the last bits.
load "$DDPM_SUPPORT"

setup() {
    export DDPM_CPU=generic
    cd "$BATS_TEST_TMPDIR"
    old=$BATS_TEST_DIRNAME/../golden/data/run-0.1
    cp -r "$old/run" "$old/pictures.npy" .
    ln -s step-000003 run/checkpoints/latest
}

# values_of CHECKPOINT: checksums of its files' values. The header before them names the version that wrote the file.
values_of() {
    local file bytes
    for file in model ema optimizer; do
        bytes=$(od -An -tu8 -N8 "$1/$file.safetensors")
        echo "$file $(tail -c +$((bytes + 9)) "$1/$file.safetensors" | cksum)"
    done
}

# draws MODEL EXPECTED SAMPLE-OPTION…: three pictures of a model equal those of a packed file.
draws() {
    local model=$1 expected=$2
    shift 2
    "$DDPM" sample "$model" --out drawn --force --count 3 --seed 5 --sampler ancestral "$@" 2>/dev/null
    rm drawn/grid.png
    "$DDPM" pack drawn --size 8 --channels 1 --out drawn.npy 2>/dev/null
    cmp drawn.npy "$old/expected/$expected"
}

@test "steps 4 to 6 of a run started by 0.1 equal those of 0.1" {
    run "$DDPM" train --resume run
    succeeds
    says "run       run, step 3 of 6"
    cmp <(cut -d, -f1-4 run/log.csv) <(cut -d, -f1-4 "$old/expected/log.csv")
    diff <(values_of run/checkpoints/step-000006) "$old/expected/values.cksum"
}

@test "the ancestral chain draws what 0.1 drew" {
    "$DDPM" train --resume run 2>/dev/null
    for weights in ema model; do
        draws run "$weights-on.npy" --weights "$weights" --clip on
        draws run "$weights-off.npy" --weights "$weights" --clip off --batch 2
    done
}

@test "info reads a run and a checkpoint of 0.1" {
    for what in run run/checkpoints/step-000003; do
        run "$DDPM" info "$what"
        succeeds
        says "ddpm_version: 0.1.0" "5,825 parameters" "every value is finite"
    done
}
