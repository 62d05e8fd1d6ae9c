"""Settings of all tests."""

from hypothesis import HealthCheck, settings

# How fast examples are drawn and run says how busy the machine is.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
