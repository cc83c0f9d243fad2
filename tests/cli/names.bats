# Unusual file names, wherever they are shown.
load "$DDPM_SUPPORT"

setup_file() {
    make_pictures "$BATS_FILE_TMPDIR/good" 12
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    cp -r "$BATS_FILE_TMPDIR/good" pictures
}

# plain: the output of the last `run` has no control characters but line feeds.
plain() {
    if LC_ALL=C grep -q $'[\x01-\x08\x0b-\x1f\x7f]' <<<"$output"; then
        echo "control characters: $(cat -v <<<"$output")"
        return 1
    fi
}

@test "names of bad pictures are one line of plain text each" {
    # packs NAME SHOWN [NAME SHOWN…]: bad pictures of these names, and how they are shown.
    packs() {
        local -a shown=() files=()
        while [ $# -gt 0 ]; do
            files+=("pictures/$1") shown+=("$2")
            printf junk > "pictures/$1"
            shift 2
        done
        run "$DDPM" pack pictures --out all.npy --size 16
        succeeds
        plain
        says "${shown[@]}"
        [ "$(grep -c '^ddpm' <<<"$output")" -eq 0 ]
        rm "${files[@]}"
    }
    # At most three names are shown.
    packs $'a\nddpm train: done.png' 'a\nddpm train: done.png' $'\e[31mred.png' '\x1B[31mred.png' \
        $'cr\rover.png' 'cr\rover.png'
    packs $'c1\u009b2Jx.png' 'c1\xC2\x9B2Jx.png' $'bad\xff\xc3.png' 'bad\xFF\xC3.png'
    packs $'del\x7f\a.png' 'del\x7F\x07.png' $'good-é-€-😀.png' 'good-é-€-😀.png'
}

@test "names in errors, in options and as verbs" {
    for arguments in "info --" "sample --out x" "noise --out x.png" "pack --out x.npy --size 8"; do
        run "$DDPM" ${arguments%% *} $'no\nsuch\e[2Jthing' ${arguments#* }
        plain
        [ "$status" -ne 0 ]
        says 'no\nsuch\x1B[2Jthing'
    done
    run "$DDPM" $'tr\nain'
    fails 2 'tr\nain'
    run "$DDPM" train $'--o\rut' x
    fails 2 '--o\rut'
    run "$DDPM" train --out x --loss $'l\e3'
    fails 2 'l\x1B3'
    plain
}

@test "a run in a folder with such a name" {
    mv pictures $'in\n\e[1mpictures'
    run "$DDPM" train --data $'in\n\e[1mpictures' --out $'new\n\e[2Jrun' "${TINY[@]}" --steps 2 --sample-every 2
    succeeds
    plain
    says 'run       new\n\x1B[2Jrun, step' 'checkpoint of step 2 in new\n\x1B[2Jrun'
    run "$DDPM" info $'new\n\e[2Jrun'
    succeeds
    plain
    says 'in\n\x1B[1mpictures'
    run "$DDPM" sample $'new\n\e[2Jrun' --out $'dr\tawn' -n 1
    succeeds
    plain
    says 'new\n\x1B[2Jrun, step 2'
    run "$DDPM" info $'dr\tawn/0000.png'
    succeeds
    plain
    run "$DDPM" pack $'dr\tawn' --out $'all\r.npy' --size 16
    succeeds
    plain
    says 'all\r.npy: 2 pictures'
}

@test "texts inside files cannot control the terminal" {
    make_run run pictures 1
    "$DDPM" sample run --out drawn -n 1 2>/dev/null
    # The text of a picture, overwritten in place; its checksum is not checked when texts are shown.
    LC_ALL=C sed 's/ddpm:seed/d\x1b[2J:sd/' drawn/0000.png > forged.png
    run "$DDPM" info forged.png
    plain
    LC_ALL=C sed 's/"ddpm_version"/"dd\\u001b[2Jn"/' run/checkpoints/latest/model.safetensors > forged.safetensors
    run "$DDPM" info forged.safetensors
    plain
    LC_ALL=C sed 's/"data": "[^"]*"/"data": "a\\n\\u001b[2J"/' run/config.json > forged.json
    run "$DDPM" info forged.json
    succeeds
    plain
    says 'a\n\x1B[2J'
}

@test "a folder whose name is not UTF-8 is an error before the run exists" {
    mv pictures $'pict\xffures'
    run "$DDPM" train --data $'pict\xffures' --out new "${TINY[@]}" --steps 1
    fails 2 "data" "UTF-8"
    [ ! -e new ]
    # As the name of the run it does no harm.
    run "$DDPM" train --data "$BATS_FILE_TMPDIR/good" --out $'new\xff' "${TINY[@]}" --steps 1 --sample-every 0
    succeeds
    says 'new\xFF'
}

@test "other files are counted by ending; .jfif and .jpe are JPEG" {
    touch pictures/{a,b,c}.gif pictures/D.GIF pictures/e.heic pictures/f.avif pictures/README pictures/notes.txt
    mv pictures/000000.png pictures/zero.jfif
    mv pictures/000001.png pictures/one.JPE
    run "$DDPM" pack pictures --out all.npy --size 16
    succeeds
    says "ignored: 4 .gif, 1 " "1 .heic" "1 .avif" "1 .txt" "1 file without an extension" "12 pictures"
    [ "$(grep -c 'ignored' <<<"$output")" -eq 1 ]
    run "$DDPM" train --data pictures --out new "${TINY[@]}" --steps 1 --sample-every 0
    succeeds
    says "ignored: 4 .gif" "pictures  12 of size 16"
    mkdir other
    touch other/{a,b}.heic
    run "$DDPM" pack other --out none.npy --size 16
    fails 1 "no pictures" ".jfif"
    says "other: ignored: 2 .heic"
}

@test "only pictures that are used are counted, not those that are skipped" {
    printf junk > pictures/a.png
    : > pictures/b.png
    head -c 90 pictures/000003.png > pictures/c.png
    run "$DDPM" train --data pictures --out new "${TINY[@]}" --steps 1 --sample-every 0
    succeeds
    says "pictures  12 of size 16, 4 per step; 3 of 15 are skipped"
}
