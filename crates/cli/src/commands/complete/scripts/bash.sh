# Completion of @NAME@ for bash: `@NAME@ completion bash` prints it.

__@NAME@_complete() {
    # Bash takes words apart at = and :, which are parts of flags and images. Nothing that was typed is executed.
    local line=${COMP_LINE:0:COMP_POINT} rest word i
    local -a words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        rest=${line#"${line%%[![:space:]]*}"}
        word=${COMP_WORDS[i]}
        ((i == COMP_CWORD)) && word=$rest
        if ((i > 0)) && [[ $rest == "$line" && -n $line ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        line=${rest#"$word"}
    done
    words=("${words[@]//[\\\'\"]/}")

    local program=${words[0]/#\~\//$HOME/} current=${words[${#words[@]} - 1]} out
    type -P -- "$program" >/dev/null || program=@NAME@
    out=$("$program" @ASK@ "${words[@]:1}" 2>/dev/null) || return
    local directive=${out##*:}
    out=${out%:*}

    # What bash keeps of the word is not said again.
    [[ $current == -*=* ]] && current=${current#*=}
    local kept=${current%"${current##*[=:]}"}
    local -a values=() abouts=()
    local value about longest=0
    while IFS=$'\t' read -r value about; do
        [[ $value == "$current"* && -n $value ]] || continue
        value=${value#"$kept"}
        values+=("$value")
        abouts+=("$about")
        ((${#value} > longest)) && longest=${#value}
    done <<<"$out"

    COMPREPLY=()
    compopt +o default
    if ((${#values[@]} == 0)); then
        if ((directive & 16)); then
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -d -- "${current#"$kept"}")
        elif ((!(directive & 4))); then
            compopt -o default
        fi
        return
    fi
    ((directive & 2)) && compopt -o nospace
    # 33, 63 and 64: a list is shown, and nothing of it put in.
    if ((${#values[@]} > 1)) && [[ $COMP_TYPE == 33 || $COMP_TYPE == 63 || $COMP_TYPE == 64 ]]; then
        for i in "${!values[@]}"; do
            if [[ -n ${abouts[i]} ]]; then
                printf -v value "%-${longest}s  (%s)" "${values[i]}" "${abouts[i]}"
                # A line of the terminal for each.
                COMPREPLY+=("${value:0:${COLUMNS:-80} - 2}")
            else
                COMPREPLY+=("${values[i]}")
            fi
        done
        return
    fi
    COMPREPLY=("${values[@]}")
}

complete -o default -F __@NAME@_complete @NAME@
