"""How much of the bare engine reaches the fleet, and what the whole path does under too much load."""
