"""An ONNX file, by the extra `streamrec[onnx]`: onnxruntime on one thread of the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.models.loading import BadModel
from streamrec.models.serving.trained.description import Description
from streamrec.models.serving.trained.engine import Found, chosen_of
from streamrec.models.serving.trained.lightgbm_file import refuse_bare_text

_DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


class OnnxEngine:
    """Of one input of all features, or of one for each by its name. Of its outputs the last that
    is a table of floats holds numbers or chances, else the first which label."""

    codes_categories = True

    def __init__(self, path: Path, description: Description) -> None:
        """Raises BadModel."""
        self._session = _session(path)
        refuse_bare_text(path, description)
        self._names = [each.name for each in description.inputs]
        self._feeds = self._session.get_inputs()
        unknown = [each.type for each in self._feeds if each.type not in _DTYPES]
        if unknown:
            raise BadModel(f"{path} expected inputs of numbers, got {', '.join(unknown)}")
        self._check_inputs(path)
        self.labels = description.output.labels
        self._threshold = description.output.threshold
        output = description.output
        self._wants_chances = bool(output.probability or output.probabilities or output.threshold)
        if self._wants_chances and not self.labels:
            raise BadModel(f"{path}: probability, probabilities and threshold expected labels")

    def ask(self, matrix: NDArray[Any]) -> Found:
        if len(self._feeds) == 1:
            only = self._feeds[0]
            given = {only.name: np.ascontiguousarray(matrix, _DTYPES[only.type])}
        else:
            given = {
                each.name: matrix[:, [self._names.index(each.name)]].astype(_DTYPES[each.type])
                for each in self._feeds
            }
        outputs = self._session.run(None, given)
        tables = [
            each for each in outputs if isinstance(each, np.ndarray) and each.dtype.kind == "f"
        ]
        numbers = tables[-1].astype(np.float64).reshape(len(matrix), -1) if tables else None
        if not self.labels:
            return Found(numbers=numbers)
        if numbers is not None:
            chances = np.hstack([1.0 - numbers, numbers]) if numbers.shape[1] == 1 else numbers
            return Found(chosen=chosen_of(chances, self._threshold), chances=chances)
        return Found(chosen=self._labelled(outputs[0]), chances=self._mapped(outputs[-1]))

    def _labelled(self, found: Any) -> NDArray[np.int64]:
        given = np.asarray(found).reshape(-1)
        if given.dtype.kind in "iu":
            return given.astype(np.int64)
        return np.array([self.labels.index(str(each)) for each in given.tolist()], np.int64)

    def _mapped(self, found: Any) -> NDArray[np.float64] | None:
        """Chances that stand in a dict by class for each row, as skl2onnx has it."""
        if not (isinstance(found, list) and found and isinstance(found[0], dict)):
            return None
        keys = list(found[0])
        order = sorted(keys, key=lambda k: self.labels.index(k) if isinstance(k, str) else k)
        return np.array([[row[key] for key in order] for row in found], np.float64)

    def _check_inputs(self, path: Path) -> None:
        if len(self._feeds) > 1:
            names = [each.name for each in self._feeds]
            if sorted(names) != sorted(self._names):
                raise BadModel(
                    f"{path} expected the inputs {', '.join(names)}, got {', '.join(self._names)}"
                )
            return
        shape = self._feeds[0].shape
        width = shape[1] if len(shape) == 2 else None
        if isinstance(width, int) and width != len(self._names):
            raise BadModel(
                f"{path} expected {width} inputs in its description, got {len(self._names)}"
            )


def _session(path: Path) -> Any:
    try:
        import onnxruntime  # here, since it is an extra
    except ImportError:
        raise BadModel(
            f"{path} expected onnxruntime to be installed: pip install 'streamrec[onnx]'"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class in common
        said = " ".join(str(error).split())
        raise BadModel(f"{path} expected an ONNX file: {said}") from error
