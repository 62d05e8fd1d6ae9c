"""Watch over a promoted release, and the decision to roll it back."""
