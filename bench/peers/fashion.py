"""What the torch peers share: the data, the models, a step, the score, the report.

The jobs are those of examples/fashion-mnist-mlp.yaml (784-256-128-10) and
examples/fashion-mnist-lenet5.yaml (--model lenet5): ReLU, pixels / 255, He
initialisation, zero biases, softmax cross-entropy, Adam 1e-3. torch keeps its
defaults, and has one thread. --tuned sets what one who knows torch would set: denormals
are flushed, as Talweg does; Adam works on all tensors at once; DDP sends from its own
buckets.
"""
import argparse
import ctypes
import gzip
import json
import os

import torch
from torch import nn

WARM_UP_STEPS = 50

MODELS = {
    "mlp": lambda: [nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(),
                    nn.Linear(128, 10)],
    "lenet5": lambda: [nn.Unflatten(1, (1, 28, 28)),
                       nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                       nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                       nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
                       nn.Linear(84, 10)],
}


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", required=True, help="folder of the four gzipped IDX files")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--model", choices=sorted(MODELS), default="mlp")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tuned", action="store_true", help="not torch's defaults, see above")
    return parser


def start(options):
    torch.set_num_threads(1)
    torch.set_flush_denormal(options.tuned)
    torch.manual_seed(options.seed)


def read(folder, name, header):
    """The values of one IDX file, without its header, as bytes."""
    with gzip.open(os.path.join(folder, name)) as file:
        return torch.frombuffer(bytearray(file.read()[header:]), dtype=torch.uint8)


def load(folder, part):
    """Images [n, 784] as float32 in 0..1, labels [n]: all of it in memory."""
    images = read(folder, part + "-images-idx3-ubyte.gz", 16)
    labels = read(folder, part + "-labels-idx1-ubyte.gz", 8)
    return images.view(-1, 784).to(torch.float32) / 255, labels.to(torch.int64)


def make_model(options):
    model = nn.Sequential(*MODELS[options.model]())
    for layer in model:
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return model


def make_optimizer(model, options):
    return torch.optim.Adam(model.parameters(), lr=1e-3, foreach=options.tuned)


def step(model, optimizer, x, y):
    optimizer.zero_grad(set_to_none=True)
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()


def warm_up(model, x, y, batch, options):
    """Steps on the model that are not timed and leave no trace in it."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = make_optimizer(model, options)
    for first in range(0, WARM_UP_STEPS * batch, batch):
        step(model, optimizer, x[first:first + batch], y[first:first + batch])
    model.load_state_dict(before)


def accuracy(model, folder):
    x, y = load(folder, "t10k")
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def blas_core():
    """The core that torch's OpenBLAS chose, or None when its BLAS is another one."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            path = line.split()[-1]
            if "openblas" in path:
                library = ctypes.CDLL(path)
                if hasattr(library, "openblas_get_corename"):
                    library.openblas_get_corename.restype = ctypes.c_char_p
                    return library.openblas_get_corename().decode()
    return None


def report(samples, seconds, score):
    """The last line of stdout, for bench/beside_torch.py."""
    print(json.dumps({"samples_per_second": samples / seconds, "test_accuracy": score,
                      "samples": samples, "seconds": seconds, "blas_core": blas_core(),
                      "torch": torch.__version__}))
