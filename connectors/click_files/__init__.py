"""Files of clicks, whatever they call their columns: what do they say?

`reading.ClickFiles` is the one reader, for import, training and evaluation: files in, batches of
clicks out. First which files are meant and how they are packed (`opening`) and laid out (`forms`),
then their rows (`csv_rows`, `json_rows` with `json_values` and `paths`, `parquet_rows`) as cells of
text (`cells`, `text`), which column holds what (`names`, for each file in `layouts`), what the
values mean (`ids`, `times`, `meaning`), and which rows are no clicks (`rejecting`). `sorting` puts
clicks in order of time.
"""
