"""Named numbers of a classifier: counts, calibration, intervals, paired tests. Arrays in, numbers out."""
