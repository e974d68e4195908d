"""Hashes agree with published vectors and with plain Python."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.schemas.columns import Bytes
from streamrec.schemas.hashing import hash64, hash128, murmur2, partitions

MASK = (1 << 64) - 1


def spans(*values: bytes) -> Bytes:
    lengths = np.array([len(value) for value in values], np.int64)
    data = np.frombuffer(b"".join(values), np.uint8)  # read-only, as bytes are
    return Bytes(data, np.cumsum(lengths) - lengths, lengths)


def unsigned(hashes: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> list[int]:
    found: list[int] = hashes.view(np.uint64).ravel().tolist()
    return found


def test_hash64_is_xxh64() -> None:
    vectors = {
        b"": 0xEF46DB3751D8E999,
        b"a": 0xD24EC4F1A98C6E5B,
        b"abc": 0x44BC2CF5AD770999,
        b"Nobody inspects the spammish repetition": 0xFBCEA83C8A378BF1,
    }
    assert unsigned(hash64(spans(*vectors))) == list(vectors.values())


def test_hash128_is_murmur3_x64_128() -> None:
    vectors = {
        b"": (0, 0),
        b"hello": (0xCBD8A7B341BD9B02, 0x5B1E906A48AE1D19),
        b"The quick brown fox jumps over the lazy dog": (0xE34BBC7BBC071B6C, 0x7A433CA9C49A9347),
    }
    found = unsigned(hash128(spans(*vectors)))
    assert list(zip(found[::2], found[1::2], strict=True)) == list(vectors.values())


def test_murmur2_is_kafkas() -> None:
    vectors = {  # from UtilsTest of Kafka's clients
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    column = spans(*vectors)
    assert murmur2(column).tolist() == list(vectors.values())
    expected = [(value & 0x7FFFFFFF) % 7 for value in vectors.values()]
    assert partitions(column, 7).tolist() == expected


def rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & MASK


def plain_xxh64(data: bytes) -> int:
    p1, p2, p3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
    p4, p5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5

    def step(lane: int, word: int) -> int:
        return rotate((lane + word * p2) & MASK, 31) * p1 & MASK

    at = 0
    mixed = p5
    if len(data) >= 32:
        lanes = [(p1 + p2) & MASK, p2, 0, -p1 & MASK]
        while at + 32 <= len(data):
            for i in range(4):
                word = data[at + 8 * i : at + 8 * i + 8]
                lanes[i] = step(lanes[i], int.from_bytes(word, "little"))
            at += 32
        mixed = sum(rotate(lane, n) for lane, n in zip(lanes, (1, 7, 12, 18), strict=True)) & MASK
        for lane in lanes:
            mixed = ((mixed ^ step(0, lane)) * p1 + p4) & MASK
    mixed = (mixed + len(data)) & MASK
    while at + 8 <= len(data):
        mixed ^= step(0, int.from_bytes(data[at : at + 8], "little"))
        mixed = (rotate(mixed, 27) * p1 + p4) & MASK
        at += 8
    if at + 4 <= len(data):
        mixed ^= int.from_bytes(data[at : at + 4], "little") * p1 & MASK
        mixed = (rotate(mixed, 23) * p2 + p3) & MASK
        at += 4
    for byte in data[at:]:
        mixed = rotate(mixed ^ byte * p5 & MASK, 11) * p1 & MASK
    mixed = (mixed ^ mixed >> 33) * p2 & MASK
    mixed = (mixed ^ mixed >> 29) * p3 & MASK
    return mixed ^ mixed >> 32


@settings(max_examples=150, deadline=None, print_blob=True)
@given(st.lists(st.binary(max_size=100), min_size=1, max_size=5))
def test_hashes_depend_on_the_span_alone(values: list[bytes]) -> None:
    column = spans(b"before", *values, b"after")
    assert unsigned(hash64(column))[1:-1] == [plain_xxh64(value) for value in values]
    for hashed in (hash128, murmur2):
        alone = [hashed(spans(value, b"x"))[0].tolist() for value in values]
        assert hashed(column)[1:-1].tolist() == alone
