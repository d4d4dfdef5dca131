#!/usr/bin/env bash
# One run on a Cloud TPU pod slice, the same command on each of its workers:
#
#   launch/tpu_pod.sh NAME ZONE [flags of jaxcnn.main]
#   launch/tpu_pod.sh my-pod us-central2-b --config=configs/resnet50.py:imagenet2012 \
#     --workdir=/shared/runs/resnet50
#
# Before the first run, on each worker: a checkout of jaxcnn in ~/jaxcnn, and in it
# `pip install -e ".[tpu]"`. The workdir must be a directory that all workers mount, such as one of
# Filestore (no gs:// path); so must the data. With --coordinator=auto the workers find each other.
#
# Ctrl-C here ends the connection, not the run. This stops it, saved, and the launch command
# continues it:
#
#   gcloud compute tpus tpu-vm ssh NAME --zone=ZONE --worker=all \
#     --command='pkill -TERM -f jaxcnn.main'
#
#   DIRECTORY  of the checkout on the workers; default: jaxcnn
#   PYTHON     default: python3
#
# Not tested in CI: needs a TPU pod.
set -euo pipefail

if (($# < 2)) || [[ $1 == -* || $2 == -* ]]; then
  echo "usage: launch/tpu_pod.sh NAME ZONE [flags of jaxcnn.main]" >&2
  exit 2
fi
readonly name=$1 zone=$2
shift 2

# A remote shell reads this line again, so every word is quoted for it.
printf -v directory '%q' "${DIRECTORY:-jaxcnn}"
printf -v command '%q ' "${PYTHON:-python3}" -m jaxcnn.main "$@" --coordinator=auto

exec gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
  --command="cd $directory && exec $command"
