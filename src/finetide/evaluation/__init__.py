"""From predictions to named numbers, baselines beside them, and a verdict. Arrays in, contracts out."""
