"""Where a cluster comes from: `native` (built here), `kind` (a container engine), `existing` (someone else's).

`choice.py` is the door: called by the command line, by the checks and by the demo.
"""
