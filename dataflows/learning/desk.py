"""Where versions that were learned online are published: a thread, which the step does not wait
for until its state is saved."""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from streamrec.dataflows.learning.learners import Version
from streamrec.dataflows.learning.published import CHALLENGER, CHAMPION
from streamrec.dataflows.learning.publishing import By, Publisher
from streamrec.dataflows.learning.runs import TrainingRun
from streamrec.models.learning.archives import pack

_logger = logging.getLogger(__name__)


class Desk(Protocol):
    """What the step hands versions to."""

    def hand(self, version: Version, run: TrainingRun, promote: bool) -> str:
        """A version that is to be out soon; a newer one of its model may overtake it. Returns what
        it will be called."""

    def settle(self) -> None:
        """Return once all that was handed over is out, so that it may be forgotten. Raises what
        kept it from that."""


class PaperDesk:
    """Publishes nothing: on paper, and in a replay into other topics."""

    def __init__(self) -> None:
        self.handed: list[tuple[Version, TrainingRun]] = []

    def hand(self, version: Version, run: TrainingRun, promote: bool) -> str:
        self.handed = [*self.handed[-99:], (version, run)]
        return pack(version.files).version

    def settle(self) -> None:
        """Nothing is under way."""


class PublishingDesk:
    """Publishes the newest version of each model, one after the other. `hold` is called before the
    first of a model: it takes the lease of who trains it, or raises."""

    def __init__(
        self, publisher: Callable[[], Publisher], hold: Callable[[str], object], who: str
    ) -> None:
        self._make = publisher
        self._hold = hold
        self._who = who
        self._lock = threading.Condition()
        self._waiting: dict[str, tuple[Version, TrainingRun, bool]] = {}  # by model, in order
        self._held: set[str] = set()
        self._publisher: Publisher | None = None
        self._busy = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def hand(self, version: Version, run: TrainingRun, promote: bool) -> str:
        with self._lock:
            self._waiting[run.model] = (version, run, promote)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._publish_all, name="publishing", daemon=True
                )
                self._thread.start()
            self._lock.notify_all()
        return pack(version.files).version

    def settle(self) -> None:
        with self._lock:
            while (self._waiting or self._busy) and self._error is None:
                self._lock.wait(1.0)
            if self._error is not None:
                raise self._error

    def _publish_all(self) -> None:
        while True:
            with self._lock:
                while not self._waiting:
                    self._lock.wait()
                model = next(iter(self._waiting))
                version, run, promote = self._waiting.pop(model)
                self._busy = True
            try:
                self._publish(version, run, promote)
            except BaseException as error:  # noqa: BLE001  # told by `settle`, which stops the flow
                _logger.error("model %s: cannot be published: %s", run.model, error)
                with self._lock:
                    self._error = error
                    self._lock.notify_all()
                return
            with self._lock:
                self._busy = False
                self._lock.notify_all()

    def _publish(self, version: Version, run: TrainingRun, promote: bool) -> None:
        if run.model not in self._held:
            self._hold(run.model)
            self._held.add(run.model)
        if self._publisher is None:
            self._publisher = self._make()
        publish_run(self._publisher, version, run, promote, self._who)


def publish_run(
    publisher: Publisher, version: Version, run: TrainingRun, promote: bool, who: str
) -> str:
    """Publish what a run made, once; it answers unless a version of newer examples is there.
    Returns its version."""
    known = publisher.known().models.get(run.model)
    newest = known is None or run.is_newest_in(known)
    alias = None if not newest else CHAMPION if promote else CHALLENGER
    why = f"learned from {run.count:,} examples ({run.kind})"
    made = publisher.publish(run.model, pack(version.files), promote=alias, by=By(who, why))
    metrics = ", ".join(f"{n} {v:.4g}" for n, v in version.about["metrics"].items())
    _logger.info("model %s: version %s %s: %s", run.model, made, why, metrics)
    return made


__all__ = ["Desk", "PaperDesk", "PublishingDesk", "publish_run"]
