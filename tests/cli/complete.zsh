# zsh -f complete.zsh FOLDER LINE: what an interactive zsh that finds its completions in FOLDER makes of LINE and a tab.
zmodload zsh/zpty
export COMPLETIONS=$1 ZDOTDIR=$(mktemp -d) TERM=dumb
trap 'rm -rf $ZDOTDIR' EXIT
cat >$ZDOTDIR/.zshrc <<'END'
PS1='' RPS1='' PROMPT_SP='' KEYTIMEOUT=100
fpath=($COMPLETIONS $fpath)
autoload -Uz compinit
compinit -u -D
unsetopt beep list_beep
report() { print -r -- "<got:$BUFFER>"; exit }
zle -N report
bindkey '^Xr' report
print ready
END
zpty shell zsh -i
zpty -r -m shell output '*ready*'
zpty -w -n shell "$2"$'\t\x18r'
zpty -r -m shell output '*<got:*>*'
output=${output##*<got:}
print -r -- ${output%%>*}
