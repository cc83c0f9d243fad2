# Signals: on a signal to stop, the run saves first; signals ignored at the start stay ignored.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures"
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures
}

teardown() {
    [ -z "${pid:-}" ] || kill -KILL "$pid" 2>/dev/null || true
}

# start [OPTION…]: start a long run in the background, with the signal dispositions of a foreground process, and wait
# for its first step.
start() {
    rm -rf new errors
    start_job "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --steps 1000000 --sample-every 0 "$@"
    wait_for grep -q "^step 1/" errors
}

# ends CODE: check that the run ends with CODE and that its newest checkpoint is that of the last row.
ends() {
    job_ends "$1" || return 1
    [ "$(tail -1 new/log.csv | cut -d, -f1)" -eq "$(newest new)" ]
}

@test "every signal to stop saves, and is acknowledged at once" {
    for signal in INT:130 TERM:143 HUP:129 XCPU:152 USR1:138 USR2:140; do
        start
        kill -"${signal%:*}" "$pid"
        ends "${signal#*:}"
        grep -q "^finishing step [0-9]*, then saving" errors
        grep -q "^stopped, newest checkpoint of step $(newest new) in new; ddpm train --resume new continues it" errors
    done
}

@test "Ctrl-C says what a second one does" {
    start --accumulate 30
    kill -INT "$pid"
    wait_for grep -q "^finishing step [0-9]*, then saving (Ctrl-C again to quit now)$" errors
    ends 130
}

@test "reaching the soft limit on processor time saves" {
    rm -rf new
    code=0
    bash -c 'ulimit -S -t 2; exec "$DDPM" train --data "$1" --out new "${@:2}" 2> errors' _ "$pictures" "${TINY[@]}" \
        --steps 100000000 --sample-every 0 || code=$?
    [ "$code" -eq 152 ]
    [ "$(tail -1 new/log.csv | cut -d, -f1)" -eq "$(newest new)" ]
}

@test "other signals, and the same one twice in quick succession, never cost the checkpoint" {
    # A step long enough for both signals to arrive while it runs.
    for signals in "TERM TERM" "INT INT" "HUP HUP" "USR1 TERM" "XCPU XCPU INT" "HUP USR1 USR2 TERM"; do
        start --accumulate 60
        for signal in $signals; do
            kill -"$signal" "$pid"
        done
        code=0
        wait "$pid" || code=$?
        [ "$code" -gt 128 ]
        [ "$(tail -1 new/log.csv | cut -d, -f1)" -eq "$(newest new)" ]
    done
}

@test "timeout stops a run with a checkpoint" {
    command -v timeout || skip "no timeout"
    run timeout 3 "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --steps 100000000 --sample-every 0
    [ "$status" -eq 124 ]
    [ "$(tail -1 new/log.csv | cut -d, -f1)" -eq "$(newest new)" ]
}

@test "a signal while samples are drawn" {
    start --steps 1 --num-samples 64 --timesteps 100000 --schedule sigmoid --sampler ancestral \
        --sample-every 1
    wait_for grep -q "^sampling" errors
    kill -HUP "$pid"
    ends 129
    grep -q "^skipping the samples of step 1" errors
    [ -z "$(ls new/samples)" ]
}

@test "signals ignored at the start stay ignored" {
    for signal in INT HUP USR1 TERM XCPU; do
        rm -rf new errors
        bash -c 'trap "" "$1"; exec "$DDPM" train --data "$2" --out new "${@:3}" 2> errors' _ $signal "$pictures" \
            "${TINY[@]}" --steps 1000000 --sample-every 0 &
        pid=$!
        wait_for grep -q "^step 1/" errors
        kill -$signal "$pid"
        sleep 0.3
        kill -0 "$pid"
        kill -USR2 "$pid"
        ends 140
    done
}

@test "nohup outlives its terminal, & outlives Ctrl-C" {
    command -v nohup || skip "no nohup"
    set -m
    nohup "$DDPM" train --data "$pictures" --out new "${TINY[@]}" --steps 1000000 --sample-every 0 < /dev/null > errors 2>&1 &
    pid=$!
    set +m
    wait_for grep -q "^step 1/" errors
    kill -HUP "$pid"
    sleep 0.3
    kill -TERM "$pid"
    ends 143
    rm -rf new errors
    # Without job control, a shell starts background commands with SIGINT ignored.
    bash -c '"$DDPM" train --data "$1" --out new "${@:2}" 2> errors & echo $! > pid; wait' _ "$pictures" "${TINY[@]}" \
        --steps 1000000 --sample-every 0 &
    wait_for test -s errors
    wait_for grep -q "^step 1/" errors
    pid=$(cat pid)
    kill -INT "$pid"
    sleep 0.3
    kill -0 "$pid"
    kill -TERM "$pid"
    wait_for grep -q "^stopped, newest" errors
}

@test "drawing and packing stop on a signal" {
    make_run run "$pictures" 1
    for signal in INT:130 HUP:129 USR1:138; do
        rm -rf drawn errors
        start_job "$DDPM" sample run --out drawn -n 100000
        wait_for grep -q "^sampling" errors
        kill -"${signal%:*}" "$pid"
        job_ends "${signal#*:}"
        grep -q "^stopping" errors
        [ -z "$(ls drawn | grep tmp)" ]
    done
}
