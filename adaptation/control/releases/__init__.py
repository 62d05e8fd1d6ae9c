"""Releases of a storage root as operators handle them: added, promoted, rolled back, pinned and collected."""
