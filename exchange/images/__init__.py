"""Images: whole PNGs and label files."""
