# zsh -f complete_in_bash.zsh LINE: what an interactive bash with the installed completions makes of LINE and a tab.
zmodload zsh/zpty
export HOME=$(mktemp -d) TERM=dumb
trap 'rm -rf $HOME' EXIT
cat >$HOME/.bashrc <<'END_OF_RC'
PS1=''
. /usr/share/bash-completion/bash_completion
bind 'set bell-style none'
bind -x '"\C-xr": echo "<got:$READLINE_LINE>"'
echo ready
END_OF_RC
zpty shell bash -i
zpty -r -m shell output '*ready*'
zpty -w -n shell "$1"$'\t\x18r'
zpty -r -m shell output '*<got:*>*'
output=${output##*<got:}
print -r -- "${output%%>*}"
