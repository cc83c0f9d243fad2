# Shared by the bats files. DDPM is the program's path.
#
# `run` of bats keeps stdout and stderr together in $output and the exit code in $status.

# A network that trains in milliseconds.
TINY=(--dim 8 --dim-mults 1,2 --image-size 16 --timesteps 20 --schedule cosine --batch-size 4
      --threads 1 --device cpu --precision fp32 --num-samples 2)

# same_weights FILE FILE: two .safetensors files end alike. Their headers may differ, since they name the options.
same_weights() {
    cmp <(tail -c 100000 "$1") <(tail -c 100000 "$2")
}

# make_pictures FOLDER [COUNT]
make_pictures() {
    "$DDPM" synth --out "$1" --count "${2:-12}" --size 16 2>/dev/null
}

# make_run FOLDER PICTURES STEPS [OPTION…]: a finished run without samples.
make_run() {
    local folder=$1 pictures=$2 steps=$3
    shift 3
    "$DDPM" train --data "$pictures" --out "$folder" "${TINY[@]}" --steps "$steps" \
        --sample-every 0 "$@" 2>/dev/null
}

# fails CODE TEXT…: the last `run` exited with CODE, its output contains every TEXT and exactly one error line.
fails() {
    local code=$1 text
    shift
    if [ "$status" -ne "$code" ]; then
        echo "exit code $status, want $code; output: $output"
        return 1
    fi
    if [ "$(grep -c '^ddpm[ a-z]*: ' <<<"$output")" -ne 1 ]; then
        echo "want one line of error; output: $output"
        return 1
    fi
    for text in "$@"; do
        says "$text" || return 1
    done
}

# says TEXT…: the output of the last `run` contains every TEXT.
says() {
    local text
    for text in "$@"; do
        if [[ "$output" != *"$text"* ]]; then
            echo "the output lacks \"$text\": $output"
            return 1
        fi
    done
}

# succeeds: the last `run` exited with 0.
succeeds() {
    [ "$status" -eq 0 ] || { echo "exit code $status; output: $output"; return 1; }
}

# differ A B: two files are not the same. (A "!" before a command would not fail a bats test.)
differ() {
    if cmp -s "$1" "$2"; then
        echo "$1 and $2 are the same"
        return 1
    fi
}

# npy FILE DESCR SHAPE BYTES [BYTE]: an array of BYTES bytes, all of value BYTE (in octal, 000).
npy() {
    local header length
    header="{'descr': '$2', 'fortran_order': False, 'shape': ($3), }"
    length=$(( (${#header} + 1 + 10 + 63) / 64 * 64 - 10 ))
    {
        printf '\x93NUMPY\x01\x00'
        printf "\\x$(printf %02x $((length % 256)))\\x$(printf %02x $((length / 256)))"
        printf "%-$((length - 1))s\n" "$header"
        head -c "$4" /dev/zero | tr '\000' "\\${5:-000}"
    } > "$1"
}

# wait_for COMMAND…: until it succeeds, at most DDPM_TEST_WAIT seconds (60; more with an emulator).
wait_for() {
    local tries=0
    until "$@"; do
        sleep 0.02
        tries=$((tries + 1))
        [ "$tries" -lt $((50 * ${DDPM_TEST_WAIT:-60})) ] || { echo "waited too long for: $*"; return 1; }
    done
}

# start_job COMMAND…: starts it as the job $pid, its stderr in the file `errors`. Job control, so that bash does not make
# its child ignore SIGINT.
start_job() {
    set -m
    "$@" 2> errors &
    pid=$!
    set +m
}

# job_ends CODE: the job $pid ends with CODE.
job_ends() {
    local code=0
    wait "$pid" || code=$?
    [ "$code" -eq "$1" ] || { echo "exit code $code, want $1; $(cat errors)"; return 1; }
}

# newest RUN: the step of its newest checkpoint.
newest() {
    local name
    name=$(readlink "$1/checkpoints/latest")
    echo $((10#${name#step-}))
}

# rows RUN: number of complete rows in its log.
rows() {
    [ -f "$1/log.csv" ] || { echo 0; return; }
    echo $(($(wc -l < "$1/log.csv") - 1))
}
