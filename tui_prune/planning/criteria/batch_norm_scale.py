"""Scales of the batch norms over a channel (Liu et al. 2017, "Learning Efficient Convolutional Networks through
Network Slimming")."""

from tui_prune.planning.criteria.evidence import Evidence, Part


def bn_scale(evidence: Evidence) -> list[Part]:
    """|scale| of each batch norm."""
    return [Part(name, scale.double().cpu().numpy(), places) for name, scale, places in evidence.batch_norm_scales()]
