#!/usr/bin/python3
"""One process of torch DistributedDataParallel over gloo, one thread each.

bench/beside_torch.py starts one per rank. Each takes every second sample of the epoch's order, and
its part of the batch; rank 0 reports what both did. Timed is the training loop only,
from one barrier to the next, after a warm-up; data in memory.
"""
import sys
import time

sys.dont_write_bytecode = True
import torch  # noqa: E402
import torch.distributed as distributed  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

import fashion  # noqa: E402


def train(model, optimizer, x, y, options):
    share = options.batch // options.ranks
    for epoch in range(options.epochs):
        dice = torch.Generator().manual_seed(options.seed * 1000 + epoch)
        order = torch.randperm(len(y), generator=dice)[options.rank::options.ranks]
        for first in range(0, len(order), share):
            part = order[first:first + share]
            fashion.step(model, optimizer, x[part], y[part])


def main():
    parser = fashion.arguments(__doc__)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--meet", required=True, help="a new file to find the others by")
    options = parser.parse_args()
    fashion.start(options)
    distributed.init_process_group("gloo", init_method="file://" + options.meet,
                                   rank=options.rank, world_size=options.ranks)
    x, y = fashion.load(options.data, "train")
    model = DistributedDataParallel(fashion.make_model(options),
                                    gradient_as_bucket_view=options.tuned)
    fashion.warm_up(model, x, y, options.batch // options.ranks, options)
    optimizer = fashion.make_optimizer(model, options)

    distributed.barrier()
    start = time.monotonic()
    train(model, optimizer, x, y, options)
    distributed.barrier()
    seconds = time.monotonic() - start
    if options.rank == 0:
        fashion.report(options.epochs * len(y), seconds,
                       fashion.accuracy(model.module, options.data))
    distributed.barrier()


main()
