"""A module of the user's that is called as a package of streamrec is: that does not matter.

The same model by a rule of thumb, with schemas that are pydantic classes.
"""

from typing import Literal

from pydantic import BaseModel, Field


class Flower(BaseModel, extra="forbid", strict=True):
    """What is measured of a flower, in centimetres."""

    sepal_length: float = Field(gt=0, le=100)
    sepal_width: float = Field(gt=0, le=100)
    petal_length: float = Field(gt=0, le=100)
    petal_width: float = Field(gt=0, le=100)


class Species(BaseModel):
    """What it is."""

    species: Literal["setosa", "versicolor", "virginica"]


class IrisByThumb:
    """Two questions, as a tree of depth two asks them."""

    display_name = "Iris by rule of thumb"
    qualified_name = "iris-by-thumb"
    description = "Says of which species an iris is, by its petals alone."
    major_version = 1
    minor_version = 0
    input_schema = Flower
    output_schema = Species

    def predict(self, data: Flower) -> Species:
        if data.petal_length < 2.45:
            return Species(species="setosa")
        return Species(species="versicolor" if data.petal_width < 1.75 else "virginica")
