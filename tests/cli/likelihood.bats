# ddpm evaluate --likelihood: the bound and the flow, as text and JSON; independent of threads and batches; invalid
# input.
load "$DDPM_SUPPORT"

setup_file() {
    cd "$BATS_FILE_TMPDIR"
    "$DDPM" synth --out real --count 14 --size 16 --seed 1 2>/dev/null
    "$DDPM" pack real --out real.npy --size 16 >/dev/null 2>&1
    for objective in noise flow edm; do
        make_run "$objective" real 2 --objective "$objective"
    done
    make_run learned real 2 --learned-variance on
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    at=$BATS_FILE_TMPDIR
}

# likelihood RUN ARGUMENT…: stdout in $output, stderr in the file `errors`
likelihood() {
    local run=$1
    shift
    run bash -c '"$DDPM" evaluate "$@" --likelihood 2> errors' _ "$at/$run" --against "$at/real" "$@"
}

# number KEY: the first number of that key in the JSON of $output
number() {
    sed -n "s/.*\"$1\": *\([-0-9.e]*\).*/\1/p" <<<"$output" | head -1
}

@test "the bound: its sum, its timesteps, its options" {
    likelihood noise --threads 1
    succeeds
    says "real         14 pictures of 16x16: $at/real" "the variational bound at 20 of 20 timesteps, fixed variance" \
        "likelihood " "bits per dimension, an upper bound" "t             bits per dimension" "prior "
    grep -q "^$at/noise: measuring 14 pictures of 16x16 by the variational bound at 20 of 20 timesteps, on CPU.*: 20 \
evaluations of the network for each$" errors
    grep -q "^measuring .*280/280" errors
    likelihood learned -n 10 --likelihood-levels 5
    succeeds
    says "real         10 pictures" "at 5 of 20 timesteps, learned variance"
}

@test "JSON holds every timestep, and every picture" {
    likelihood noise --json --likelihood-levels all
    succeeds
    says '"real": 14' '"method": "bound"' '"evaluations": 20' '"variance": "fixed"' '"bits_per_dimension": {' \
        '"prior": {' '"levels": ['
    [ "$(grep -c '"first":' <<<"$output")" -eq 20 ]
    # the terms of the timesteps and the prior add up to the total; the first "value" is the total, the next the prior's
    sum=$(sed -n 's/.*"value": *\([-0-9.e]*\).*/\1/p' <<<"$output" |
        awk 'NR == 1 { whole = $1 } NR > 1 { sum += $1 } END { print (sum - whole) ^ 2 < 1e-10 * whole ^ 2 }')
    [ "$sum" -eq 1 ]
    mean=$(sed -n '/of_pictures/,/]/p' <<<"$output" | tr -d ' ,' | grep '^[0-9]' |
        awk '{ s += $1; n++ } END { print s / n, n }')
    [ "${mean##* }" -eq 14 ]
    [ "$(number value | cut -c 1-5)" = "$(cut -c 1-5 <<<"$mean")" ]
}

@test "the flow for a continuous objective, and for a schedule on request" {
    likelihood flow --likelihood-steps 3 -n 10
    succeeds
    says "by  the probability flow, 3 steps, 1 probe" "bits per dimension"
    grep -q ": 12 evaluations of the network for each$" errors
    likelihood edm --likelihood-steps 3 --likelihood-probes 2 --json -n 10
    succeeds
    says '"method": "flow"' '"steps": 3' '"probes": 2' '"evaluations": 24'
    likelihood learned --likelihood-method flow --likelihood-steps 3 -n 10
    succeeds
    says "the probability flow, 3 steps, 1 probe"
}

@test "the same bits with any number of threads, any batch, and from a packed file" {
    for run in noise flow learned; do
        likelihood "$run" --json --likelihood-steps 2 --likelihood-levels 7 --threads 1 --seed 3
        succeeds
        first=$output
        for more in "--threads 2" "--threads 2 --batch 1" "--batch 5" "--batch 16"; do
            likelihood "$run" --json --likelihood-steps 2 --likelihood-levels 7 --seed 3 $more
            [ "$output" = "$first" ] || { echo "$run $more: other numbers"; return 1; }
        done
        run bash -c '"$DDPM" evaluate "$1" --against "$2" --likelihood --json --likelihood-steps 2 \
            --likelihood-levels 7 --seed 3 2>/dev/null' _ "$at/$run" "$at/real.npy"
        [ "$output" = "$first" ] || { echo "$run: other numbers from the packed file"; return 1; }
        likelihood "$run" --json --likelihood-steps 2 --likelihood-levels 7 --seed 4
        [ "$output" != "$first" ] || { echo "$run: the seed changes nothing"; return 1; }
    done
}

@test "what is measured: clipping, raw weights, a bare file, another size" {
    likelihood noise --json
    first=$output
    likelihood noise --json --clip off
    succeeds
    [ "$output" != "$first" ]
    likelihood noise --json --weights model
    succeeds
    [ "$output" != "$first" ]
    cp "$at"/noise/checkpoints/latest/ema.safetensors bare.safetensors
    run bash -c '"$DDPM" evaluate bare.safetensors --config "$1/noise/config.json" --against "$1/real" --likelihood \
        --json 2>/dev/null' _ "$at"
    succeeds
    [ "$output" = "$first" ]
    likelihood noise --image-size 32x16
    succeeds
    says "14 pictures of 32x16"
}

@test "damaged pictures are skipped" {
    cp -r "$at/real" some
    head -c 100 "$at/real/000003.png" > some/000003.png
    run bash -c '"$DDPM" evaluate "$1/noise" --against some --likelihood 2> errors' _ "$at"
    succeeds
    says "13 pictures of 16x16: some"
    grep -q "skipped: some/000003.png" errors
}

@test "what is refused" {
    likelihood flow --likelihood-method bound
    [ "$status" -eq 2 ]
    grep -q "likelihood: got the bound with objective flow, which has no timesteps; want the flow" errors
    likelihood noise --likelihood-method ode
    [ "$status" -eq 2 ]
    grep -q 'option --likelihood-method: got "ode", want auto, bound or flow' errors
    likelihood noise --likelihood-levels 1
    [ "$status" -eq 2 ]
    likelihood noise --likelihood-steps 0
    [ "$status" -eq 2 ]
    for other in "--held-out x" "--features builtin" "--sheet s.png" "--save-statistics s.npz" "--sampler ddim" "--eta 1"; do
        likelihood noise $other
        [ "$status" -eq 2 ]
        grep -q "option --likelihood: got it with ${other%% *}, want one of the two: nothing is drawn or" errors
    done
    run bash -c '"$DDPM" evaluate "$1/noise" --against "$1/real" --likelihood-steps 3 2> errors' _ "$at"
    [ "$status" -eq 2 ]
    grep -q "option --likelihood-steps: got it without --likelihood, want both" errors
}

@test "anything but a model and pictures is an error" {
    npy features.npy '<f4' '12, 3' 144
    npy grey.npy '|u1' '12, 16, 16, 1' 3072
    npy small.npy '|u1' '12, 8, 8, 3' 2304
    against() {
        run bash -c '"$DDPM" evaluate "$1" --against "$2" --likelihood 2> errors' _ "$1" "$2"
    }
    against "$at/real" "$at/real"
    [ "$status" -eq 2 ]
    grep -q "real: got pictures or features, want a run, checkpoint or .safetensors file for --likelihood" errors
    against "$at/noise" features.npy
    [ "$status" -eq 2 ]
    grep -q "option --against: got features.npy, want pictures for --likelihood" errors
    against "$at/noise" "$at/flow"
    [ "$status" -eq 2 ]
    against "$at/noise" small.npy
    [ "$status" -eq 1 ]
    grep -q "small.npy: got pictures of 8x8 (height x width), want 16x16" errors
    against "$at/noise" grey.npy
    [ "$status" -eq 1 ]
    grep -q "grey.npy: got 1 channel, want 3" errors
    against "$at/noise" nowhere
    [ "$status" -eq 1 ]
    grep -q "nowhere: no such folder, run or file" errors
}

@test "Ctrl-C" {
    start_job "$DDPM" evaluate "$at/flow" --against "$at/real" --likelihood --likelihood-steps 90000 --threads 1
    wait_for grep -q "^measuring" errors
    kill -INT "$pid"
    job_ends 130
    grep -q "^stopping" errors
}
