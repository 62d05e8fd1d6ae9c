"""A frame's way from its message to the engine's input: decoding, fitting and bounds."""
