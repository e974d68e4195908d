"""Click logs in files: CSV, JSON lines, Parquet."""
