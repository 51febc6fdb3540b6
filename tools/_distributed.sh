# Sourced by dist_train.sh and dist_test.sh.

# Run a tool in one process a GPU, on one or more machines.
# Usage: launch GPUS SCRIPT [ARGUMENT...]
launch() {
    local gpus=$1 launcher status stopped=
    # Where the tool's processes leave the one message of what is wrong: the launcher's own
    # tracebacks would bury it, so it is shown after them.
    CLASSROOM_ERRORS=$(mktemp -d)
    export CLASSROOM_ERRORS
    PYTHONPATH="$TOOLS/..":$PYTHONPATH \
    "${PYTHON:-python}" -m torch.distributed.run \
        --nnodes="${NNODES:-1}" \
        --node_rank="${NODE_RANK:-0}" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" \
        --nproc_per_node="$gpus" \
        --master_port="${PORT:-29500}" \
        "${@:2}" <&0 &
    launcher=$!
    # A scheduler may send SIGTERM to this shell alone. The launcher sends it to the processes, and
    # waits 30 seconds for them.
    trap 'stopped=1; kill -TERM "$launcher"' TERM
    trap 'kill -TERM "$launcher"' INT # SIGINT itself is ignored in the background
    wait "$launcher"
    status=$?
    while kill -0 "$launcher" 2> /dev/null; do # the wait was interrupted by the signal
        wait "$launcher"
        status=$?
    done
    if [ -e "$CLASSROOM_ERRORS/message" ]; then
        cat "$CLASSROOM_ERRORS/message" >&2
    elif [ -n "$stopped" ]; then
        status=143
    elif [ "$status" -ne 0 ]; then
        echo "A process has ended with an error: its own output is above, and the launcher names its" \
            "rank and exit code (-9 is a kill, often for lack of memory). What training has saved" \
            "is complete: go on with --resume." >&2
    fi
    rm -rf "$CLASSROOM_ERRORS"
    return $status
}
