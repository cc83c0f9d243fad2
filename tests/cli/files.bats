# predict, noise, pack, synth, info, and invalid files.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/pictures" 6
    make_run "$BATS_FILE_TMPDIR/run" "$BATS_FILE_TMPDIR/pictures" 2
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    pictures=$BATS_FILE_TMPDIR/pictures
    model=$BATS_FILE_TMPDIR/run
    weights=$model/checkpoints/latest/model.safetensors
    npy x.npy '<f4' '2, 3, 16, 16' 6144
    npy t.npy '<i8' '2,' 16
}

predict() {
    run "$DDPM" predict "${1:-$model}" --input "${2:-x.npy}" --timesteps "${3:-t.npy}" --output eps.npy "${@:4}"
}

@test "predict gives an array of the same shape, and the same twice" {
    predict
    succeeds
    cp eps.npy first.npy
    predict "$model/checkpoints/latest"
    succeeds
    cmp eps.npy first.npy
    run "$DDPM" info eps.npy
    says "float32" "[2, 3, 16, 16]" "every value is finite"
}

@test "predict accepts another size and more pictures than a batch" {
    npy many.npy '<f4' '19, 3, 8, 10' 18240
    npy steps.npy '<i8' '19,' 152
    predict "$model" many.npy steps.npy
    succeeds
    run "$DDPM" info eps.npy
    says "[19, 3, 8, 10]"
}

@test "arrays of the wrong kind" {
    npy u8.npy '|u1' '2, 3, 16, 16' 1536
    predict "$model" u8.npy
    fails 1 u8.npy "want float32"
    npy i4.npy '<i4' '2,' 8
    predict "$model" x.npy i4.npy
    fails 1 i4.npy "want int64"
    npy rank.npy '<f4' '3, 16, 16' 3072
    predict "$model" rank.npy
    fails 1 "rank 4"
    npy grey.npy '<f4' '2, 1, 16, 16' 2048
    predict "$model" grey.npy
    fails 1 "got 1 channels"
    npy odd.npy '<f4' '2, 3, 15, 16' 5760
    predict "$model" odd.npy
    [ "$status" -ne 0 ]
    says 15
    npy three.npy '<i8' '3,' 24
    predict "$model" x.npy three.npy
    fails 1 "got 3 timesteps"
    npy none.npy '<f4' '0, 3, 16, 16' 0
    npy no.npy '<i8' '0,' 0
    predict "$model" none.npy no.npy
    fails 1 none.npy
    npy late.npy '<i8' '2,' 16 001
    predict "$model" x.npy late.npy
    fails 1 late.npy "want 0 to 19"
    npy negative.npy '<i8' '2,' 16 377
    predict "$model" x.npy negative.npy
    fails 1 "got -1"
    npy nan.npy '<f4' '2, 3, 16, 16' 6144 377
    predict "$model" nan.npy
    fails 1 "finite"
    [ ! -e eps.npy ]
}

@test "arrays that are damaged" {
    head -c 1000 x.npy > short.npy
    predict "$model" short.npy
    fails 1 short.npy
    head -c 20 x.npy > shorter.npy
    predict "$model" shorter.npy
    fails 1 shorter.npy
    : > empty.npy
    predict "$model" empty.npy
    fails 1 empty.npy
    { cat x.npy; echo more; } > long.npy
    predict "$model" long.npy
    fails 1 long.npy
    head -c 5000 /dev/urandom > noise.npy
    predict "$model" noise.npy
    fails 1 noise.npy
    predict "$model" missing.npy
    fails 1 missing.npy
    predict "$model" .
    fails 1
    [ ! -e eps.npy ]
}

@test "a checkpoint whose weights are damaged" {
    cp -r "$model" run
    printf 'x' | dd of=run/checkpoints/latest/ema.safetensors bs=1 seek=20000 conv=notrunc 2>/dev/null
    run "$DDPM" sample run --out drawn -n 1
    fails 1 ema.safetensors damaged
    [ ! -e drawn/grid.png ]
    predict run
    fails 1 ema.safetensors damaged
    run "$DDPM" info run
    fails 1 ema.safetensors damaged
    predict run x.npy t.npy --weights model
    succeeds
}

@test "weights that are damaged or of a different network" {
    bare() {
        predict "$1" x.npy t.npy --config "${2:-$model/config.json}"
    }
    bare "$weights"
    succeeds
    rm eps.npy
    head -c 30000 "$weights" > short.safetensors
    bare short.safetensors
    fails 1 short.safetensors
    head -c 4 "$weights" > shorter.safetensors
    bare shorter.safetensors
    fails 1 shorter.safetensors
    : > empty.safetensors
    bare empty.safetensors
    fails 1 empty.safetensors
    { cat "$weights"; echo more; } > long.safetensors
    bare long.safetensors
    fails 1 long.safetensors
    cp "$weights" huge.safetensors
    printf '\xff\xff\xff\xff\xff\xff\xff\x7f' | dd of=huge.safetensors conv=notrunc 2>/dev/null
    bare huge.safetensors
    fails 1 huge.safetensors
    sed 's/final_conv\.bias/final_conv.bais/' "$weights" > name.safetensors
    bare name.safetensors
    fails 1 final_conv
    sed 's/"dtype":"F32"/"dtype":"F99"/' "$weights" > dtype.safetensors
    bare dtype.safetensors
    fails 1 dtype.safetensors
    cp "$weights" flipped.safetensors
    printf '\xff' | dd of=flipped.safetensors bs=1 seek=200 conv=notrunc 2>/dev/null
    bare flipped.safetensors
    fails 1
    cp "$weights" nan.safetensors
    size=$(wc -c < nan.safetensors)
    printf '\xff\xff\xff\xff' | dd of=nan.safetensors bs=1 seek=$((size - 4)) conv=notrunc 2>/dev/null
    bare nan.safetensors
    fails 1 "finite"
    run "$DDPM" info nan.safetensors
    says "BAD: 1 of"
    sed 's/"input": 8/"input": 12/' "$model/config.json" > other.json
    bare "$weights" other.json
    fails 1
    head -c 5000 /dev/urandom > noise.safetensors
    bare noise.safetensors
    fails 1
    [ ! -e eps.npy ]
}

@test "noise draws a strip and checks its timesteps" {
    run "$DDPM" noise "$pictures/000000.png" --out strip.png --image-size 16 --at 0,100,999
    succeeds
    run "$DDPM" info strip.png
    says "ddpm:at: 0,100,999" "ddpm:schedule: linear"
    run "$DDPM" noise "$pictures/000000.png" --out strip.png --timesteps 30 --schedule sigmoid --image-size 17x33
    succeeds
    for at in 1000 -1 x 1, ,1 "" 1.5; do
        run "$DDPM" noise "$pictures/000000.png" --out other.png --at "$at"
        fails 2 --at
    done
    cp "$pictures/000000.png" own.png
    run "$DDPM" noise own.png --out ./own.png
    fails 1 own.png "another file"
    cmp own.png "$pictures/000000.png"
    run "$DDPM" noise missing.png --out other.png
    fails 1 missing.png
    run "$DDPM" noise x.npy --out other.png
    fails 1 x.npy
    [ ! -e other.png ]
}

@test "pack writes an array; what it cannot read or write is an error" {
    run "$DDPM" pack "$pictures" --out all.npy --size 8x12
    succeeds
    says "6 pictures of 8x12"
    run "$DDPM" info all.npy
    says "uint8" "[6, 8, 12, 3]"
    mkdir empty
    run "$DDPM" pack empty --out none.npy --size 8
    fails 1 empty
    run "$DDPM" pack missing --out none.npy --size 8
    fails 1 missing
    run "$DDPM" pack "$pictures" --out missing/none.npy --size 8
    fails 1 missing
    run "$DDPM" pack "$pictures" --out none.npy --size 0
    fails 2 size
    run "$DDPM" pack "$pictures" --out none.npy
    fails 2 "--size"
    [ ! -e none.npy ]
}

@test "a packed file of a different size or type does not train" {
    "$DDPM" pack "$pictures" --out all.npy --size 8 2>/dev/null
    run "$DDPM" train --data all.npy --out new "${TINY[@]}" --steps 1
    fails 1 all.npy
    run "$DDPM" train --data x.npy --out new "${TINY[@]}" --steps 1
    fails 1 x.npy
    [ ! -e new ]
}

@test "synth is deterministic and overwrites nothing" {
    "$DDPM" synth --out a --count 3 --size 16 --seed 4 2>/dev/null
    "$DDPM" synth --out b --count 3 --size 16 --seed 4 --threads 2 2>/dev/null
    "$DDPM" synth --out c --count 3 --size 16 --seed 5 2>/dev/null
    for k in 0 1 2; do
        cmp a/00000$k.png b/00000$k.png
        differ a/00000$k.png c/00000$k.png
    done
    run "$DDPM" synth --out a --count 3
    fails 1 "not empty"
    for count in 0 -1 x 99999999999999; do
        run "$DDPM" synth --out new --count "$count"
        fails 2 --count
    done
    for size in 4 abc 8x 8x5000 99999999999; do
        run "$DDPM" synth --out new --size "$size"
        fails 2 "option --size: got \"$size\", want N or HxW with sides in [8, 4096]"
    done
    run "$DDPM" pack "$pictures" --out new --size 0
    fails 2 'option --size: got "0", want N or HxW with sides in [1, 8192]'
    [ ! -e new ]
}

@test "info of everything and of nothing" {
    run "$DDPM" info "$model"
    succeeds
    says "2 steps" parameters "every value is finite" TwoResUNet
    run "$DDPM" info "$model/checkpoints/step-000002"
    succeeds
    run "$DDPM" info "$weights"
    succeeds
    run "$DDPM" info "$model/config.json"
    succeeds
    run "$DDPM" info missing
    fails 1 missing
    mkdir empty
    run "$DDPM" info empty
    fails 1 empty
    echo text > file
    run "$DDPM" info file
    fails 1 "unknown kind"
    head -c 100 "$pictures/000000.png" > cut.png
    run "$DDPM" info cut.png
    fails 1 cut.png
}

@test "a full disk under a single file" {
    [ -e /dev/full ] || skip "no /dev/full"
    run "$DDPM" predict "$model" --input x.npy --timesteps t.npy --output /dev/full
    fails 1 /dev/full
    run "$DDPM" noise "$pictures/000000.png" --out /dev/full --image-size 16
    fails 1 /dev/full
}
