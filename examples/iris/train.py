"""Train on scikit-learn's iris, and write the parameters as JSON: `python train.py`."""

import json
import sys
from pathlib import Path

from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main(out: Path) -> None:
    """The parameters are plain numbers: whoever reads them runs nothing."""
    iris = load_iris()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=10.0, max_iter=1_000))
    accuracy = cross_val_score(pipeline, iris.data, iris.target, cv=10).mean()
    pipeline.fit(iris.data, iris.target)
    scaler, model = (step for _, step in pipeline.steps)
    parameters = {
        "features": ["sepal_length", "sepal_width", "petal_length", "petal_width"],
        "species": iris.target_names.tolist(),
        "means": scaler.mean_.tolist(),
        "scales": scaler.scale_.tolist(),
        "weights": model.coef_.tolist(),
        "intercepts": model.intercept_.tolist(),
    }
    out.write_text(json.dumps(parameters, indent=2) + "\n", encoding="utf-8")
    print(f"accuracy {accuracy:.3f} in ten folds: {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name("iris.json"))
