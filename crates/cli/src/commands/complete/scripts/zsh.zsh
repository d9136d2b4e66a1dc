#compdef @NAME@
# Completion of @NAME@ for zsh: `@NAME@ completion zsh` prints it; as a file _@NAME@ in a directory of $fpath it is found.

_@NAME@() {
    local program=${(Q)words[1]} line value directive
    local -a lines shown ends
    program=${program/#\~\//$HOME/}
    (( $+commands[$program] )) || [[ -x $program ]] || program=@NAME@
    # Nothing that was typed is executed.
    lines=("${(@f)$("$program" @ASK@ "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    directive=${lines[-1]#:}
    [[ $directive == <-> ]] || return 1
    lines=("${(@)lines[1,-2]}")

    if [[ $PREFIX == -*=* ]]; then
        IPREFIX+=${PREFIX%%=*}=
        PREFIX=${PREFIX#*=}
    fi
    for line in $lines; do
        # What is behind a colon is taken for what a word is for.
        value=${${line%%$'\t'*}//:/\\:}
        [[ $line == *$'\t'* ]] && value+=:${line#*$'\t'}
        shown+=("$value")
    done
    if (( $#shown )); then
        (( directive & 2 )) && ends=(-S '')
        _describe -V completions shown $ends && return
    fi
    if (( directive & 16 )); then
        _path_files -/
    elif (( ! (directive & 4) )); then
        _files
    else
        return 1
    fi
}

# Read as a file of $fpath, it is called; sourced, it is made known.
if [[ $funcstack[1] == _@NAME@ ]]; then
    _@NAME@ "$@"
else
    compdef _@NAME@ @NAME@
fi
