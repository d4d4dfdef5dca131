#!/usr/bin/env bash
# Several processes of one run on this machine, over loopback:
#
#   launch/local.sh N [flags of jaxcnn.main]
#   DEVICES=2 launch/local.sh 2 --config=configs/lenet5.py --workdir=runs/two
#
# Process 0 writes to the terminal, process I to LOGDIR/process-I.log. If one fails, the others are
# ended and its exit code is returned. Ctrl-C and SIGTERM reach all of them: they save and exit with
# 130 or 143; a second one ends them at once.
#
# One process uses all the accelerators of a machine by itself. Set, if you want it otherwise:
#   DEVICES  run on the CPU, with so many XLA devices in each process
#   GPUS     give each process so many GPUs, in order
#   LOGDIR   default: logs/ in the --workdir, or a temporary directory
#   PYTHON   default: python
set -euo pipefail

readonly GRACE_FAILED=5 # seconds to say why, for those whose peer failed
readonly GRACE_STOPPED=60 # seconds to finish saving, once one process has saved and exited

if [[ ! ${1:-} =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: launch/local.sh N [flags of jaxcnn.main]" >&2
  exit 2
fi
readonly count=$1
shift
readonly python=${PYTHON:-python}

logdir=${LOGDIR:-}
if [[ -z $logdir ]]; then
  previous=
  for argument in "$@"; do
    case $argument in
      --workdir=* | -workdir=*) logdir=${argument#*=}/logs ;;
    esac
    case $previous in
      --workdir | -workdir) logdir=$argument/logs ;;
    esac
    previous=$argument
  done
  [[ $logdir != *,* ]] || logdir= # several workdirs, to be evaluated together
  logdir=${logdir:-$(mktemp -d)}
fi
if [[ $logdir == "~"* ]]; then # as jaxcnn.main has it
  logdir=$("$python" -c 'import os, sys; print(os.path.expanduser(sys.argv[1]))' "$logdir")
fi
mkdir -p "$logdir"

if [[ -n ${DEVICES:-} ]]; then
  export JAX_PLATFORMS=cpu
  export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$DEVICES"
fi

port=$("$python" -c '
import socket
with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1])
')

# In a process group of its own a process gets a terminal's Ctrl-C once, from this script, and not
# twice; and Bash makes what it starts in the background ignore Ctrl-C.
readonly in_own_group='
import os, signal, sys
os.setpgid(0, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
'

pids=()
codes=()
asked=no

forward() {
  asked=yes
  local i
  for ((i = 0; i < ${#pids[@]}; i++)); do
    [[ -n ${codes[i]:-} ]] || kill "-$1" "${pids[i]}" 2>/dev/null || true
  done
}
trap 'forward TERM' TERM HUP
trap 'forward INT' INT

end() { # process number: it and what it started
  kill -KILL -- "-${pids[$1]}" 2>/dev/null || kill -KILL "${pids[$1]}" 2>/dev/null || true
}

start() { # process number, flags …
  local i=$1
  shift
  if [[ -n ${GPUS:-} ]]; then
    local first=$((i * GPUS)) gpus
    gpus=$first
    while ((++first < (i + 1) * GPUS)); do gpus+=,$first; done
    export CUDA_VISIBLE_DEVICES=$gpus
  fi
  exec "$python" -c "$in_own_group" "$python" -m jaxcnn.main "$@" \
    --coordinator="127.0.0.1:$port" --num_processes="$count" --process_id="$i"
}

for ((i = 0; i < count; i++)); do
  if ((i == 0)); then
    start "$i" "$@" </dev/null &
  else
    start "$i" "$@" </dev/null >"$logdir/process-$i.log" 2>&1 &
  fi
  pids+=("$!")
  codes+=("")
done
((count == 1)) || echo "processes 1 to $((count - 1)) write to $logdir/process-I.log" >&2

exec 3>&2 2>/dev/null # Bash would write "Killed" with a line of this script

first= # number of the process that failed first
left=$count
deadline= # of those that are left
killed=no
while ((left > 0)); do
  for ((i = 0; i < count; i++)); do
    [[ -z ${codes[i]} ]] || continue
    ! kill -0 "${pids[i]}" 2>/dev/null || continue
    code=0
    wait "${pids[i]}" || code=$?
    codes[i]=$code
    left=$((left - 1))
    ((code != 0)) || continue
    end "$i" # what it started itself, such as data workers
    # 75 and 134 are of those who lost another one, which may be seen to end after them.
    if [[ -z $first ]] || [[ $killed == no && ${codes[first]} =~ ^(75|134)$ ]]; then
      first=$i
    fi
    if [[ -z $deadline ]]; then
      grace=$GRACE_FAILED
      if [[ $asked == yes || $code == 130 || $code == 143 ]]; then grace=$GRACE_STOPPED; fi
      deadline=$((SECONDS + grace))
    fi
  done
  ((left > 0)) || break
  if [[ -n $deadline ]] && ((SECONDS >= deadline)); then
    killed=yes
    for ((i = 0; i < count; i++)); do
      [[ -n ${codes[i]} ]] || end "$i"
    done
  fi
  sleep 0.2 || true
done

[[ -n $first ]] || exit 0
if [[ $asked == no ]]; then
  echo "process $first ended first, with exit code ${codes[first]}" >&3
  if ((first > 0)); then tail -n 3 "$logdir/process-$first.log" >&3; fi
fi
exit "${codes[first]}"
