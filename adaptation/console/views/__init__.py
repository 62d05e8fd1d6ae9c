"""Plain values that the pages show: read from the storage root and from the learner, and known to no page."""
