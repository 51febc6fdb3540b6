#!/usr/bin/env bash
# Train with several processes on one or more machines, one for each GPU.
# Usage: [NNODES=1 NODE_RANK=0 PORT=29500 MASTER_ADDR=127.0.0.1] dist_train.sh CONFIG GPUS [train.py's flags]

TOOLS=$(cd "$(dirname "$0")" && pwd)
source "$TOOLS/_distributed.sh"
launch "$2" "$TOOLS/train.py" "$1" --launcher pytorch "${@:3}"
