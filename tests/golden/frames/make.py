#!/usr/bin/python3
"""Writes the golden frames beside it, with the stock protobuf library.

    protoc --python_out=DIR -I proto proto/talweg.proto
    PYTHONPATH=DIR tests/golden/frames/make.py

One file of each kind, with the values of tests/lib/frame_samples.c. They change
only when the protocol does: then its version does too.
"""
import pathlib
import struct

from google.protobuf.internal.encoder import _VarintBytes
from talweg_pb2 import Frame

DATA = struct.pack("<2f", 1.0, -2.0)
SESSION, JOB = b"session-session-", b"job-job-job-job-"
TENSORS = [("dense1.w", [784, 256]), ("dense1.b", [256]), ("scalar", [])]

FRAMES = {
    "hello": dict(
        protocol_min=1, protocol_max=3, nonce=b"0123456789abcdef0123456789ABCDEF", software="talweg 0.1.0"
    ),
    "challenge": dict(protocol=2, nonce=b"fedcba9876543210" * 2, proof=b"p" * 32, token=True, lanes=1024),
    "proof": dict(proof=b"q" * 32),
    "join": dict(
        role=1,
        any_rank=True,
        rank=4,
        incarnation=5,
        session=SESSION,
        job=JOB,
        digest=(b"digest-" * 5)[:32],
        tensors=[dict(name=name, shape=shape) for name, shape in TENSORS],
        numerics="talweg-0.1.0/haswell",
        read=1234567890123,
        encodings=7,
        samples=10000,
        valued=True,
    ),
    "welcome": dict(
        job=JOB,
        session=SESSION,
        rank=1,
        incarnation=2,
        generation=3,
        epoch=4,
        workers=5,
        slots=6,
        slot=7,
        width=8,
        last_step=9000000000,
        chunk_bytes=262144,
        servers=11,
        attempt=12,
        addresses=["", "10.0.0.8:4712", ":4713"],
        push=1,
        pull=2,
        portions=True,
    ),
    "attach": dict(role=1, rank=7, incarnation=8, session=SESSION, attempt=9),
    "attached": {},
    "refuse": dict(status=14, name="rank-taken", text="rank 3 is held by 10.0.0.7:5123"),
    "push": dict(slot=1, incarnation=2, generation=3, epoch=4, step=5000000000, chunk=6),
    "end": dict(
        slot=1, incarnation=2, generation=3, epoch=4, step=5, read=6, frames=7, examples=8, loss=9.25, correct=8
    ),
    "weights": dict(position=6000000000, version=5, generation=4, epoch=3, step=2, chunk=1),
    "ask": dict(samples=60000),
    "evaluation": dict(position=77, samples=60000, loss=0.3125, accuracy=0.875, metrics=7, top5=0.9375, auc=0.5, r2=-1.5),
    "regather": dict(version=300),
    "stop": dict(status=22, text="the run is over"),
    "ping": dict(
        step=12,
        nonce=0xFEDCBA9876543210,
        measures=[
            dict(step=7, received=1000000001, computed=2000000002, sent=2500000003),
            dict(step=8, received=3000000004),
        ],
    ),
    "pong": dict(nonce=0x0123456789ABCDEF, time=5000000001),
    "bye": {},
    "query": dict(first=256, ranks=128),
    "status": dict(
        mode="ssp:3",
        phase=2,
        workers=5,
        ranks=6,
        version=7000000000,
        samples=8000000000,
        samples_total=9000000000,
        epoch=10.5,
        seconds=11.5,
        samples_per_second=12.5,
        train_loss=13.5,
        staleness_mean=14.5,
        staleness_max=15,
        dropped=16,
        update_seconds=17.5,
        since_update=18.5,
        waiting="for rank 3, which has been gone for 12 s",
    ),
    "rank_status": dict(
        rank=1,
        state=4,
        step=3000000000,
        since=4.5,
        computing=5.5,
        waiting=6.5,
        network=7.5,
        away=8.5,
        culprit=9,
        culprit_seconds=10.5,
        peer="10.0.0.7:5123",
        blamed=12.5,
        silent=13.5,
    ),
    "turn": dict(mode="backup:1"),
    "turned": dict(mode="backup:1", position=6000000000, version=5000000000),
    "cancel": dict(step=5000000000),
    "serve": dict(
        index=1,
        servers=2,
        digest=b"digest-digest-digest-digest-dige",
        layout=b"layout-layout-layout-layout-layo",
        address="10.0.0.8:4712",
        pooled=True,
        ahead=12,
    ),
    "served": dict(job=b"job-job-job-job-"),
    "ready": dict(
        slot=1,
        incarnation=2,
        step=3000000000,
        read=4000000000,
        examples=5,
        regather=6000000000,
        loss=7.25,
        finite=True,
        bad_tensor=8,
        correct=4,
        chunks=9,
        ages=5000000000,
        oldest=12,
    ),
    "sums": dict(version=3000000000, finite=True, squares=b"sum-of-squares"),
    "reach": dict(rank=1, attempt=2, attached=True),
    "order": dict(record=b"part of a record", more=True, prepare=True, evaluators=0x8000000000000005),
    "member": dict(role=1, rank=1, incarnation=2, attempt=3, session=b"session-session-"),
    "collect": dict(average=True),
    "sample": dict(version=1, hashed=True, summed=True, hash=2000000000000, sums=b"sums-sums"),
    "squares": dict(version=5000000000, tensor=6, applied=True, sums=b"sums"),
    "portion": dict(position=6000000000, first=2560, samples=7440),
    "tally": dict(
        position=6000000000,
        first=2560,
        samples=7440,
        correct=6001,
        among_five=7300,
        loss=b"loss",
        output=90,
        fits=b"fits",
        scores=b"scores",
    ),
    "shut": {},
}

for name, fields in FRAMES.items():
    frame = Frame(**{name: fields})
    getattr(frame, name).SetInParent()
    if name == "shut":
        frame.lane = 300
    if name in ("push", "weights"):
        frame.data = DATA
    bytes_ = frame.SerializeToString()
    path = pathlib.Path(__file__).with_name(name + ".bin")
    path.write_bytes(_VarintBytes(len(bytes_)) + bytes_)
