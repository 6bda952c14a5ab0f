"""GGUF files read and written by a few lines of Python, so that tests can look into ours and make bad ones."""

import struct

U32, I32, F32, STRING, ARRAY = 4, 5, 6, 8, 9
SIMPLE = {0: "<B", 1: "<b", 2: "<H", 3: "<h", U32: "<I", I32: "<i", F32: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 8: (32, 34), 14: (256, 210), 30: (1, 2)}  # type: numbers, bytes


def read(path):
    """(metadata {key: (type, value)}, tensors {name: (type, shape, bytes)}); arrays are (element type, list)"""
    content = path.read_bytes()
    at = 0

    def take(form):
        nonlocal at
        values = struct.unpack_from(form, content, at)
        at += struct.calcsize(form)
        return values[0]

    def text():
        nonlocal at
        size = take("<Q")
        at += size
        return content[at - size:at].decode()

    def value(kind):
        if kind == STRING:
            return text()
        if kind == ARRAY:
            element, n = take("<I"), take("<Q")
            return element, [value(element) for _ in range(n)]
        return take(SIMPLE[kind])

    assert content[:4] == b"GGUF"
    at = 4
    version, n_tensors, n_entries = take("<I"), take("<Q"), take("<Q")
    assert version == 3
    metadata = {}
    for _ in range(n_entries):
        key = text()
        kind = take("<I")
        metadata[key] = (kind, value(kind))
    places = {}
    for _ in range(n_tensors):
        name = text()
        shape = [take("<Q") for _ in range(take("<I"))][::-1]
        places[name] = (take("<I"), shape, take("<Q"))
    data = content[(at + 31) // 32 * 32:]
    tensors = {}
    for name, (kind, shape, offset) in places.items():
        n = 1
        for size in shape:
            n *= size
        block, size = BLOCKS[kind]
        assert offset % 32 == 0
        tensors[name] = (kind, shape, data[offset:offset + n // block * size])
    return metadata, tensors


def write(path, metadata, tensors):
    out = bytearray()

    def text(string):
        encoded = string if isinstance(string, bytes) else string.encode()
        out.extend(struct.pack("<Q", len(encoded)) + encoded)

    def value(kind, content):
        if kind == STRING:
            text(content)
        elif kind == ARRAY:
            out.extend(struct.pack("<IQ", content[0], len(content[1])))
            for element in content[1]:
                value(content[0], element)
        else:
            out.extend(struct.pack(SIMPLE[kind], content))

    out.extend(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
    for key, (kind, content) in metadata.items():
        text(key)
        out.extend(struct.pack("<I", kind))
        value(kind, content)
    data = bytearray()
    for name, (kind, shape, content) in tensors.items():
        text(name)
        out.extend(struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, len(data)))
        data += content + bytes(-len(content) % 32)
    path.write_bytes(bytes(out) + bytes(-len(out) % 32) + data)
