#!/usr/bin/python3
"""torch's update rules on one thread: nanoseconds per weight of one flat tensor, the fastest of
some turns, in cache and from memory. Ends stdout with {"rule": {"cache": ns, "memory": ns}}.

--foreach lets torch work on lists of tensors, where the rule can.
"""
import argparse
import json
import sys
import time

sys.dont_write_bytecode = True
import torch  # noqa: E402

RULES = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adagrad": (torch.optim.Adagrad, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "adadelta": (torch.optim.Adadelta, {}),
    "adam": (torch.optim.Adam, {}),
    "adamax": (torch.optim.Adamax, {}),
    "amsgrad": (torch.optim.Adam, {"amsgrad": True}),
    "adamw": (torch.optim.AdamW, {}),
    "nadam": (torch.optim.NAdam, {}),
    "radam": (torch.optim.RAdam, {}),
}


def nanoseconds(rule, weights, passes, foreach):
    make, options = RULES[rule]
    w = torch.ones(weights, requires_grad=True)
    w.grad = 1e-3 * (1 + torch.arange(weights) % 7)
    optimizer = make([w], lr=1e-3, foreach=foreach, **options)
    optimizer.step()  # makes the states
    took = []
    for _ in range(9):
        start = time.perf_counter()
        for _ in range(passes):
            optimizer.step()
        took.append((time.perf_counter() - start) / passes)
    return 1e9 * min(took) / weights


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--foreach", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {rule: {"cache": nanoseconds(rule, 4096, 100, options.foreach),
                    "memory": nanoseconds(rule, 8 << 20, 1, options.foreach)}
             for rule in RULES}
    print(json.dumps(found))


main()
