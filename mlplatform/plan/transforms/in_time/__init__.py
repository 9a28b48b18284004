"""What the transforms of rows in time are made of: order and ties, buckets, intervals, runs, ids, folds, counts."""
