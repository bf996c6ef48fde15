#!/bin/sh
# Adds all models of a folder to a store, with eight workers: sbatch deploy/slurm.sh STORE FOLDER
#SBATCH --job-name=bantam-ingest
#SBATCH --array=1-8
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --requeue
set -eu
exec bantam store ingest "$1" "$2" --part "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --jobs "${SLURM_CPUS_PER_TASK:-2}" --json
