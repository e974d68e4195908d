"""Files of clicks, whatever they call their columns: what do they say?

`clicks.load` is the one reader, for import, training and evaluation: formats and names first
(`formats`, `names`), then what the values mean (`meaning`), and which rows are none (`rejecting`).
"""
