"""What a dataflow's process serves of it at `/metrics`. All of it is read when it is asked for."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from streamrec.connectors.backend import open_log
from streamrec.connectors.patience import Patience
from streamrec.dataflows.job.lag import LagWatch
from streamrec.services.metrics.watched import Watched

if TYPE_CHECKING:  # which has it served
    from streamrec.dataflows.job.job import Job

_LAG_PATIENCE_S = 2.0


class FlowMeasures(Collector):
    """Of one job."""

    def __init__(self, job: "Job") -> None:
        self._job = job
        self._flow = job.flow_id
        settings = job.settings
        self.lag = LagWatch(
            lambda: open_log(settings, Patience(_LAG_PATIENCE_S), make=False),
            job.report.positions,
        )

    def collect(self) -> Iterator[Metric]:
        yield from self._records()
        yield from self._epochs()
        yield from self._models()
        yield from self._queues()
        yield from self._behind()

    def _records(self) -> Iterator[Metric]:
        flow, counts = self._flow, self._job.report.counts()
        read = CounterMetricFamily(
            "streamrec_records_read", "Records that were read.", labels=["dataflow", *_PLACE]
        )
        for place, count in sorted(counts.read.items()):
            read.add_metric([flow, *place], count)
        yield read
        written = CounterMetricFamily(
            "streamrec_records_written",
            "Records that were handed to the log's writer.",
            labels=["dataflow", "topic"],
        )
        for topic, count in sorted(counts.written.items()):
            written.add_metric([flow, topic], count)
        yield written
        errors = CounterMetricFamily(
            "streamrec_record_errors",
            "Records that went to errors.",
            labels=["dataflow", "reason", "step"],
        )
        for (reason, step), count in sorted(counts.errors.items()):
            errors.add_metric([flow, reason, step], count)
        yield errors
        batches = HistogramMetricFamily(
            "streamrec_batch_records",
            "Records that a lane of a source handed over at once.",
            labels=["dataflow", *_PLACE],
        )
        for place, sizes in sorted(counts.batches.items()):
            sizes.add_to(batches, [flow, *place])
        yield batches
        latencies = HistogramMetricFamily(
            "streamrec_source_to_sink_seconds",
            "From the log's time of an input to when its output was handed to the log's writer.",
            labels=["dataflow", "topic"],
        )
        for topic, seconds in sorted(counts.latencies.items()):
            seconds.add_to(latencies, [flow, topic])
        yield latencies
        if counts.newest_stored_ms is not None:
            yield _gauge(
                "streamrec_store_newest_timestamp_seconds",
                "Event time of the newest recommendation that the store was given, Unix seconds.",
                flow,
                counts.newest_stored_ms / 1_000,
            )

    def _epochs(self) -> Iterator[Metric]:
        flow, epochs = self._flow, self._job.report.epochs
        durations = HistogramMetricFamily(
            "streamrec_epoch_duration_seconds",
            "From the end of an epoch to the end of the next.",
            labels=["dataflow"],
        )
        closings = HistogramMetricFamily(
            "streamrec_epoch_closing_seconds",
            "From the first snapshot of a source to the last of a sink.",
            labels=["dataflow"],
        )
        with epochs.lock:
            epochs.durations.add_to(durations, [flow])
            epochs.closings.add_to(closings, [flow])
            count, records, saved = epochs.closed_count, epochs.records, epochs.saved_bytes
        yield durations
        yield closings
        closed = CounterMetricFamily(
            "streamrec_epochs", "Epochs that were ended.", labels=["dataflow"]
        )
        closed.add_metric([flow], count)
        yield closed
        yield _gauge(
            "streamrec_epoch_records", "Records read in the last epoch that ended.", flow, records
        )
        yield _gauge(
            "streamrec_epoch_saved_bytes",
            "Bytes of state that the last epoch to be saved wrote to files.",
            flow,
            saved,
        )

    def _models(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "streamrec_model_info",
            "1 for each model that answers here.",
            labels=["dataflow", "model", "version"],
        )
        made = GaugeMetricFamily(
            "streamrec_model_made_timestamp_seconds",
            "When the file of a model was written, Unix seconds.",
            labels=["dataflow", "model"],
        )
        for model in self._job.report.models:
            info.add_metric([self._flow, model.name, model.version], 1)
            if model.made_s is not None:
                made.add_metric([self._flow, model.name], model.made_s)
        yield info
        yield made

    def _queues(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "streamrec_waiting_records",
            "Records that were read and wait for a model's answer.",
            labels=["dataflow", *_PLACE],
        )
        for place, count in sorted(self._job.waiting().items()):
            waiting.add_metric([self._flow, *place], count)
        yield waiting
        yield _gauge(
            "streamrec_unacknowledged_records",
            "Records that were handed to the log's writer and not acknowledged.",
            self._flow,
            self._job.log.handed_over(),
        )
        yield _gauge(
            "streamrec_storing_records",
            "Recommendations that were handed to the store and are not in it yet.",
            self._flow,
            self._job.storing(),
        )

    def _behind(self) -> Iterator[Metric]:
        found = self.lag.look()
        lag = GaugeMetricFamily(
            "streamrec_lag_records",
            "Records on the log that were not read yet; none where the log does not answer.",
            labels=["dataflow", *_PLACE],
        )
        for place, count in sorted(found.records.items()):
            lag.add_metric([self._flow, *place], count)
        yield lag
        if found.answers is not None:
            yield _gauge(
                "streamrec_log_up",
                "1: the log answered within seconds when it was asked last.",
                self._flow,
                found.answers,
            )


_PLACE = ("topic", "reader")


def _gauge(name: str, doc: str, flow: str, value: float) -> Metric:
    found = GaugeMetricFamily(name, doc, labels=["dataflow"])
    found.add_metric([flow], value)
    return found


def measure(job: "Job", seen: Watched) -> None:
    """Serve the measures of a job, and whether it runs."""
    measures = FlowMeasures(job)
    seen.registry.register(measures)

    def log_is_away() -> str | None:
        answers = measures.lag.look(wait_s=0.0).answers
        return "the log does not answer" if answers is False else None

    seen.health.add("log", log_is_away)
    seen.health.add("end", lambda: "it was asked to stop" if job.is_stopping() else None)


__all__ = ["FlowMeasures", "measure"]
