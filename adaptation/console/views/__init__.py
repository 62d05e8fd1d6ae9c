"""What the pages show, as plain values: read from the storage root and from the learner, and known to no page."""
