#!/usr/bin/python3
"""torch on one thread in one process: the training loop only, after a warm-up.

--loader memory      each step indexes two tensors with its part of a permutation
--loader dataloader  torch.utils.data.DataLoader over the same tensors, as tutorials do
"""
import sys
import time

sys.dont_write_bytecode = True
import torch  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

import fashion  # noqa: E402


def memory_epoch(x, y, batch):
    order = torch.randperm(len(y))
    for first in range(0, len(y), batch):
        part = order[first:first + batch]
        yield x[part], y[part]


def main():
    parser = fashion.arguments(__doc__)
    parser.add_argument("--loader", choices=("memory", "dataloader"), default="memory")
    options = parser.parse_args()
    fashion.start(options)
    x, y = fashion.load(options.data, "train")
    model = fashion.make_model(options)
    fashion.warm_up(model, x, y, options.batch, options)
    optimizer = fashion.make_optimizer(model, options)
    loader = DataLoader(TensorDataset(x, y), batch_size=options.batch, shuffle=True)

    start = time.monotonic()
    for _ in range(options.epochs):
        memory = options.loader == "memory"
        for rows, labels in memory_epoch(x, y, options.batch) if memory else loader:
            fashion.step(model, optimizer, rows, labels)
    seconds = time.monotonic() - start
    fashion.report(options.epochs * len(y), seconds, fashion.accuracy(model, options.data))


main()
