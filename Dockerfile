# The dataflows and the command line, with the locked packages that they need at run time.
FROM python:3.12-slim

# LightGBM's threads; its wheel does not bring them.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY requirements.runtime.lock ./
RUN python -m pip install --no-cache-dir --require-hashes --no-deps -r requirements.runtime.lock
COPY connectors connectors
COPY dataflows dataflows
COPY models models
COPY schemas schemas
COPY streamrec streamrec

# It runs where its user may write: compiled kernels, and the engine's own rendering of the dataflow.
ENV PYTHONPATH=/app NUMBA_CACHE_DIR=/var/lib/streamrec/kernels PYTHONUNBUFFERED=1
RUN useradd --create-home streamrec && install -d -o streamrec /var/lib/streamrec /state
USER streamrec
WORKDIR /var/lib/streamrec
CMD ["python", "-m", "bytewax.run", "dataflows.recommender"]
