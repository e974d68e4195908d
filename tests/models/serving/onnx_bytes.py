"""A small ONNX file written by hand, so that no tests need the package that makes them: as
protobuf, chances = Softmax(x @ weights + offsets), or without `is_softmax` the sums themselves."""

import numpy as np
from numpy.typing import NDArray

_FLOAT = 1


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def _field(number: int, value: bytes | int | str) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _tensor(name: str, values: NDArray[np.float32]) -> bytes:
    dims = b"".join(_field(1, size) for size in values.shape)
    return dims + _field(2, _FLOAT) + _field(8, name) + _field(9, values.tobytes())


def _table(name: str, width: int) -> bytes:
    shape = _field(1, _field(2, "rows")) + _field(1, _field(1, width))
    return _field(1, name) + _field(2, _field(1, _field(1, _FLOAT) + _field(2, shape)))


def _node(kind: str, inputs: list[str], output: str) -> bytes:
    return b"".join(_field(1, each) for each in inputs) + _field(2, output) + _field(4, kind)


def onnx_model(
    weights: NDArray[np.float32], offsets: NDArray[np.float32], *, is_softmax: bool
) -> bytes:
    """`weights` (features, outputs), `offsets` (outputs,)."""
    last = "sums" if is_softmax else "out"
    nodes = [_node("MatMul", ["x", "weights"], "products")]
    nodes += [_node("Add", ["products", "offsets"], last)]
    nodes += [_node("Softmax", ["sums"], "out")] if is_softmax else []
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "g")
    graph += _field(5, _tensor("weights", weights)) + _field(5, _tensor("offsets", offsets))
    graph += _field(11, _table("x", weights.shape[0])) + _field(12, _table("out", len(offsets)))
    opset = _field(1, "") + _field(2, 13)
    return _field(1, 8) + _field(7, graph) + _field(8, opset)
