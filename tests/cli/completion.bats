# Completions in bash, zsh and fish; shells that are not installed are skipped.
load "$DDPM_SUPPORT"

setup() {
    cd "$BATS_TEST_TMPDIR"
    mkdir folder
    touch file.png
}

# bash_completes WORDS…: what bash offers for the last word, in one line.
bash_completes() {
    bash -c 'source completion.bash
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _ddpm
        echo "${COMPREPLY[*]}"' _ "$@"
}

@test "bash: verbs, options, values, files and folders" {
    "$DDPM" completion bash > completion.bash
    [ "$(bash_completes ddpm tr)" = train ]
    [ "$(bash_completes ddpm help no)" = noise ]
    [ "$(bash_completes ddpm train --dim-m)" = --dim-mults ]
    [ "$(bash_completes ddpm train --help-)" = --help-all ]
    [ "$(bash_completes ddpm train --recipe '')" = "article fast best none" ]
    [ "$(bash_completes ddpm sample --weights = m)" = model ]
    [ "$(bash_completes ddpm evaluate --sampler he)" = heun ]
    [ "$(bash_completes ddpm sample --from f | tr ' ' '\n' | sort | paste -sd' ')" = "file.png folder" ]
    [ "$(bash_completes ddpm train -o f)" = folder ]
    [ "$(bash_completes ddpm train --lr '')" = "" ]
    [ "$(bash_completes ddpm train --resume f)" = folder ]
    [ "$(bash_completes ddpm train -r f)" = folder ]
    [ "$(bash_completes ddpm train --resume --dim-m)" = --dim-mults ]
    [ "$(bash_completes ddpm train f)" = "" ]
    [ "$(bash_completes ddpm train --pretrained f | tr ' ' '\n' | sort | paste -sd' ')" = "file.png folder" ]
    [ "$(bash_completes ddpm completion '')" = "bash zsh fish" ]
}

@test "fish: verbs, options, values, files and folders" {
    command -v fish >/dev/null || skip "no fish"
    export HOME=$PWD XDG_CONFIG_HOME=$PWD/config XDG_DATA_HOME=$PWD/data
    "$DDPM" completion fish > completion.fish
    run fish -c 'source completion.fish
        for line in "ddpm tr" "ddpm train --dim-m" "ddpm train --recipe " "ddpm sample --weights=m" "ddpm train -o f" \
            "ddpm sample --from f" "ddpm train --lr " "ddpm completion " "ddpm train --resume f" "ddpm train f" \
            "ddpm train --pretrained f"
            complete -C $line | string replace -r "\t.*" "" | sort | string join ,
            echo
        end'
    [ "$output" = "train

--dim-mults

article,best,fast,none

--weights=model

folder/

file.png,folder/


bash,fish,zsh

folder/


file.png,folder/" ] || { echo "$output"; return 1; }
}

@test "zsh: verbs, options, values, files and folders" {
    command -v zsh >/dev/null || skip "no zsh"
    "$DDPM" completion zsh > _ddpm
    while IFS='|' read -r line want; do
        got=$(timeout 60 zsh -f "$BATS_TEST_DIRNAME/complete.zsh" "$PWD" "$line")
        [ "$got" = "$want" ] || { echo "of \"$line\": got \"$got\", want \"$want\""; return 1; }
    done <<'END'
ddpm tr|ddpm train 
ddpm train --dim-m|ddpm train --dim-mults=
ddpm train --recipe b|ddpm train --recipe best 
ddpm sample --weights=m|ddpm sample --weights=model 
ddpm sample --mask fi|ddpm sample --mask file.png 
ddpm train -o f|ddpm train -o folder/
ddpm train --resume f|ddpm train --resume folder/
ddpm train f|ddpm train f
ddpm train --pretrained fi|ddpm train --pretrained file.png 
ddpm completion z|ddpm completion zsh 
END
}
