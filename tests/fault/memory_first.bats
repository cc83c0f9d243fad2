# If something does not fit into memory, it fails before anything is allocated, read or written: at once, with one line
# that says how much is needed and how much is free.
load "$DDPM_SUPPORT"

LIMIT=2000000 # kB of address space: enough for the program and its threads, far too little for what follows

setup_file() {
    cd "$BATS_FILE_TMPDIR"
    make_pictures pictures 4
    make_run small pictures 1
    mkdir huge # claims to hold weights of 32 GB
    echo '{"unet_config": {"input": 512}}' > huge/config.json
    head -c 4096 /dev/zero > huge/ema.safetensors
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    (ulimit -v $LIMIT && "$DDPM" --version > /dev/null 2>&1) ||
        skip "the program does not start in little memory (a sanitizer)"
    export MALLOC_ARENA_MAX=2 # the C library reserves address space for each thread
    pictures=$BATS_FILE_TMPDIR/pictures
    small=$BATS_FILE_TMPDIR/small
    huge=$BATS_FILE_TMPDIR/huge
}

# lacks_memory TEXT VERB OPTION…: check that it fails at once, prints the reason and TEXT, uses little memory and leaves
# nothing behind.
lacks_memory() {
    local text=$1 begin=$SECONDS
    shift
    ls > before
    run bash -c 'ulimit -v '$LIMIT'; "$@" & wait $!; code=$?; exit $code' _ "$DDPM" "$@" --device cpu --threads 2
    fails 1 "not enough memory to start" "$text" "are free"
    says "GB"
    [ $((SECONDS - begin)) -le 10 ]
    ls | cmp - before
    if [ -x /usr/bin/time ]; then
        (ulimit -v $LIMIT; /usr/bin/time -f %M -o resident "$DDPM" "$@" --device cpu --threads 2 2>/dev/null) || true
        [ "$(tail -n 1 resident)" -lt 150000 ] || { echo "$(tail -n 1 resident) kB were resident"; return 1; }
    fi
}

# zeros FILE.npy HEADER BYTES: make an array of zeros that takes no disk space.
zeros() {
    { printf '\x93NUMPY\x01\x00\x76\x00'; printf '%-117s\n' "$2"; } > "$1"
    truncate -s "+$3" "$1"
}

@test "train: weights alone, activations alone" {
    lacks_memory "the plan needs" train --data "$pictures" --out run --image-size 2048 --dim 512
    lacks_memory "not even one picture would fit" train --data "$pictures" --out run --image-size 16 --dim 512
    lacks_memory "the plan needs" train --data "$pictures" --out run --image-size 2048 --dim 8 --dim-mults 1,2
}

@test "train: grids of samples alone" {
    lacks_memory "drawing samples while training takes" train --data "$pictures" --out run --image-size 640 --dim 4 \
        --dim-mults 1 --mult 1 --network OneResUNet --batch-size 1 --num-samples 1024
    says "--sample-every 0 draws none"
}

@test "train: an empty folder stays empty" {
    mkdir run
    lacks_memory "the plan needs" train --data "$pictures" --out run --image-size 2048 --dim 512
    [ -z "$(ls -A run)" ]
}

@test "bench: training and sampling" {
    lacks_memory "the plan needs" bench --image-size 2048 --dim 512
    lacks_memory "the plan needs" bench --image-size 1024 --dim 64
    lacks_memory "are needed (weights" bench --sampling --image-size 2048 --dim 64
    lacks_memory "are needed (weights" bench --sampling --image-size 16 --dim 512
}

@test "sample: a model too large, pictures too large, a batch too large" {
    lacks_memory "are needed (weights 3" sample "$huge" --out drawn
    lacks_memory "are needed (weights" sample "$huge/ema.safetensors" --config "$huge/config.json" --out drawn
    lacks_memory "are needed (weights" sample "$small" --out drawn --image-size 8192
    lacks_memory "are needed (weights" sample "$small" --out drawn --image-size 1024 --count 64 --batch 64
    lacks_memory "are needed (weights" evaluate "$small" --against "$pictures" --likelihood --image-size 8192
}

@test "sample: too many frames of an interpolation" {
    lacks_memory "are needed (weights" sample "$small" --out drawn --image-size 128 --interpolate 1,2 --frames 20000
}

@test "sample: a grid too large, with pictures that fit" {
    lacks_memory "are needed (weights" sample "$small" --out drawn --image-size 600 --count 1024
}

@test "predict: a model too large, arrays too large" {
    zeros x.npy "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 16, 16), }" 3072
    zeros t.npy "{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }" 8
    "$DDPM" predict "$small" --input x.npy --timesteps t.npy --output y.npy 2>/dev/null
    rm y.npy
    lacks_memory "are needed (weights 3" predict "$huge" --input x.npy --timesteps t.npy --output y.npy
    zeros x.npy "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 4096, 4096), }" 201326592
    lacks_memory "are needed (weights" predict "$small" --input x.npy --timesteps t.npy --output y.npy
}

@test "the largest values of all options" {
    local most=(--dim 4096 --dim-mults 256,256,256,256,256,256,256,256 --init-dim 4096 --mult 64)
    for verb in "train --out run --data $pictures" bench "bench --sampling"; do
        run "$DDPM" $verb "${most[@]}" --image-size 8192 --batch-size 65536 --device cpu
        fails 1 "does not fit into any memory"
    done
    for size in "--image-size 8192 --batch-size 32767 --accumulate 65536" "--image-size 8192x8 --batch-size 65536"; do
        run "$DDPM" bench --dim 4 --dim-mults 1,1 $size --device cpu
        fails 1 "not enough memory to start: the plan needs"
    done
    [ ! -e run ]
}

@test "info says how much memory a model that does not fit would take" {
    run bash -c 'ulimit -v '$LIMIT'; "$0" info "$1"' "$DDPM" "$huge/config.json"
    succeeds
    mkdir -p run/checkpoints
    cp "$huge/config.json" run
    run bash -c 'ulimit -v '$LIMIT'; "$0" info run' "$DDPM"
    succeeds
    says "to train on CPU" "GB"
}

# Address space counts here, so the files of a checkpoint, which are mapped, do too. The stacks of the threads that read
# pictures are not in the plan.
@test "train: the suggested step fits, and so do its checkpoint and resuming" {
    options=(--data "$pictures" --image-size 96 --dim 32 --dim-mults 1,2,4 --sample-every 0 --device cpu --threads 1)
    limited() { (ulimit -s 1024; ulimit -v 330000; MALLOC_ARENA_MAX=1 "$DDPM" train "$@"); }
    (ulimit -v 330000 && "$DDPM" --version > /dev/null 2>&1) || skip "the program does not start in so little memory"
    run limited --out run "${options[@]}" --batch-size 8 --steps 1
    fails 1 "not enough memory to start" "would fit"
    hint=$(sed -n 's/^  hint: \(--.*\) trains the same in less memory$/\1/p' <<<"$output")
    [ -n "$hint" ]
    # shellcheck disable=SC2086 # options
    run limited --out run "${options[@]}" --batch-size 8 $hint --steps 1
    succeeds
    run limited --resume run --steps 2
    succeeds
}
