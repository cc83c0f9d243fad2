# Drawing by sampler: which one, number of steps, inputs, outputs, and invalid requests.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures"
    make_run "$BATS_FILE_TMPDIR/run" "$BATS_FILE_TMPDIR/pictures" 60 --timesteps 60
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    model=$BATS_FILE_TMPDIR/run
}

# shape FILE: the shape in an array's header.
shape() {
    head -c 128 "$1" | grep -ao "'shape': ([0-9, ]*)"
}

# bare RUN OLD: a copy of a run as version 0.1 wrote it, with a configuration without samplers.
bare() {
    cp -r "$1" "$2"
    sed -i '/"sampling_config": {/,/},/d;/"scale": 1,/d' "$2/config.json"
    ! grep -q '"sampler"' "$2/config.json" || false
}

@test "every sampler draws, and the output names it" {
    while read -r name taken steps spacing; do
        run "$DDPM" sample "$model" --out $name -n 1 --sampler $name
        succeeds
        says "with $taken, $steps steps, $spacing, on" "; with $taken, $steps steps, $spacing"
        run "$DDPM" info $name/0000.png
        says "ddpm:sampler: $taken" "ddpm:sampling-steps: $steps" "ddpm:spacing: $spacing"
    done <<'END'
ancestral ancestral 60 trailing
ddim ddim 50 karras
euler ddim 50 karras
heun heun 18 karras
dpmpp dpmpp 20 karras
dpmpp-sde dpmpp-sde 20 karras
unipc unipc 20 karras
auto dpmpp 10 karras
END
    cmp ddim/0000.png euler/0000.png
    "$DDPM" sample "$model" --out ten -n 1 --sampler dpmpp --sampling-steps 10
    cmp ten/0000.png auto/0000.png
    differ dpmpp/0000.png unipc/0000.png
    "$DDPM" sample "$model" --out default -n 1
    cmp default/0000.png auto/0000.png
}

@test "steps, spacing, and options that only some samplers have" {
    run "$DDPM" sample "$model" --out a -n 1 --sampler ddim --sampling-steps 7 --spacing karras --eta 0.5
    succeeds
    says "with ddim, 7 steps, karras, eta 0.5"
    run "$DDPM" info a/0000.png
    says "ddpm:sampler: ddim" "ddpm:sampling-steps: 7" "ddpm:spacing: karras" "ddpm:eta: 0.5"
    run "$DDPM" sample "$model" --out b -n 1 --sampler unipc --solver-order 3
    succeeds
    run "$DDPM" info b/0000.png
    says "ddpm:solver-order: 3"
    run "$DDPM" sample "$model" --out c -n 1 --sampler heun --churn 10 --churn-max 5
    succeeds
    run "$DDPM" info c/0000.png
    says "ddpm:churn: 10" "ddpm:churn-max: 5" "ddpm:churn-noise: 1"
    # More steps than timesteps, except for the sampler that needs whole ones.
    run "$DDPM" sample "$model" --out d -n 1 --sampler dpmpp --sampling-steps 100
    succeeds
}

# Without Winograd: whether it serves a level as small as these depends on how many pictures there are at once, and it
# rounds differently. That shows in the last bits, which the arrays have.
@test "a picture is the same whatever the batch and the threads" {
    for name in ancestral ddim heun dpmpp dpmpp-sde unipc; do
        options=(--sampler $name --sampling-steps 6 --conv direct)
        [ $name != ddim ] || options+=(--eta 0.7)
        [ $name != heun ] || options+=(--churn 4)
        "$DDPM" sample "$model" --array a-$name.npy --out a-$name -n 5 "${options[@]}"
        "$DDPM" sample "$model" --array b-$name.npy --out b-$name -n 5 --batch 2 --threads 2 "${options[@]}"
        "$DDPM" sample "$model" --out c-$name -n 1 --first 3 "${options[@]}"
        cmp a-$name.npy b-$name.npy
        for k in 0 1 2 3 4; do
            cmp a-$name/000$k.png b-$name/000$k.png
        done
        cmp a-$name/0003.png c-$name/0003.png
    done
}

@test "a run of version 0.1 draws with auto, and with its own chain by name" {
    bare "$model" old
    run "$DDPM" sample old --out a -n 1
    succeeds
    says "with dpmpp, 10 steps"
    run "$DDPM" info old
    says "draws with  dpmpp, 10 steps, karras"
    run "$DDPM" train --resume old --steps 61 --sample-every 61
    succeeds
    grep -q '"sampler": "auto"' old/config.json
    run "$DDPM" info old/samples/step-000061.png
    says "ddpm:sampler: dpmpp"
    run "$DDPM" sample old --out b -n 1 --sampler ancestral
    succeeds
    says "with ancestral, 60 steps"
}

@test "the article's configuration file gets the article's chain" {
    cat > article.json <<'END'
{"model_name": "oneres", "trainer_config": {"train_batch_size": 4, "train_lr": 1e-4, "train_num_steps": 2,
 "save_and_sample_every": 2, "num_samples": 2},
 "unet_config": {"model_mapping": "TwoResUNet", "input": 8, "batch_size": 4, "dim_mults": [1, 2], "channels": 3},
 "diffusion_config": {"timesteps": 60, "betas_scheduler": "linear", "image_size": 16}}
END
    run "$DDPM" train --config article.json --data "$BATS_FILE_TMPDIR/pictures" --out new --device cpu
    succeeds
    grep -q '"sampler": "ancestral"' new/config.json
    run "$DDPM" info new/samples/step-000002.png
    says "ddpm:sampler: ancestral" "ddpm:sampling-steps: 60"
    run "$DDPM" sample new --out drawn -n 1
    says "with ancestral, 60 steps"
    run "$DDPM" sample new/checkpoints/latest/model.safetensors --config article.json --out bare -n 1
    says "with ancestral, 60 steps"
    # An option wins; so does a file that names a sampler itself.
    run "$DDPM" train --config article.json --data "$BATS_FILE_TMPDIR/pictures" --out other --sampler auto --device cpu
    succeeds
    grep -q '"sampler": "auto"' other/config.json
    sed '0,/{/s//{"sampling_config": {"sampler": "euler", "eta": 0.25}, /' article.json > named.json
    run "$DDPM" info named.json
    says "draws with  ddim, 50 steps, karras, eta 0.25"
    # Any other file draws with auto.
    echo '{"diffusion_config": {"timesteps": 60}}' > own.json
    run "$DDPM" info own.json
    says "draws with  dpmpp, 10 steps, karras"
}

@test "a run's configured sampler, and another one named instead" {
    make_run run "$BATS_FILE_TMPDIR/pictures" 2 --sampler ddim --eta 0.5 --sampling-steps 9 --sample-every 2 --scale 2
    run "$DDPM" sample run --out a -n 1
    succeeds
    says "with ddim, 9 steps, karras, eta 0.5"
    run "$DDPM" sample run --out b -n 1 --eta 0
    says "with ddim, 9 steps, karras, on"
    # Steps and eta were meant for ddim.
    run "$DDPM" sample run --out c -n 1 --sampler unipc
    succeeds
    says "with unipc, 20 steps, karras, on"
    run "$DDPM" info run/samples/step-000002.png
    says "ddpm:sampler: ddim" "ddpm:eta: 0.5"
    run "$DDPM" train --resume run --steps 3 --sampler dpmpp
    succeeds
    grep -q '"eta": 0.0' run/config.json
}

@test "--sampling-steps 0 is the sampler's default, whatever the run has" {
    make_run run "$BATS_FILE_TMPDIR/pictures" 2 --timesteps 60 --sampler ddim --sampling-steps 9
    run "$DDPM" sample run --out a -n 1 --sampling-steps 0
    succeeds
    says "with ddim, 50 steps"
    run "$DDPM" train --resume run --steps 3 --sampling-steps 0
    succeeds
    run "$DDPM" sample run --out b -n 1
    says "with ddim, 50 steps"
}

@test "invalid requests write nothing" {
    while IFS='|' read -r options words; do
        run "$DDPM" sample "$model" --out a $options
        fails 2 "$words"
        [ ! -e a ]
        run "$DDPM" train --data "$BATS_FILE_TMPDIR/pictures" --out a "${TINY[@]}" --timesteps 60 --steps 1 $options \
            --sample-every 0
        fails 2 "$words"
        [ ! -e a ]
    done <<'END'
--sampling-steps -1|option sampling-steps: got "-1"
--sampler ancestral --sampling-steps 61|got 61 sampling steps, want at most the schedule's 60 timesteps
--sampler dpmp|the nearest is "dpmpp"
--sampler eulr|the nearest is "euler"
--spacing trailin|the nearest is "trailing"
--eta 0.5|option --eta: got it with sampler dpmpp, which has none; ddim has one
--sampler dpmpp --eta 0|sampler dpmpp, which has none
--sampler ddim --eta 1.5|option eta: got "1.5"
--sampler ddim --churn 1|heun has one
--sampler heun --solver-order 2|unipc has one
--sampler unipc --solver-order 1|got order 1, want 2 to 3
END
}

@test "x as an array, in and out" {
    "$DDPM" sample "$model" --out a -n 3 --seed 4 --sampling-steps 5 --array a.npy
    shape a.npy | grep -qx "'shape': (3, 3, 16, 16)"
    "$DDPM" sample "$model" --out b -n 3 --seed 4 --sampling-steps 5
    for k in 0 1 2; do
        cmp a/000$k.png b/000$k.png
    done
    # Without --out the array is all there is. As many pictures as --init has, in any batches.
    "$DDPM" sample "$model" --array c.npy --init a.npy
    shape c.npy | grep -qx "'shape': (3, 3, 16, 16)"
    "$DDPM" sample "$model" --array d.npy --init a.npy --batch 1 --out d
    cmp c.npy d.npy
    differ c.npy a.npy
    [ "$(ls d | tr '\n' ' ')" = "0000.png 0001.png 0002.png grid.png " ]
    run "$DDPM" info d/0000.png
    says "ddpm:init: given"
    # Then a chain without noise ignores the seed.
    "$DDPM" sample "$model" --array e.npy --init a.npy --seed 9
    cmp c.npy e.npy
}

@test "invalid arrays, or arrays that do not have the model's shape" {
    npy double.npy '<f8' '1, 3, 16, 16' 6144
    npy flat.npy '<f4' '3, 16, 16' 3072
    npy grey.npy '<f4' '1, 1, 16, 16' 1024
    npy small.npy '<f4' '1, 3, 8, 8' 768
    npy nan.npy '<f4' '1, 3, 16, 16' 3072 377
    npy none.npy '<f4' '0, 3, 16, 16' 0
    npy two.npy '<f4' '2, 3, 16, 16' 6144
    while IFS='|' read -r options words; do
        run "$DDPM" sample "$model" --out a --array b.npy --init $options
        fails 1 "$words"
        [ ! -e a ]
        [ ! -e b.npy ]
    done <<'END'
double.npy|got float64 of rank 4, want float32 of rank 4: [n,C,H,W]
flat.npy|got float32 of rank 3
grey.npy|got [n,1,16,16], want [n,3,16,16]
small.npy|got [n,3,8,8], want [n,3,16,16]
nan.npy|at position 0, want finite numbers
none.npy|got no pictures
two.npy -n 3|got 2 pictures, want the 3 of --count
missing.npy|missing.npy
END
    run "$DDPM" sample "$model" -n 1
    fails 2 "option --out DIR is missing"
    run "$DDPM" sample "$model" -n 1 --array missing/a.npy --out a
    fails 1 missing/a.npy
    [ ! -e a ]
}

@test "a seed is drawn, printed and kept" {
    run "$DDPM" sample "$model" --out a -n 1 --seed random
    succeeds
    seed=$(sed -n 's/^seed drawn at random: \([0-9]*\)$/\1/p' <<<"$output")
    [ -n "$seed" ]
    run "$DDPM" info a/0000.png
    says "ddpm:seed: $seed"
    "$DDPM" sample "$model" --out b -n 1 --seed "$seed"
    cmp a/0000.png b/0000.png
    "$DDPM" sample "$model" --out c -n 1 --seed random
    differ a/0000.png c/0000.png
    run "$DDPM" train --data "$BATS_FILE_TMPDIR/pictures" --out new "${TINY[@]}" --steps 1 --sample-every 0 --seed random
    succeeds
    grep -q "\"seed\": $(sed -n 's/^seed drawn at random: \([0-9]*\)$/\1/p' <<<"$output")" new/config.json
}

# png_size FILE: "width height" of a PNG.
png_size() {
    od -An -tu1 -j16 -N8 "$1" | awk '{ print $3 * 256 + $4, $7 * 256 + $8 }'
}

@test "--scale enlarges grids" {
    "$DDPM" sample "$model" --out a -n 3 --scale 5
    [ "$(png_size a/grid.png)" = "190 190" ]
    [ "$(png_size a/0000.png)" = "16 16" ]
    "$DDPM" train --data "$BATS_FILE_TMPDIR/pictures" --out new "${TINY[@]}" --steps 1 --sample-every 1 --scale 3
    [ "$(png_size new/samples/step-000001.png)" = "114 60" ]
    run "$DDPM" sample "$model" --out b -n 3 --scale 65
    fails 2 "option scale"
    run "$DDPM" sample "$model" --out b -n 1024 --image-size 2048 --scale 64 --batch 1 --sampling-steps 1
    fails 2 "want sides of at most"
    [ ! -e b ]
}

@test "frames of a trajectory count the sampler's steps" {
    "$DDPM" sample "$model" --out a -n 1 --sampler heun --sampling-steps 12 --trajectory chain --every 4
    [ "$(ls chain | tr '\n' ' ')" = "000000-t000008.png 000001-t000004.png 000002-t000000.png " ]
    "$DDPM" sample "$model" --out b -n 1 --trajectory all
    [ "$(ls all | wc -l)" -eq 10 ]
}

@test "the help lists samplers and spacings" {
    run "$DDPM" sample --help-all
    says "--sampler NAME" "  dpmpp-sde: DPM-Solver++ 2M with noise" "  karras: even in" "--sampling-steps N" "Examples:"
    run "$DDPM" sample "$model" --out a --num_inference_steps 5 -n 1
    succeeds
    says "option --num_inference_steps is called --sampling-steps here" "5 steps"
    run "$DDPM" sample "$model" --out b --steps 5
    fails 2 "--sampling-steps those of drawing"
    run "$DDPM" sample "$model" --out b --scheduler ddim
    fails 2 "--sampler auto, or a name"
    run "$DDPM" sample "$model" --out b --guidance_scale 3
    fails 2 "no guidance"
}

@test "Ctrl-C leaves no half-written files, with every kind of output" {
    start_job "$DDPM" sample "$model" --array a.npy --out drawn -n 1000000 --sampler heun
    wait_for test -e drawn/0000.png
    kill -INT "$pid"
    job_ends 130
    [ ! -e a.npy ]
    [ -z "$(ls -A . drawn | grep tmp)" ]
}
