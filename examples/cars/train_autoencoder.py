"""Train the autoencoder straight from a topic's offsets.

python train_autoencoder.py --first 0 --stop 40000
"""

import argparse
import sys
from pathlib import Path

from autoencoder import MODEL, save, train
from from_topic import RangeError, read_matrix
from signals import CARS
from streamrec.connectors.backend import open_log
from streamrec.connectors.log import LogError
from streamrec.connectors.log_settings import LogSettings


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topic", default=CARS.name)
    parser.add_argument("--first", type=int, default=0, help="offset, in each partition")
    parser.add_argument("--stop", type=int, required=True, help="offset, not included")
    parser.add_argument("--quantile", type=float, default=0.99, help="of normal scores: no alert")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=MODEL)
    given = parser.parse_args(arguments)
    try:
        readings = read_matrix(open_log(LogSettings()), given.topic, given.first, given.stop)
    except (LogError, RangeError) as error:
        sys.exit(str(error))
    if len(readings) < 1_000:
        sys.exit(f"expected at least 1,000 readings to train on, got {len(readings):,}")
    trained = train(readings, given.quantile, given.seed)
    save(
        trained,
        given.out,
        {
            "topic": given.topic,
            "offsets_of_each_partition": [given.first, given.stop],
            "readings": len(readings),
            "seed": given.seed,
        },
    )
    print(f"trained on {len(readings):,} readings, threshold {trained.threshold:.4f}: {given.out}")


if __name__ == "__main__":
    main(sys.argv[1:])
