"""One adaptation round: resumable steps from a snapshot of frames to an adapted, evaluated network."""
