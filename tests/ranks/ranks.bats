# Several processes train together, over the MPI that RANKS_MPI names: openmpi or mpich.
load "$DDPM_SUPPORT"

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

setup_file() {
    command -v "mpirun.$RANKS_MPI" > /dev/null || skip "no mpirun of $RANKS_MPI"
    make_pictures "$BATS_FILE_TMPDIR/pictures"
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures
    tiny=(--data "$pictures" "${TINY[@]}" --sample-every 0)
}

teardown() {
    ! mountpoint -q "$BATS_TEST_TMPDIR/disk" 2>/dev/null || umount "$BATS_TEST_TMPDIR/disk"
}

# launch ARGUMENT…: the launcher, with the options it needs on two cores
launch() {
    local options=()
    [ "$RANKS_MPI" != openmpi ] || options=(--oversubscribe --bind-to none)
    timeout 60 "mpirun.$RANKS_MPI" "${options[@]}" "$@"
}

# together RANKS ARGUMENT…: ddpm train
together() {
    local ranks=$1
    shift
    launch -n "$ranks" "$DDPM" train "$@"
}

# same_state A B: two runs have the same weights, averages and moments, and the same numbers in their logs.
same_state() {
    for file in model ema optimizer; do
        cmp "$1/checkpoints/latest/$file.safetensors" "$2/checkpoints/latest/$file.safetensors"
    done
    cmp <(cut -d, -f1-4 "$1/log.csv") <(cut -d, -f1-4 "$2/log.csv")
}

# near A B STEP BOUND: at this step, the losses of two runs differ by BOUND at most.
near() {
    awk -F, -v step="$3" -v bound="$4" '$1 == step { loss[n++] = $2 }
        END { d = loss[0] - loss[1]; exit !(n == 2 && d <= bound && -d <= bound) }' "$1/log.csv" "$2/log.csv" || {
        echo "losses of step $3 differ by more than $4"
        tail -n 3 "$1/log.csv" "$2/log.csv"
        return 1
    }
}

# sent: prints the bytes that each rank sends in a step, from the output of a run on stdin
sent() {
    sed -n 's/.*each sends \([0-9.]*\) \([kM]*\)B in a step.*/\1 \2/p' |
        awk '{ printf "%d\n", $1 * ($2 == "k" ? 1e3 : $2 == "M" ? 1e6 : 1) }'
}

# one_error TEXT…: the last `run` failed with exactly one error line, which contains every TEXT. (The launcher adds
# lines of its own.)
one_error() {
    local code=$status
    [ "$code" -ne 0 ] && [ "$code" -ne 124 ] || { echo "exit code $code; $output"; return 1; }
    fails "$code" "$@"
}

# remember: writes a script of that name, which writes its pid into pid-RANK and becomes its arguments.
remember() {
    cat > remember <<'END'
#!/bin/sh
echo $$ > "pid-${OMPI_COMM_WORLD_RANK:-$PMI_RANK}"
exec "$@"
END
    chmod +x remember
}

# begin RANKS RUN ARGUMENT…: trains in the background, and returns at step 5. Pids are in pid-RANK.
begin() {
    local ranks=$1 run=$2
    shift 2
    remember
    launch -n "$ranks" ./remember "$DDPM" train "${tiny[@]}" --out "$run" --steps 100000 --save-every 5 "$@" \
        > output 2>&1 3>&- &
    job=$!
    wait_for test -e "$run/checkpoints/step-000005"
}

# ended: waits for the job of `begin`. Like `run`, sets $status and $output.
ended() {
    status=0
    wait "$job" || status=$?
    output=$(cat output)
}

# gone PID: the process has ended; it may still be a zombie.
gone() {
    ! grep -qs '^State:[[:space:]]*[^Z]' "/proc/$1/status"
}

# whole RUN: its newest checkpoint can be resumed.
whole() {
    run "$DDPM" train --resume --out "$1" --steps $(($(newest "$1") + 1)) --data "$pictures"
    succeeds
}

@test "1, 2 and 4 ranks train the same" {
    make_run one "$pictures" 30
    together 2 "${tiny[@]}" --out two --steps 30
    together 4 "${tiny[@]}" --out four --steps 30
    for run in two four; do
        near one "$run" 1 1e-6
        near one "$run" 30 1e-3
    done
}

@test "exactly the same bits, with accumulated batches and one timestep per batch" {
    options=(--reduce exact --steps 4 --batch-size 8 --accumulate 2 --timestep-per-batch on --flip on --crop random)
    make_run one "$pictures" 4 "${options[@]}"
    together 2 "${tiny[@]}" "${options[@]}" --out two
    together 4 "${tiny[@]}" "${options[@]}" --out four
    same_state one two
    same_state one four
}

@test "gradients as bf16: half the bytes, nearly the same training" {
    make_run one "$pictures" 20
    together 2 "${tiny[@]}" --out plain --steps 1 2> plain.txt
    run together 2 "${tiny[@]}" --out two --steps 20 --wire bf16
    succeeds
    says "gradients as bf16"
    grep -q "gradients as fp32" plain.txt
    awk -v half="$(sent <<< "$output")" -v whole="$(sent < plain.txt)" \
        'BEGIN { exit !(half > 0 && half / whole > 0.49 && half / whole < 0.51) }'
    near one two 1 1e-3
    near one two 20 1e-2
    differ one/checkpoints/latest/model.safetensors two/checkpoints/latest/model.safetensors
    grep -q '"wire": "bf16"' two/config.json
    run "$DDPM" train --resume --out two --steps 21 --shard optimizer # keeps wire
    succeeds
    says "wire bf16 has no effect with one rank" "shard optimizer has no effect with one rank"
    run together 2 --resume --out two --steps 22 --wire fp32
    succeeds
    says "gradients as fp32"
    run together 2 "${tiny[@]}" --out exact --reduce exact --wire bf16
    one_error "option wire: got bf16 with reduce exact"
    [ ! -e exact ]
}

@test "a run can be resumed with any number of ranks" {
    options=(--reduce exact --shares 6 --batch-size 6)
    make_run straight "$pictures" 8 "${options[@]}"
    together 2 "${tiny[@]}" "${options[@]}" --out run --steps 3
    together 3 --resume --out run --steps 5
    "$DDPM" train --resume --out run --steps 6
    together 2 --resume --out run --steps 8
    same_state straight run
}

@test "Muon, the nearest noise, rotated pictures and both averages are the same for any number of ranks" {
    options=(--recipe fast --warmup 2 --optimizer muon --noise-candidates 3 --level-sampling stratified --rotate on --reduce exact)
    make_run straight "$pictures" 6 "${options[@]}"
    together 2 "${tiny[@]}" "${options[@]}" --out run --steps 6
    same_state straight run
    cmp {straight,run}/checkpoints/latest/ema-second.safetensors
}

# The fourth step is the first on whole pictures.
@test "steps on patches, then on whole pictures: the same bits for any number of ranks" {
    options=(--patches 2 --patch-share 0.5 --coordinates on --reduce exact)
    make_run straight "$pictures" 6 "${options[@]}"
    together 2 "${tiny[@]}" "${options[@]}" --out run --steps 6 --save-every 3
    same_state straight run
    rm -r run/checkpoints/step-000006
    ln -sfn step-000003 run/checkpoints/latest
    together 4 --resume --out run
    same_state straight run
    together 2 "${tiny[@]}" "${options[@]}" --shard optimizer --out divided --steps 6
    same_state straight divided
    together 2 "${tiny[@]}" "${options[@]::6}" --out fast --steps 6
    near straight fast 6 0.001
    together 2 "${tiny[@]}" "${options[@]::6}" --wire bf16 --out half --steps 6
    near straight half 6 0.01
    launch -n 2 "$DDPM" train "${tiny[@]}" --patches 2 --out timed --time 6s 2> said
    grep -q "steps of .* on patches and" said
}

@test "distilling and starting from a trained model: the same bits for any number of ranks" {
    make_run model "$pictures" 4 --objective v
    "$DDPM" distill model --out straight --steps 4 --reduce exact 2> said
    launch -n 2 "$DDPM" distill model --out few --steps 4 --save-every 2 --reduce exact 2> said
    same_state straight few
    rm -r few/checkpoints/step-000004
    ln -sfn step-000002 few/checkpoints/latest
    launch -n 4 "$DDPM" distill --resume few 2> said
    same_state straight few
    "$DDPM" train --data "$pictures" --out alone --pretrained model --steps 3 --batch-size 4 --reduce exact 2> said
    launch -n 2 "$DDPM" train --data "$pictures" --out shared --pretrained model --steps 3 --batch-size 4 --reduce exact 2> said
    same_state alone shared
}

# watch: writes a script of that name, which runs its arguments and leaves its peak memory in kB in peak-RANK. The peak
# is read while the process lives, and later figures can only be larger.
watch() {
    cat > watch <<'END'
#!/bin/bash
rank=${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-0}}
"$@" &
while status=$(< /proc/$!/status) && [[ $status =~ VmHWM:[^0-9]*([0-9]+) ]]; do
    echo "${BASH_REMATCH[1]}" > "peak-$rank"
    sleep 0.1
done 2> /dev/null
wait $!
END
    chmod +x watch
}

# Without shared weights: shared memory counts in the peak of every rank, and only once in the plans.
@test "1, 2 and 4 ranks take as much memory as planned" {
    watch
    for ranks in 1 2 4; do
        launch -n "$ranks" ./watch "$DDPM" train --data "$pictures" --out "run-$ranks" --dim 24 --image-size 16 \
            --batch-size 4 --steps 1 --threads 1 --sample-every 0 --save-every 0 --share-weights off 2> output
        # The program and MPI themselves take less than 32 MB.
        awk 'FILENAME == "output" && / planned/ { plan = $2 * ($3 == "GB" ? 1e9 : $3 == "MB" ? 1e6 : 0) }
            FILENAME != "output" { peak = $1 * 1024 - 32e6; print plan, peak; n += peak > 0.9 * plan && peak < 1.1 * plan }
            END { exit n != '"$ranks"' }' output $(seq -f "peak-%g" 0 $((ranks - 1)))
    done
}

@test "the optimizer's state divided among ranks: the same bits, and any number of ranks can resume" {
    options=(--dim 16 --reduce exact --batch-size 8 --decay matrices --ema power --ema-second 0.1)
    make_run one "$pictures" 6 "${options[@]}"
    together 4 "${tiny[@]}" "${options[@]}" --shard optimizer --out run --steps 2
    together 2 --resume --out run --steps 3
    "$DDPM" train --resume --out run --steps 4
    together 4 --resume --out run --steps 5 --shard none
    together 2 --resume --out run --steps 6 --shard optimizer
    same_state one run
    cmp {one,run}/checkpoints/latest/ema-second.safetensors
}

@test "Muon's matrices divided among ranks: the same bits, and any number of ranks can resume" {
    options=(--dim 16 --recipe fast --warmup 1 --lr-schedule constant --optimizer muon --reduce exact --batch-size 8)
    make_run one "$pictures" 6 "${options[@]}"
    together 4 "${tiny[@]}" "${options[@]}" --shard optimizer --out run --steps 2
    together 2 --resume --out run --steps 3
    "$DDPM" train --resume --out run --steps 4
    together 2 --resume --out run --steps 5 --shard none
    together 4 --resume --out run --steps 6 --shard optimizer
    same_state one run
    cmp {one,run}/checkpoints/latest/ema-second.safetensors
}

@test "ranks of a machine share their packed weights, with the same bits" {
    options=(--steps 3 --batch-size 8 --verbose)
    exact=("${options[@]}" --reduce exact --accumulate 2)
    "$DDPM" train "${tiny[@]}" "${exact[@]}" --out one
    run together 2 "${tiny[@]}" "${exact[@]}" --out exact-2 --share-weights off
    succeeds
    [[ "$output" != *"packed weights: "*" MB, "* ]]
    run together 4 "${tiny[@]}" "${exact[@]}" --out exact-4
    succeeds
    says "MB, one copy for the 4 ranks of a machine"
    same_state one exact-2
    same_state one exact-4
    for ranks in 2 4; do
        together "$ranks" "${tiny[@]}" "${options[@]}" --out "fast-$ranks"
        together "$ranks" "${tiny[@]}" "${options[@]}" --out "fast-$ranks-off" --share-weights off
        same_state "fast-$ranks" "fast-$ranks-off"
    done
    run together 2 "${tiny[@]}" --out low --steps 1 --verbose --memory low
    succeeds
    says "packed weights are not shared: with memory low"
}

# small_memory SIZE COMMAND…: runs it with only this much shared memory, and lists in the file `left` what remains
# there.
small_memory() {
    unshare -m bash -c 'mount -t tmpfs -o size="$0" tmpfs /dev/shm && "$@"
        code=$?
        ls /dev/shm > left
        exit $code' "$@"
}

@test "without room for shared memory, every rank packs its own weights" {
    unshare -m true 2> /dev/null || skip "may not make a mount namespace"
    export -f launch
    options=("${tiny[@]}" --dim 24 --dim-mults 1,2,4 --steps 2 --verbose)
    run small_memory 10m launch -n 2 "$DDPM" train "${options[@]}" --out small # MPICH itself needs 9 MB
    succeeds
    says "packed weights are not shared: " "/dev/shm: got "
    run small_memory 64m launch -n 2 "$DDPM" train "${options[@]}" --out large
    succeeds
    says "one copy for the 2 ranks of a machine"
    same_state small large
}

@test "a rank that is killed leaves no shared memory behind" {
    unshare -m true 2> /dev/null || skip "may not make a mount namespace"
    export -f launch
    remember
    small_memory 64m launch -n 2 ./remember "$DDPM" train "${tiny[@]}" --out run --steps 100000 --save-every 5 \
        --verbose > output 2>&1 3>&- &
    job=$!
    wait_for test -e run/checkpoints/step-000005
    kill -KILL "$(cat pid-1)"
    ended
    [ "$status" -ne 0 ] && [ "$status" -ne 124 ]
    says "one copy for the 2 ranks of a machine"
    [ ! -s left ] || { cat left; false; }
    whole run
}

@test "the others do not wait for a rank that fails before it packs weights" {
    "$DDPM" pack "$pictures" --out packed.npy --size 16 2> /dev/null
    cp packed.npy own.npy
    remember
    options=("${TINY[@]}" --sample-every 0 --out run --steps 100000 --save-every 5)
    launch -n 1 ./remember "$DDPM" train --data packed.npy "${options[@]}" \
        : -n 1 ./remember "$DDPM" train --data own.npy "${options[@]}" > output 2>&1 3>&- &
    job=$!
    wait_for test -e run/checkpoints/step-000005
    truncate -s 128 own.npy
    ended
    one_error "rank 1" "own.npy" "cut short"
    says "saved step"
    pictures=packed.npy whole run
}

@test "with a divided state, gradients are summed only where their weights are updated" {
    together 2 "${tiny[@]}" --out plain --steps 10 2> plain.txt
    for wire in fp32 bf16; do
        run together 2 "${tiny[@]}" --out "$wire" --steps 10 --shard optimizer --wire "$wire"
        succeeds
        sent <<< "$output" > "sent-$wire"
    done
    near plain fp32 10 1e-4
    near plain bf16 10 1e-2
    # Gradients and weights once, instead of gradients twice; half the bytes for gradients.
    awk -v plain="$(sent < plain.txt)" -v fp32="$(cat sent-fp32)" -v bf16="$(cat sent-bf16)" \
        'BEGIN { exit !(plain > 0 && fp32 == plain && bf16 / plain > 0.74 && bf16 / plain < 0.76) }'
}

@test "with a divided state, grids and validation use the whole average, and the last good step is saved" {
    "$DDPM" synth --out many --count 210 --size 16 2> /dev/null
    options=(--data many "${TINY[@]}" --reduce exact --steps 6 --validate-every 2 --save-every 3 --sample-every 3)
    "$DDPM" train "${options[@]}" --out run
    mv run one
    together 2 "${options[@]}" --out run --shard optimizer
    same_state one run
    cmp one/validation.csv run/validation.csv
    cmp <(tail -c 200 one/samples/step-000006.png) <(tail -c 200 run/samples/step-000006.png) # the options differ
    begin 2 stopped --shard optimizer
    kill -TERM "$(cat pid-1)"
    ended
    says "stopped, newest checkpoint of step"
    whole stopped
    begin 2 lost --shard optimizer --rank-timeout 2
    kill -STOP "$(cat pid-1)"
    ended
    one_error "no answer for 2 seconds (rank-timeout) from rank 1 "
    whole lost
}

@test "the first rank draws grids, validates, and writes the best checkpoint" {
    "$DDPM" synth --out many --count 210 --size 16 2> /dev/null
    options=(--data many "${TINY[@]}" --reduce exact --steps 6 --validate-every 2 --save-every 3 --sample-every 3)
    "$DDPM" train "${options[@]}" --out run
    mv run one
    run together 2 "${options[@]}" --out run
    succeeds
    [ "$(grep -c '^step 6/6' <<< "$output")" -eq 1 ]
    says "ranks     2 on 1 machine" "ranks 0 to 1 on $(hostname): CPU"
    # The rate counts the pictures of both ranks: 4 per step, not 2.
    awk -F, 'NR > 1 { sum += 4 / $5; all = $6 } END { exit !(sum > 0.7 * all && sum < 1.4 * all) }' run/log.csv
    run "$DDPM" info run
    succeeds
    says "last start  2 on 1 machine" "            ranks 0 to 1 on $(hostname): CPU"
    same_state one run
    cmp one/validation.csv run/validation.csv
    cmp one/samples/step-000006.png run/samples/step-000006.png # has the run's name in it
    [ "$(readlink one/checkpoints/best)" = "$(readlink run/checkpoints/best)" ]
}

@test "ranks on the same processors share them, and one rank is alone" {
    run together 4 "${tiny[@]}" --out run --threads 0 --batch-size 6
    one_error "want a multiple"
    run together 1 "${tiny[@]}" --out run --steps 2
    succeeds
    [[ "$output" != *"ranks  "* ]]
    run together 2 "${tiny[@]}" --out two --steps 2 --threads 0
    succeeds
    each=$(($(nproc) / 2))
    says ", $((each > 1 ? each : 1)) thread"
}

@test "work that cannot be shared gives one error" {
    run together 3 "${tiny[@]}" --out run
    one_error "got 4 pictures for 3 ranks" "the nearest are 3 and 6"
    run together 2 "${tiny[@]}" --out run --reduce exact --shares 3
    one_error "option shares: got 3 for 2 ranks"
    run together 2 "${tiny[@]}" --out run --ranks nccl
    one_error "got nccl"
    run together 2 "${tiny[@]}" --out run --dim many
    one_error "option dim"
    run together 2 --data nowhere --out run "${TINY[@]}"
    one_error "nowhere"
    [ ! -e run ]
}

@test "a launcher that does not fit gives one error" {
    cp "$DDPM" alone # without plug-ins
    run launch -n 2 ./alone train "${tiny[@]}" --out run
    one_error "no plug-in for it" "--ranks off"
    run "$DDPM" train "${tiny[@]}" --out run --ranks mpi
    one_error "started neither by mpirun nor by srun"
    run env SLURM_STEP_NUM_TASKS=2 "$DDPM" train "${tiny[@]}" --out run
    one_error "srun --mpi=pmix"
    run env OMPI_COMM_WORLD_SIZE=2 PMI_SIZE=2 MPI_LOCALNRANKS=2 "$DDPM" train "${tiny[@]}" --out run
    one_error "two launchers, one inside the other"
    [ ! -e run ]
    run env OMPI_COMM_WORLD_SIZE=2 "$DDPM" train "${tiny[@]}" --out run --ranks off --steps 1
    succeeds
}

@test "ranks that differ are detected before the first step" {
    run launch -n 1 "$DDPM" train "${tiny[@]}" --out run : -n 1 "$DDPM" train "${tiny[@]}" --out run --lr 1e-3
    one_error "rank 1" 'got "lr: 0.001", rank 0 has "lr: 0.0001"'
    cp -r "$pictures" others
    rm "$(find others -type f | head -n 1)"
    run launch -n 1 "$DDPM" train "${tiny[@]}" --out run \
        : -n 1 "$DDPM" train "${tiny[@]}" --out run --data others
    one_error "rank 1" "pictures: "
    run launch -n 1 "$DDPM" train "${tiny[@]}" --out run \
        : -n 1 "$DDPM" train "${tiny[@]}" --out run --data missing
    one_error "rank 1" "missing"
    [ ! -e run ]
}

@test "a clock that differs is reported once" {
    [ -n "$ODD_CLOCK" ] || skip "not with sanitizers"
    run launch -n 1 "$DDPM" train "${tiny[@]}" --out run --steps 1 \
        : -n 1 env LD_PRELOAD="$ODD_CLOCK" "$DDPM" train "${tiny[@]}" --out run --steps 1
    succeeds
    says "warning: the clock of rank 1 ($(hostname)) is 1:00:00 ahead of that of rank 0"
    [ "$(grep -c 'the clock of' <<< "$output")" -eq 1 ]
}

@test "a signal to one rank saves and ends all" {
    begin 2 run
    kill -TERM "$(cat pid-1)"
    ended
    [ "$status" -ne 0 ]
    says "stopped, newest checkpoint of step"
    whole run
}

@test "with --requeue-exit a signal is not a failure" {
    begin 2 run --requeue-exit
    kill -USR1 "$(cat pid-0)"
    ended
    succeeds
    says "stopped, newest checkpoint of step"
    whole run
}

@test "a rank is killed" {
    begin 2 run
    kill -KILL "$(cat pid-1)"
    ended
    [ "$status" -ne 0 ] && [ "$status" -ne 124 ]
    whole run
}

@test "if a rank hangs, the others end after rank-timeout" {
    begin 3 run --rank-timeout 2 --batch-size 6
    kill -STOP "$(cat pid-1)"
    ended
    one_error "no answer for 2 seconds (rank-timeout) from rank 1 "
    says "saved step"
    whole run
}

@test "the rank that writes hangs" {
    begin 3 run --rank-timeout 2 --batch-size 6
    kill -STOP "$(cat pid-0)"
    ended
    one_error "no answer for 2 seconds (rank-timeout) from rank 0 "
    # The launcher kills the hung process, which holds the run's lock, but may end first.
    wait_for gone "$(cat pid-0)"
    whole run
}

@test "the disk is full for the rank that writes" {
    mkdir disk
    mount -t tmpfs -o size=3m tmpfs disk 2>/dev/null || skip "may not mount a tmpfs"
    run together 2 "${tiny[@]}" --out disk/run --steps 1000 --save-every 1 --keep 0
    one_error "No space left"
    cp -r disk/run copy
    umount disk
    whole copy
}

@test "a loss that is not finite fails on all ranks" {
    run together 2 "${tiny[@]}" --out run --steps 50 --lr 90 --weight-decay 100 --warmup 0
    one_error "first in"
}

@test "all ranks draw the same pictures as one" {
    make_run run "$pictures" 2
    photo=$(find "$pictures" -name "*.png" | sort | head -n 1)
    for options in "--count 7 --batch 2" "--count 1" "--count 5 --from $photo --strength 0.5 --array drawn/all.npy" \
        "--count 20 --batch 2 --trajectory drawn/chain.png"; do
        for ranks in 1 3; do
            rm -rf drawn
            mkdir drawn
            run launch -n "$ranks" "$DDPM" sample run --out drawn/pictures --seed 4 --threads 1 $options
            succeeds
            [ "$(grep -c '^drew ' <<< "$output")" -eq 1 ]
            rm -rf "by-$ranks"
            mv drawn "by-$ranks"
        done
        diff -r by-1 by-3
    done
    run launch -n 2 "$DDPM" sample run --out drawn --seed random --threads 1 # one seed for all
    succeeds
    [ "$(grep -c '^seed drawn at random:' <<< "$output")" -eq 1 ]
}

@test "drawing ends for all with one message" {
    make_run run "$pictures" 2
    run launch -n 2 "$DDPM" sample nothing --out drawn
    one_error "nothing"
    mkdir drawn && touch drawn/file
    run launch -n 2 "$DDPM" sample run --out drawn
    one_error "drawn"
    run launch -n 1 "$DDPM" sample run --out new : -n 1 "$DDPM" sample run --out new --init missing.npy
    one_error "rank 1" "missing.npy"
}

@test "all ranks compare pictures with the same result as one" {
    make_run run "$pictures" 2
    cp -r "$pictures" real
    echo "no picture" > real/damaged.png
    options=(run --against real -n 11 --batch 2 --threads 1 --json --sheet sheet.png)
    "$DDPM" evaluate "${options[@]}" > one.json 2> /dev/null
    mv sheet.png one.png
    launch -n 3 "$DDPM" evaluate "${options[@]}" > three.json 2> errors
    cmp one.json three.json
    cmp one.png sheet.png
    [ "$(grep -c 'drawing 11 pictures' errors)" -eq 1 ]
    run launch -n 1 "$DDPM" evaluate run --against real -n 11 : -n 1 "$DDPM" evaluate run --against real -n 12
    one_error "rank 1" "pictures to draw: 12"
    run launch -n 1 "$DDPM" evaluate run --against real : -n 1 "$DDPM" evaluate run --against nothing
    one_error "rank 1" "nothing"
    run launch -n 2 "$DDPM" evaluate run --against real --likelihood
    one_error "option --likelihood: got 2 ranks"
}

@test "on a device with its own memory" {
    [ -n "$EMULATED" ] || skip "no emulated device"
    export DDPM_CUDA_PLUGIN=$EMULATED
    options=("${tiny[@]}" --device cuda --reduce exact --shares 2 --steps 2)
    "$DDPM" train "${options[@]}" --out one
    # Each rank takes a device of its own.
    DDPM_EMULATED_DEVICES=2 DDPM_EMULATED_OPENED=$PWD/opened together 2 "${options[@]}" --out two
    same_state one two
    [ "$(sort -u opened | xargs)" = "0 1" ]
    run together 2 "${options[@]}" --out three --shard optimizer
    one_error "option shard: got optimizer on a GPU"
}

@test "GPUs sum gradients over NCCL, and everything else goes over MPI" {
    [ -n "$EMULATED" ] || skip "no emulated device"
    export DDPM_CUDA_PLUGIN=$EMULATED DDPM_NCCL=$FAKE_NCCL DDPM_EMULATED_DEVICES=2
    options=("${tiny[@]}" --image-size 8 --device cuda --steps 3)
    "$DDPM" train "${options[@]}" --out one
    FAKE_NCCL_LOG=$PWD/calls run together 2 "${options[@]}" --ranks nccl --out two
    succeeds
    says "MPI" "NCCL 2.27.3"
    near one two 1 1e-6
    near one two 3 1e-3
    [ "$(cut -d' ' -f1 calls.0 | sort -u | xargs)" = "allreduce destroy finalize join" ]
    run together 2 "${options[@]}" --wire bf16 --out host # summed by the CPUs, with the same rule
    run together 2 "${options[@]}" --wire bf16 --ranks nccl --out device
    succeeds
    cmp {host,device}/checkpoints/latest/model.safetensors
    export FAKE_NCCL_RANK=1
    FAKE_NCCL_FAULT=init run together 2 "${options[@]}" --ranks nccl --out three --rank-timeout 3
    one_error "rank 1" "NCCL: joining the ranks"
    FAKE_NCCL_FAULT=async:20 run together 2 "${options[@]}" --ranks nccl --out three --steps 1000 --rank-timeout 3
    one_error "rank 1 "
}

@test "the job for Slurm is requeued and ends as if never stopped" {
    # What the script needs of Slurm: srun starts two tasks, and scontrol requeues the job.
    mkdir bin
    cat > bin/srun <<'END'
#!/bin/sh
[ "$1" = --mpi=pmix ] && shift
[ "$RANKS_MPI" != openmpi ] || options="--oversubscribe --bind-to none"
exec "mpirun.$RANKS_MPI" $options -n 2 ./remember "$@"
END
    printf '#!/bin/sh\necho "$@" >> requeued\n' > bin/scontrol
    chmod +x bin/srun bin/scontrol
    remember
    export PATH=$PWD/bin:$PATH SLURM_JOB_ID=7 RANKS_MPI
    options=("${tiny[@]}" --reduce exact --save-every 50 --steps 400)
    timeout 60 "$SLURM_SCRIPT" run "${options[@]}" > output 2>&1 3>&- &
    job=$!
    wait_for test -e run/checkpoints/step-000050
    kill -USR1 "$(cat pid-0)" "$(cat pid-1)"
    ended
    succeeds
    [ "$(cat requeued)" = "requeue 7" ]
    run timeout 60 "$SLURM_SCRIPT" run "${options[@]}"
    succeeds
    says "done, newest checkpoint of step 400"
    [ "$(wc -l < requeued)" -eq 1 ]
    "$DDPM" train "${options[@]}" --out straight
    same_state straight run
}
