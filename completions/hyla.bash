# bash completion for hyla(1)

_hyla()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} i
    local options='--rootfs --root-image --bind --mount --rw --cwd --env --user --hostname --memory --pids --workers --trace --trace-calls
        --trace-pids --trace-string --stats --verbose --help --no-rewrite --no-vm-access --no-namespaces'
    local with_value=' --rootfs --root-image --bind --mount --rw --cwd --env --user --hostname --memory --pids --workers --trace-calls --trace-pids --trace-string '

    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W 'run boot mounts df server ps ports help --help --version' -- "$current")
        return
    fi
    if [[ ${COMP_WORDS[1]} == help ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'run boot mounts df server ps ports' -- "$current")
        return
    fi
    if [[ ${COMP_WORDS[1]} == server || ${COMP_WORDS[1]} == ps || ${COMP_WORDS[1]} == ports ]]; then
        if [[ $previous == --socket ]]; then
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            compopt -o filenames
        elif [[ ${COMP_WORDS[1]} == server && $previous != --workers ]]; then
            mapfile -t COMPREPLY < <(compgen -W '--socket --workers --no-vm-access --trace --ready --help' -- "$current")
        elif [[ ${COMP_WORDS[1]} != server ]]; then
            mapfile -t COMPREPLY < <(compgen -W '--socket --help' -- "$current")
        fi
        return
    fi
    if [[ ${COMP_WORDS[1]} == boot ]]; then
        mapfile -t COMPREPLY < <(compgen -W '--root --disk --cwd --env --cpus --memory --trace --verbose --gdb --icount --qemu-arg --kernel --kernel-arg --help' -- "$current")
        [[ $previous != --root && $previous != --disk && $previous != --kernel && ${#COMPREPLY[@]} -gt 0 ]] || { mapfile -t COMPREPLY < <(compgen -f -- "$current"); compopt -o filenames; }
        return
    fi
    [[ ${COMP_WORDS[1]} == run || ${COMP_WORDS[1]} == mounts || ${COMP_WORDS[1]} == df ]] || return

    # Where the program's own words begin, completion is the program's.
    for ((i = 2; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == -- ]]; then
            i=$((i + 1))
            break
        elif [[ $with_value == *" ${COMP_WORDS[i]} "* ]]; then
            i=$((i + 1))
        elif [[ ${COMP_WORDS[i]} == --trace && ${COMP_WORDS[i + 1]} == = ]]; then
            i=$((i + 2))
        elif [[ ${COMP_WORDS[i]} != -* ]]; then
            break
        fi
    done
    if ((i < COMP_CWORD)) && declare -F _command_offset >/dev/null; then
        _command_offset "$i"
        return
    fi
    case $previous in
    --rootfs | --cwd)
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
        compopt -o filenames
        ;;
    --bind | --rw | --root-image | =)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        compopt -o filenames
        ;;
    --env | --user | --hostname | --memory | --pids | --workers | --trace-calls | --trace-pids | --trace-string) ;;
    *)
        if [[ $current == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
        else
            mapfile -t COMPREPLY < <(compgen -c -- "$current")
        fi
        ;;
    esac
}
complete -F _hyla hyla
