#!/bin/bash
# Judge many clips on a Slurm cluster: sbatch examples/slurm-array.sh CLIPS RESULTS
# The same command again judges only what is missing. Then: deepkd collect RESULTS
#SBATCH --job-name=deepkd
#SBATCH --array=0-99
#SBATCH --cpus-per-task=2
#SBATCH --mem=2G
set -u
SHARDS=${SHARDS:-100}  # as many as the array has tasks
deepkd detect "$1" --out "$2" --resume --shard $((SLURM_ARRAY_TASK_ID + 1))/"$SHARDS" --quiet
code=$?
# 3: some inputs failed. They are in the part, and deepkd collect names them.
[ "$code" -eq 3 ] || exit "$code"
