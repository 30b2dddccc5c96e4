"""The tasks of Headrace's example pipeline: a year of departures from New York, ranked by delay.

One pod runs one step for one period, a month (`2013-01`) or a day (`2013-01-01`); the same code serves both.
The steps know nothing of Headrace but the task document they are given (`task.py`): any image and any
language can do the same. The SQL of each step is a file in `sql/`.
"""
