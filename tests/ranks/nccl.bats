# Several processes train together over NCCL, without MPI: on the emulated device, with a stand-in for NCCL's library
# (nccl/fake_nccl.c).
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures"
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures
    export DDPM_CUDA_PLUGIN=$EMULATED DDPM_NCCL=$FAKE_NCCL DDPM_EMULATED_DEVICES=4
    tiny=(--data "$pictures" "${TINY[@]}" --image-size 8 --sample-every 0 --device cuda --rank-timeout 20)
}

# process K COUNT VERB ARGUMENT…: starts one process as torchrun does, in the background; its pid is in pid-K
process() {
    local index=$1 count=$2
    shift 2
    RANK=$index WORLD_SIZE=$count LOCAL_RANK=$index MASTER_ADDR=localhost MASTER_PORT=29500 \
        timeout 120 "$DDPM" "$@" --ranks nccl > "output-$index" 2>&1 3>&- &
    echo $! > "pid-$index"
}

# rank K COUNT ARGUMENT…: the same for training
rank() {
    process "$1" "$2" train "${@:3}"
}

# ended COUNT: waits for all. Like `run`, sets $output and $status, the largest exit code.
ended() {
    local index code
    status=0
    for ((index = 0; index < $1; ++index)); do
        code=0
        wait "$(cat "pid-$index")" || code=$?
        [ "$code" -le "$status" ] || status=$code
    done
    output=$(cat output-*)
    [ "$status" -lt 124 ] || { echo "exit code $status; $output"; return 1; }
    [ -z "$(find . -maxdepth 1 -name '.ddpm-ranks*')" ] || { ls -a; return 1; }
}

# together COUNT ARGUMENT…
together() {
    local count=$1 index
    shift
    for ((index = 0; index < count; ++index)); do
        rank "$index" "$count" "$@"
    done
    ended "$count"
}

# near A B STEP BOUND: at this step, the losses of two runs differ by BOUND at most.
near() {
    awk -F, -v step="$3" -v bound="$4" '$1 == step { loss[n++] = $2 }
        END { d = loss[0] - loss[1]; exit !(n == 2 && d <= bound && -d <= bound) }' "$1/log.csv" "$2/log.csv" || {
        tail -n 3 "$1/log.csv" "$2/log.csv"
        return 1
    }
}

# one_error TEXT…: the ranks failed with one error line, which contains every TEXT.
one_error() {
    [ "$status" -ne 0 ] || { echo "no failure; $output"; return 1; }
    fails "$status" "$@"
}

@test "2 and 4 ranks train the same as one, and sums begin while the backward pass runs" {
    # The first step is not recorded, the second is, the others are replays. Gradients are sent in two pieces.
    options=("${tiny[@]}" --steps 4)
    "$DDPM" train "${options[@]}" --out one
    FAKE_NCCL_LOG=$PWD/two-calls together 2 "${options[@]}" --out two
    succeeds
    says "ranks     2 on 1 machine, NCCL 2.27.3"
    near one two 1 1e-6
    near one two 4 1e-3
    together 4 "${options[@]}" --steps 1 --out four
    succeeds
    near one four 1 1e-6
    cmp <(sed 's/kernels.*//' two-calls.0) <(sed 's/kernels.*//' two-calls.1) # the same calls in the same order
    # All calls are in one stream, not that of the kernels. A sum waits for all kernels before it; more kernels follow.
    awk '$1 == "allreduce" { if ($4 != 0 || $6 <= kernels || $8 != $6) exit failed = 1; kernels = $6; ++n }
        END { exit failed || n != 8 }' two-calls.0 || { cat two-calls.0; return 1; }
    [ "$(tail -n 2 two-calls.0 | cut -d' ' -f1 | xargs)" = "finalize destroy" ]
}

@test "gradients as bf16: nearly the same training, and the calls of a sum in their order" {
    options=("${tiny[@]}" --steps 4)
    "$DDPM" train "${options[@]}" --out one
    FAKE_NCCL_LOG=$PWD/calls together 2 "${options[@]}" --wire bf16 --out two
    succeeds
    says "gradients as bf16"
    near one two 1 1e-3
    near one two 4 1e-2
    differ one/checkpoints/latest/model.safetensors two/checkpoints/latest/model.safetensors
    # A sum exchanges pieces with all ranks and then gathers the sums, all in the communicator's one stream. It waits
    # for the kernels before it, and for no others; more kernels run between two sums of a step.
    cmp <(sed 's/kernels.*//' calls.0) <(sed 's/kernels.*//' calls.1)
    awk '$1 == "allreduce" { exit failed = 1 }
        $1 == "pairs" { if (open || $2 != 4 || $4 != 0 || $8 <= kernels + 10) exit failed = 1
                        open = 1; kernels = $8; ++n }
        $1 == "allgather" && open { if ($4 != 0 || $8 != kernels) exit failed = 1; open = 0 }
        END { exit failed || n != 8 }' calls.0 || { cat calls.0; return 1; }
    # Micro-batches are summed before they are rounded; a resumed run may change --wire.
    together 2 --resume --out two --ranks nccl --wire fp32 --steps 5
    succeeds
    says "gradients as fp32"
    together 4 "${options[@]}" --steps 1 --wire bf16 --out four
    succeeds
    near one four 1 1e-3
    together 2 "${options[@]}" --wire bf16 --reduce exact --out exact
    one_error "option wire: got bf16 with reduce exact"
}

@test "a run that changes from patches to whole pictures, and one whose steps are timed" {
    options=("${tiny[@]}" --patches 2 --patch-share 0.5 --coordinates on --steps 6) # the third step of each kind is a replay
    "$DDPM" train "${options[@]}" --out one
    together 2 "${options[@]}" --out two
    succeeds
    near one two 3 1e-3
    near one two 4 1e-3
    near one two 6 1e-3
    together 2 "${tiny[@]}" --time 0.1s --out timed # steps are timed, but too slow here
    one_error "option --time: a step takes"
}

@test "exactly the same bits, and any number of ranks can resume" {
    options=("${tiny[@]}" --reduce exact --shares 2)
    "$DDPM" train "${options[@]}" --steps 3 --out one
    together 2 "${options[@]}" --steps 2 --out two
    succeeds
    "$DDPM" train --resume --steps 3 --out two
    for file in model ema optimizer; do
        cmp {one,two}/checkpoints/latest/$file.safetensors
    done
    cmp <(cut -d, -f1-4 one/log.csv) <(cut -d, -f1-4 two/log.csv)
}

@test "all ranks draw the same pictures as one, started by Slurm" {
    make_run run "$pictures" 1 --image-size 8
    options=(--count 3 --batch 1 --seed 4 --device cuda --sampling-steps 2)
    "$DDPM" sample run --out one --array one.npy "${options[@]}"
    export SLURM_STEP_NUM_TASKS=2 SLURM_NTASKS=2 SLURM_JOB_ID=7
    for index in 0 1; do
        SLURM_PROCID=$index SLURM_LOCALID=$index timeout 120 "$DDPM" sample run --out two --array two.npy \
            "${options[@]}" --ranks nccl > output-$index 2>&1 3>&- &
        echo $! > pid-$index
    done
    ended 2
    succeeds
    cmp one.npy two.npy
    [ "$(grep -c '^drew ' output-0 output-1 | xargs)" = "output-0:1 output-1:0" ]
}

# evaluated FILE ARGUMENT…: two ranks evaluate, and write JSON into FILE.
evaluated() {
    local file=$1
    shift
    for index in 0 1; do
        process $index 2 evaluate "$@" --json
    done
    ended 2
    sed -n '/^{/,/^}/p' output-0 > "$file"
}

@test "all ranks compare pictures with the same result as one" {
    make_run run "$pictures" 1 --image-size 8
    cp -r "$pictures" real
    echo "no picture" > real/damaged.png
    options=(run --against real -n 11 --batch 2 --device cuda --sampling-steps 2 --threads 1)
    "$DDPM" evaluate "${options[@]}" --json --sheet sheet.png > one.json 2> /dev/null
    mv sheet.png one.png
    evaluated two.json "${options[@]}" --sheet sheet.png
    succeeds
    cmp one.json two.json
    cmp one.png sheet.png
    "$DDPM" evaluate "$pictures" --against real --threads 1 --json > one.json 2> /dev/null # without any network
    evaluated two.json "$pictures" --against real --threads 1
    succeeds
    cmp one.json two.json
    process 0 2 evaluate "$pictures" --against real
    process 1 2 evaluate "$pictures" --against nothing
    ended 2
    one_error "rank 1 " "nothing"
    evaluated two.json run --against real --likelihood
    one_error "option --likelihood: got 2 ranks"
}

@test "requests that are impossible give one error" {
    run "$DDPM" train "${tiny[@]}" --out run --ranks nccl
    fails 2 "option ranks: got nccl, but this process was started neither by mpirun"
    run env RANK=0 WORLD_SIZE=2 LOCAL_RANK=0 "$DDPM" train "${tiny[@]}" --out run
    fails 2 "torchrun started 2 processes; want option ranks nccl"
    DDPM_NCCL=/nowhere/libnccl.so.2 together 2 "${tiny[@]}" --out run
    one_error "/nowhere/libnccl.so.2" "DDPM_NCCL=/path/to/libnccl.so.2"
    FAKE_NCCL_VERSION=2803 together 2 "${tiny[@]}" --out run
    one_error "want NCCL 2.14 or later"
    together 2 "${tiny[@]}" --device cpu --out run
    one_error "got nccl with device cpu"
    together 2 "${tiny[@]}" --out run --shard optimizer
    one_error "option shard: got optimizer on a GPU"
    DDPM_RANKS_FILE=$PWD/nowhere/file together 2 "${tiny[@]}" --out run
    one_error "nowhere/file"
    rank 0 2 "${tiny[@]}" --out run --rank-timeout 1
    ended 1
    one_error "WORLD_SIZE says that 2 processes were started, but rank 1 has not arrived"
    rank 1 2 "${tiny[@]}" --out run --rank-timeout 1
    mv pid-1 pid-0
    ended 1
    [ "$status" -eq 1 ]
    [ ! -e run ]
}

@test "a failure of NCCL ends all ranks with one message" {
    options=("${tiny[@]}" --out run --steps 100000)
    FAKE_NCCL_FAULT=id together 2 "${options[@]}"
    one_error "NCCL: making an id"
    FAKE_NCCL_FAULT=init FAKE_NCCL_RANK=1 together 2 "${options[@]}"
    one_error "rank 1 " "NCCL: joining the ranks: unhandled system error: a fault of the stand-in"
    FAKE_NCCL_FAULT=duplicate together 2 "${options[@]}"
    one_error "each needs its own GPU"
    FAKE_NCCL_FAULT=call:30 FAKE_NCCL_RANK=1 together 2 "${options[@]}"
    one_error "rank 1 " "unhandled system error"
    FAKE_NCCL_FAULT=pairs:4 FAKE_NCCL_RANK=1 together 2 "${options[@]}" --wire bf16
    one_error "rank 1 " "NCCL: a sum of all ranks as bf16: unhandled system error"
    rm -rf run
    for rank in 0 1; do
        FAKE_NCCL_FAULT=async:40 FAKE_NCCL_RANK=$rank FAKE_NCCL_LOG=$PWD/calls together 2 "${options[@]}"
        one_error "remote process exited or there was a network error"
        [ "$(tail -n 1 "calls.$rank" | cut -d' ' -f1)" = abort ]
        rm -rf run calls.*
    done
}

@test "if a rank is killed or hangs, the others save the last good step and end" {
    options=("${tiny[@]}" --steps 100000 --save-every 3 --rank-timeout 2)
    export FAKE_NCCL_RANK=1
    export FAKE_NCCL_FAULT=dies:60
    rank 1 2 "${options[@]}" --out killed
    rank 0 2 "${options[@]}" --out killed
    wait "$(cat pid-1)" || true
    rm .ddpm-ranks-*.1 # nothing else removes it
    ended 1
    unset FAKE_NCCL_FAULT
    one_error "no answer for 2 seconds (rank-timeout) from rank 1 "
    says "saved step"
    run "$DDPM" train --resume --out killed --steps $(($(newest killed) + 1))
    succeeds
}

@test "files of an earlier job do no harm" {
    options=("${tiny[@]}" --out run --steps 1)
    export DDPM_RANKS_FILE=$PWD/meet
    for index in 0 1; do # a job that was killed after all ranks had joined
        FAKE_NCCL_FAULT=dies:1 FAKE_NCCL_RANK=$index rank "$index" 2 "${options[@]}"
    done
    wait || true
    [ -e meet.0 ] && [ -e meet.1 ]
    rank 1 2 "${options[@]}"
    sleep 0.5
    rank 0 2 "${options[@]}"
    ended 2
    succeeds
    [ -z "$(find . -name 'meet*')" ]
}
