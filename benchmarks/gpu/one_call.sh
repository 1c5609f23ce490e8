# Everything that needs a GPU, within minutes.  OUT: where results and logs go; PEER: a checkout of nanochat.
set -u
run() { python3 benchmarks/gpu/run.py --nanochat "$PEER" --log /tmp/gpu-logs "$@"; }
run --only speed --speeds "ours 12" "nanochat 12" "ours 24" "nanochat 24" --until 215
run --only checks --until 60
run --only speed --speeds "ours 24, fp8" "ours 12, cudnn" "ours 12, documents" --until 60
cp benchmarks/results/gpu.json "$OUT"/
tar czf "$OUT"/logs.tgz -C /tmp gpu-logs
