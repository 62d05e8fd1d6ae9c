"""Regions out to the tools that teams label with, and their answers back: CVAT, and Cityscapes' train-id PNG."""
