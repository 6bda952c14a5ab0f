"""Prints the numbers that tests/unit/test_base_dtype.c holds our code to.

    python tools/make_base_facts.py        (made with numpy 2.4.6, torch 2.15.0)

Checksums are CRC-32C over little-endian results, every NaN replaced by the one quiet NaN, since what is
left of a NaN's payload differs between libraries and CPUs.
"""
import warnings

import numpy as np
import torch

warnings.simplefilter("ignore")  # overflow to infinity is what we ask for


def crc32c(data):
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def dtypes():
    every = np.arange(65536, dtype=np.uint32).astype(np.uint16)
    half = every.view(np.float16).astype(np.float32)
    half[np.isnan(half)] = np.array([0x7FC00000], np.uint32).view(np.float32)[0]
    print(f"every f16 as f32: {crc32c(half.tobytes()):#010x}")
    brain = torch.from_numpy(every.view(np.int16)).view(torch.bfloat16).float().numpy()
    brain[np.isnan(brain)] = np.array([0x7FC00000], np.uint32).view(np.float32)[0]
    print(f"every bf16 as f32: {crc32c(brain.tobytes()):#010x}")
    # Two million bit patterns, then as many in and around the range of f16: 2^-27 .. 2^19.
    bits = np.frombuffer(np.random.RandomState(7).bytes(8 << 20), np.uint32)
    near = bits & 0x807FFFFF | (100 + (bits >> 23 & 255) % 46) << 23
    for name, pattern in (("random", bits), ("near 1", near)):
        values = pattern.astype(np.uint32).view(np.float32)
        halves = values.astype(np.float16).view(np.uint16).copy()
        halves[np.isnan(values)] = 0x7E00
        print(f"{name} f32 as f16: {crc32c(halves.tobytes()):#010x}")
        brains = torch.from_numpy(values.copy()).bfloat16().view(torch.int16).numpy().view(np.uint16).copy()
        brains[np.isnan(values)] = 0x7FC0
        print(f"{name} f32 as bf16: {crc32c(brains.tobytes()):#010x}")


if __name__ == "__main__":
    print("numpy", np.__version__, "torch", torch.__version__)
    dtypes()
