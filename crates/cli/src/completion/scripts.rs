//! What is added to the scripts of shells, so that they ask for names that only the store knows.
//!
//! Every shell asks `prunella complete` with the line so far; what that writes to standard error is thrown away, so that
//! nothing is ever printed into the prompt.

use clap_complete::Shell;

const BASH: &str = r#"
_prunella_names() {
    # The plain function does not know how many words the line had for it.
    _prunella "$@"
    local word
    while IFS= read -r word; do
        [ -n "$word" ] && COMPREPLY+=("$word")
    done < <(command prunella complete --breaks -- "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    return 0
}
if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _prunella_names -o nosort -o bashdefault -o default prunella
else
    complete -F _prunella_names -o bashdefault -o default prunella
fi
"#;

const ZSH: &str = r#"
_prunella_names() {
    local -a names
    names=(${(f)"$(command prunella complete -- "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)"})
    local known=1
    (( ${#names} )) && compadd -- "${names[@]}" && known=0
    _prunella "$@" && known=0
    return known
}
compdef _prunella_names prunella
"#;

const FISH: &str = r#"
complete -c prunella -a "(command prunella complete -- (commandline -cp) 2>/dev/null)"
"#;

/// Returns what stands behind the script of a shell; nothing for one that cannot ask.
pub fn asking(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
        _ => "",
    }
}
