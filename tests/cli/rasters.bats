# Pictures from instruments: 16 bits, several bands or pages, types that are not read, arrays.
load "$DDPM_SUPPORT"

setup_file() {
    cd "$BATS_FILE_TMPDIR"
    mkdir flat wide dark pages
    tiff flat/a.tif 16 1 1 1 '\x00\x00\xff\x0f'
    tiff wide/a.tif 16 1 1 1 '\x00\x00\xff\xff'
    tiff dark/a.tif 16 1 1 1 '\x00\x00\xff\x03'
    tiff pages/a.tif 8 1 1 3 '\x10\xf0'
    for folder in flat wide dark pages; do
        for k in b c d e f g h i; do
            cp $folder/a.tif $folder/$k.tif
        done
    done
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    here=$BATS_FILE_TMPDIR
}

# short NUMBER…: append little-endian numbers of 16 bits to `out`.
short() {
    local number text
    for number in "$@"; do
        printf -v text '\\x%02x\\x%02x' $((number & 255)) $((number >> 8))
        out+=$text
    done
}

# tiff FILE BITS SAMPLES FORMAT PAGES PATTERN: 16x16, filled with the bytes of PATTERN; RGB with 4 samples.
tiff() {
    local bits=$2 samples=$3 format=$4 pages=$5 data=$6 out='II*\x00\x08\x00\x00\x00' at=8 page start tag
    local bytes=$((16 * 16 * samples * bits / 8)) extras=$((samples == 3 ? 1 : 0))
    while [ ${#data} -lt $((4 * bytes)) ]; do
        data+=$data
    done
    data=${data:0:$((4 * bytes))}
    for ((page = 1; page <= pages; page++)); do
        start=$((at + 2 + 12 * (10 + extras) + 4))
        at=$((page < pages ? start + bytes : 0))
        short $((10 + extras))
        for tag in 256,16 257,16 258,$bits 259,1 262,$((samples == 4 ? 2 : 1)) 273,$start 277,$samples 278,16 \
            279,$bytes; do
            short "${tag%,*}" 4 1 0 "${tag#*,}" 0
        done
        if [ $extras -gt 0 ]; then
            short 338 3 2 0 0 0
        fi
        short 339 4 1 0 "$format" 0 $at 0
        out+=$data
    done
    printf '%b' "$out" > "$1"
}

train() {
    run "$DDPM" train --data "$1" --out new "${TINY[@]}" --steps 1 --sample-every 0 "${@:2}"
}

@test "12 bits in 16: train, pack and info say how few levels remain, and what to do" {
    "$DDPM" info "$here/flat" > /dev/null || skip "no libtiff"
    train "$here/flat"
    succeeds
    says "warning: $here/flat: 16 bits per value in 9 of the 9 pictures looked at (only the upper 8 are used)" \
        "within 0 to 4095, so 16 of 256 levels remain: stretch them to 0 to 65535 first" docs/handbook.md
    [ "$(grep -c "16 bits" <<<"$output")" -eq 1 ]
    run "$DDPM" pack "$here/flat" --out flat.npy --size 16
    succeeds
    says "so 16 of 256 levels remain"
    run "$DDPM" info "$here/flat"
    says "channels    1" "so 16 of 256 levels remain"
    run "$DDPM" info "$here/flat/a.tif"
    says "TIFF picture of 16x16 pixels (height x width), 1 channel of 16 bits with values within 0 to 4095"
    run "$DDPM" noise "$here/flat/a.tif" --out strip.png --timesteps 100
    succeeds
    says "warning: $here/flat/a.tif: 16 bits per value (only the upper 8 are used); the values lie within 0 to 4095"
}

@test "all of the 16 bits used: a remark, no warning" {
    "$DDPM" info "$here/flat" > /dev/null || skip "no libtiff"
    train "$here/wide"
    succeeds
    says "$here/wide: 16 bits per value in 9 of the 9 pictures looked at (only the upper 8 are used)"
    [ "$(grep -c "warning\|levels" <<<"$output")" -eq 0 ]
}

@test "pictures that show nothing are counted, in folders and among 64 of a packed file" {
    "$DDPM" info "$here/flat" > /dev/null || skip "no libtiff"
    train "$here/dark"
    succeeds
    says "9 of the 9 pictures looked at show nothing: 9 black"
    run "$DDPM" info "$here/dark"
    says "empty       9 black, 0 white, 0 of one colour"
    npy black.npy '|u1' '100, 16, 16, 3' 76800
    rm -r new
    train black.npy
    succeeds
    says "warning: $PWD/black.npy: 64 of the 64 pictures looked at show nothing: 64 black"
}

@test "several pages: one warning with a count" {
    "$DDPM" info "$here/flat" > /dev/null || skip "no libtiff"
    train "$here/pages"
    succeeds
    says "9 of the 9 pictures looked at have several pages, up to 3; the first page of each is used"
    [ "$(grep -c "pages" <<<"$output")" -eq 1 ]
    run "$DDPM" info "$here/pages/a.tif"
    says "3 pages (only the first is used)"
    run "$DDPM" info "$here/pages"
    says "pages       up to 3 in 9 of them"
}

@test "one message for all files names the unsupported type in words and says what to do instead" {
    "$DDPM" info "$here/flat" > /dev/null || skip "no libtiff"
    mkdir float
    tiff float/a.tif 32 1 3 1 '\x00\x00\x80\x3f'
    for k in b c d e; do
        cp float/a.tif float/$k.tif
    done
    train float
    fails 1 "5 of 5 pictures cannot be read, want at least half of them good; for example $PWD/float/a.tif: TIFF: "
    says "skipped: 5 files: TIFF: got 32-bit floating-point values, want unsigned ones" \
        "pass a .npy file" docs/handbook.md ": a.tif, b.tif, c.tif and 2 more"
    [ "$(grep -c "skipped: " <<<"$output")" -eq 1 ]
    run "$DDPM" info float
    succeeds
    [ "$(grep -c "^bad " <<<"$output")" -eq 1 ]
    run "$DDPM" info float --verbose
    [ "$(grep -c "^bad: " <<<"$output")" -eq 5 ]
    tiff signed.tif 16 1 2 1 '\x00'
    run "$DDPM" info signed.tif
    fails 1 "got 16-bit signed values"
    tiff bands.tif 16 13 1 1 '\x00'
    run "$DDPM" info bands.tif
    fails 1 "got 13 samples of 16 bits" "pass a .npy file"
    tiff three.tif 8 3 1 1 '\x00'
    run "$DDPM" info three.tif
    fails 1 "got 3 samples per pixel, 2 of them marked as extra, want grey with at most 1 extra" "pass a .npy file"
}

@test "four bands: the fourth is ignored, and folders against arrays of four" {
    "$DDPM" info "$here/flat" > /dev/null || skip "no libtiff"
    mkdir four
    tiff four/a.tif 8 4 1 1 '\x10\x90\x40\xf0\x80\x20\x70\xc0'
    tiff four/b.tif 8 4 1 1 '\x11\x93\x47\xf0\x82\x20\x74\xc0\x00'
    for k in c d e f g h i j; do
        cp four/a.tif four/$k.tif
    done
    train four
    succeeds
    says "have alpha or another channel besides the colours, which is ignored; --channels 4 trains on alpha"
    rm -r new
    train four --channels 4
    succeeds
    [ "$(grep -c "which is ignored" <<<"$output")" -eq 0 ]
    run "$DDPM" info four
    says "channels    4"
    "$DDPM" pack four --out four.npy --size 16 --channels 4 2>/dev/null
    "$DDPM" pack four --out three.npy --size 16 2>/dev/null
    run "$DDPM" evaluate four --against four.npy
    succeeds
    says "10 pictures of 16x16"
    run "$DDPM" evaluate four.npy --against three.npy
    fails 1 "three.npy: got 3 channels, want 4 as in four.npy"
    cp "$here/pages/a.tif" four/grey.tif
    run "$DDPM" info four
    says "channels    1 in 1 pictures, 4 in 10 pictures"
}

@test "arrays of other types are refused with the scaling that they need" {
    npy wide.npy '<u2' '8, 16, 16, 3' 12288 011
    train wide.npy
    fails 1 "wide.npy: got uint16 values, want uint8" "keeps only the lowest 8 bits" \
        "numpy.round(255.0 * (a - lo) / (hi - lo)).clip(0, 255).astype('uint8')"
    run "$DDPM" info wide.npy
    succeeds
    says "array of uint16, shape [8, 16, 16, 3]" "2313 … 2313"
    npy float.npy '<f4' '8, 16, 16, 3' 24576
    train float.npy
    fails 1 "float.npy: got float32 values, want uint8"
    npy bits.npy '|b1' '8, 16, 16, 3' 6144 001
    train bits.npy
    fails 1 "bits.npy: got bool values, want uint8 in 0 to 255"
    npy big.npy '>u2' '8, 16, 16, 3' 12288
    run "$DDPM" info big.npy
    fails 1 "got big-endian uint16 values '>u2', want little-endian ones"
    for type in '|i1 int8 1' '<i2 int16 2' '<u4 uint32 4' '<u8 uint64 8'; do
        read -r code name bytes <<<"$type"
        npy other.npy "$code" '5,' $((5 * bytes)) 000
        run "$DDPM" info other.npy
        succeeds
        says "array of $name, shape [5]" "0 … 0"
    done
}

@test "grey arrays without a channel, and channels in the wrong place" {
    npy grey.npy '|u1' '12, 16, 16' 3072 100
    train grey.npy
    fails 1 "grey.npy: got 1 channel, want 3; set channels to 1 (--channels 1)"
    train grey.npy --channels 1
    succeeds
    says "12 of size 16"
    run "$DDPM" info grey.npy
    says "12 of 16x16 with 1 channel"
    run "$DDPM" evaluate grey.npy --against grey.npy
    succeeds
    rm -r new
    npy first.npy '|u1' '12, 3, 16, 16' 9216 100
    train first.npy
    fails 1 "first.npy: got [12,3,16,16], is that [N,channels,height,width]? want [N,height,width,channels]" \
        "numpy.moveaxis(a, 1, -1)"
    run "$DDPM" info first.npy
    says "or is that [N,channels,height,width]?"
    npy one.npy '|u1' '16, 16, 3' 768 100
    run "$DDPM" info one.npy
    says "or is that one picture [height,width,channels]? want [N,height,width,channels]"
    npy many.npy '|u1' '2, 16, 16, 96' 49152
    train many.npy
    fails 1 "many.npy: got 96 channels, want 3, and at most 64"
    npy wide.npy '|u1' '12, 32, 32, 3' 36864
    train wide.npy
    fails 1 "or train on random crops (--crop random)"
}

@test "evaluate says what to do with the array of sample --array" {
    npy drawn.npy '<f4' '12, 3, 16, 16' 36864
    npy grey.npy '|u1' '12, 16, 16' 3072 100
    run "$DDPM" evaluate drawn.npy --against grey.npy
    fails 1 "drawn.npy: got float32 of rank 4, as sample --array writes" "the folder of sample --out"
}

@test "models of more channels than PNG has: what cannot be drawn or compared says so at once" {
    npy bands.npy '|u1' '12, 16, 16, 6' 18432 100
    train bands.npy --channels 6
    succeeds
    run "$DDPM" sample new --array a.npy --trajectory chain.png -n 1
    fails 1 "got a model of 6 channels, want at most 4 for PNG files" "--array without --out and --trajectory"
    [ ! -e a.npy ]
    run "$DDPM" sample new --array a.npy -n 1
    succeeds
    says "1 picture of 16x16" "drew 1 picture in "
    [ "$(grep -c "^drew 1 picture in [0-9.]* s with " <<<"$output")" -eq 1 ]
    run "$DDPM" evaluate new --against bands.npy -n 10
    fails 1 "bands.npy: got [12,16,16,6], want sides of 1 to 65536 and 1, 3 or 4 channels"
}

@test "info says which folders and arrays hold no pictures to train on" {
    mkdir empty others texts
    touch others/a.npy others/b.npy others/c.HEIC
    run "$DDPM" info empty
    fails 1 "empty: got a folder with nothing to read in it, want a run, a checkpoint, or pictures"
    run "$DDPM" info others
    fails 1 "others: got a folder with no pictures but 2 .npy, 1 .heic, want"
    echo text > texts/a.png
    touch texts/a.gif
    run "$DDPM" info texts
    succeeds
    says "ignored     1 .gif" "to train    nothing: none of the pictures looked at can be read"
    [ "$(grep -c "a few hundred" <<<"$output")" -eq 0 ]
    npy float.npy '<f4' '12, 3, 16, 16' 36864
    run "$DDPM" info float.npy
    succeeds
    says "pictures  none: ddpm train reads uint8 [N,height,width,channels]" docs/handbook.md
    : > nothing.png
    run "$DDPM" info nothing.png
    fails 1 "nothing.png: got an empty file"
}
