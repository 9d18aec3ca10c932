#!/usr/bin/python3
"""Reference values of layers and losses from torch, in double precision, on random shapes.

    make_vectors.py            writes NAME.txt beside itself, all of them
    make_vectors.py --check    computes them again and compares; 77: there is no torch

A line of a layer:
    the layer as a job names it, options as key=value | shape of a sample | rows | seed |
    three sums over the outputs, three over the gradient by the inputs, three over that of
    each tensor
and of a loss:
    the loss | outputs | label | seed | the loss, three sums over the gradient
lenet5.txt has the losses of 100 steps of SGD, one per line; lenet_losses() says of what.
residual.txt likewise has those of a small residual net with batch norm, and behind them the losses
of three batches in scoring.

A sum is of elements times numbers from -1 to 1 of its own: an element that is wrong is seen
in all three, and a file stays small. numbers() deals inputs, weights, gradients by the
outputs, in this order, and again, from seed + 1, what the sums multiply with.
tests/unit/test_layer_vectors.c deals the same and compares.
"""
import os
import random
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
MASK = (1 << 64) - 1
LINES = 20
SUMS = 3


def numbers(seed):
    while True:
        seed = (seed * 6364136223846793005 + 1442695040888963407) & MASK
        yield ((seed >> 48) - 32768) / 32768


def take(torch, dice, shape):
    count = 1
    for size in shape:
        count *= size
    values = torch.tensor([next(dice) for _ in range(count)], dtype=torch.float64)
    return values.reshape(shape).requires_grad_(True)


def sums(tensor, dice):
    out = [0.0] * SUMS
    for x in tensor.detach().reshape(-1).tolist():
        for i in range(SUMS):
            out[i] += x * next(dice)
    return out


# ---- layers: random options and shape, shapes of the weights, and the function in torch ----

def flat(dice):
    return [dice.randint(2, 12)]


def any_shape(dice):
    return flat(dice) if dice.random() < .5 else image(dice)


def image(dice):
    return [dice.randint(1, 4), dice.randint(2, 7), dice.randint(2, 7)]


def make_conv(dice):
    kernel = dice.randint(1, 5)
    window = {"kernel": kernel, "stride": dice.randint(1, 3), "padding": dice.randrange(kernel)}
    sides = [dice.randint(max(1, kernel - 2 * window["padding"]), 8) for _ in range(2)]
    return {"channels": dice.choice([1, 2, 3, 4, 6, 7]), **window}, [dice.randint(1, 5)] + sides


def conv2d(torch, x, o, w, b):
    return torch.nn.functional.conv2d(x, w, b, stride=o["stride"], padding=o["padding"])


def make_pool(dice):
    kernel = dice.randint(1, 4)
    padding = dice.randint(0, kernel // 2)  # torch has no more
    sides = [dice.randint(max(1, kernel - 2 * padding), 9) for _ in range(2)]
    return ({"kernel": kernel, "stride": dice.randint(0, 3), "padding": padding},
            [dice.randint(1, 4)] + sides)


def pool(name):
    return lambda torch, x, o: getattr(torch.nn.functional, name)(
        x, o["kernel"], o["stride"] or o["kernel"], o["padding"])


def maxout(torch, x, o):
    pieces = int(o["pieces"])
    shape = x.shape
    return x.reshape(shape[0], shape[1] // pieces, pieces, *shape[2:]).amax(2)


def make_maxout(dice):
    pieces, shape = dice.randint(2, 4), any_shape(dice)
    return {"pieces": pieces}, [shape[0] * pieces] + shape[1:]


def make_batch_norm(dice):
    shape = flat(dice) if dice.random() < .5 else image(dice)
    return {"keep": .9, "eps": dice.choice([1e-5, 1e-3, .1])}, shape


def batch_norm(torch, x, o, w, b, mean, variance):
    """What is left in place of the gradients of the last two: sums over rows."""
    dims, rows = [0, *range(2, x.dim())], x.shape[0]
    mean.grad = rows * x.detach().mean(dims)
    variance.grad = rows * x.detach().var(dims)
    return torch.nn.functional.batch_norm(x, None, None, w, b, training=True, eps=o["eps"])


def make_embedding(dice):
    return {"entries": dice.randint(1, 9), "size": dice.randint(1, 5)}, flat(dice)


def embedding(torch, x, o, w):
    """The numbers that are dealt as indices; slopes by them are 0."""
    x.grad = torch.zeros_like(x)
    index = ((x.detach() + 1) / 2 * o["entries"]).floor().long()
    return torch.nn.functional.embedding(index, w)


LAYERS = {
    # name: (make -> options, shape), (options, shape -> shapes of weights), function
    "dense": (lambda dice: ({"units": dice.randint(1, 9)}, flat(dice)),
              lambda o, s: [[s[0], o["units"]], [o["units"]]],
              lambda torch, x, o, w, b: x @ w + b),
    "conv2d": (make_conv,
               lambda o, s: [[o["channels"], s[0], o["kernel"], o["kernel"]], [o["channels"]]],
               conv2d),
    "max_pool": (make_pool, None, pool("max_pool2d")),
    "avg_pool": (make_pool, None, pool("avg_pool2d")),
    "relu": (lambda dice: ({}, any_shape(dice)), None,
             lambda torch, x, o: torch.nn.functional.relu(x)),
    "leaky_relu": (lambda dice: ({"slope": round(dice.random(), 3)}, any_shape(dice)), None,
                   lambda torch, x, o: torch.nn.functional.leaky_relu(x, o["slope"])),
    "sigmoid": (lambda dice: ({}, any_shape(dice)), None,
                lambda torch, x, o: torch.sigmoid(x)),
    "tanh": (lambda dice: ({}, any_shape(dice)), None,
             lambda torch, x, o: torch.tanh(x)),
    "softmax": (lambda dice: ({}, flat(dice)), None,
                lambda torch, x, o: torch.softmax(x, 1)),
    "maxout": (make_maxout, None, maxout),
    "batch_norm": (make_batch_norm, lambda o, s: [s[:1]] * 4, batch_norm),
    "embedding": (make_embedding, lambda o, s: [[o["entries"], o["size"]]], embedding),
}


def layer_line(torch, name, dice):
    make, weights, function = LAYERS[name]
    options, shape = make(dice)
    choices = [1, 2, 3, 5, 16, 17, 19] if name != "batch_norm" else [3, 5, 16, 17, 19]
    rows, seed = dice.choice(choices), dice.getrandbits(63)
    deal = numbers(seed)
    x = take(torch, deal, [rows] + shape)
    tensors = [take(torch, deal, s) for s in (weights(options, shape) if weights else [])]
    out = function(torch, x, options, *tensors)
    out.backward(take(torch, deal, list(out.shape)).detach())
    deal = numbers(seed + 1 & MASK)
    found = []
    for tensor in [out, x.grad] + [tensor.grad for tensor in tensors]:
        found += sums(tensor, deal)
    words = " ".join([name] + [f"{key}={value}" for key, value in options.items()])
    return [words, ",".join(map(str, shape)), str(rows), str(seed)], found


# ---- losses ----

def one_hot(torch, z, label):
    target = torch.zeros_like(z)
    target[label if len(z) > 1 else 0] = 1 if len(z) > 1 else label
    return target


LOSSES = {
    "softmax_cross_entropy": (
        lambda dice: {"smoothing": dice.choice([0, 0.1, round(dice.random(), 3)])}, 2,
        lambda torch, z, t, label, o: torch.nn.functional.cross_entropy(
            z, torch.tensor(label), label_smoothing=o["smoothing"])),
    "binary_cross_entropy": (
        lambda dice: {}, 1,
        lambda torch, z, t, label, o: torch.nn.functional.binary_cross_entropy_with_logits(z, t)),
    "mean_squared_error": (
        lambda dice: {}, 2,
        lambda torch, z, t, label, o: torch.nn.functional.mse_loss(z, t)),
    "mean_absolute_error": (
        lambda dice: {}, 2,
        lambda torch, z, t, label, o: torch.nn.functional.l1_loss(z, t)),
    "huber": (
        lambda dice: {"delta": round(dice.uniform(.1, 2), 3)}, 2,
        lambda torch, z, t, label, o: torch.nn.functional.huber_loss(z, t, delta=o["delta"])),
}


def loss_line(torch, name, dice):
    make, least, function = LOSSES[name]
    options = make(dice)
    outputs = dice.choice([least, 2, 3, 5, 10])
    label = dice.randrange(outputs if outputs > 1 else 2)
    seed = dice.getrandbits(63)
    z = take(torch, numbers(seed), [outputs])
    scaled = 8 * z  # where exponentials matter
    target = one_hot(torch, scaled.detach(), label)
    loss = function(torch, scaled, target, label, options)
    loss.backward()
    found = [loss.item()] + sums(z.grad / 8, numbers(seed + 1 & MASK))
    words = " ".join([name] + [f"{key}={value}" for key, value in options.items()])
    return [words, str(outputs), str(label), str(seed)], found


# ---- a whole net ----

LENET = [(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (400, 120), (120,), (120, 84), (84,),
         (84, 10), (10,)]
LENET_STEPS, LENET_ROWS, LENET_RATE = 100, 16, 0.05


def lenet_weights(torch):
    """Tensor t from numbers(t): he_uniform, biases 0."""
    weights = []
    for t, shape in enumerate(LENET):
        inputs = shape[0] if len(shape) == 2 else shape[1] * 25 if len(shape) == 4 else 0
        values = take(torch, numbers(t), shape).detach()
        weights.append(values * ((6 / inputs) ** .5 if inputs else 0))
    return [w.requires_grad_(True) for w in weights]


def lenet_batch(torch, step, patterns):
    """Row r has label (7 step + r) % 10; its pixels are half the label's pattern, half noise."""
    labels = [(7 * step + row) % 10 for row in range(LENET_ROWS)]
    noise = take(torch, numbers(1000 + step), [LENET_ROWS, 1, 28, 28]).detach()
    return (torch.stack([patterns[label] for label in labels]) + noise) / 2, torch.tensor(labels)


def lenet_loss(torch, w, x, labels):
    f = torch.nn.functional
    x = f.max_pool2d(torch.relu(f.conv2d(x, w[0], w[1], padding=2)), 2)
    x = f.max_pool2d(torch.relu(f.conv2d(x, w[2], w[3])), 2).flatten(1)
    x = torch.relu(x @ w[4] + w[5])
    x = torch.relu(x @ w[6] + w[7])
    return f.cross_entropy(x @ w[8] + w[9], labels)


def lenet_losses(torch):
    weights = lenet_weights(torch)
    patterns = [take(torch, numbers(100 + label), [1, 28, 28]).detach() for label in range(10)]
    optimizer = torch.optim.SGD(weights, lr=LENET_RATE)
    losses = []
    for step in range(LENET_STEPS):
        loss = lenet_loss(torch, weights, *lenet_batch(torch, step, patterns))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


RESIDUAL_STEPS, RESIDUAL_ROWS, RESIDUAL_RATE, RESIDUAL_SCORED = 40, 12, 0.2, 3


class Residual:
    """The net of tests/unit/test_residual.c. Tensor t from numbers(t), in the order of its list:
    weights he_uniform; biases 0; of batch norm 1, 0, 0, 1."""

    def __init__(self, torch):
        self.torch, self.t = torch, 0
        self.convs = [self.conv(4, 2), self.conv(4, 4), self.conv(4, 4),
                      self.conv(6, 4, eps=1e-3, momentum=.2)]
        self.dense = [self.weight((6, 3), 6), torch.zeros(3, dtype=torch.float64,
                                                          requires_grad=True)]

    def weight(self, shape, inputs):
        values = take(self.torch, numbers(self.t), shape).detach() * (6 / inputs) ** .5
        self.t += 2
        return values.requires_grad_(True)

    def conv(self, outs, ins, **options):
        weight = self.weight((outs, ins, 3, 3), 9 * ins)
        norm = self.torch.nn.BatchNorm2d(outs, **options).double()
        self.t += 4
        bias = self.torch.zeros(outs, dtype=self.torch.float64, requires_grad=True)
        return weight, bias, norm

    def parameters(self):
        for weight, bias, norm in self.convs:
            yield from (weight, bias, norm.weight, norm.bias)
        yield from self.dense

    def loss(self, x, labels, training):
        f = self.torch.nn.functional

        def layer(i, x, stride=1):
            weight, bias, norm = self.convs[i]
            norm.train(training)
            return norm(f.conv2d(x, weight, bias, stride=stride, padding=1))

        x = f.relu(layer(0, x))
        x = f.relu(x + layer(2, f.relu(layer(1, x))))
        past = f.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 2))
        x = f.relu(past + layer(3, x, stride=2))
        x = x.mean((2, 3)) @ self.dense[0] + self.dense[1]
        return f.cross_entropy(x, labels)


def residual_batch(torch, number):
    x = take(torch, numbers(1000 + number), [RESIDUAL_ROWS, 2, 8, 8]).detach()
    return x, torch.tensor([(7 * number + row) % 3 for row in range(RESIDUAL_ROWS)])


def residual_losses(torch):
    net = Residual(torch)
    optimizer = torch.optim.SGD(list(net.parameters()), lr=RESIDUAL_RATE)
    losses = []
    for step in range(RESIDUAL_STEPS):
        loss = net.loss(*residual_batch(torch, step), training=True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    for batch in range(RESIDUAL_SCORED):
        losses.append(net.loss(*residual_batch(torch, batch), training=False).item())
    return losses


NETS = {"lenet5": lenet_losses, "residual": residual_losses}


# ---- files ----

def lines_of(torch, name):
    make = layer_line if name in LAYERS else loss_line
    dice = random.Random(name)
    return [make(torch, name, dice) for _ in range(LINES)]


def path_of(name):
    return os.path.join(FOLDER, name + ".txt")


def write(torch):
    for name in [*LAYERS, *LOSSES]:
        with open(path_of(name), "w", encoding="ascii") as file:
            for fields, found in lines_of(torch, name):
                file.write("|".join(fields + [" ".join(f"{x:.17g}" for x in found)]) + "\n")
    for name, losses in NETS.items():
        with open(path_of(name), "w", encoding="ascii") as file:
            file.writelines(f"{loss:.17g}\n" for loss in losses(torch))


def check(torch):
    for name in [*LAYERS, *LOSSES]:
        with open(path_of(name), encoding="ascii") as file:
            written = [line.rstrip("\n").split("|") for line in file]
        now = lines_of(torch, name)
        assert len(written) == len(now), name
        for old, (fields, found) in zip(written, now):
            assert old[:-1] == fields, (name, fields)
            for was, x in zip(map(float, old[-1].split()), found, strict=True):
                assert abs(was - x) <= 1e-11 * max(1, abs(x)), (name, fields, was, x)
    for name, losses in NETS.items():
        with open(path_of(name), encoding="ascii") as file:
            for was, loss in zip(map(float, file), losses(torch), strict=True):
                assert abs(was - loss) <= 1e-9 * loss, (name, was, loss)


def main():
    try:
        import torch
    except ImportError:
        print("make_vectors.py: torch is not installed: skipped")
        sys.exit(77)
    torch.set_num_threads(1)
    (check if sys.argv[1:] == ["--check"] else write)(torch)


main()
