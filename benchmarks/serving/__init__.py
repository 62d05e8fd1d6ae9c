"""Share of the bare engine that reaches the fleet, and the whole path under overload."""
