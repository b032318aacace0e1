#!/usr/bin/env bash
# Does everything in order on this machine. What is done is skipped, and training goes on from its last checkpoint: after an
# interruption, run it again.
#
# Arguments go to train.py: launch/local.sh --max-steps 100
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-python}"

export PYTORCH_ALLOC_CONF="${PYTORCH_ALLOC_CONF:-expandable_segments:True}"

step() { printf '\n==> %s\n' "$1"; }

step "tokenizer"
"$python" tokenizer.py

step "data"
"$python" prepare_data.py

step "training"
"$python" train.py --resume "$@"

step "evaluation"
"$python" evaluate.py

step "sample"
"$python" generate.py
