"""Which variant of an experiment answers an input: by its key, or chosen by hand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamrec.connectors.log import Detail
from streamrec.dataflows.serving.inputs import ModelInputs
from streamrec.dataflows.serving.pipelines import Choose, Pipeline
from streamrec.models.serving.choosing import choose_by_hand, chosen_by_field, chosen_by_header
from streamrec.models.serving.contract import Fault
from streamrec.models.serving.split import Assigned, Split, split_of


@dataclass(frozen=True, slots=True)
class ChooseVariant:
    """Sticky by key, by the weights and the salt of an experiment."""

    split: Split
    by_hand: Choose | None
    names: Sequence[str]  # of the variants that can be chosen, in their order

    @classmethod
    def of(cls, pipeline: Pipeline) -> "ChooseVariant":
        weights = {variant.name: variant.weight for variant in pipeline.served}
        return cls(split_of(pipeline.salt, weights), pipeline.choose, tuple(weights))

    def __call__(self, inputs: ModelInputs) -> tuple[Assigned, dict[int, Fault]]:
        rows = np.arange(len(inputs))
        details = inputs.details(rows)
        keys = [detail.key for detail in details]
        assigned = self.split.of_records(keys, inputs.topic, inputs.places(rows))
        if self.by_hand is None:
            return assigned, {}
        return choose_by_hand(assigned, self._chosen(self.by_hand, inputs, details))

    def _chosen(
        self, by_hand: Choose, inputs: ModelInputs, details: Sequence[Detail]
    ) -> list[int | Fault | None]:
        if by_hand.kind == "header":
            return [chosen_by_header(by_hand.name, each.headers, self.names) for each in details]
        assert inputs.values is not None, "a field is looked for in values"
        return [chosen_by_field(by_hand.name, value, self.names) for value in inputs.values]


__all__ = ["ChooseVariant"]
