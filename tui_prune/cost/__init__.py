"""Parameters, MACs, bytes and latency, for any choice of widths.

`cost` counts from the trace, `latency` predicts a cut network's time from operators that are timed once on this device.
"""
