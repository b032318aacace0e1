"""How near the estimates come to published measurements: the rows, the fit of the constants, the score."""
