#!/usr/bin/python3
"""The wire as docs/protocol.md has it, spoken by the stock protobuf library of Python:
joins a real server as a worker, pulls, pushes gradients, and sees the weights move.
Nothing of Talweg's is used but the program under test and proto/talweg.proto.
"""
import array
import hashlib
import hmac
import importlib
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from talweg_e2e import PATIENCE, Case  # noqa: E402

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SHAPES = {"w": [300, 100], "b": [3]}  # two chunks of the smallest size, and one
CHUNK = 65536
TOKEN = b"a shared secret of the test"
JOB = """\
model:
  tensors: {w: [300, 100], b: [3]}
updates: %d
chunk: 64KiB
optimizer: {name: sgd, lr: 0.5}
consistency: {mode: sync}
cluster: {servers: 1, workers: 1}
"""
ALIGN = struct.calcsize("f")


def compile_schema(folder):
    """protoc -> a module of message classes."""
    proto = os.path.join(ROOT, "proto")
    subprocess.run(["protoc", "-I", proto, "--python_out", folder, "talweg.proto"], check=True)
    sys.path.insert(0, folder)
    return importlib.import_module("talweg_pb2")


def elements(shape):
    count = 1
    for size in shape:
        count *= size
    return count


def chunks():
    """[(tensor name, first element, count)] in canonical order."""
    found = []
    for name, shape in SHAPES.items():
        total, each = elements(shape), CHUNK // ALIGN
        found += [(name, i, min(each, total - i)) for i in range(0, total, each)]
    return found


def floats(data):
    values = array.array("f")
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def floats_bytes(values):
    values = array.array("f", values)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


class Wire:
    """One connection: varint-delimited frames."""

    def __init__(self, pb, port):
        self.pb = pb
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.stream = self.socket.makefile("rb")

    def close(self):
        self.stream.close()
        self.socket.close()

    def send_bytes(self, body):
        self.socket.sendall(varint(len(body)) + body)

    def send(self, **fields):
        self.send_bytes(self.pb.Frame(**fields).SerializeToString())

    def read(self):
        """The next frame; None at the end of the stream."""
        length = shift = 0
        while True:
            byte = self.stream.read(1)
            if not byte:
                return None
            length |= (byte[0] & 127) << shift
            shift += 7
            if byte[0] < 128:
                break
        frame = self.pb.Frame()
        frame.ParseFromString(self.stream.read(length))
        return frame

    def read_body(self, kind):
        frame = self.read()
        if frame is None or frame.WhichOneof("body") != kind:
            raise AssertionError(f"waited for {kind}, got {frame}")
        return getattr(frame, kind)

    def greet(self, token=b""):
        """Hello, Challenge, Proof, with both proofs made and checked."""
        nonce = os.urandom(32)
        self.send(hello={"protocol_min": 1, "protocol_max": 1, "nonce": nonce,
                         "software": "protocol_client.py"})
        challenge = self.read_body("challenge")
        assert challenge.protocol == 1 and len(challenge.nonce) == 32, challenge
        assert challenge.token == bool(token), challenge

        def proof(side):
            text = b"talweg " + side + nonce + challenge.nonce
            return hmac.new(token, text, hashlib.sha256).digest() if token else b""

        assert hmac.compare_digest(challenge.proof, proof(b"server")), "the server's proof"
        self.send(proof={"proof": proof(b"client")})


class Worker:
    """A worker of rank 0: control, one bulk connection, and the weights it has."""

    def __init__(self, pb, port, token=b"", shapes=None):
        self.pb, self.token, self.port = pb, token, port
        self.weights = {name: array.array("f", [float("nan")] * elements(shape))
                        for name, shape in SHAPES.items()}
        self.control = Wire(pb, port)
        self.control.greet(token)
        self.control.send(join={
            "role": pb.WORKER, "any_rank": True, "numerics": "protocol_client.py",
            "tensors": [{"name": name, "shape": shape}
                        for name, shape in (shapes or SHAPES).items()]})
        self.bulk = None

    def attach(self):
        self.welcome = self.control.read_body("welcome")
        assert self.welcome.chunk_bytes == CHUNK and self.welcome.servers == 1, self.welcome
        self.bulk = Wire(self.pb, self.port)
        self.bulk.greet(self.token)
        self.bulk.send(attach={
            "role": self.pb.WORKER, "rank": self.welcome.rank,
            "incarnation": self.welcome.incarnation, "session": self.welcome.session,
            "attempt": self.welcome.attempt})
        self.bulk.read_body("attached")

    def close(self):
        self.control.close()
        if self.bulk:
            self.bulk.close()

    def pull(self):
        """A complete set of one position, in canonical order; returns (position, step)."""
        seen = None
        for number, (name, first, count) in enumerate(chunks()):
            frame = self.bulk.read()
            weights = frame.weights
            assert frame.WhichOneof("body") == "weights" and weights.chunk == number, weights
            assert seen in (None, (weights.position, weights.step)), weights
            assert len(frame.data) == ALIGN * count, len(frame.data)
            seen = weights.position, weights.step
            self.version = weights.version
            self.weights[name][first:first + count] = floats(frame.data)
        return seen

    def push_chunk(self, step, number, values, data_first=False):
        push = self.pb.Frame(push={
            "slot": self.welcome.slot, "incarnation": self.welcome.incarnation,
            "generation": self.welcome.generation, "epoch": self.welcome.epoch,
            "step": step, "chunk": number}).SerializeToString()
        data = self.pb.Frame(data=floats_bytes(values)).SerializeToString()
        self.bulk.send_bytes(data + push if data_first else push + data)

    def end(self, position, step, examples, frames=None):
        self.bulk.send(end={
            "slot": self.welcome.slot, "incarnation": self.welcome.incarnation,
            "generation": self.welcome.generation, "epoch": self.welcome.epoch,
            "step": step, "read": position, "examples": examples, "loss": 1.5,
            "frames": len(chunks()) if frames is None else frames})


class Protocol(Case):
    @classmethod
    def setUpClass(cls):
        cls.generated = tempfile.TemporaryDirectory(prefix="talweg-protocol-")
        cls.pb = compile_schema(cls.generated.name)

    @classmethod
    def tearDownClass(cls):
        cls.generated.cleanup()

    def serve(self, updates, *arguments):
        self.write("job.yaml", JOB % updates)
        self.server = self.start("server", "job.yaml", "--listen", "127.0.0.1:0", "--out", "out",
                                 "--json", *arguments)
        return int(self.server.wait_for("listening").split()[-1])

    def token_file(self):
        self.write("token", TOKEN.decode())
        os.chmod(self.path("token"), 0o600)
        return "--token-file", "token"

    def join(self, port, **more):
        worker = Worker(self.pb, port, **more)
        self.addCleanup(worker.close)
        return worker

    def gradient(self, name, first, count, step):
        """Small whole numbers, so that float32 is exact in any order of operations."""
        return [float((i * 7 + step * 3 + len(name)) % 16 - 8) for i in range(first, first + count)]

    def check_model(self, expected):
        with open(self.path("out", "model.safetensors"), "rb") as file:
            length, = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
            body = file.read()
        for name, shape in SHAPES.items():
            begin, end = header[name]["data_offsets"]
            self.assertEqual(header[name]["shape"], shape)
            self.assertEqual(floats(body[begin:end]), expected[name])

    def finish(self, worker):
        """Stop comes, Bye goes; the server ends well."""
        stop = worker.control.read_body("stop")
        self.assertEqual(stop.status, 0, stop)
        worker.control.send(bye={})
        worker.close()
        code, out, err = self.server.end()
        self.assertEqual(code, 0, err)
        return self.result(out)

    def test_weights_move_as_sgd_says(self):
        updates, examples = 4, 8
        worker = self.join(self.serve(updates, *self.token_file()), token=TOKEN)
        worker.attach()
        self.assertEqual((worker.welcome.rank, worker.welcome.workers), (0, 1))
        expected = {name: array.array("f", [0] * elements(shape))
                    for name, shape in SHAPES.items()}
        for t in range(1, updates + 1):
            position, step = worker.pull()
            self.assertEqual((step, worker.version), (t, t - 1))
            self.assertEqual(worker.weights, expected)
            for number, (name, first, count) in enumerate(chunks()):
                gradient = self.gradient(name, first, count, t)
                # Stock libraries write data last; whoever writes it first is right too.
                worker.push_chunk(step, number, gradient, data_first=t == 2)
                if t == 3:  # what is sent twice counts once
                    worker.push_chunk(step, number, gradient)
                for i, g in enumerate(gradient):
                    expected[name][first + i] -= 0.5 * g / examples
            worker.end(position, step, examples)
        result = self.finish(worker)
        self.assertEqual((result["updates"], result["samples"]), (updates, updates * examples))
        self.check_model(expected)

    def test_a_worker_that_reconnects_goes_on_with_its_push(self):
        port = self.serve(1)
        worker = self.join(port)
        worker.attach()
        position, step = worker.pull()
        first = worker.welcome
        for number, (name, begin, count) in enumerate(chunks()[:2]):
            worker.push_chunk(step, number, self.gradient(name, begin, count, 1))
        worker.close()
        again = Worker.__new__(Worker)
        again.pb, again.token, again.port, again.bulk = self.pb, b"", port, None
        again.weights = worker.weights
        again.control = Wire(self.pb, port)
        self.addCleanup(again.close)
        again.control.greet()
        again.control.send(join={
            "role": self.pb.WORKER, "rank": first.rank, "incarnation": first.incarnation,
            "session": first.session, "job": first.job, "read": position,
            "numerics": "protocol_client.py",
            "tensors": [{"name": name, "shape": shape} for name, shape in SHAPES.items()]})
        again.attach()
        self.assertEqual(again.welcome.incarnation, first.incarnation)
        self.assertEqual(again.welcome.last_step, step - 1)
        expected = {name: array.array("f", [0] * elements(shape))
                    for name, shape in SHAPES.items()}
        for number, (name, begin, count) in enumerate(chunks()):
            gradient = self.gradient(name, begin, count, 1)
            again.push_chunk(step, number, gradient)
            for i, g in enumerate(gradient):
                expected[name][begin + i] -= 0.5 * g / 2
        again.end(position, step, 2)
        self.finish(again)
        self.check_model(expected)

    def test_pings_are_answered(self):
        worker = self.join(self.serve(1))
        worker.attach()
        worker.control.send(ping={"step": 0, "nonce": 12345})
        self.assertEqual(worker.control.read_body("pong").nonce, 12345)

    def test_versions_meet_at_the_newest_that_both_speak(self):
        wire = Wire(self.pb, self.serve(1))
        self.addCleanup(wire.close)
        # A newer client: more versions, and a field that this server does not know.
        hello = self.pb.Hello(protocol_min=1, protocol_max=9, nonce=bytes(32))
        body = hello.SerializeToString() + b"\xa2\x06\x03new"
        wire.send_bytes(b"\x0a" + varint(len(body)) + body)
        self.assertEqual(wire.read_body("challenge").protocol, 1)

    def test_no_common_version_is_refused_by_name(self):
        wire = Wire(self.pb, self.serve(1))
        self.addCleanup(wire.close)
        wire.send(hello={"protocol_min": 7, "protocol_max": 9, "nonce": bytes(32)})
        refuse = wire.read_body("refuse")
        self.assertEqual((refuse.status, refuse.name), (9, "protocol-version"))
        self.assertIsNone(wire.read())

    def test_another_model_is_refused_by_name(self):
        worker = self.join(self.serve(1), shapes={"w": [300, 100], "b": [4]})
        refuse = worker.control.read_body("refuse")
        self.assertEqual(refuse.name, "wrong-model")
        self.assertIn("b", refuse.text)

    def test_an_end_that_counts_wrong_is_refused_by_name(self):
        worker = self.join(self.serve(1))
        worker.attach()
        position, step = worker.pull()
        worker.push_chunk(step, 0, self.gradient("w", 0, CHUNK // ALIGN, 1))
        worker.end(position, step, 1, frames=1)
        self.assertEqual(worker.bulk.read_body("refuse").name, "malformed")

    def test_weights_come_only_once_a_push_is_whole(self):
        worker = self.join(self.serve(2))
        worker.attach()
        position, step = worker.pull()
        parts = [self.gradient(*chunk, 1) for chunk in chunks()]
        worker.push_chunk(step, 2, parts[2])
        worker.end(position, step, 1)
        worker.control.send(ping={"nonce": 1})
        worker.control.read_body("pong")
        worker.bulk.socket.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            worker.bulk.socket.recv(1)
        worker.bulk.socket.settimeout(PATIENCE)
        for number in (1, 0):  # any order will do
            worker.push_chunk(step, number, parts[number])
        self.assertEqual(worker.pull()[1], 2)
        self.assertEqual(worker.weights["b"][0], -0.5 * parts[2][0])

    def test_a_wrong_token_is_refused_by_name(self):
        self.write("token", TOKEN.decode())
        os.chmod(self.path("token"), 0o600)
        wire = Wire(self.pb, self.serve(1, "--token-file", "token"))
        self.addCleanup(wire.close)
        wire.send(hello={"protocol_min": 1, "protocol_max": 1, "nonce": bytes(32)})
        self.assertTrue(wire.read_body("challenge").token)
        wire.send(proof={"proof": bytes(32)})
        self.assertEqual(wire.read_body("refuse").name, "wrong-token")


if __name__ == "__main__":
    unittest.main()
