# bench/measure.sh at small sizes on the CPU, with a stand-in for nvidia-smi and no PyTorch.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures" 8
    mkdir "$BATS_FILE_TMPDIR/bin"
    # memory.used alone, or the rows that `-lms` repeats
    cat > "$BATS_FILE_TMPDIR/bin/nvidia-smi" <<'END'
#!/bin/sh
case "$*" in
    *timestamp*) while :; do echo "now, ${BUSY:-99}, 700"; sleep 0.1; done ;;
    *memory.used*) echo 500 ;;
    *name*) echo "A GPU, 1" ;;
esac
END
    chmod +x "$BATS_FILE_TMPDIR/bin/nvidia-smi"
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    export PYTHON=no-such-python
    pictures=$BATS_FILE_TMPDIR/pictures
}

# measure PARTS [OPTION…]
measure() {
    run "$BATS_TEST_DIRNAME/../../bench/measure.sh" --program "$DDPM" --out out --device cpu --precision fp32 --dim 4 \
        --size 8 --timesteps 30 --batches 4,2,3 --repeats 1 --steps 37 --draw 20 --seconds 1 --parts "$@"
}

@test "what is not there is not measured, and nothing fails" {
    PATH=/usr/bin:/bin measure torch,run
    succeeds
    says "PyTorch's time to ours |  | ≥ 1.5 | not measured: no no-such-python" "none black or empty | not measured: no --data" \
        "batch 4 |  | ≤ 12 ms | not measured: the part bench was not run" "check |  | none fails | not measured"
}

@test "steps and sampling" {
    measure bench
    succeeds
    says "training step, batch 3 |" "% of 790" "FALLS SHORT" "16 pictures, 30 steps |" "with start-up"
    [[ "$output" != *"bench was not run"* ]]
}

@test "a whole run, and what is kept of it" {
    measure run --data "$pictures"
    succeeds
    says "37 steps of training, batch 4 |" "no loss.png" "4 grids | 4 grids | reached" "of 20: "
    for file in loss.csv step-000001.png step-000010.png step-000030.png step-000037.png drawn/0019.png; do
        [ -s "out/$file" ]
    done
    measure run --data "$pictures"
    says "the figure there is stays" "a step | < 600 s | reached"
}

@test "a run that is stopped in time and goes on" {
    measure run --data "$pictures" --steps 1000000 --limit 6
    succeeds
    says "stopped, newest checkpoint of step" "of 1000000; --resume goes on"
    measure run --data "$pictures" --steps 1000000
    succeeds
    says "--resume goes on with it"
    step=$(rows out/run)
    measure run --data "$pictures" --steps $((step + 3)) --resume
    succeeds
    says "done, newest checkpoint of step $((step + 3))" "$((step + 3)) steps of training, batch 4 |" "< 600 s | reached"
}

@test "the share of time and the memory that nvidia-smi tells" {
    PATH=$BATS_FILE_TMPDIR/bin:$PATH measure busy --data "$pictures"
    says "A GPU, 1: TwoResUNet" "99.00 % over 1 s; memory in use 700 MiB, before it 500 MiB | ≥ 97 % | reached"
    PATH=$BATS_FILE_TMPDIR/bin:$PATH BUSY=60 measure busy
    says "60.00 % over 1 s from synthetic PNG pictures, no --data" "≥ 97 % | FALLS SHORT"
    PATH=$BATS_FILE_TMPDIR/bin:$PATH BUSY="[N/A]" measure busy --data "$pictures"
    says "did not tell the share"
}

@test "wrong usage" {
    for wrong in "bench,x" "bench --batches 1,2" "bench --out" "bench --color"; do
        # shellcheck disable=SC2086 # words
        measure $wrong
        [ "$status" -eq 2 ]
    done
}
