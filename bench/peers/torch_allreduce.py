#!/usr/bin/python3
"""One process of torch.distributed's allreduce over gloo: the tensors of all processes become
their sum, in place. bench/allreduce starts one per rank; rank 0 ends stdout with {"seconds": median,
"torch": version}.
"""
import argparse
import json
import statistics
import sys
import time

sys.dont_write_bytecode = True
import torch  # noqa: E402
import torch.distributed as distributed  # noqa: E402

WARM_UP = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, required=True, help="of each process's tensor")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--meet", required=True, help="a new file to find the others by")
    options = parser.parse_args()
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method="file://" + options.meet,
                                   rank=options.rank, world_size=options.ranks)
    tensor = torch.zeros(options.bytes // 4)
    took = []
    for _ in range(WARM_UP + options.steps):
        start = time.monotonic()
        distributed.all_reduce(tensor)
        took.append(time.monotonic() - start)
    if options.rank == 0:
        print(json.dumps({"seconds": statistics.median(took[WARM_UP:]),
                          "torch": torch.__version__}))
    distributed.barrier()


main()
