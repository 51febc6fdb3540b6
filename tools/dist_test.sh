#!/usr/bin/env bash
# Evaluate with several processes on one or more machines, one for each GPU.
# Usage: [NNODES=1 NODE_RANK=0 PORT=29500 MASTER_ADDR=127.0.0.1] dist_test.sh CONFIG CHECKPOINT GPUS [test.py's flags]

TOOLS=$(cd "$(dirname "$0")" && pwd)
source "$TOOLS/_distributed.sh"
launch "$3" "$TOOLS/test.py" "$1" "$2" --launcher pytorch "${@:4}"
