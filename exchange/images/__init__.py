"""The one decoder of frames and the one decoder of label files."""
