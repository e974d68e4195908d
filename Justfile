# The one list of commands. `./justw` alone prints it; CI calls these recipes and nothing else.

# What has [no-cd] runs where its caller stands, and so do the paths that it is given.

set positional-arguments := true

# real recommendations from a simulated shop, on a log in one file; ends by itself in under a minute
[no-exit-message]
[no-cd]
demo *ARGS:
    @python -m streamrec demo "$@"

# all tests, those on a real Kafka and a real registry too (started here, or `--kafka external`)
test *ARGS:
    python -m pytest -n 2 --dist worksteal -m "not slow" "$@"

# the tests that `./justw test` leaves out, since the two together take longer than fifteen minutes
slow *ARGS:
    python -m pytest -n 2 --dist worksteal -m slow "$@"

# the same, and which lines no test runs: takes a fifth longer
coverage *ARGS:
    python -m pytest -n 2 --dist worksteal --cov --cov-report=term:skip-covered "$@"

# style, format and types
lint: lint-style lint-format lint-types

[private]
lint-style:
    ruff check

[private]
lint-format:
    ruff format --check

[private]
lint-types:
    mypy

# 1,000,000 clicks with 1 % broken in ten ways, every answer checked by an independent reader
[no-exit-message]
verify *ARGS:
    python -m tests.proofs.correctness "$@"

# brokers, registries and disks that fail under the main job; the broker is away for 60 s
faults *ARGS:
    STREAMREC_AWAY_S=60 python -m pytest tests/dataflows/faults "$@"

# clicks in and recommendations out over HTTP, all together, and a page to open, until Ctrl-C
[no-exit-message]
[no-cd]
up *ARGS:
    @python -m streamrec up "$@"

# put files into the project's format and mend what can be mended
format:
    ruff check --fix
    ruff format

# what CI runs
check: lint test

# run the hooks that a commit will run, once installed
hooks:
    pre-commit install

# the command line: topics, send, receive, errors, import, train, describe; `./justw streamrec --help`
[no-exit-message]
[no-cd]
streamrec *ARGS:
    @python -m streamrec "$@"

# put a click log of your own (CSV, JSON lines, Parquet) on the topic clicks
[no-exit-message]
[no-cd]
import *ARGS:
    @python -m streamrec import "$@"

# make the ranker's artifact anew from a click log
[no-exit-message]
[no-cd]
train *ARGS:
    @python -m streamrec train "$@"

# the main job, for ever: clicks in, recommendations and errors out
[no-exit-message]
[no-cd]
run *ARGS:
    @python -m streamrec run "$@"

# the same in several processes on this machine, brought back when one dies; `-r DIR -s 10 -b 0`
[no-exit-message]
[no-cd]
run-cluster PROCESSES *ARGS:
    shift && python -m streamrec run-cluster {{ PROCESSES }} dataflows.recommender "$@"

# kill -9 at random under load, then every input against every output; `--kills N`, `--seed S`
[no-exit-message]
chaos *ARGS:
    python -m tests.proofs.chaos "$@"

# a real Kafka and a real schema registry, without Docker and without Java, until Ctrl-C
[no-exit-message]
[no-cd]
kafka *ARGS:
    @python -m streamrec kafka "$@"

# models against each other and against popularity, on held-out clicks
[no-exit-message]
[no-cd]
evaluate *ARGS:
    @python -m streamrec evaluate "$@"

# cost per event and latency on a real Kafka, as ratios to a bare loop; `--only NAME`, `--events N`
[no-exit-message]
bench *ARGS:
    python -m benchmarks "$@"

# make the locks anew from pyproject.toml, with the newest versions that it allows
lock *ARGS:
    {{ compile }} --extra dev --output-file requirements.lock "$@"
    # For the image, which needs neither Java nor the tests' tools; the versions are the same.
    {{ compile }} --constraint requirements.lock --output-file requirements.runtime.lock

compile := "uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes" + \
    " --no-annotate --no-emit-index-url --no-emit-find-links --quiet" + \
    " --custom-compile-command './justw lock'"
