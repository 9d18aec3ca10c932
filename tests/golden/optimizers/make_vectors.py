#!/usr/bin/python3
"""Reference values of the update rules: 200 updates of 3 weights in double precision, for
20 and more settings of each rule, half of them with a rate that falls to a tenth after
100 updates.

From torch.optim (1.13) for every rule that it has right; by the formulas of papers, in
plain Python, for those that it does not have (lion, ftrl-proximal, lars, lamb), has wrong (nadam: 1.13
multiplies one mu twice; here as torch 2) or has only in part (Nesterov's momentum in
RMSProp, eps elsewhere).

    make_vectors.py            writes NAME.txt beside itself, all of them
    make_vectors.py --check    computes them again and compares; 77: there is no torch

A file has one line per setting:
    options as `talweg optimizer` takes them | seed | when lr falls, 0 never | x after
    updates 1, 2, 10, 100, 101 and 200, three weights each
The gradients are drawn as gradients() says; tests/unit/test_optimizer_vectors.c draws the
same and compares.
"""
import math
import os
import random
import sys

SETTINGS = 20
STEPS = 200
SIZE = 3
MARKS = (1, 2, 10, 100, 101, 200)
FOLDER = os.path.dirname(os.path.abspath(__file__))
MASK = (1 << 64) - 1


def gradients(seed):
    """STEPS vectors of numbers with 20 bits, most between 1/16 and 8, every 16th 0."""
    state = seed
    for _ in range(STEPS):
        vector = []
        for _ in range(SIZE):
            state = (state * 6364136223846793005 + 1442695040888963407) & MASK
            size = (state >> 40 & 0xfffff) + 0x80000
            exponent = (state >> 33 & 7) - 24
            sign = -1 if state >> 60 & 1 else 1
            vector.append(0.0 if state >> 61 == 5 and state >> 32 & 1
                          else sign * math.ldexp(size, exponent))
        yield vector


def start(seed):
    return [((seed >> 8 * i & 0xff) - 128) / 64 for i in range(SIZE)]


# ---- torch ----

def torch_run(make, seed, lr, fall):
    import torch
    x = torch.tensor(start(seed), dtype=torch.float64, requires_grad=True)
    optimizer = make(torch.optim, [x])
    seen = []
    for t, gradient in enumerate(gradients(seed), 1):
        for group in optimizer.param_groups:
            group["lr"] = lr / 10 if fall and t > fall else lr
        x.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        if t in MARKS:
            seen += x.tolist()
    return seen


def betas(o):
    return o["beta1"], o["beta2"]


TORCH = {
    "sgd": (["lr"], lambda optim, x, o: optim.SGD(x, lr=o["lr"])),
    "momentum": (["lr", "momentum", "dampening"],
                 lambda optim, x, o: optim.SGD(x, lr=o["lr"], momentum=o["momentum"],
                                               dampening=o["dampening"])),
    "nesterov": (["lr", "momentum"],
                 lambda optim, x, o: optim.SGD(x, lr=o["lr"], momentum=o["momentum"],
                                               nesterov=True)),
    "adagrad": (["lr", "lr_decay", "eps"],
                lambda optim, x, o: optim.Adagrad(x, lr=o["lr"], lr_decay=o["lr_decay"],
                                                  eps=o["eps"])),
    "rmsprop": (["lr", "rho", "eps", "?momentum", "?centered"],
                lambda optim, x, o: optim.RMSprop(x, lr=o["lr"], alpha=o["rho"], eps=o["eps"],
                                                  momentum=o.get("momentum", 0),
                                                  centered=o.get("centered") == "true")),
    "adadelta": (["lr", "rho", "eps"],
                 lambda optim, x, o: optim.Adadelta(x, lr=o["lr"], rho=o["rho"], eps=o["eps"])),
    "adam": (["lr", "beta1", "beta2", "eps"],
             lambda optim, x, o: optim.Adam(x, lr=o["lr"], betas=betas(o), eps=o["eps"])),
    "adamax": (["lr", "beta1", "beta2", "eps"],
               lambda optim, x, o: optim.Adamax(x, lr=o["lr"], betas=betas(o), eps=o["eps"])),
    "amsgrad": (["lr", "beta1", "beta2", "eps"],
                lambda optim, x, o: optim.Adam(x, lr=o["lr"], betas=betas(o), eps=o["eps"],
                                               amsgrad=True)),
    "adamw": (["lr", "beta1", "beta2", "eps", "weight_decay"],
              lambda optim, x, o: optim.AdamW(x, lr=o["lr"], betas=betas(o), eps=o["eps"],
                                              weight_decay=o["weight_decay"])),
    "radam": (["lr", "beta1", "beta2", "eps"],
              lambda optim, x, o: optim.RAdam(x, lr=o["lr"], betas=betas(o), eps=o["eps"])),
}


# ---- by the papers: each a function of (x, state, g, t, lr, options) -> x ----

def nadam(x, s, g, t, lr, o):
    """Dozat 2016 with torch's schedule of the momentum."""
    mu = o["beta1"] * (1 - 0.5 * 0.96 ** (t * o["momentum_decay"]))
    after = o["beta1"] * (1 - 0.5 * 0.96 ** ((t + 1) * o["momentum_decay"]))
    s["product"] = s.get("product", 1) * mu
    s["m"] = o["beta1"] * s.get("m", 0) + (1 - o["beta1"]) * g
    s["v"] = o["beta2"] * s.get("v", 0) + (1 - o["beta2"]) * g * g
    divisor = math.sqrt(s["v"] / (1 - o["beta2"] ** t)) + o["eps"]
    x -= lr * (1 - mu) / (1 - s["product"]) * g / divisor
    return x - lr * after / (1 - s["product"] * after) * s["m"] / divisor


def lion(x, s, g, t, lr, o):
    """Chen et al. 2023, algorithm 2."""
    m = s.get("m", 0)
    c = o["beta1"] * m + (1 - o["beta1"]) * g
    s["m"] = o["beta2"] * m + (1 - o["beta2"]) * g
    return x - lr * ((c > 0) - (c < 0) + o["weight_decay"] * x)


def ftrl(x, s, g, t, lr, o):
    """McMahan et al. 2013, algorithm 1."""
    n, z = s.get("n", 0), s.get("z", 0)
    sigma = (math.sqrt(n + g * g) - math.sqrt(n)) / lr
    z += g - sigma * x
    n += g * g
    s["n"], s["z"] = n, z
    if abs(z) <= o["l1"]:
        return 0.0
    sign = 1 if z > 0 else -1
    return -(z - sign * o["l1"]) / ((o["beta"] + math.sqrt(n)) / lr + o["l2"])


def rmsprop_nesterov(x, s, g, t, lr, o):
    """Goodfellow et al. 2016, algorithm 8.6, with eps beside the root: g is the gradient
    at x + momentum * velocity, which is the point that is seen."""
    s["x"] = s.get("x", x)
    s["r"] = o["rho"] * s.get("r", 0) + (1 - o["rho"]) * g * g
    s["velocity"] = o["momentum"] * s.get("velocity", 0) - lr * g / (math.sqrt(s["r"]) + o["eps"])
    s["x"] += s["velocity"]
    return s["x"] + o["momentum"] * s["velocity"]


def adam_inside(x, s, g, t, lr, o):
    """Decks D4 and D5, eps under the root; D4 also forgets the power t."""
    s["m"] = o["beta1"] * s.get("m", 0) + (1 - o["beta1"]) * g
    s["v"] = o["beta2"] * s.get("v", 0) + (1 - o["beta2"]) * g * g
    power = t if o["bias"] == "paper" else 1
    m, v = s["m"] / (1 - o["beta1"] ** power), s["v"] / (1 - o["beta2"] ** power)
    return x - lr * m / math.sqrt(v + o["eps"])


PAPERS = {
    "nadam": ("nadam", ["lr", "beta1", "beta2", "eps", "momentum_decay"], nadam),
    "lion": ("lion", ["lr", "beta1", "beta2", "weight_decay"], lion),
    "ftrl-proximal": ("ftrl-proximal", ["alpha", "beta", "l1", "l2"], ftrl),
    "rmsprop_nesterov": ("rmsprop lr_at=inside", ["?nesterov", "lr", "rho", "eps", "momentum"],
                         rmsprop_nesterov),
    "adam_inside": ("adam eps_at=inside", ["bias", "lr", "beta1", "beta2", "eps"], adam_inside),
}


# ---- layer-wise: of a whole tensor, x and g are lists ----

def norm(x):
    return math.sqrt(sum(value * value for value in x))


def trust(factor, weights, step):
    """The papers do not say what 0 / 0 is; programs take 1."""
    return factor * weights / step if weights and step else 1.0


def lars(x, s, g, t, lr, o):
    """You, Gitman and Ginsburg 2017, algorithm 1; outside: lr is taken out of v."""
    inside = o.get("lr_at", "inside") == "inside"
    decay = o["weight_decay"]
    local = trust(o["trust"], norm(x), norm(g) + decay * norm(x))
    before = s.get("v", [0] * SIZE)
    s["v"] = [o["momentum"] * v + (lr if inside else 1) * local * (gi + decay * xi)
              for v, gi, xi in zip(before, g, x)]
    return [xi - (1 if inside else lr) * v for xi, v in zip(x, s["v"])]


def lamb(x, s, g, t, lr, o):
    """You et al. 2019, algorithm 2, phi(z) = z."""
    s["m"] = [o["beta1"] * m + (1 - o["beta1"]) * gi for m, gi in zip(s.get("m", [0] * SIZE), g)]
    s["v"] = [o["beta2"] * v + (1 - o["beta2"]) * gi * gi
              for v, gi in zip(s.get("v", [0] * SIZE), g)]
    c1, c2 = 1 - o["beta1"] ** t, 1 - o["beta2"] ** t
    step = [m / c1 / (math.sqrt(v / c2) + o["eps"]) + o["weight_decay"] * xi
            for m, v, xi in zip(s["m"], s["v"], x)]
    ratio = trust(1, norm(x), norm(step))
    return [xi - lr * ratio * ri for xi, ri in zip(x, step)]


LAYERS = {
    "lars": ("lars", ["lr", "momentum", "trust", "weight_decay", "?lr_at"], lars),
    "lamb": ("lamb", ["lr", "beta1", "beta2", "eps", "weight_decay"], lamb),
}
PAPERS.update(LAYERS)


def paper_run(rule, seed, lr, fall, options):
    x, states = start(seed), [{} for _ in range(SIZE)]
    layer_wise = rule in [layer[2] for layer in LAYERS.values()]
    seen = []
    for t, gradient in enumerate(gradients(seed), 1):
        now = lr / 10 if fall and t > fall else lr
        if layer_wise:
            x = rule(x, states[0], gradient, t, now, options)
        else:
            x = [rule(x[i], states[i], gradient[i], t, now, options) for i in range(SIZE)]
        if t in MARKS:
            seen += x
    return seen


# ---- settings ----

def draw(dice, key):
    """An option, or None where one that may be left out is."""
    if key.startswith("?") and key != "?nesterov" and dice.random() < 0.4:
        return None
    return {
        "lr": lambda: round(10 ** dice.uniform(-3, -0.5), 6),
        "alpha": lambda: round(10 ** dice.uniform(-2, 0), 6),
        "beta": lambda: round(dice.uniform(0.1, 3), 3),
        "l1": lambda: round(dice.uniform(0, 3), 3) if dice.random() < 0.5 else 0,
        "l2": lambda: round(dice.uniform(0, 1), 3),
        "momentum": lambda: round(dice.uniform(0.3, 0.98), 4),
        "dampening": lambda: round(dice.uniform(0, 0.9), 4) if dice.random() < 0.6 else 0,
        "rho": lambda: round(dice.uniform(0.5, 0.995), 4),
        "beta1": lambda: round(dice.uniform(0.3, 0.97), 4),
        "beta2": lambda: round(1 - 10 ** dice.uniform(-3.5, -0.7), 6),
        "eps": lambda: round(10 ** dice.uniform(-8, -1), 9),
        "lr_decay": lambda: round(dice.uniform(0, 0.1), 4),
        "momentum_decay": lambda: round(dice.uniform(0, 0.02), 5),
        "weight_decay": lambda: round(dice.uniform(0, 0.5), 4),
        "centered": lambda: "true",
        "nesterov": lambda: dice.choice(["lookahead", "lookup"]),
        "trust": lambda: round(10 ** dice.uniform(-3, -0.5), 6),
        "lr_at": lambda: dice.choice(["inside", "outside"]),
        "bias": lambda: dice.choice(["paper", "nopower"]),
    }[key.lstrip("?")]()


def lines(name):
    dice = random.Random(name)
    torch_rule, paper_rule = TORCH.get(name), PAPERS.get(name)
    line, keys = (name, torch_rule[0]) if torch_rule else paper_rule[:2]
    for number in range(SETTINGS + 4):
        drawn = {key.lstrip("?"): draw(dice, key) for key in keys}
        options = {key: value for key, value in drawn.items() if value is not None}
        seed, fall = dice.getrandbits(63), 100 if number % 2 else 0
        lr = options.get("lr", options.get("alpha"))
        if torch_rule:
            xs = torch_run(lambda optim, x: torch_rule[1](optim, x, options), seed, lr, fall)
        else:
            xs = paper_run(paper_rule[2], seed, lr, fall, options)
        text = " ".join(f"{key}={value}" for key, value in options.items())
        yield f"{line} {text}|{seed}|{fall}|" + " ".join(f"{x:.17g}" for x in xs)


def differs(old, new):
    """Whether two lines differ by more than the rounding of another CPU's torch."""
    *head, xs = old.split("|")
    *new_head, new_xs = new.split("|")
    pairs = list(zip(map(float, xs.split()), map(float, new_xs.split())))
    return (head != new_head or len(xs.split()) != len(new_xs.split())
            or any(abs(a - b) > 1e-12 * max(1, abs(a)) for a, b in pairs))


def check(name, found):
    with open(os.path.join(FOLDER, name + ".txt")) as file:
        old = file.read().splitlines()
    if len(old) != len(found) or any(map(differs, old, found)):
        sys.exit(f"{name}.txt is not what make_vectors.py makes; run it and look at the difference")


def main():
    checking = sys.argv[1:] == ["--check"]
    try:
        import torch
        torch.set_num_threads(1)
    except ImportError:
        print("torch is not installed (python3-torch)")
        sys.exit(77 if checking else 1)
    for name in [*TORCH, *PAPERS]:
        found = list(lines(name))
        if checking:
            check(name, found)
        else:
            with open(os.path.join(FOLDER, name + ".txt"), "w") as file:
                file.write("\n".join(found) + "\n")


if __name__ == "__main__":
    main()
