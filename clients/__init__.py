"""Callers of the two halves: the vehicle SDK, a simulated fleet, the demo, files of annotation tools."""
