# Folders of pictures as users have them.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/good" 12
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    cp -r "$BATS_FILE_TMPDIR/good" pictures
}

teardown() {
    if [ -n "${pid:-}" ]; then kill -KILL "$pid" 2>/dev/null || true; fi
}

train() {
    run "$DDPM" train --data "${1:-pictures}" --out new "${TINY[@]}" --steps 2 --sample-every 0 "${@:2}"
}

@test "an empty folder, a folder without pictures" {
    mkdir empty
    train empty
    fails 1 empty
    mkdir texts && echo text > texts/a.txt
    train texts
    fails 1 texts
    [ ! -e new ]
}

@test "bad files are skipped, counted and listed once" {
    : > pictures/empty.png
    head -c 100 pictures/000000.png > pictures/cut.png
    echo "not a picture" > pictures/text.jpg
    mkdir pictures/folder.png
    train
    succeeds
    for name in empty.png cut.png text.jpg; do
        [ "$(grep -c "$name" <<<"$output")" -eq 1 ]
    done
}

@test "more than half bad pictures are an error, and so is having no good one" {
    for k in 1 2 3 4 5 6 7 8 9 10 11 12 13; do
        echo text > "pictures/bad$k.png"
    done
    train
    fails 1 bad
    rm pictures/0*
    train
    fails 1 pictures
    [ ! -e new ]
}

@test "an unreadable file and a link to nowhere" {
    ln -s nowhere pictures/link.png
    touch pictures/closed.png && chmod 000 pictures/closed.png
    train
    succeeds
    says closed.png
}

@test "a FIFO blocks neither training nor drawing" {
    make_run run pictures 2
    mkfifo fifo.png
    run timeout 60 "$DDPM" sample run --out drawn -n 1 --from fifo.png
    fails 1 "fifo.png: not a file"
    # Random crops are read from the files again and again.
    "$DDPM" train --data pictures --out new "${TINY[@]}" --crop random --steps 100000000 --sample-every 0 \
        2> errors 3>&- &
    pid=$!
    wait_for grep -q "^step 1/" errors
    mv fifo.png pictures/000003.png
    wait_for grep -q "skipped: .*000003.png: not a file" errors
    kill -TERM "$pid"
    status=0
    wait "$pid" || status=$?
    pid=
    [ "$status" -eq $((128 + 15)) ]
}

@test "smaller pictures are enlarged with a warning" {
    train pictures --image-size 32
    succeeds
    says "warning:"
}

@test "only the giant picture is rejected" {
    # A PNG header of 1000000 x 1000000 pixels and nothing after it.
    printf '\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\x0f\x42\x40\0\x0f\x42\x40\x08\x02\0\0\0' > pictures/giant.png
    printf '\x7a\x7f\x5a\x5c\0\0\0\0IDAT' >> pictures/giant.png
    train
    succeeds
    [ "$(grep -c giant.png <<<"$output")" -eq 1 ]
}

@test "mixed channels and capital endings" {
    "$DDPM" synth --out grey --count 1 --size 16 2>/dev/null
    mv grey/000000.png pictures/UPPER.PNG
    "$DDPM" pack grey --out none.npy --size 16 2>/dev/null || true
    train
    succeeds
    says "13 of size 16"
    mkdir -p pictures/deep/er
    cp pictures/000001.png pictures/deep/er/
    rm -rf new
    train
    succeeds
    says "14 of size 16"
    train pictures --channels 2 --out other
    [ "$status" -ne 0 ]
}

@test "a truncated picture is used, with one warning that names it" {
    head -c -12 pictures/000000.png > pictures/no-end.png
    train
    succeeds
    says "13 of size 16"
    [ "$(grep -c "pictures/no-end.png: the end of the file is missing" <<<"$output")" -eq 1 ]
    run "$DDPM" pack pictures --out packed.npy --size 16
    succeeds
    says "13 pictures" "no-end.png: the end of the file is missing"
}

@test "a file of 69 bytes that claims 200 million pixels is rejected within 300 MB" {
    bash -c 'ulimit -v 300000; "$DDPM" version' || skip "this build takes more addresses than that to start"
    printf '%b' \
        '\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x0b\xeb\xc2\x00\x00\x00\x00\x01' \
        '\x10\x06\x00\x00\x00\x87\x4c\xfe\x00\x00\x00\x00\x0c\x49\x44\x41\x54\x78\xda\x63\x60\xa0\x3d\x00' \
        '\x00\x00\x64\x00\x01\xb8\x99\xef\x99\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82' > pictures/wide.png
    (ulimit -v 300000 && "$DDPM" pack pictures --out packed.npy --size 16 --threads 1) 2>message
    [[ "$(cat message)" == *"wide.png: PNG: picture of 200000000x1 pixels is too large"* ]]
}
