#!/usr/bin/python3
"""One process of a parameter server made with torch.distributed.rpc (TensorPipe), one thread of
arithmetic each.

bench/beside_torch.py starts three: rank 0 is the server, which has the model and its optimizer; the
others train. As torch's tutorial on asynchronous execution has it, a trainer sends its gradients in a
call that is answered with the new model when the gradients of all are there and averaged. --tuned answers
with the weights alone instead of the module, beside what it means elsewhere (fashion.py). Each
trainer takes every second sample of the epoch's order, and its part of the batch; the first reports
what both did. Timed is the training loop only, from one barrier to the next, after a warm-up that is
taken back; data in memory.
"""
import sys
import threading
import time

sys.dont_write_bytecode = True
import torch  # noqa: E402
import torch.distributed as distributed  # noqa: E402
from torch.distributed import rpc  # noqa: E402

import fashion  # noqa: E402

SERVER = "server"


class Server:
    """The model, and the gradients of an update as they come."""
    the = None

    def __init__(self, options):
        self.options, self.trainers = options, options.ranks - 1
        self.model = fashion.make_model(options)
        self.first = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.lock, self.waiting, self.here = threading.Lock(), torch.futures.Future(), 0
        self.begin_again()

    def begin_again(self):
        self.model.load_state_dict(self.first)
        self.optimizer = fashion.make_optimizer(self.model, self.options)
        self.optimizer.zero_grad(set_to_none=False)

    def answer(self):
        return [p.detach() for p in self.model.parameters()] if self.options.tuned else self.model

    def take(self, gradients):
        with self.lock:
            for weights, gradient in zip(self.model.parameters(), gradients):
                weights.grad = gradient if weights.grad is None else weights.grad + gradient
            self.here += 1
            waiting = self.waiting
            if self.here == self.trainers:
                for weights in self.model.parameters():
                    weights.grad /= self.trainers
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
                self.here, self.waiting = 0, torch.futures.Future()
                waiting.set_result(self.answer())
        return waiting


@rpc.functions.async_execution
def push_and_pull(gradients):
    return Server.the.take(gradients)


def begin_again():
    Server.the.begin_again()


def fetch():
    return Server.the.answer()


def adopt(model, answer, tuned):
    """The model to go on with."""
    if not tuned:
        return answer
    with torch.no_grad():
        for mine, theirs in zip(model.parameters(), answer):
            mine.copy_(theirs)
    return model


def step(model, x, y, tuned):
    model.zero_grad(set_to_none=True)
    torch.nn.functional.cross_entropy(model(x), y).backward()
    gradients = [weights.grad for weights in model.parameters()]
    return adopt(model, rpc.rpc_sync(SERVER, push_and_pull, args=(gradients,)), tuned)


def train(model, x, y, options):
    trainers = options.ranks - 1
    share = options.batch // trainers
    for epoch in range(options.epochs):
        dice = torch.Generator().manual_seed(options.seed * 1000 + epoch)
        order = torch.randperm(len(y), generator=dice)[options.rank - 1::trainers]
        for first in range(0, len(order), share):
            part = order[first:first + share]
            model = step(model, x[part], y[part], options.tuned)
    return model


def warm_up(model, x, y, options):
    """Steps with the server that are not timed; it forgets them. The model to begin with."""
    share = options.batch // (options.ranks - 1)
    for first in range(0, fashion.WARM_UP_STEPS * share, share):
        model = step(model, x[first:first + share], y[first:first + share], options.tuned)
    distributed.barrier()
    if options.rank == 1:
        rpc.rpc_sync(SERVER, begin_again)
    distributed.barrier()
    return adopt(model, rpc.rpc_sync(SERVER, fetch), options.tuned)


def work(options):
    x, y = fashion.load(options.data, "train")
    distributed.barrier()  # the server is there
    model = warm_up(fashion.make_model(options), x, y, options)
    distributed.barrier()
    start = time.monotonic()
    model = train(model, x, y, options)
    distributed.barrier()
    seconds = time.monotonic() - start
    if options.rank == 1:
        fashion.report(options.epochs * len(y), seconds, fashion.accuracy(model, options.data))


def serve(options):
    Server.the = Server(options)
    for _ in range(5):  # those of work() and warm_up()
        distributed.barrier()


def main():
    parser = fashion.arguments(__doc__)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--meet", required=True, help="a new file to find the others by")
    options = parser.parse_args()
    fashion.start(options)
    distributed.init_process_group("gloo", init_method="file://" + options.meet,
                                   rank=options.rank, world_size=options.ranks)
    rpc.init_rpc(f"trainer{options.rank}" if options.rank else SERVER, rank=options.rank,
                 world_size=options.ranks,
                 rpc_backend_options=rpc.TensorPipeRpcBackendOptions(
                     init_method="file://" + options.meet + "-rpc"))
    if options.rank:
        work(options)
    else:
        serve(options)
    rpc.shutdown()


main()
