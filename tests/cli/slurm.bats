# The job script for Slurm: which end of a run has the job requeued. tests/ranks has it with several ranks.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures" 210
    make_run "$BATS_FILE_TMPDIR/run" "$BATS_FILE_TMPDIR/pictures" 20 --validate-every 10 --save-every 20
}

# What the script needs of Slurm: srun starts one task, and scontrol requeues the job.
setup() {
    cd "$BATS_TEST_TMPDIR"
    mkdir bin
    printf '#!/bin/sh\nshift\necho $$ > pid\nexec "$@"\n' > bin/srun
    printf '#!/bin/sh\necho "$@" >> requeued\n' > bin/scontrol
    chmod +x bin/srun bin/scontrol
    export PATH=$PWD/bin:$PATH SLURM_JOB_ID=7
    script=$BATS_TEST_DIRNAME/../../scripts/slurm/train.sbatch
}

@test "a run that patience ends is not requeued" {
    cp -r "$BATS_FILE_TMPDIR/run" run
    rest=$(printf ',1%.0s' {1..16})
    head -1 run/validation.csv > head
    { cat head; echo "10,0.0001,0.0001$rest"; echo "20,0.5,0.5$rest"; } > run/validation.csv
    run timeout 60 "$script" run --steps 100 --patience 2
    succeeds
    says "stopped by --patience"
    [ ! -e requeued ]
}

@test "a signal before the time limit requeues the job, the end of the run does not" {
    cp -r "$BATS_FILE_TMPDIR/run" run
    : > output
    timeout 60 "$script" run --steps 1000000 --validate-every 0 --save-every 30 --keep 0 > output 2>&1 3>&- &
    job=$!
    wait_for test -e run/checkpoints/step-000030
    kill -USR1 "$(cat pid)"
    wait "$job"
    grep -q "stopped, newest checkpoint" output
    [ "$(cat requeued)" = "requeue 7" ]
    latest=$(readlink run/checkpoints/latest)
    run timeout 60 "$script" run --steps $((10#${latest#step-}))
    succeeds
    [ "$(wc -l < requeued)" -eq 1 ]
}

@test "a requeued job leaves out the options of a new run" {
    cp -r "$BATS_FILE_TMPDIR/run" run
    run timeout 60 "$script" run --time 1h --steps 22 --pretrained no/such --time=2h
    succeeds
    [ "$(readlink run/checkpoints/latest)" = step-000022 ]
}

@test "a failure is final and keeps its exit code" {
    run timeout 60 "$script" run --data no/such --steps 20
    fails 1 "no/such"
    [ ! -e requeued ]
}
