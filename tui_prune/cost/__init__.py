"""Parameters, MACs, bytes and latency, for any choice of widths."""
