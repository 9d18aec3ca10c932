"""trace.log for tests: its entries, and the hash of weights as docs/trace-log.md has it, in plain
Python."""
import json
import struct

MASK = 2**64 - 1
FACTOR = 0x9E3779B97F4A7C15
BLOCK = 16384


def mix(x):
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def block_hash(tensor, block, data):
    """Of the bytes of at most BLOCK float32, little-endian."""
    count = len(data) // 4
    data += bytes(-len(data) % 128)
    lane = [0] * 16
    for row in range(0, len(data), 128):
        for i, pair in enumerate(struct.unpack_from("<16Q", data, row)):
            turned = (lane[i] << 23 | lane[i] >> 41) & MASK
            lane[i] = (turned ^ pair) * FACTOR & MASK
    hash_ = mix(mix((tensor << 32 | block) + 1) ^ count)
    for x in lane:
        hash_ = mix(hash_ ^ x)
    return hash_


def weights_hash(tensors):
    """Of a list of tensors, each the bytes of its float32."""
    return sum(
        block_hash(number, at // (4 * BLOCK), data[at:at + 4 * BLOCK])
        for number, data in enumerate(tensors)
        for at in range(0, len(data), 4 * BLOCK)) & MASK


def model_hash(path, names):
    """Of a safetensors file, whose tensors are put into the job's order."""
    with open(path, "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        head = json.loads(file.read(size))
        data = file.read()
    return weights_hash([data[slice(*head[name]["data_offsets"])] for name in names])


def names(path):
    """Of a model's tensors, in the order of its job: that of the file."""
    with open(path, "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        head = json.loads(file.read(size))
    head.pop("__metadata__", None)
    return sorted(head, key=lambda name: head[name]["data_offsets"][0])


def places(data, kind):
    """Where the entries of a kind lie in the bytes of a trace.log: (first, end) of each."""
    found, at = [], 0
    while at < len(data):
        size = shift = 0
        while True:
            byte = data[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if data[at] >> 3 == kind:
            found.append((at, at + size))
        at += size
    return found
