"""Image regions that people label: geometry, labeling tasks and annotations."""
