"""Open, keys, locks, index, packing: one repository in use."""
