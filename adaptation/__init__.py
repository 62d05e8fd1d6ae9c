"""The learner: learning adapts networks, control decides, console and cli are what operators use."""
