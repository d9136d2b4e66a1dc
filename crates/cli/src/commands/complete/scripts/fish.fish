# Completion of @NAME@ for fish: `@NAME@ completion fish` prints it.

function __@NAME@_complete
    set -l typed (commandline -opc)
    set -l program $typed[1]
    set -e typed[1]
    set -l current (commandline -ct)
    type -q -- $program; or set program @NAME@
    # Nothing that was typed is executed.
    set -l lines ($program @ASK@ $typed (string unescape -- $current; or echo -- $current) 2>/dev/null)
    set -l directive (string replace -r '^:' '' -- $lines[-1])
    string match -qr '^[0-9]+$' -- $directive; or return
    set -e lines[-1]

    # With --flag=value, fish wants both.
    set -l flag (string match -r '^-[^=]*=' -- $current)
    if test (count $lines) -gt 0
        for line in $lines
            printf '%s%s\n' $flag $line
        end
        return
    end
    set -l value (string replace -r '^-[^=]*=' '' -- $current)
    if test (math "floor($directive / 16) % 2") -eq 1
        for path in (__fish_complete_directories $value '')
            printf '%s%s\n' $flag $path
        end
    else if test (math "floor($directive / 4) % 2") -eq 0
        for path in (__fish_complete_path $value)
            printf '%s%s\n' $flag $path
        end
    end
end

complete -c @NAME@ -e
complete -c @NAME@ -f -a '(__@NAME@_complete)'
