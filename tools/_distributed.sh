# Sourced by dist_train.sh and dist_test.sh.

# Run a tool in one process a GPU, on one or more machines.
# Usage: launch GPUS SCRIPT [ARGUMENT...]
launch() {
    local gpus=$1 status
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
        "${@:2}"
    status=$?
    [ -e "$CLASSROOM_ERRORS/message" ] && cat "$CLASSROOM_ERRORS/message" >&2
    rm -rf "$CLASSROOM_ERRORS"
    return $status
}
